"""Compare what an image holds with known vulnerabilities; write a VEX document; exit with 7 if one is not answered for.

    python -m scripts.image.audit [--advisories DATABASE] [--exceptions FILE] FOLDER

FOLDER has the image's sbom.cdx.json (scripts/image/describe.py) and gets vex.cdx.json. DATABASE is a folder or a zip of
OSV records (JSON, ecosystems PyPI and Debian), one such record, or a report of grype or trivy; by default the report
that scripts/image/scan.sh left in FOLDER. The exceptions, scripts/image/exceptions.toml, have a reason, evidence and a
date to review them; after it they count no longer.

Exit codes: 0 every vulnerability has an exception; 1 an exception is not needed any more; 2 an input cannot be read;
7 a vulnerability without an exception, or with an expired one.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import subprocess
import sys
import tomllib
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.impact_analysis import ImpactAnalysisJustification, ImpactAnalysisState
from cyclonedx.model.vulnerability import BomTarget, Vulnerability, VulnerabilityAnalysis
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.version import InvalidVersion, Version

from scripts.image.sbom import normalized

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
SBOM, VEX, REPORT = "sbom.cdx.json", "vex.cdx.json", "vulnerabilities.json"

_NAMESPACE = uuid.UUID("8c0b6a55-5f0f-4a53-9a55-1f0a6f6f3c27")
_FIELDS = {"ids", "package", "justification", "reason", "evidence", "review"}
_EVERY = 20_000
"""Records between two lines that say how far it is: a distribution's database has some 60,000."""

Order = Callable[[str, str], int]
"""Negative, 0 or positive, as the first version is before, equal to or after the second; ValueError: no version."""


class AuditError(Exception):
    """An input that cannot be used, in a sentence."""


@dataclass(frozen=True)
class Component:
    """A package as advisories name it; a Debian package by its source, which Debian's advisories are about."""

    ecosystem: str
    """PyPI, Debian:12, or generic: a library that a package brings along."""
    name: str
    version: str
    ref: str


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a component. Several databases' records of it are one finding."""

    component: Component
    names: frozenset[str]
    """CVE, GHSA, PYSEC, DSA: all that it is known as."""
    fixed: str = ""

    @property
    def name(self) -> str:
        """The name to print: the CVE, if there is one."""
        return min(self.names, key=lambda name: (not name.startswith("CVE-"), name))

    def __str__(self) -> str:
        fixed = f"fixed in {self.fixed}" if self.fixed else "no fixed version known"
        return f"{self.name}: {self.component.name} {self.component.version}, {fixed}"


@dataclass(frozen=True)
class ExceptionEntry:
    """Why a package's vulnerabilities do no harm here, what shows it, and until when that is believed."""

    ids: frozenset[str]
    package: str
    justification: ImpactAnalysisJustification
    reason: str
    evidence: str
    review: date

    def covers(self, finding: Finding) -> bool:
        """Tell whether this entry is about a finding, expired or not."""
        return finding.component.name == self.package and not self.ids.isdisjoint(finding.names)


@dataclass(frozen=True)
class Database:
    """What is known: the findings, and every vulnerability by name that was looked at, found or not."""

    findings: Sequence[Finding]
    known: frozenset[str]


@dataclass(frozen=True)
class Verdict:
    """What an audit comes to."""

    excepted: Sequence[tuple[Finding, ExceptionEntry]]
    expired: Sequence[tuple[Finding, ExceptionEntry]]
    unanswered: Sequence[Finding]
    idle: Sequence[tuple[ExceptionEntry, str, str]]
    """Exception, name of the vulnerability, why it is not needed."""
    unseen: Sequence[str]
    """Names in exceptions that this database has nothing on: it cannot tell whether they are needed."""

    @property
    def exit_code(self) -> int:
        """The command's, as its documentation lists them."""
        return 7 if self.expired or self.unanswered else 1 if self.idle else 0


# What the image holds


def components_of(bom: Mapping[str, Any]) -> list[Component]:
    """Return a bill of materials' packages; a Debian source package once for all that is built from it."""
    found: dict[tuple[str, str, str], Component] = {}
    for entry in bom["components"]:
        if entry["type"] == "machine-learning-model":
            continue  # weights: data, of which no database of advisories knows
        purl = PackageURL.from_string(entry["purl"])
        qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
        name, version, ecosystem = purl.name, purl.version or "", purl.type
        if purl.type == "pypi":
            name, ecosystem = normalized(purl.name), "PyPI"
        elif purl.type == "deb":
            ecosystem = qualifiers.get("distro", "").replace("-", ":").capitalize()
            if "upstream" in qualifiers:
                name, _, version = qualifiers["upstream"].partition("@")
        found.setdefault((ecosystem, name, version), Component(ecosystem, name, version, entry["bom-ref"]))
    return list(found.values())


