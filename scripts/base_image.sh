#!/usr/bin/env bash
# Print the name of the image that ours is built on: the official one if it is here or can be pulled, else an equal one
# made from Debian's packages, under a name of our own. Progress goes to stderr.
#
#   docker build --build-arg BASE_IMAGE="$(scripts/base_image.sh)" .
#   scripts/base_image.sh linux/arm64     # of another platform than the engine's own
set -euo pipefail

official=debian:bookworm-slim
native=linux/$(docker version --format '{{.Server.Arch}}')
platform=${1:-$native}
architecture=${platform#linux/}
own=distilbert-trainer-base:bookworm
if [[ $platform != "$native" ]]; then own+=-$architecture; fi

is_here() {
    [[ $(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$1" 2> /dev/null) == "$platform" ]]
}

say() {
    echo "base image: $*" >&2
}

# An engine with Docker's classic image store has one image per name: the one of its own platform keeps the official name.
pull() {
    local before
    before=$(docker image inspect --format '{{.Id}}' "$official" 2> /dev/null || true)
    timeout 300 docker pull --quiet --platform "$platform" "$official" > /dev/null 2>&1 || return
    if [[ $platform == "$native" ]]; then return; fi
    docker tag "$official" "$own"
    if [[ -n $before ]]; then docker tag "$before" "$official"; else docker image rm "$official" > /dev/null; fi
}

make_from_packages() {
    local tools=(mmdebstrap)
    if [[ $platform != "$native" ]]; then tools+=(arch-test); fi
    if ! type "${tools[@]}" > /dev/null 2>&1 && ! "${0%/*}/apt_install.sh" "${tools[@]}"; then
        say "making $own needs ${tools[*]}: install it, or bring $official to this engine by 'docker load'"
        exit 1
    fi
    local work
    work=$(mktemp --directory)
    # Without what Debian leaves out of its own slim images, and without this machine's name and name server. The files
    # are there, empty: the engine mounts its own on them, and would have to make and delete them in each layer.
    # SOURCE_DATE_EPOCH: no file is younger, and the same packages make the same image. It is 1980-01-02.
    # shellcheck disable=SC2016  # $1 is for the hook's shell: the root folder of the new system
    if ! SOURCE_DATE_EPOCH=315619200 mmdebstrap --quiet --architectures="$architecture" --variant=minbase \
        --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --customize-hook='for file in hostname hosts resolv.conf; do : > "$1/etc/$file"; done' \
        bookworm "$work/base.tar" > "$work/log" 2>&1; then
        tail -n 15 "$work/log" >&2
        say "mmdebstrap failed; the end of its log is above"
        exit 1
    fi
    if [[ $platform == "$native" ]]; then
        docker import --change 'LABEL distilbert-trainer=base' "$work/base.tar" "$own" > /dev/null
    else # `docker import --platform` of an engine as old as 20.10 ignores the processor
        printf 'FROM scratch\nADD base.tar /\nLABEL distilbert-trainer=base\n' > "$work/Dockerfile"
        docker build --quiet --platform "$platform" --tag "$own" "$work" > /dev/null 2> "$work/log" \
            || { cat "$work/log" >&2 && exit 1; }
    fi
    rm -r "$work"
}

if is_here "$official"; then
    say "$official is here"
    echo "$official"
elif is_here "$own"; then
    say "$own is here"
    echo "$own"
elif say "pulling $official for $platform" && pull; then
    if [[ $platform == "$native" ]]; then echo "$official"; else echo "$own"; fi
else
    say "no registry answers; making $own from Debian's packages"
    make_from_packages
    echo "$own"
fi
