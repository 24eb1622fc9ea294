#!/usr/bin/env bash
# Print how big an image is unpacked, and what makes it up: layers, and the biggest packages.
#
#   scripts/image_contents.sh [IMAGE]
set -euo pipefail

image=${1:-distilbert-trainer:local}

echo
echo "layers of $image"
docker history --no-trunc --format '{{.Size}}\t{{.CreatedBy}}' "$image" | grep -v '^0B' \
    | sed -E 's,\t(.*(#\(nop\)|-c)) +,\t,; s,(dir|multi):[0-9a-f]+ in ,,; s, +, ,g; s,\t$,\tthe base image,' \
    | cut -c1-100

echo
echo "its biggest packages (MB)"
docker run --rm --label distilbert-trainer=run --network none --entrypoint sh "$image" -c \
    'cd /opt/venv/lib/python3.11/site-packages && du --summarize --block-size=MB -- * | sort -rn | head -n 15'
