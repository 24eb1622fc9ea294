#!/usr/bin/env bash
# Install Debian packages without their recommendations, if this is root on Debian or Ubuntu; else exit with 1 and leave
# it to the caller to say what is needed. apt's own words appear only if it fails.
#
#   scripts/apt_install.sh PACKAGE...
set -euo pipefail

if [[ $EUID -ne 0 ]] || ! command -v apt-get > /dev/null; then exit 1; fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# apt fails where another apt is at work, instead of waiting for it. --close: a service that a package starts would keep
# the lock.
alone=(flock --close /run/lock/distilbert-trainer-apt)
if ! { "${alone[@]}" apt-get update && "${alone[@]}" apt-get install --yes --no-install-recommends "$@"; } \
    > "$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "apt: installing $* failed; the end of apt's log is above" >&2
    exit 1
fi
rm "$log"
