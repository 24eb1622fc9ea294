#!/usr/bin/env bash
# Print the name of the image that ours is built on: the official one if it is here or can be pulled, else an equal one
# made from Debian's packages, under a name of our own. Progress goes to stderr.
#
#   docker build --build-arg BASE_IMAGE="$(scripts/base_image.sh)" .
set -euo pipefail

official=debian:bookworm-slim
own=distilbert-trainer-base:bookworm

is_here() {
    docker image inspect "$1" > /dev/null 2>&1
}

say() {
    echo "base image: $*" >&2
}

make_from_packages() {
    if ! command -v mmdebstrap > /dev/null && ! "${0%/*}/apt_install.sh" mmdebstrap; then
        say "making $own needs mmdebstrap: install it, or bring $official to this engine by 'docker load'"
        exit 1
    fi
    local work
    work=$(mktemp --directory)
    # Without what Debian leaves out of its own slim images, and without this machine's name and name server. The files
    # are there, empty: the engine mounts its own on them, and would have to make and delete them in each layer.
    # SOURCE_DATE_EPOCH: no file is younger, and the same packages make the same image. It is 1980-01-02.
    # shellcheck disable=SC2016  # $1 is for the hook's shell: the root folder of the new system
    if ! SOURCE_DATE_EPOCH=315619200 mmdebstrap --quiet --architectures=amd64 --variant=minbase \
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
    docker import --change 'LABEL distilbert-trainer=base' "$work/base.tar" "$own" > /dev/null
    rm -r "$work"
}

if is_here "$official"; then
    say "$official is here"
    echo "$official"
elif is_here "$own"; then
    say "$own is here"
    echo "$own"
elif say "pulling $official" \
    && timeout 300 docker pull --quiet --platform linux/amd64 "$official" > /dev/null 2>&1; then
    echo "$official"
else
    say "no registry answers; making $own from Debian's packages"
    make_from_packages
    echo "$own"
fi
