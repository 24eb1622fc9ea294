"""What Describe, List and Search say of a job: its document, in SageMaker's fields."""
