#!/usr/bin/env bash
# Run what CI leaves out or shortens, at full length: the tests marked `long`, those that take their number of inputs
# from `scaled` (tests/conftest.py), and the kill matrix. All run, whatever fails; the exit code says whether one did.
#
#   make test-long
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
# A test that takes an hour hangs.
pytest=(.venv/bin/python -m pytest --quiet --durations 20 --override-ini faulthandler_timeout=3600 --full)

scripts/host_python.sh
scripts/host_weights.sh
scripts/engine.sh
scripts/build_image.sh
scripts/extra_venv.sh sagemaker-sdk sagemaker-sdk-v3

"${pytest[@]}" --numprocesses auto --dist worksteal -m 'long and not docker and not image and not conformance' || failed=1
"${pytest[@]}" -m 'long and (docker or image or conformance)' || failed=1
PYTHONPATH=.:src TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 \
    .venv/bin/python -m tests.helpers.kill_matrix --output out/kill-matrix.json || failed=1

exit "$failed"
