"""AWS's built-in Debugger rules, evaluated by this image: while a run trains, and afterwards over its tensor folder.

smdebug ships the framework of rules and not one rule; AWS's own are in private images. These here have their names,
parameters and defaults. Read observability/rule.py (what a rule is), then loss_rules.py, then evaluation.py,
and the two edges: command.py (the container command `rules`) and callback.py (the Keras callback).
"""
