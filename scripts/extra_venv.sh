#!/usr/bin/env bash
# Make the environments that are no part of .venv, each by its name; nothing to do for one that matches its requirements.
#
#   scripts/host_python.sh && scripts/extra_venv.sh mlflow      # .venv-mlflow: the server that tests start
#   scripts/extra_venv.sh linters                               # .venv-linters: for `make lint`
#   scripts/extra_venv.sh pytorch                               # .venv-pytorch: what `make bench` compares with
#   scripts/extra_venv.sh sagemaker-sdk sagemaker-sdk-v3        # AWS's own SDKs, for `make conformance`
set -euo pipefail
cd "$(dirname "$0")/.."

for name; do
    case $name in
        linters) requirements=scripts/linters-requirements.txt cost='seconds' ;;
        mlflow) requirements=tests/mlflow-requirements.txt cost='600 MB' ;;
        pytorch)
            requirements=benchmarks/pytorch-requirements.txt
            cost="minutes; where the index has CUDA's build of torch, some gigabytes"
            ;;
        sagemaker-sdk) requirements=tests/conformance/requirements.txt cost='a minute' ;;
        sagemaker-sdk-v3) requirements=tests/conformance/requirements-v3.txt cost='a minute' ;;
        *)
            echo "extra_venv: $name is none of linters, mlflow, pytorch, sagemaker-sdk, sagemaker-sdk-v3" >&2
            exit 2
            ;;
    esac
    folder=.venv-$name
    stamp=$folder/requirements.sha256
    if sha256sum --check --status "$stamp" 2> /dev/null; then
        echo "$name: $folder is up to date"
        continue
    fi
    echo "$name: making $folder ($cost)"
    rm -rf "$folder"
    if [[ $name == pytorch ]]; then # by pip, whose settings may name an index with a CPU build
        .venv/bin/python -m venv "$folder"
        "$folder/bin/python" -m pip install -qq --disable-pip-version-check --requirement "$requirements"
    else
        .venv/bin/uv venv --quiet --python .venv/bin/python "$folder"
        .venv/bin/uv pip install --quiet --python "$folder/bin/python" --requirement "$requirements"
    fi
    sha256sum "$requirements" > "$stamp"
done
