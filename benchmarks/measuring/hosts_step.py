"""One host of several: how long its part of a training step takes, the exchange of gradients, and both together.

    HOSTS='["h1", "h2"]' CURRENT_HOST=h1 python -m benchmarks.measuring.hosts_step --batch-size 32 --length 128

DistilBERT-base's geometry with random tokens; runs in a container of the image. Prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os

from star_rating import quiet_tensorflow
from star_rating.distributed.cluster import Cluster
from star_rating.hardware import instruction_set, threads

MEET_SECONDS = 120


def main() -> None:
    """Meet the other hosts, measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32, help="of all hosts")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    instruction_set.choose(os.environ)
    threads.choose(os.environ)
    with Cluster(json.loads(os.environ["HOSTS"]), os.environ["CURRENT_HOST"]) as cluster:
        cluster.rendezvous(MEET_SECONDS)
        quiet_tensorflow.import_tensorflow()
        from benchmarks.measuring.hosts_work import measure  # noqa: PLC0415 - it imports TensorFlow

        print("\n" + json.dumps(measure(cluster, options.batch_size, options.length, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
