#!/usr/bin/env bash
# Check everything that can be checked without running it; ends at the first tool that complains.
#
#   make lint
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/extra_venv.sh linters
export PATH=$PWD/.venv/bin:$PATH

ruff check .
ruff format --check .
mypy src container data benchmarks launcher local_sagemaker scripts tests
PYTHONPATH=src lint-imports --no-logo --cache-dir .cache/imports # pyproject.toml says who may import whom
shellcheck --external-sources scripts/*.sh scripts/image/*.sh .ci/run
hadolint Dockerfile
cfn-lint infrastructure/template.yaml # its IAM rules know every service's actions
.venv-linters/bin/python scripts/lint_infrastructure.py infrastructure
.venv-linters/bin/actionlint
check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature}.yml
check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
zizmor --quiet --offline .github
