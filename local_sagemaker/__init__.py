"""SageMaker on this machine: the training API on loopback, jobs as containers of the local Docker engine.

    launcher train --local

Reading order: jobs.py (what the API and the jobs' life know of each other), store.py (a job as a document on disk),
server.py (one port), life/ (what becomes of a job).
"""
