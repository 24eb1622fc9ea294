#!/usr/bin/env bash
# Make .venv, with what the tests and the linters need on this machine; nothing to do if it matches the lock already.
#
#   scripts/host_python.sh && .venv/bin/python -m pytest
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/requirements-dev.sha256

find_python() {
    local python
    for python in python3.11 python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
            # Not the one of an activated .venv, which may be about to go.
            "$python" -c 'import sys; print(sys._base_executable)'
            return
        fi
    done
    echo "python: Python 3.11 is needed (smdebug runs on no newer one): put python3.11 into PATH" >&2
    return 1
}

if sha256sum --check --status "$stamp" 2> /dev/null; then
    echo "python: .venv is up to date"
    exit
fi

python=$(find_python)
# Debian keeps what venv needs in a package of its own.
if ! "$python" -c 'import ensurepip' 2> /dev/null; then
    echo "python: installing python3.11-venv"
    if ! scripts/apt_install.sh python3.11-venv; then
        echo "python: $python cannot make a virtual environment: install python3.11-venv" >&2
        exit 1
    fi
fi

echo "python: making .venv (about two minutes)"
rm -rf .venv
"$python" -m venv .venv
# --no-deps: the lock is complete, and pip would refuse what container/overrides.txt settles.
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes \
    --requirement requirements-dev.txt
sha256sum requirements-dev.txt > "$stamp"
