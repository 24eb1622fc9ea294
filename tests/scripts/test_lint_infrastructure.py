"""scripts/lint_infrastructure.py finds what is planted in the template's policies and in the Terraform module."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.job_files import REPOSITORY

PYTHON = REPOSITORY / ".venv-linters" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,  # parliament takes seconds to load what it knows of every service
    pytest.mark.skipif(not PYTHON.exists(), reason="scripts/extra_venv.sh linters makes the linters"),
]

POLICY_MISTAKES = {
    "ecr:PutImage\n": "ecr:PutImages\n",
    "iam:PassedToService": "iam:PassedTo",
    '"${Bucket.Arn}/${Prefix}/channels/*"\n          - Sid: ReadImage': '"${Bucket.Arn}"\n          - Sid: ReadImage',
}
MODULE_MISTAKES = {
    "var.prefix": "var.stack",
    "    BucketName               = var.bucket_name\n": "",
    "default     = 90": "default     = 91",
    "Its branch;": "The branch;",
    "/../template.yaml": "/template.yaml",
}


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "infrastructure"
    shutil.copytree(REPOSITORY / "infrastructure", folder)
    for name, mistakes in (("template.yaml", POLICY_MISTAKES), ("terraform/main.tf", MODULE_MISTAKES)):
        text = (folder / name).read_text(encoding="utf-8")
        for right, wrong in mistakes.items():
            assert right in text, right
            text = text.replace(right, wrong)
        (folder / name).write_text(text, encoding="utf-8")
    command = [str(PYTHON), str(REPOSITORY / "scripts" / "lint_infrastructure.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = done.stdout
    for said in (
        "PublisherPolicy: UNKNOWN_ACTION",
        "LauncherPolicy: UNKNOWN_CONDITION",
        "LauncherPolicy: RESOURCE_MISMATCH",
        "Prefix is not given the variable prefix",
        "BucketName is a parameter of the template or of the module only",
        "the default of log_retention_days is 91, the template's 90",
        "the description of github_branch is not the template's",
        "not the template beside the module",
    ):
        assert said in found, found
