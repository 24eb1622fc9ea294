"""The machine's own float32 rate: oneDNN's matrix product of 4096 x 4096 by 4096 x 4096, on all cores.

Through TensorFlow, which carries oneDNN. The rate is that of the median of some products.
"""

from __future__ import annotations

import json
import statistics
import time

import tensorflow as tf

SIZE = 4096
WARM_UP = 2
PRODUCTS = 7


def main() -> None:
    """Print the rate as one JSON line."""
    left, right = (tf.random.stateless_normal([SIZE, SIZE], seed=[0, side]) for side in range(2))
    product = tf.function(tf.matmul)
    seconds = []
    for _ in range(WARM_UP + PRODUCTS):
        started = time.perf_counter()
        product(left, right)
        seconds.append(time.perf_counter() - started)
    print("\n" + json.dumps({"flops_per_second": 2 * SIZE**3 / statistics.median(seconds[WARM_UP:])}))


if __name__ == "__main__":
    main()
