"""An emulator of SageMaker: the training API on loopback, jobs as containers of the local Docker engine.

    launcher train --local

Reading order: server.py (what stands behind the port), job_service.py (jobs, as the API and the runner see them),
job_state.py (one job), runner/ (what runs a job), api/ (what answers a request).
"""
