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

pip() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement "$1"
}

# A tenth of pip's time: it downloads and unpacks side by side, and compiles nothing that is never imported. It reads
# no setting of pip's.
uv() {
    local name value
    declare -A variables=([cert]=SSL_CERT_FILE [index-url]=UV_DEFAULT_INDEX [extra-index-url]=UV_INDEX
        [trusted-host]=UV_INSECURE_HOST)
    for name in "${!variables[@]}"; do
        value=$(scripts/pypi_access.sh --setting "$name" .venv/bin/python)
        if [[ -n $value ]]; then export "${variables[$name]}=$value"; fi
    done
    # As pip does it: the hashes say which file, whatever the index.
    UV_INDEX_STRATEGY=unsafe-best-match .venv/bin/uv pip install --quiet --python .venv/bin/python \
        --no-deps --require-hashes --requirement "$1"
}

echo "python: making .venv"
rm -rf .venv
"$python" -m venv .venv
# --no-deps: the lock is complete, and a resolver would refuse what container/overrides.txt settles.
pip <(awk '/^[a-z]/ { found = /^uv==/ } found' requirements-dev.txt)
if ! (uv requirements-dev.txt); then
    echo "python: uv could not, pip tries it (about two minutes)"
    pip requirements-dev.txt
fi
sha256sum requirements-dev.txt > "$stamp"
