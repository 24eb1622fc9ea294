#!/usr/bin/env bash
# Make .venv-sagemaker-sdk, with AWS's own SDK for `make conformance`; nothing to do if it matches its requirements.
#
#   scripts/host_python.sh && scripts/sagemaker_sdk.sh
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tests/conformance/requirements.txt
stamp=.venv-sagemaker-sdk/requirements.sha256

if sha256sum --check --status "$stamp" 2> /dev/null; then
    echo "sdk: .venv-sagemaker-sdk is up to date"
    exit
fi

echo "sdk: making .venv-sagemaker-sdk (a minute)"
rm -rf .venv-sagemaker-sdk
.venv/bin/python -m venv .venv-sagemaker-sdk
.venv-sagemaker-sdk/bin/python -m pip install -qq --disable-pip-version-check --requirement "$requirements"
sha256sum "$requirements" > "$stamp"
