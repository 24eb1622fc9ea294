"""Our trainer from start to end: src/train.py on a folder as /opt/ml, and the part of its run record that tells times.

python -m benchmarks.contestants.whole_job --root out/case/ml --weights weights -- --epochs 1 --use_xla False
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import train

TOLD = ("seconds", "debugger", "steps")


def main() -> None:
    """Run the job, and print the report that the parent reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True, help="the job's /opt/ml")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("hyperparameters", nargs="*")
    options = parser.parse_args()
    os.environ["SAGEMAKER_BASE_DIR"] = str(options.root)
    os.environ["DISTILBERT_WEIGHTS"] = str(options.weights)
    sys.argv[1:] = options.hyperparameters
    if exit_code := train.main():
        sys.exit(exit_code)
    record = json.loads((options.root / "model" / "run.json").read_text(encoding="utf-8"))
    print("\n" + json.dumps({name: record[name] for name in TOLD}), flush=True)


if __name__ == "__main__":
    main()
