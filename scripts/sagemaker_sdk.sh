#!/usr/bin/env bash
# Make .venv-sagemaker-sdk and .venv-sagemaker-sdk-v3, with AWS's own SDKs for `make conformance`; nothing to do for one
# that matches its requirements.
#
#   scripts/host_python.sh && scripts/sagemaker_sdk.sh
set -euo pipefail
cd "$(dirname "$0")/.."

for version in "" -v3; do
    requirements=tests/conformance/requirements$version.txt
    folder=.venv-sagemaker-sdk$version
    stamp=$folder/requirements.sha256
    if sha256sum --check --status "$stamp" 2> /dev/null; then
        echo "sdk: $folder is up to date"
        continue
    fi
    echo "sdk: making $folder (a minute)"
    rm -rf "$folder"
    .venv/bin/uv venv --quiet --python .venv/bin/python "$folder"
    .venv/bin/uv pip install --quiet --python "$folder/bin/python" --requirement "$requirements"
    sha256sum "$requirements" > "$stamp"
done
