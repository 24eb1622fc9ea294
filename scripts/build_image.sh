#!/usr/bin/env bash
# Build distilbert-trainer:local. The build reaches PyPI the way this machine does: its CA bundle, its index and its
# proxy are passed on to the stages that need them, and none of it is in the image.
#
#   scripts/build_image.sh [IMAGE]
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-distilbert-trainer:local}
log=.cache/image-build.log

# A setting of pip: from the environment, else from pip's own files. Nothing if there is none, or no pip.
pip_setting() { # pip_setting index-url
    local variable=PIP_${1^^}
    variable=${variable//-/_}
    if [[ -n ${!variable:-} ]]; then
        echo "${!variable}"
    else
        python3 -m pip config get "global.$1" 2> /dev/null || true
    fi
}

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

# .build/ holds credentials if the index has some: for the owner only. Same content, same cached layers.
write_way_to_pypi() {
    local key value
    rm -rf .build
    (umask 077 && mkdir .build && ca_bundle > .build/ca.crt)
    {
        echo '[global]'
        if [[ -s .build/ca.crt ]]; then echo 'cert = /build/ca.crt'; fi
        for key in index-url extra-index-url; do
            value=$(pip_setting "$key" | web_addresses)
            if [[ -n $value ]]; then echo "$key = $value"; fi
        done
        value=$(pip_setting trusted-host)
        if [[ -n $value ]]; then echo "trusted-host = $value"; fi
    } > .build/pip.conf
}

# Without the remote's credentials; a remote that is a folder of this machine is nobody else's business.
source_address() {
    git remote get-url origin 2> /dev/null | sed -E 's,^(https?://)[^/@]*@,\1,' | grep -E '^(https?://|git@|ssh://)' || echo unknown
}

mkdir -p .cache
write_way_to_pypi
base_image=$(scripts/base_image.sh)
options=(--tag "$image" --build-arg "BASE_IMAGE=$base_image"
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"
    --build-arg "REVISION=$(git describe --always --abbrev=40 --dirty --exclude '*' 2> /dev/null || echo unknown)"
    --build-arg "SOURCE=$(source_address)")

# Docker's predefined arguments: seen by RUN, kept in no layer.
for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    if [[ -n ${!variable:-} ]]; then options+=(--build-arg "$variable"); fi
done
# A proxy or an index on this machine's loopback is out of reach from a container's own network.
if grep -qE '://([^/@]*@)?(localhost|127\.|\[::1\])' .build/pip.conf - <<< "${HTTP_PROXY:-}${HTTPS_PROXY:-}${http_proxy:-}${https_proxy:-}"; then
    options+=(--network host)
fi
# SageMaker's machines are amd64; laptops may not be.
if [[ $(docker version --format '{{.Server.Arch}}') != amd64 ]]; then options+=(--platform linux/amd64); fi

# BuildKit where it is to be had. SageMaker refuses the attestations that it would add.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
DOCKER_BUILDKIT=0
if docker buildx version > /dev/null 2>&1; then DOCKER_BUILDKIT=1; fi
export DOCKER_BUILDKIT

previous=$(docker image inspect --format '{{.Id}}' "$image" 2> /dev/null || true)
echo "image: building $image from $base_image (the first time takes minutes)"
if ! docker build "${options[@]}" . > "$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "image: the build failed; the end of $log is above" >&2
    exit 1
fi
current=$(docker image inspect --format '{{.Id}}' "$image")
# The one that this replaces would stay without a name; it may still be in use.
if [[ -n $previous && $previous != "$current" ]]; then docker image rm "$previous" > /dev/null 2>&1 || true; fi
echo "image: $image is $((($(docker image inspect --format '{{.Size}}' "$image") + 500000) / 1000000)) MB"
