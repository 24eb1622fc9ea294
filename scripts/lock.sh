#!/usr/bin/env bash
# Resolve the image's and the machine's requirements anew, into lock files with hashes. Needs the network and .venv
# (scripts/host_python.sh). container/overrides.txt and requirements-dev-overrides.txt say what the resolver overrules,
# and why.
#
#   make lock
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() { # resolve IN LOCK [OPTION...]
    echo "lock: $1 -> $2"
    rm -f "$2" # uv would keep the versions of the old lock
    .venv/bin/uv pip compile "$1" --output-file "$2" --override container/overrides.txt "${@:3}" --generate-hashes \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" --quiet
}

resolve container/requirements.in container/requirements.txt

# The tests are to see the image's versions, except of what requirements-dev-overrides.txt replaces.
constraints=.cache/image-versions.txt
mkdir -p .cache
grep -oE '^[a-z0-9.-]+==[^ ]+' container/requirements.txt | grep -v '^pyinstrument==' > "$constraints"
resolve requirements-dev.in requirements-dev.txt --override requirements-dev-overrides.txt --constraint "$constraints"