# What is known


def read_database(path: Path, components: Sequence[Component]) -> Database:
    """Return the findings of a database of OSV records, or of a scanner's report; raise AuditError."""
    if not path.exists():
        raise AuditError(
            f"there is no {path}: name a database by ADVISORIES=..., or let scripts/image/scan.sh write one"
        )
    by_name: dict[str, list[Component]] = {}
    for component in components:
        by_name.setdefault(component.name, []).append(component)
    findings: list[Finding] = []
    known: set[str] = set()
    for number, (where, document) in enumerate(_documents(path), start=1):
        if number % _EVERY == 0:
            sys.stderr.write(f"audit: {number:,} records read\n")
        try:
            found, names = _findings_in(document, by_name)
        except (KeyError, TypeError, AttributeError) as error:
            raise AuditError(f"{where} is no OSV record and no report of grype or trivy: {error!r}") from None
        findings += found
        known |= names
    if not known and not findings and path.name != REPORT:
        raise AuditError(f"{path} has no advisory in it")
    return Database(_merged(findings), frozenset(known))


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in (".json", ".zip") and file.is_file():
                yield from _documents(file)
        return
    try:
        if path.suffix != ".zip":
            yield str(path), json.loads(path.read_bytes())
            return
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".json"):
                    yield f"{path}/{name}", json.loads(archive.read(name))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise AuditError(f"{path} cannot be read: {error}") from None


def _findings_in(
    document: Mapping[str, Any], by_name: Mapping[str, Sequence[Component]]
) -> tuple[list[Finding], set[str]]:
    if "matches" in document:
        found = [_of_grype(match, by_name) for match in document["matches"]]
        return found, set().union(*(finding.names for finding in found))
    if "Results" in document or "ArtifactName" in document:
        results = [one for result in document.get("Results") or () for one in result.get("Vulnerabilities") or ()]
        found = [_of_trivy(one, by_name) for one in results]
        return found, set().union(*(finding.names for finding in found))
    names = frozenset([document["id"], *(document.get("aliases") or ()), *(document.get("upstream") or ())])
    if document.get("withdrawn"):
        return [], set(names)
    hits = {}
    for affected in document.get("affected") or ():
        for component in by_name.get(_package_name(affected), ()):
            if _is_affected(component, affected):
                hits[component] = Finding(component, names, _fixed_in(affected, component))
    return list(hits.values()), set(names)


def _of_grype(match: Mapping[str, Any], by_name: Mapping[str, Sequence[Component]]) -> Finding:
    vulnerability, artifact = match["vulnerability"], match["artifact"]
    related = [one["id"] for one in match.get("relatedVulnerabilities") or ()]
    fixed = ", ".join((vulnerability.get("fix") or {}).get("versions") or ())
    # A Debian package's source, where grype found the advisory by that.
    upstreams = [one["name"] for one in artifact.get("upstreams") or ()]
    component = _listed([artifact["name"], *upstreams], artifact["version"], artifact.get("purl", ""), by_name)
    return Finding(component, frozenset([vulnerability["id"], *related]), fixed)


def _of_trivy(found: Mapping[str, Any], by_name: Mapping[str, Sequence[Component]]) -> Finding:
    purl = (found.get("PkgIdentifier") or {}).get("PURL", "")
    source = [found["SrcName"]] if found.get("SrcName") else []
    component = _listed([found["PkgName"], *source], found["InstalledVersion"], purl, by_name)
    names = frozenset([found["VulnerabilityID"], *(found.get("VendorIDs") or ())])
    return Finding(component, names, found.get("FixedVersion", ""))


def _listed(names: Sequence[str], version: str, purl: str, by_name: Mapping[str, Sequence[Component]]) -> Component:
    """Return the bill's component for a scanner's, or one of its own: a scanner also looks for what no bill lists."""
    for name in names:
        for component in by_name.get(name, ()) or by_name.get(normalized(name), ()):
            return component
    return Component("", names[0], version, purl or names[0])


def _package_name(affected: Mapping[str, Any]) -> str:
    package = affected.get("package")
    if package:
        name: str = package["name"]
        return normalized(name) if package["ecosystem"] == "PyPI" else name
    # Records that were made of NVD's have a git repository instead of a package.
    repositories = [one["repo"] for one in affected.get("ranges") or () if one.get("repo")]
    return repositories[0].rstrip("/").rpartition("/")[2].removesuffix(".git") if repositories else ""


