"""Logs the run to the job's MLflow tracking server, if it has one. Read tracking.py, then tracker.py.

The package mlflow is imported only for a job with a server. Training never waits for it: see tracker.py.
"""
