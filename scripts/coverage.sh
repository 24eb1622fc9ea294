#!/usr/bin/env bash
# Print by package how much of the code the tests run: statements, those that no test runs, and the share that one does.
# Programs that the tests start count (pyproject.toml, [tool.coverage.run]); what runs in a container of the image does
# not. Afterwards `.venv/bin/coverage report --show-missing FILE` names a file's lines.
#
#   make coverage                             # the tiers unit, slow and docker: half an hour and more
#   scripts/coverage.sh -m 'not slow' tests/launcher      # of these tests alone
set -euo pipefail
cd "$(dirname "$0")/.."

data=.cache/coverage
rm -rf "$data"
mkdir -p "$data"

if [[ $# == 0 ]]; then
    set -- -m 'not image and not browser and not conformance'
fi
failed=0
.venv/bin/coverage run -m pytest --quiet --numprocesses auto --dist loadfile "$@" || failed=$?
.venv/bin/coverage combine --quiet

report=$(.venv/bin/coverage report)
printf '%-40s %10s %7s %9s\n' package statements missed covered
awk '
    $1 == "TOTAL" || $1 ~ /\.py$/ {
        package = $1
        sub(/\/[^\/]*$/, "", package) # the folder,
        if (package ~ /^(launcher|local_sagemaker)\//) { # and of these two the first below them
            split(package, names, "/")
            package = names[1] "/" names[2]
        }
        statements[package] += $2
        missed[package] += $3
    }
    END {
        for (package in statements)
            if (statements[package])
                printf "%-40s %10d %7d %7.1f %%\n", package, statements[package], missed[package],
                    100 * (1 - missed[package] / statements[package])
    }' <<< "$report" | LC_ALL=C sort --key 1,1 --ignore-case
exit "$failed"
