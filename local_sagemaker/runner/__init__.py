"""What runs a job, from its creation to its end.

Reading order: training_job.py (the statuses of a training job), container_watch.py (while containers run), attempt.py
(the hosts of one attempt), then what these use.
"""
