"""What SageMaker's platform does to a container, as pure functions of a request."""
