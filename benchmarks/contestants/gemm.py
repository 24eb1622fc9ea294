"""The machine's own float32 rate: oneDNN's fastest matrix product, on all cores.

Through TensorFlow, which carries oneDNN. The rate of a shape is that of the median of some products. A large square is
customary; where caches are small, a training step's products are faster, and a step would seem to beat the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import time

from star_rating.hardware import instruction_set

SHAPES = ((4096, 4096, 4096), (2048, 768, 3072), (2048, 3072, 768))
"""Rows, inner dimension, columns: a square, and the feed-forward network's two on a batch's tokens."""
WARM_UP = 2
PRODUCTS = 7


def main() -> None:
    """Print the rate as one JSON line."""
    instruction_set.choose(os.environ)  # oneDNN on, whatever the processor, before TensorFlow is imported
    print("\n" + json.dumps({"flops_per_second": max(rate(*shape) for shape in SHAPES)}))


def rate(rows: int, inner: int, columns: int) -> float:
    """Return the FLOPs a second of a matrix product."""
    import tensorflow as tf  # noqa: PLC0415 - after the environment is set

    left = tf.random.stateless_normal([rows, inner], seed=[0, 0])
    right = tf.random.stateless_normal([inner, columns], seed=[0, 1])
    product = tf.function(tf.matmul)
    seconds = []
    for _ in range(WARM_UP + PRODUCTS):
        started = time.perf_counter()
        product(left, right)[0, 0].numpy()  # only a value that is read is sure to be there
        seconds.append(time.perf_counter() - started)
    return 2 * rows * inner * columns / statistics.median(seconds[WARM_UP:])


if __name__ == "__main__":
    main()
