"""One fit: optimizer, acceleration, checkpoints, stops and stalls, debugger, log lines."""