def _is_affected(component: Component, affected: Mapping[str, Any]) -> bool:
    ecosystem = (affected.get("package") or {}).get("ecosystem", "")
    if component.ecosystem == "generic":
        if ecosystem not in ("", "GIT", "OSS-Fuzz"):
            return False  # a distribution's version is not the library's own
    elif ecosystem != component.ecosystem and ecosystem != component.ecosystem.partition(":")[0]:
        return False
    versions = {_plain(component, version) for version in affected.get("versions") or ()}
    order = _dpkg_order if component.ecosystem.startswith("Debian") else _pypi_order
    ranges = [one["events"] for one in affected.get("ranges") or () if one["type"] in ("ECOSYSTEM", "SEMVER")]
    return _plain(component, component.version) in versions or any(
        in_range(component.version, events, order) for events in ranges
    )


def _plain(component: Component, version: str) -> str:
    """Return a version without what differs in spelling only; of a tag, as hdf5-1_14_6, what is its version."""
    if component.ecosystem == "generic":
        return version.removeprefix(component.name).lstrip("-_v").replace("_", ".")
    try:
        return str(Version(version)) if component.ecosystem == "PyPI" else version
    except InvalidVersion:
        return version


def in_range(version: str, events: Iterable[Mapping[str, str]], order: Order) -> bool:
    """Tell whether a version is in an OSV range, by the schema's evaluation algorithm; True if that cannot be told.

    Versions that are none are the database's fault, and no reason to call an image safe.
    """

    def before(one: tuple[str, str], other: tuple[str, str]) -> int:
        if "0" in (one[1], other[1]):  # "0": before every version
            return (one[1] != "0") - (other[1] != "0")
        return order(one[1], other[1])

    listed = [(kind, where) for event in events for kind, where in event.items()]
    affected = False
    try:
        for kind, where in sorted(listed, key=functools.cmp_to_key(before)):
            distance = 1 if where == "0" else order(version, where)
            if kind == "introduced" and distance >= 0:
                affected = True
            elif (kind in ("fixed", "limit") and distance >= 0 and where != "*") or (
                kind == "last_affected" and distance > 0
            ):
                affected = False
    except ValueError:
        return True
    return affected


def _pypi_order(one: str, other: str) -> int:
    first, second = Version(one), Version(other)  # InvalidVersion is a ValueError
    return (first > second) - (first < second)


@functools.cache
def _dpkg_order(one: str, other: str) -> int:
    """Ask dpkg, whose order is Debian's."""
    for relation, result in (("lt", -1), ("eq", 0), ("gt", 1)):
        try:
            command = ["dpkg", "--compare-versions", one, relation, other]
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        except FileNotFoundError:
            raise AuditError("Debian's versions are compared by dpkg, which is not in PATH: install it") from None
        if done.stderr:  # a warning: no version
            raise ValueError(done.stderr.decode(errors="replace").strip())
        if done.returncode == 0:
            return result
    raise ValueError(f"{one} and {other} have no order")


def _fixed_in(affected: Mapping[str, Any], component: Component) -> str:
    """Return the versions that a range's vulnerability is fixed in; commits are no versions."""
    ranges = [one for one in affected.get("ranges") or () if one["type"] != "GIT"]
    fixed = [event["fixed"] for one in ranges for event in one["events"] if "fixed" in event]
    return ", ".join(version for version in fixed if version != component.version)


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return one finding for all records that share a name: PYSEC's, GitHub's and Debian's of one CVE."""
    merged: list[Finding] = []
    for finding in findings:
        same = [one for one in merged if one.component == finding.component and one.names & finding.names]
        names = finding.names.union(*(one.names for one in same))
        fixed = next((one.fixed for one in (*same, finding) if one.fixed), "")
        merged = [one for one in merged if one not in same] + [Finding(finding.component, names, fixed)]
    return sorted(merged, key=lambda finding: (finding.component.name, finding.name))


# What is answered for


