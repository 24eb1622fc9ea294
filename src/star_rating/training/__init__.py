"""One fit: optimizer, acceleration, checkpoints, stops and stalls, log lines."""
