"""The command line: arguments in, functions of the package called, exit codes out."""
