"""Checkpoints: where they go, when, what they hold, how they are written, and who may go on from them."""
