#!/usr/bin/env bash
# Check everything that can be checked without running it; ends at the first tool that complains.
#
#   make lint
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PWD/.venv/bin:$PATH

ruff check .
ruff format --check .
mypy src container data benchmarks tests/conftest.py tests/unit
mypy launcher scripts
mypy tests/launcher # apart from tests/unit, as the next one
mypy tests/conformance
mypy tests/local
mypy tests/image # apart from tests/unit: each has a conftest.py, and mypy takes a module's name once
mypy tests/registry # the same
PYTHONPATH=src lint-imports --no-logo --cache-dir .cache/imports # pyproject.toml says who may import whom
shellcheck --external-sources scripts/*.sh scripts/image/*.sh .ci/run
hadolint Dockerfile
