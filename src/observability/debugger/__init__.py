"""SageMaker Debugger in training: settings, the hook that saves tensors, and what it really saved.

smdebug is imported only by modules named for it. Whoever else needs it calls smdebug_messages.install() first.
"""
