"""Debugger, rules, profiler and TensorBoard: what is seen of a training job, beside the trainer."""
