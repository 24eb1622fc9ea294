#!/usr/bin/env bash
# Make .venv-mlflow, the MLflow server that tests start; nothing to do if it matches its requirements.
#
#   scripts/host_python.sh && scripts/mlflow_server.sh
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tests/mlflow-requirements.txt
stamp=.venv-mlflow/requirements.sha256

if sha256sum --check --status "$stamp" 2> /dev/null; then
    echo "mlflow: .venv-mlflow is up to date"
    exit
fi

echo "mlflow: making .venv-mlflow (600 MB)"
rm -rf .venv-mlflow
.venv/bin/python -m venv --without-pip .venv-mlflow
.venv/bin/uv pip install --quiet --python .venv-mlflow/bin/python --requirement "$requirements"
sha256sum "$requirements" > "$stamp"
