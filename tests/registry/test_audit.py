"""`make audit` on advisories that are planted here: what it finds, excepts, and lets expire; and the evidence that
scripts/image/exceptions.toml names."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.image.audit import EXCEPTIONS, components_of, in_range, main, read_database, read_exceptions
from scripts.image.audit import _dpkg_order as dpkg_order
from scripts.image.audit import _pypi_order as pypi_order
from scripts.image.sbom import bill_of_materials, lock_hashes
from tests.helpers.pushing import REPOSITORY

RECORD: dict[str, Any] = {
    "Id": "sha256:0",
    "Created": "2026-11-24T22:03:33Z",
    "Os": "linux",
    "Architecture": "amd64",
    "Config": {"Labels": {"org.opencontainers.image.title": "distilbert-trainer"}},
}
PYTHON = {"summary": "", "license_expression": "MIT", "license": "", "classifiers": [], "license_files": []}
DEBIAN = {"Architecture": "amd64", "licenses": []}
INVENTORY: dict[str, Any] = {
    "python": [
        {"name": "transformers", "version": "4.54.1", **PYTHON},
        {"name": "Zope.Event", "version": "5.0", **PYTHON},
    ],
    "debian": [
        {"Package": "libc6", "Version": "2.36-9", "source:Package": "glibc", "source:Version": "2.36-9", **DEBIAN},
        {"Package": "libc-bin", "Version": "2.36-9", "source:Package": "glibc", "source:Version": "2.36-9", **DEBIAN},
        {"Package": "bash", "Version": "5.2~rc1-1", "source:Package": "bash", "source:Version": "5.2~rc1-1", **DEBIAN},
    ],
    "bundled": [{"name": "hdf5", "version": "1.14.6", "path": "/opt/venv/h5py.libs/libhdf5.so"}],
    "os_release": {"ID": "debian", "VERSION_ID": "12"},
    "lock": "",
}
TRANSFORMERS = [{"introduced": "0"}, {"fixed": "5.3.0"}]


def advisory(name: str, package: str, events: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    """Return an OSV record; `package` is ECOSYSTEM/NAME."""
    ecosystem, _, title = package.partition("/")
    affected = {"package": {"ecosystem": ecosystem, "name": title}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": name, "affected": [affected], **more}


class Audit:
    """An image's folder, a database, a file of exceptions, and the command on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "database"
        self.database.mkdir()
        self.exceptions = folder / "exceptions.toml"
        self.exceptions.touch()
        (folder / "sbom.cdx.json").write_text(bill_of_materials(INVENTORY, RECORD), encoding="utf-8")

    def know(self, *records: dict[str, Any]) -> None:
        for record in records:
            (self.database / f"{record['id']}.json").write_text(json.dumps(record), encoding="utf-8")

    def excuse(self, package: str, *ids: str, review: str = "2999-01-01", **changes: str) -> None:
        fields = {"justification": "code_not_reachable", "reason": "nothing calls it", "evidence": "a test", **changes}
        lines = [f"ids = {json.dumps(ids)}", f'package = "{package}"', f"review = {review}"]
        lines += [f'{name} = "{value}"' for name, value in fields.items()]
        self.exceptions.write_text(self.exceptions.read_text() + "\n".join(["[[exception]]", *lines, ""]))

    def __call__(self, *options: str) -> tuple[int, list[str]]:
        """Return the command's exit code, and the lines that it prints."""
        said = io.StringIO()
        given = options or ("--advisories", str(self.database))
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as end:
            main(["--exceptions", str(self.exceptions), *given, str(self.folder)])
        return int(end.value.code or 0), said.getvalue().splitlines()

    def found(self) -> list[tuple[str, str]]:
        """Return name and package of what the database finds, in this process."""
        bom = json.loads((self.folder / "sbom.cdx.json").read_text(encoding="utf-8"))
        database = read_database(self.database, components_of(bom))
        return [(finding.name, finding.component.name) for finding in database.findings]

    @property
    def vex(self) -> dict[str, Any]:
        text = (self.folder / "vex.cdx.json").read_text(encoding="utf-8")
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        document: dict[str, Any] = json.loads(text)
        return document


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path)


