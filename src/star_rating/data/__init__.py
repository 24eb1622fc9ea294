"""Reviews to TFRecord channels, and channels to batches."""
