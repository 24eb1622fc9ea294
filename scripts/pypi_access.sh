#!/usr/bin/env bash
# Write .build/: how this machine's pip reaches its package index, for pip in `docker build`. That is the CA bundle,
# without which nothing passes a proxy that intercepts TLS, and the index. The Dockerfile copies it into the stages that
# install packages; it is in no layer of the image.
#
#   scripts/pypi_access.sh
#   scripts/pypi_access.sh --setting index-url [PYTHON]     # write nothing, print one of pip's settings
set -euo pipefail
cd "$(dirname "$0")/.."

# A setting of pip: from the environment, else from pip's own files. Nothing if there is none, or no pip.
pip_setting() { # pip_setting index-url [PYTHON]
    local variable=PIP_${1^^}
    variable=${variable//-/_}
    if [[ -n ${!variable:-} ]]; then
        echo "${!variable}"
    else
        "${2:-python3}" -m pip config get "global.$1" 2> /dev/null || true
    fi
}

if [[ ${1:-} == --setting ]]; then
    pip_setting "${@:2}"
    exit
fi

# Of some addresses those that a container can reach too: not file:///...
web_addresses() {
    tr ' ' '\n' | grep -E '^https?://' | paste -sd ' ' || true
}

ca_bundle() {
    local bundle
    for bundle in "$(pip_setting cert)" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}" \
        /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [[ -f $bundle ]]; then
            cat "$bundle"
            return
        fi
    done
}

pip_configuration() {
    local key value
    echo '[global]'
    if [[ -s .build/ca.crt ]]; then echo 'cert = /build/ca.crt'; fi
    for key in index-url extra-index-url; do
        value=$(pip_setting "$key" | web_addresses)
        if [[ -n $value ]]; then echo "$key = $value"; fi
    done
    value=$(pip_setting trusted-host)
    if [[ -n $value ]]; then echo "trusted-host = $value"; fi
}

# For its owner only: an index may have its credentials in its address.
umask 077
rm -rf .build
mkdir .build
ca_bundle > .build/ca.crt
pip_configuration > .build/pip.conf
