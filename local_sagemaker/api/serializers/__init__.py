"""What Describe, List and Search say of a job: its state, in SageMaker's fields."""
