"""What the benchmarks share: real reviews, a plan of batches, child processes, tables and pictures."""
