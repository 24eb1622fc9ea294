"""What talks to AWS, and nothing else does."""
