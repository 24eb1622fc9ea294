"""AWS's built-in Debugger rules, evaluated by this image: while a run trains, and afterwards over its tensor folder.

smdebug ships the framework of rules and not one rule; AWS's own are in private images. These here have their names,
parameters and defaults. Read rule.py (what a rule is), then one of the rules (loss_rules.py), then evaluation.py, and
the two edges: command.py (the container command `rules`) and in_training.py (the Keras callback).
"""
