#!/usr/bin/env bash
# Make .venv-pytorch, the environment that `make bench` compares with; nothing to do if it matches its requirements.
#
#   scripts/host_python.sh && scripts/pytorch_python.sh
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=benchmarks/pytorch-requirements.txt
stamp=.venv-pytorch/requirements.sha256

if sha256sum --check --status "$stamp" 2> /dev/null; then
    echo "pytorch: .venv-pytorch is up to date"
    exit
fi

echo "pytorch: making .venv-pytorch (minutes; where the index has CUDA's build of torch, some gigabytes)"
rm -rf .venv-pytorch
.venv/bin/python -m venv .venv-pytorch
.venv-pytorch/bin/python -m pip install -qq --disable-pip-version-check --requirement "$requirements"
sha256sum "$requirements" > "$stamp"
