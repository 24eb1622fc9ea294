"""One fit: optimizer, acceleration, stops and stalls, log lines."""
