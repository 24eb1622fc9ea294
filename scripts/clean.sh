#!/usr/bin/env bash
# Delete what `make train` and `make test` have left. The engine may be shared: only what carries this project's label.
#
#   make clean
set -euo pipefail
cd "$(dirname "$0")/.."

label=distilbert-trainer
if docker info > /dev/null 2>&1; then
    mapfile -t containers < <(docker ps --all --quiet --filter "label=$label")
    if ((${#containers[@]})); then docker rm --force "${containers[@]}"; fi
    mapfile -t networks < <(docker network ls --quiet --filter "label=$label")
    if ((${#networks[@]})); then docker network rm "${networks[@]}"; fi
    mapfile -t images < <(docker images --all --quiet --filter "label=$label" | sort -u)
    # One goes with the other: what is gone already is no error.
    if ((${#images[@]})); then docker rmi --force "${images[@]}" > /dev/null 2>&1 || true; fi
fi
rm -rf out .build .cache
