"""SageMaker's operations, one function each, by the resource that they are about."""
