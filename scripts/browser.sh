#!/usr/bin/env bash
# Make sure that Chromium and its driver are there, for the tests of the local SageMaker's page. Exit code 1 with the
# reason where that is not possible.
#
#   scripts/browser.sh
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then exit; fi

if ! scripts/apt_install.sh chromium chromium-driver; then
    echo "browser: install Debian's chromium and chromium-driver, or chromedriver and a chromium in PATH"
    exit 1
fi
