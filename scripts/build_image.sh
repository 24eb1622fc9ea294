#!/usr/bin/env bash
# Build distilbert-trainer:local, by BuildKit or by the legacy builder. The build reaches the network the way this
# machine does (CA bundle, package index, proxy), and none of that is in the image.
#
#   [PLATFORM=linux/amd64|linux/arm64] [WEIGHTS=NAME|FOLDER] scripts/build_image.sh [IMAGE [STAGE [DOCKER_OPTION...]]]
#
# PLATFORM, the engine's own by default, says what the image runs on; another one's is built by emulation, in ten times
# the time, and is called distilbert-trainer:local-arm64 (or -amd64). WEIGHTS, minilm by default, says which pretrained
# weights are in the image: scripts/image/weights.py. Exit codes: 1 the build failed; 2 no such platform or weights;
# 5 the weights cannot be used; 10 the hub does not give them; 11 a file has a wrong SHA-256.
set -euo pipefail
cd "$(dirname "$0")/.."

native=linux/$(docker version --format '{{.Server.Arch}}')
platform=${PLATFORM:-$native}
if [[ $platform != linux/@(amd64|arm64) ]]; then
    echo "image: there is none for $platform; PLATFORM can be linux/amd64, which SageMaker trains on, or linux/arm64" >&2
    exit 2
fi
own_name=distilbert-trainer:local
if [[ $platform != "$native" ]]; then own_name+=-${platform#linux/}; fi
image=${1:-$own_name}
stage=${2:-runtime}
log=.cache/image-build.log

# Of a file that git does not know, too: the build takes whole folders.
revision() {
    local changes
    if ! changes=$(git status --porcelain 2> /dev/null); then
        echo unknown
    else
        echo "$(git rev-parse HEAD)${changes:+-dirty}"
    fi
}

mkdir -p .cache
exec 9> .cache/image-build.lock
flock 9 # two builds of one checkout would share .build/ and the log
scripts/pypi_access.sh
if [[ $platform != "$native" ]]; then scripts/emulation.sh "$platform"; fi
base_image=$(scripts/base_image.sh "$platform")
options=(--tag "$image" --target "$stage" --build-arg "BASE_IMAGE=$base_image"
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"
    --build-arg "REVISION=$(revision)"
    --build-arg "SOURCE=$(scripts/image/source_address.sh)")

if [[ ${WEIGHTS:-minilm} != minilm ]]; then
    [[ -x .venv/bin/python ]] || scripts/host_python.sh
    # The bundle that this machine's pip uses passes its proxy, to the hub as well.
    if [[ -s .build/ca.crt ]]; then export REQUESTS_CA_BUNDLE=${REQUESTS_CA_BUNDLE:-.build/ca.crt}; fi
    told=$(PYTHONPATH=src .venv/bin/python -m scripts.image.weights "$WEIGHTS" .build/weights) || exit
    mapfile -t told <<< "$told"
    echo "image: its weights are ${told[0]} (sha256 ${told[1]})"
    options+=(--build-arg "WEIGHTS_NAME=${told[0]}" --build-arg "WEIGHTS_SHA256=${told[1]}")
fi

# Docker's predefined arguments: seen by RUN, kept in no layer.
for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    if [[ -n ${!variable:-} ]]; then options+=(--build-arg "$variable"); fi
done
# A proxy or an index on this machine's loopback is out of reach from a container's own network.
proxies="${HTTP_PROXY:-} ${HTTPS_PROXY:-} ${http_proxy:-} ${https_proxy:-}"
if grep -qE '://([^/@]*@)?(localhost|127\.|\[::1\])' .build/pip.conf - <<< "$proxies"; then
    options+=(--network host)
fi
if [[ $platform != "$native" ]]; then options+=(--platform "$platform"); fi

# BuildKit where it is to be had. SageMaker refuses the attestations that it would add.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
DOCKER_BUILDKIT=0
if docker buildx version > /dev/null 2>&1; then DOCKER_BUILDKIT=1; fi
export DOCKER_BUILDKIT

previous=$(docker image inspect --format '{{.Id}}' "$image" 2> /dev/null || true)
minutes=minutes
if [[ $platform != "$native" ]]; then minutes="an hour, by emulation"; fi
echo "image: building $image for $platform from $base_image (the first time takes $minutes)"
if ! docker build "${options[@]}" "${@:3}" . > "$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "image: the build failed; the end of $log is above" >&2
    exit 1
fi
# The image that this one replaces is of no use any more, unless somebody has given it another name.
if [[ -n $previous && $(docker image inspect --format '{{len .RepoTags}}' "$previous") == 0 ]]; then
    docker image rm "$previous" > /dev/null 2>&1 || true # a container may still use it
fi
echo "image: $image is $((($(docker image inspect --format '{{.Size}}' "$image") + 500000) / 1000000)) MB"