def read_exceptions(path: Path) -> list[ExceptionEntry]:
    """Return the exceptions of a file; raise AuditError for one that lacks something."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("exception", [])
    except (OSError, ValueError) as error:
        raise AuditError(f"{path} cannot be read: {error}") from None
    return [_exception(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _exception(path: Path, number: int, entry: Mapping[str, Any]) -> ExceptionEntry:
    where = f"{path.name}: exception {number}"
    if set(entry) != _FIELDS or not all(entry.values()):
        raise AuditError(f"{where} needs exactly these fields, none empty: {', '.join(sorted(_FIELDS))}")
    if not isinstance(entry["review"], date) or isinstance(entry["review"], datetime):
        raise AuditError(f"{where}: review is {entry['review']!r}; write a date, as 2027-02-28")
    try:
        justification = ImpactAnalysisJustification(entry["justification"])
    except ValueError:
        known = ", ".join(one.value for one in ImpactAnalysisJustification)
        raise AuditError(f"{where}: justification is {entry['justification']!r}; CycloneDX knows {known}") from None
    return ExceptionEntry(
        frozenset(entry["ids"]), entry["package"], justification, entry["reason"], entry["evidence"], entry["review"]
    )


def audit(
    components: Iterable[Component], database: Database, exceptions: Sequence[ExceptionEntry], today: date
) -> Verdict:
    """Return which findings have an exception, and which exceptions have no finding."""
    excepted: list[tuple[Finding, ExceptionEntry]] = []
    expired: list[tuple[Finding, ExceptionEntry]] = []
    unanswered: list[Finding] = []
    for finding in database.findings:
        entry = next((one for one in exceptions if one.covers(finding)), None)
        if entry is None:
            unanswered.append(finding)
        else:
            (excepted if today <= entry.review else expired).append((finding, entry))
    installed = {component.name for component in components} | {one.component.name for one in database.findings}
    idle, unseen = [], []
    for entry in exceptions:
        used = frozenset[str]().union(*(one.names for one in database.findings if entry.covers(one)))
        for name in sorted(entry.ids - used):
            if entry.package not in installed:
                idle.append((entry, name, f"the image has no {entry.package}"))
            elif name in database.known:
                idle.append((entry, name, "the version in the image is not affected, or the advisory was withdrawn"))
            else:
                unseen.append(name)
    return Verdict(excepted, expired, unanswered, idle, unseen)


def vex(verdict: Verdict, bom: Mapping[str, Any], today: date) -> str:
    """Return the CycloneDX VEX document: each finding's state, linked to the components of the image's bill."""
    link = f"urn:cdx:{bom['serialNumber'].removeprefix('urn:uuid:')}/{bom.get('version', 1)}#"
    states = [(finding, _analysis(entry)) for finding, entry in verdict.excepted]
    triage = VulnerabilityAnalysis(state=ImpactAnalysisState.IN_TRIAGE)
    states += [(finding, triage) for finding in (*(one for one, _ in verdict.expired), *verdict.unanswered)]
    document = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, f"{bom['serialNumber']} {today}"),
        vulnerabilities=[
            Vulnerability(
                bom_ref=f"{finding.name} {finding.component.ref}",
                id=finding.name,
                analysis=analysis,
                affects=[BomTarget(ref=link + finding.component.ref)],
            )
            for finding, analysis in states
        ],
    )
    document.metadata.timestamp = datetime.combine(today, time(), UTC)
    return make_outputter(document, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _analysis(entry: ExceptionEntry) -> VulnerabilityAnalysis:
    return VulnerabilityAnalysis(
        state=ImpactAnalysisState.NOT_AFFECTED,
        justification=entry.justification,
        detail=f"{entry.reason} Evidence: {entry.evidence} To be reviewed by {entry.review}.",
    )


def report(verdict: Verdict) -> Iterator[str]:
    """Yield the lines that say what an audit came to, worst last."""
    yield from (f"excepted until {entry.review}: {finding}" for finding, entry in verdict.excepted)
    if verdict.unseen:
        yield f"the database has nothing on {', '.join(verdict.unseen)}: whether these exceptions are needed is unknown"
    yield from (f"not needed: the exception {name} of {entry.package}: {why}" for entry, name, why in verdict.idle)
    yield from (f"expired on {entry.review}: the exception of {finding}" for finding, entry in verdict.expired)
    yield from (f"vulnerable: {finding}" for finding in verdict.unanswered)
    yield (
        f"audit: {len(verdict.unanswered) + len(verdict.expired)} without a valid exception, "
        f"{len(verdict.excepted)} excepted, {len(verdict.idle)} exceptions not needed"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Audit the image whose files are in the folder that the command line names, and exit with the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--advisories", type=Path)
    parser.add_argument("--exceptions", type=Path, default=EXCEPTIONS)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    today = datetime.now(UTC).date()
    try:
        bill = options.folder / SBOM
        if not bill.exists():
            raise AuditError(f"there is no {bill}: python -m scripts.image.describe IMAGE {options.folder} writes it")
        bom = json.loads(bill.read_text(encoding="utf-8"))
        components = components_of(bom)
        exceptions = read_exceptions(options.exceptions)
        database = read_database(options.advisories or options.folder / REPORT, components)
    except AuditError as error:
        sys.stderr.write(f"audit: {error}\n")
        sys.exit(2)
    verdict = audit(components, database, exceptions, today)
    (options.folder / VEX).write_text(vex(verdict, bom, today), encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in report(verdict))
    sys.exit(verdict.exit_code)


if __name__ == "__main__":
    main()
