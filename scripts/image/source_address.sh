#!/usr/bin/env bash
# Print where this checkout comes from, for the image's labels: the remote's address without user, password and query,
# where tokens are. What is not certain to be free of them is `unknown`, and so is a folder of this machine, which is
# nobody else's business.
#
#   scripts/image/source_address.sh
set -euo pipefail

remote=$(git remote get-url origin 2> /dev/null) || remote=''
host='[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]'
plain='[^@?#;=&:[:space:]]'
url="^(https?|ssh|git)://([^/?#]*@)?($host)(:[0-9]+)?(/$plain*)?([?#][^@]*)?\$"
scp="^([^/@]*@)?($host):($plain+)\$"
if [[ $remote =~ $url ]]; then
    echo "${BASH_REMATCH[1]}://${BASH_REMATCH[3]}${BASH_REMATCH[4]}${BASH_REMATCH[5]}"
elif [[ $remote != *://* && $remote =~ $scp ]]; then
    echo "ssh://${BASH_REMATCH[2]}/${BASH_REMATCH[3]#/}"
else
    echo unknown
fi
