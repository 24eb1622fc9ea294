"""The page in a browser: jobs with live status, log, metrics, rules and results. Plain HTML, CSS and one script."""
