#!/usr/bin/env bash
# Print how big an image is unpacked, and what makes it up: layers, and the biggest packages.
#
#   scripts/image_contents.sh [IMAGE]
set -euo pipefail

image=${1:-distilbert-trainer:local}

echo
echo "layers of $image"
docker history --no-trunc --format '{{.Size}}\t{{.CreatedBy}}' "$image" | grep -v '^0B' \
    | sed -E 's/\t.*#\(nop\) +/\t/; s/\t.*-c /\t/; s/(in|from) *$//' | cut -c1-110

echo
echo "its biggest packages (MB)"
docker run --rm --label distilbert-trainer=run --network none --entrypoint sh "$image" -c \
    'cd /opt/venv/lib/python3.11/site-packages && du --summarize --block-size=MB -- * | sort -rn | head -n 15'
