"""The processes that are measured: each starts from the same weights, takes the same batches, prints one JSON line."""
