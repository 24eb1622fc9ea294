"""`python -m launcher` is the console script."""

from launcher.cli.main import run

run()
