#!/usr/bin/env bash
# Build the image twice from nothing and compare: the same packages, the same files to the byte and to their times. Ends
# with 1 and a list if anything differs.
#
#   make reproducible           two builds without a cache: a quarter of an hour
#
# Not compared is what the builder writes into the image's configuration: when it ran. It is why two builds have different
# image ids, and why scripts/build_and_push.sh compares layers and settings.
set -euo pipefail
cd "$(dirname "$0")/.."

images=(distilbert-trainer:reproducible-1 distilbert-trainer:reproducible-2)
trap 'docker image rm "${images[@]}" > /dev/null 2>&1 || true' EXIT

scripts/engine.sh
scripts/host_python.sh
for image in "${images[@]}"; do
    scripts/build_image.sh "$image" runtime --no-cache
done
.venv/bin/python -m scripts.image.diff --times --exit-code "${images[@]}"
