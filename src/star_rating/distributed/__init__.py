"""Several hosts as one training: they meet, share the data, add up their gradients, and end together."""
