#!/usr/bin/env bash
# What .github/workflows/publish.yml runs: scripts/build_and_push.sh, and its result for the workflow's next steps.
#
#   GITHUB_OUTPUT=FILE GITHUB_STEP_SUMMARY=FILE scripts/publish.sh [OPTION of build_and_push.sh...]
set -euo pipefail

image=$("$(dirname "$0")/build_and_push.sh" "$@")
{
    echo "image=$image"
    echo "digest=${image#*@}"
} >> "$GITHUB_OUTPUT"
echo "Pushed \`$image\`" >> "$GITHUB_STEP_SUMMARY"
echo "$image"
