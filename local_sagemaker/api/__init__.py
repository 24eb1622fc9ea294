"""The API: SageMaker's operations, and those of other services that moto lacks or answers unlike AWS."""