def test_a_vulnerability_is_found_excepted_and_open_again_after_the_review_date(audit: Audit) -> None:
    audit.know(advisory("GHSA-1", "PyPI/transformers", TRANSFORMERS, aliases=["CVE-2026-1"]))
    exit_code, lines = audit()
    assert (exit_code, lines[0]) == (7, "vulnerable: CVE-2026-1: transformers 4.54.1, fixed in 5.3.0")
    assert audit.vex["vulnerabilities"][0]["analysis"] == {"state": "in_triage"}

    audit.excuse("transformers", "CVE-2026-1")
    exit_code, lines = audit()
    assert exit_code == 0
    assert lines[0].startswith("excepted until 2999-01-01: CVE-2026-1")
    (stated,) = audit.vex["vulnerabilities"]
    assert (stated["id"], stated["analysis"]["state"]) == ("CVE-2026-1", "not_affected")
    assert stated["analysis"]["justification"] == "code_not_reachable"
    assert "nothing calls it Evidence: a test" in stated["analysis"]["detail"]
    serial = json.loads((audit.folder / "sbom.cdx.json").read_text())["serialNumber"].removeprefix("urn:uuid:")
    assert stated["affects"] == [{"ref": f"urn:cdx:{serial}/1#pkg:pypi/transformers@4.54.1"}]

    audit.exceptions.write_text("")
    audit.excuse("transformers", "GHSA-1", review="2000-01-01")
    exit_code, lines = audit()
    assert (exit_code, lines[0].partition(": ")[0]) == (7, "expired on 2000-01-01")
    assert audit.vex["vulnerabilities"][0]["analysis"] == {"state": "in_triage"}


def test_an_exception_that_nothing_needs_is_an_error(audit: Audit) -> None:
    audit.know(
        advisory("CVE-2026-1", "PyPI/transformers", [{"introduced": "4.56.0"}, {"fixed": "5.3.0"}]),
        advisory("CVE-2026-2", "PyPI/transformers", TRANSFORMERS, withdrawn="2026-06-01T00:00:00Z"),
    )
    audit.excuse("transformers", "CVE-2026-1", "CVE-2026-2", "CVE-2026-3")
    audit.excuse("numpy", "CVE-2026-4")
    exit_code, lines = audit()
    assert exit_code == 1
    not_affected = "the version in the image is not affected, or the advisory was withdrawn"
    assert [line for line in lines if line.startswith("not needed")] == [
        f"not needed: the exception CVE-2026-1 of transformers: {not_affected}",
        f"not needed: the exception CVE-2026-2 of transformers: {not_affected}",
        "not needed: the exception CVE-2026-4 of numpy: the image has no numpy",
    ]
    # Of CVE-2026-3 this database knows nothing: another one may.
    assert lines[0].startswith("the database has nothing on CVE-2026-3")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (advisory("CVE-1", "PyPI/zope-event", [{"introduced": "0"}]), [("CVE-1", "zope-event")]),
        (advisory("CVE-1", "PyPI/zope_event", [{"introduced": "0"}, {"fixed": "5.0"}]), []),
        (
            advisory("CVE-1", "PyPI/zope.event", [{"introduced": "0"}, {"fixed": "5.0.post1"}]),
            [("CVE-1", "zope-event")],
        ),
        (advisory("CVE-1", "npm/transformers", [{"introduced": "0"}]), []),
        (advisory("CVE-1", "Debian:12/transformers", [{"introduced": "0"}]), []),
        # Once for a source package, whatever is built from it; of this release only.
        (
            advisory("CVE-1", "Debian:12/glibc", [{"introduced": "0"}, {"fixed": "2.36-9+b1"}]),
            [("CVE-1", "glibc")],
        ),
        (advisory("CVE-1", "Debian:12/glibc", [{"introduced": "0"}, {"fixed": "2.36-9"}]), []),
        (advisory("CVE-1", "Debian:13/glibc", [{"introduced": "0"}]), []),
        (advisory("CVE-1", "Debian/glibc", [{"introduced": "0"}]), [("CVE-1", "glibc")]),
        (advisory("CVE-1", "Debian:12/bash", [{"introduced": "0"}, {"fixed": "5.2-1"}]), [("CVE-1", "bash")]),
        # A distribution's version of a library says nothing of a wheel's.
        (advisory("CVE-1", "Debian:12/hdf5", [{"introduced": "0"}]), []),
        (advisory("CVE-1", "OSS-Fuzz/hdf5", [{"introduced": "0"}, {"fixed": "2.0.0"}]), [("CVE-1", "hdf5")]),
    ],
)
def test_what_an_advisory_applies_to(audit: Audit, record: dict[str, Any], found: list[tuple[str, str]]) -> None:
    audit.know(record)
    assert audit.found() == found


