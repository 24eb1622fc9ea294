"""What becomes of a job, from its creation to its end.

Reading order: training.py (the whole life), watch.py (while containers run), then what these two use.
"""
