"""What SageMaker asks of a request beyond its model."""
