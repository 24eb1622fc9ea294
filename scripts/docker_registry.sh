#!/usr/bin/env bash
# Print where Debian's docker-registry is, a real OCI registry for the tests: in PATH, else unpacked into .cache/ from
# Debian's package. It is not installed: that would start it as a service.
#
#   scripts/docker_registry.sh
set -euo pipefail
cd "$(dirname "$0")/.."

program=$PWD/.cache/docker-registry

download() {
    cd "$work"
    # As root, apt would download as a user of its own, for whom the folder would have to be open to everybody.
    local apt=(apt-get --option APT::Sandbox::User=root)
    "${apt[@]}" download docker-registry || { apt-get update && "${apt[@]}" download docker-registry; }
    dpkg-deb --extract ./*.deb .
}

if command -v docker-registry; then exit; fi
if [[ ! -x $program ]]; then
    work=$(mktemp --directory)
    trap 'rm -rf "$work"' EXIT
    if ! (download) > "$work/log" 2>&1; then
        tail -n 15 "$work/log" >&2
        echo "docker-registry: Debian's package cannot be had; install docker-registry" >&2
        exit 1
    fi
    mkdir -p .cache
    install --mode 755 "$work/usr/bin/docker-registry" "$program"
fi
echo "$program"
