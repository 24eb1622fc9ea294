"""SageMaker's JSON protocol over the jobs of this machine."""
