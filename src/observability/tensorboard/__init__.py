"""TensorBoard's files of a run (enable_tensorboard): where they go, what is in them, when it is written.

The debugger's hook writes TensorBoard files of its own (debughookconfig.json's export_tensorboard).
"""
