#!/usr/bin/env bash
# See to it that this machine's engine runs programs of another platform: by QEMU, which Linux starts for them
# (binfmt_misc). Docker Desktop has it; as root on Debian or Ubuntu it is installed; else say what to do.
#
#   scripts/emulation.sh linux/arm64
set -euo pipefail

case $1 in
    linux/arm64) processor=aarch64 ;;
    linux/amd64) processor=x86_64 ;;
esac
registered=/proc/sys/fs/binfmt_misc/qemu-$processor

# Where the engine runs on another kernel, this one's says nothing about it.
if [[ $(uname -s) != Linux || ${DOCKER_HOST:-unix:} != unix:* ]]; then exit; fi
if [[ $(docker info --format '{{.OperatingSystem}}') == 'Docker Desktop' ]]; then exit; fi
if grep -qs '^enabled' "$registered"; then exit; fi

echo "emulation: installing QEMU for $1"
# update-binfmts: a machine that has started anew has the packages and no registration, unless a service makes it.
if "${0%/*}/apt_install.sh" qemu-user-static binfmt-support && update-binfmts --enable "qemu-$processor" > /dev/null \
    && grep -qs '^enabled' "$registered"; then
    exit
fi
echo "emulation: this machine runs no programs of $1: install qemu-user-static and binfmt-support (Debian, Ubuntu; as" \
    "root this script does it), or build on a machine of that platform" >&2
exit 1
