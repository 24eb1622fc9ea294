"""What a run leaves: evaluation, figures, exports, the run record."""
