"""tf.data without autotuning, for every dataset that is iterated for more than a moment.

    batches = untuned(records.map(parse, num_parallel_calls=2).prefetch(4))

Autotuning has a thread for each iterator, which sleeps for up to a minute between two looks, and an iterator's end
waits for it. TensorFlow 2.21 wakes it before it marks the iterator as cancelled: a thread that is quick sees nothing
new and sleeps on: of twelve iterators one took 34 s to end, and now and then fit did. Nothing is lost without
it: what it could choose, these pipelines say themselves.
"""

from __future__ import annotations

import tensorflow as tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with autotuning off; what is made of it has it off, too."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
