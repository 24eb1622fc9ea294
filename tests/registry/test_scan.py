"""scripts/image/scan.sh with each scanner that it knows. None can be had here: these stand for them, and keep what they
were told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.pushing import REPOSITORY

SCANNER = '#!/bin/bash\necho "$0 $*" > {folder}/told\n{work}\n'


def scan(folder: Path, name: str, work: str, *severity: str) -> subprocess.CompletedProcess[str]:
    scanner = folder / name
    scanner.write_text(SCANNER.format(folder=folder, work=work), encoding="utf-8")
    scanner.chmod(0o755)
    return run(folder, *severity, path=f"{folder}:{os.environ['PATH']}")


def run(folder: Path, *severity: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    command = [str(REPOSITORY / "scripts/image/scan.sh"), "image-id", str(folder / "report.json"), *severity]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "severity", "told"),
    [
        ("grype", [], "grype docker:image-id --output json --file {report}"),
        ("grype", ["high"], "grype docker:image-id --output json --file {report} --fail-on high"),
        ("trivy", [], "trivy image --scanners vuln --format json --output {report} image-id"),
        (
            "trivy",
            ["medium"],
            "trivy image --scanners vuln --format json --output {report} --severity MEDIUM,HIGH,CRITICAL "  # noqa: ISC004
            "--exit-code 7 image-id",
        ),
        (
            "trivy",
            ["critical"],
            "trivy image --scanners vuln --format json --output {report} --severity CRITICAL --exit-code 7 image-id",
        ),
    ],
)
def test_what_a_scanner_is_told(tmp_path: Path, name: str, severity: list[str], told: str) -> None:
    result = scan(tmp_path, name, f"touch {tmp_path}/report.json", *severity)
    assert result.returncode == 0, result.stderr
    assert f"{name}'s report is {tmp_path}/report.json" in result.stdout
    assert (tmp_path / "told").read_text(encoding="utf-8") == f"{tmp_path}/{told}\n".format(
        report=tmp_path / "report.json"
    )


def test_a_report_with_findings_and_a_scanner_that_fails_are_told_apart(tmp_path: Path) -> None:
    found = scan(tmp_path, "grype", f"echo found > {tmp_path}/report.json; exit 2", "low")
    assert (found.returncode, "severity low or worse" in found.stderr) == (7, True)
    # The report of the run before is not taken for this one's.
    failed = scan(tmp_path, "grype", "echo no database >&2; exit 1", "low")
    assert (failed.returncode, "it wrote no report" in failed.stderr) == (1, True)


def test_without_a_scanner_only_a_limit_is_an_error(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("bash", "env"):
        (bare / tool).symlink_to(f"/usr/bin/{tool}")
    told = run(tmp_path, path=str(bare))
    assert (told.returncode, "no vulnerability report" in told.stdout) == (0, True)
    refused = run(tmp_path, "high", path=str(bare))
    assert (refused.returncode, "--fail-on high asks for one" in refused.stderr) == (1, True)
