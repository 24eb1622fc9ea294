#!/usr/bin/env bash
# Resolve the image's and the machine's requirements anew, for amd64 and arm64, into lock files with hashes. Needs the
# network and .venv (scripts/host_python.sh). container/overrides.txt and requirements-dev-overrides.txt say what the
# resolver overrules, and why.
#
#   make lock
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .cache

resolve() { # resolve IN LOCK [OPTION...]
    local machine locks=()
    echo "lock: $1 -> $2"
    rm -f .cache/lock-*.txt # uv keeps the versions of the file that it is to write
    for machine in x86_64 aarch64; do
        locks+=("$machine=.cache/lock-$machine.txt")
        if [[ $machine == aarch64 ]]; then cp .cache/lock-x86_64.txt .cache/lock-aarch64.txt; fi # the same, if they can be
        .venv/bin/uv pip compile "$1" --output-file ".cache/lock-$machine.txt" --override container/overrides.txt \
            "${@:3}" --generate-hashes --python-version 3.11 --python-platform "$machine-manylinux_2_28" \
            --custom-compile-command "make lock" --quiet
    done
    .venv/bin/python -m scripts.image.lock "${locks[@]}" > "$2"
}

# What comes as source only is compiled in the build, ten times as slowly under emulation: it is to be no surprise.
check_wheels() { # check_wheels LOCK SOURCE_ONLY...
    local machine package sources=()
    for package in "${@:2}"; do sources+=(--no-binary "$package"); done
    for machine in x86_64 aarch64; do
        .venv/bin/uv pip install --dry-run --quiet --target .cache/lock-target --python-version 3.11 \
            --python-platform "$machine-manylinux_2_28" --no-deps --require-hashes --only-binary :all: "${sources[@]}" \
            --requirement "$1" || { echo "lock: $1 lacks a wheel for $machine, see above" >&2 && return 1; }
    done
}

resolve container/requirements.in container/requirements.txt
check_wheels container/requirements.txt inotify-simple pyinstrument-cext sagemaker-training

# The tests are to see the image's versions, except of what requirements-dev-overrides.txt replaces.
constraints=.cache/image-versions.txt
grep -oE '^[a-z0-9.-]+==[^ ]+' container/requirements.txt | grep -v '^pyinstrument==' > "$constraints"
resolve requirements-dev.in requirements-dev.txt --override requirements-dev-overrides.txt --constraint "$constraints"