def test_a_library_inside_a_wheel_is_found_by_its_repositorys_tags(audit: Audit) -> None:
    ranges = [{"type": "GIT", "repo": "https://example.org/HDFGroup/hdf5", "events": [{"introduced": "0"}]}]
    audit.know(
        {"id": "CVE-1", "affected": [{"ranges": ranges, "versions": ["hdf5-1_14_6"]}]},
        {"id": "CVE-2", "affected": [{"ranges": ranges, "versions": ["hdf5_1.14.5", "2.0.0"]}]},
    )
    assert audit.found() == [("CVE-1", "hdf5")]


def test_several_databases_records_of_one_vulnerability_are_one_finding(audit: Audit) -> None:
    audit.know(
        advisory("PYSEC-1", "PyPI/transformers", TRANSFORMERS, aliases=["CVE-2026-1", "GHSA-1"]),
        advisory("GHSA-1", "PyPI/transformers", [{"introduced": "4.0"}], aliases=["CVE-2026-1"]),
        advisory("DEBIAN-CVE-2026-2", "Debian:12/glibc", [{"introduced": "0"}], upstream=["CVE-2026-2"]),
    )
    assert audit.found() == [("CVE-2026-2", "glibc"), ("CVE-2026-1", "transformers")]


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ([{"introduced": "0"}], ["1.0", "0.0.1"], []),
        ([{"introduced": "1.0"}, {"fixed": "1.2"}], ["1.0", "1.1.9", "1.2rc1"], ["0.9", "1.2", "2.0"]),
        ([{"introduced": "1.0"}, {"last_affected": "1.2"}], ["1.2"], ["1.2.1"]),
        ([{"introduced": "0"}, {"limit": "2.0"}], ["1.9"], ["2.0"]),
        ([{"introduced": "0"}, {"limit": "*"}], ["99"], []),
        # Two lines of releases; in whatever order a database lists the events, or in one object.
        (
            [{"fixed": "2.1"}, {"introduced": "2.0"}, {"fixed": "1.2"}, {"introduced": "0"}],
            ["1.1", "2.0"],
            ["1.2", "1.9", "2.1"],
        ),
        ([{"introduced": "1.0", "fixed": "1.2"}], ["1.1"], ["1.2"]),
        # Wrong ranges: none is vulnerable before something introduces it; fixed before it was introduced is open-ended.
        ([{"fixed": "2.0"}], [], ["1.0", "3.0"]),
        ([{"introduced": "2.0"}, {"fixed": "1.0"}], ["2.0", "3.0"], ["0.9", "1.5"]),
        ([], [], ["1.0"]),
        # No version at all: that cannot be called safe.
        ([{"introduced": "0"}, {"fixed": "not-a-version"}], ["1.0"], []),
    ],
)
def test_ranges_of_python_versions(events: list[dict[str, str]], inside: list[str], outside: list[str]) -> None:
    assert [version for version in (*inside, *outside) if in_range(version, events, pypi_order)] == inside


def test_ranges_of_debians_versions() -> None:
    events = [{"introduced": "0"}, {"fixed": "1:1.2-3+deb12u1"}]
    inside, outside = ["9.9-1", "1:1.2-3", "1:1.2-3~bpo1", "1:1.2~rc1-9"], ["1:1.2-3+deb12u1", "1:1.10-1", "2:0-1"]
    assert [version for version in (*inside, *outside) if in_range(version, events, dpkg_order)] == inside
    assert in_range("1.0-1", [{"introduced": "0"}, {"fixed": "what is this"}], dpkg_order)


def test_a_database_in_a_zip_is_the_same(audit: Audit) -> None:
    audit.know(advisory("CVE-2026-1", "PyPI/transformers", TRANSFORMERS))
    with zipfile.ZipFile(audit.folder / "all.zip", "w") as archive:
        archive.write(audit.database / "CVE-2026-1.json", "CVE-2026-1.json")
    assert audit("--advisories", str(audit.folder / "all.zip")) == audit()


GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "GHSA-1", "fix": {"versions": ["5.3.0"]}},
            "relatedVulnerabilities": [{"id": "CVE-2026-1"}],
            "artifact": {"name": "transformers", "version": "4.54.1", "purl": "pkg:pypi/transformers@4.54.1"},
        }
    ]
}
TRIVY = {
    "ArtifactName": "image",
    "Results": [
        {"Target": "Debian"},
        {
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-1",
                    "PkgName": "transformers",
                    "InstalledVersion": "4.54.1",
                    "FixedVersion": "5.3.0",
                }
            ]
        },
    ],
}


@pytest.mark.parametrize("report", [GRYPE, TRIVY], ids=["grype", "trivy"])
def test_the_scanners_report_is_a_database_too(audit: Audit, report: dict[str, Any]) -> None:
    """Without --advisories it is the one that the push left beside the bill of materials."""
    (audit.folder / "vulnerabilities.json").write_text(json.dumps(report))
    exit_code, lines = audit("--exceptions", str(audit.exceptions))
    assert (exit_code, lines[0]) == (7, "vulnerable: CVE-2026-1: transformers 4.54.1, fixed in 5.3.0")


def test_what_cannot_be_read_is_said(audit: Audit) -> None:
    missing = audit("--exceptions", str(audit.exceptions))
    assert (missing[0], "name a database" in missing[1][0]) == (2, True)
    empty = audit()
    assert (empty[0], "has no advisory in it" in empty[1][0]) == (2, True)
    (audit.database / "broken.json").write_text("{")
    broken = audit()
    assert (broken[0], "broken.json cannot be read" in broken[1][0]) == (2, True)
    (audit.database / "broken.json").write_text('{"affected": []}')
    assert audit()[0] == 2
    (audit.folder / "sbom.cdx.json").unlink()
    assert "scripts.image.describe" in audit()[1][0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"justification": "trust me"}, "CycloneDX knows code_not_present"),
        ({"reason": ""}, "none empty"),
        ({"owner": "somebody"}, "exactly these fields"),
        ({"review": '"soon"'}, "write a date"),
    ],
)
def test_an_exception_that_lacks_something_is_refused(audit: Audit, changes: dict[str, str], said: str) -> None:
    audit.excuse("transformers", "CVE-2026-1", **changes)
    exit_code, lines = audit()
    assert (exit_code, said in lines[0]) == (2, True)


# The evidence


@functools.cache
def code_of_the_image() -> dict[str, str]:
    files = [path for folder in ("src", "container") for path in (REPOSITORY / folder).rglob("*.py")]
    return {path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_every_exception_names_a_test_that_exists() -> None:
    for entry in read_exceptions(EXCEPTIONS):
        path, _, name = entry.evidence.partition("::")
        assert f"def {name}(" in (REPOSITORY / path).read_text(encoding="utf-8")


def test_transformers_loads_only_what_the_job_wrote_and_kernels_is_not_installed() -> None:
    installed = lock_hashes((REPOSITORY / "container" / "requirements.txt").read_text(encoding="utf-8"))
    assert {"transformers", "tokenizers"} <= set(installed)
    assert {"kernels", "torch"}.isdisjoint(installed)
    imported, loads = set[str](), []
    mentioning = {path: text for path, text in code_of_the_image().items() if "transformers" in text}
    for path, text in mentioning.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "transformers":
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                assert not any(alias.name.partition(".")[0] == "transformers" for alias in node.names), path
            elif isinstance(node, ast.Attribute) and node.attr == "from_pretrained":
                loads.append(path)
    assert imported == {"transformers.TFDistilBertForSequenceClassification", "transformers.utils.logging"}
    # Of the export, which is compared with what was trained: its folder has this job's own config.json.
    assert loads == ["src/star_rating/results/export.py"]


def test_no_code_of_the_image_opens_an_h5_file() -> None:
    opening = re.compile(r"load_weights|save_weights|load_model|model\.save\(|hdf5|h5py", re.IGNORECASE)
    of_tensorflow = re.compile(r"saved_model\.save\(")
    code = {path: of_tensorflow.sub("", text) for path, text in code_of_the_image().items()}
    assert code
    assert [path for path, text in code.items() if opening.search(text)] == []
