"""The job file: its schema, and how files, environment and flags become one Job."""
