"""What runs inside the image: from reviews to a model that predicts their star rating.

The folders follow the data's way: `preparation` (reviews -> TFRecord channels), `data` (channels -> batches), `model`
(DistilBERT and its weights), `training` (one fit, with `checkpointing`, `debugger` and `tensorboard` on the way),
`results` (evaluation, figures, exports, the run record); `hosts` make one training of several machines, and `rules`
look at what the debugger has saved.
"""
