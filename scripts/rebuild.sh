#!/usr/bin/env bash
# What .github/workflows/rebuild.yml runs every week: resolve the lock anew, build with today's packages, and open a pull
# request that says what changed in the image and which of its packages have advisories.
#
#   ADVISORY_URLS="URL..." [BEFORE=IMAGE] GITHUB_STEP_SUMMARY=FILE GH_TOKEN=TOKEN scripts/rebuild.sh
#
# ADVISORY_URLS are databases as `make audit` takes them, OSV's zip files of PyPI and Debian for example. BEFORE is the
# image to compare with, by default what this commit builds now. Exit codes: those of `make audit`; 5 if no image can be
# built. The pull request is opened whatever the audit says.
set -euo pipefail
cd "$(dirname "$0")/.."

branch=weekly-rebuild
report=out/rebuild/pull-request.md
before=${BEFORE:-distilbert-trainer:before}
after=distilbert-trainer:after

fail() {
    echo "rebuild: ${*:2}" >&2
    exit "$1"
}

[[ -z $(git status --porcelain) ]] || fail 3 "uncommitted changes would become part of the pull request; commit them"
scripts/host_python.sh
rm -rf out/rebuild
mkdir -p out/rebuild/advisories
if [[ -z ${BEFORE:-} ]]; then scripts/build_image.sh "$before" || fail 5 "this commit's image cannot be built"; fi

scripts/lock.sh
scripts/build_image.sh "$after" || fail 5 "the image with today's packages cannot be built"
.venv/bin/python -m scripts.image.diff "$before" "$after" > out/rebuild/diff.txt
.venv/bin/python -m scripts.image.describe "$after" out/rebuild
for url in ${ADVISORY_URLS:-}; do
    file=out/rebuild/advisories/${url##*/}
    while [[ -e $file ]]; do file=$file.zip; done # OSV's databases are all called all.zip
    curl --silent --show-error --fail --location --output "$file" "$url" || fail 2 "the advisories at $url cannot be had"
done
audit=0
if [[ -n ${ADVISORY_URLS:-} ]]; then
    .venv/bin/python -m scripts.image.audit --advisories out/rebuild/advisories out/rebuild > out/rebuild/audit.txt \
        || audit=$?
else
    echo "not audited: the variable ADVISORY_URLS names no database" > out/rebuild/audit.txt
fi

fence='```'
{
    echo "The lock resolved anew, and a build with today's packages. CI tests it as any other change."
    printf '\n%s\n%s\n%s\n%s\n' "## What changed in the image" "$fence" "$(< out/rebuild/diff.txt)" "$fence"
    printf '\n%s\n%s\n%s\n%s\n' "## Known vulnerabilities" "$fence" "$(< out/rebuild/audit.txt)" "$fence"
    if git diff --quiet; then
        printf '\n%s\n' "Only Debian's packages changed, and no file here. A tag is of a commit: merge this, then run the workflow
Publish by hand."
    fi
} > "$report"
cat "$report" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"

if git diff --quiet && ! grep -qE '(packages|files): [0-9]+ difference' out/rebuild/diff.txt; then
    echo "rebuild: nothing has changed"
    exit "$audit"
fi
git checkout --quiet -B "$branch"
git commit --quiet --all --allow-empty --message "Rebuild with the packages of $(date -u +%F)"
if [[ -n ${GH_TOKEN:-} ]]; then gh auth setup-git; fi
git push --quiet --force origin "$branch"
if [[ $(gh pr list --head "$branch" --state open --json number --jq length) == 0 ]]; then
    gh pr create --head "$branch" --title "Weekly rebuild" --body-file "$report"
else
    gh pr edit "$branch" --body-file "$report"
fi
exit "$audit"
