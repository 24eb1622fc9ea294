#!/usr/bin/env bash
# Check everything that can be checked without running it; ends at the first tool that complains.
#
#   make lint
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PWD/.venv/bin:$PATH
mapfile -t python_files < <(git ls-files --cached --others --exclude-standard '*.py')

ruff check .
ruff format --check .
mypy "${python_files[@]}"
shellcheck scripts/*.sh .ci/run
hadolint Dockerfile
