"""One fit: optimizer, acceleration, checkpoints, debugger, log lines."""
