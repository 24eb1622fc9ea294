#!/usr/bin/env bash
# See to it that a Docker engine answers: use the one that is there, else (as root, on Debian or Ubuntu) install
# Debian's and start it, else say what to do.
#
#   scripts/engine.sh
set -euo pipefail

log=/var/log/dockerd.log

fail() {
    echo "engine: $*" >&2
    exit 1
}

answers() {
    docker info > /dev/null 2>&1
}

start() {
    # With systemd the package's own unit is the one way to run it; a container has none, and nothing else starts it.
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker
    else
        rm -f /var/run/docker.pid # left behind by an engine that was killed
        setsid nohup dockerd > "$log" 2>&1 < /dev/null &
    fi
    for _ in $(seq 60); do
        answers && return
        sleep 1
    done
    [[ -f $log ]] && tail -n 15 "$log" >&2
    fail "the engine does not answer after 60 s; its log (above, or 'journalctl --unit docker') says why"
}

if answers; then
    echo "engine: Docker $(docker version --format '{{.Server.Version}}') answers"
    exit
fi

if [[ -n ${DOCKER_HOST:-} ]]; then
    fail "DOCKER_HOST is $DOCKER_HOST, and no engine answers there: start it, or unset DOCKER_HOST"
fi
if [[ $(docker info 2>&1) == *'permission denied'* ]]; then
    fail "this user may not use the Docker engine: use sudo, or join the group docker" \
        "('sudo usermod -aG docker $(id -un)', then log in again)"
fi
if ! command -v dockerd > /dev/null; then
    echo "engine: none answers; installing docker.io"
    "${0%/*}/apt_install.sh" docker.io \
        || fail "no Docker engine: install one (https://docs.docker.com/engine/install/), or run this as root on" \
            "Debian or Ubuntu, which installs it"
fi
if [[ $EUID -ne 0 ]]; then
    fail "the Docker engine is installed but does not run: start it ('sudo systemctl start docker'), or run this" \
        "as root, which starts it"
fi
if ! answers; then
    echo "engine: starting dockerd"
    start
fi
echo "engine: Docker $(docker version --format '{{.Server.Version}}') answers"
