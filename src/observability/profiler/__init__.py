"""Profiler: system metrics, step durations, traces of a few steps, and the report that is drawn of them."""
