"""What runs inside the image: from reviews to a model that predicts their star rating.

From the top: `training` (the Trainer: set up, fit, export, evaluate) and `serving`; `results` (evaluation, exports, the
run record) and `checkpointing`; `autotune` (XLA and mixed precision); `model` (DistilBERT and its training step);
`distributed` (several hosts as one strategy); `preparation` (reviews -> TFRecords); `data` (TFRecords -> batches);
`hardware`. No folder imports one above it: pyproject.toml has the contract.
"""
