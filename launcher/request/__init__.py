"""SageMaker's requests: built from a Job, and checked against the API's own model. PascalCase lives here."""
