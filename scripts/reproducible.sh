#!/usr/bin/env bash
# Build the image twice from nothing and compare packages and files. Ends with 1 and a list of what differs;
# docs/publishing.md says why.
#
#   make reproducible           two builds without a cache: a quarter of an hour
set -euo pipefail
cd "$(dirname "$0")/.."

images=(distilbert-trainer:reproducible-1 distilbert-trainer:reproducible-2)
trap 'docker image rm "${images[@]}" > /dev/null 2>&1 || true' EXIT

scripts/engine.sh
scripts/host_python.sh
for image in "${images[@]}"; do
    scripts/build_image.sh "$image" runtime --no-cache
done
.venv/bin/python -m scripts.image.diff --exit-code "${images[@]}"
