"""Look through all layers of an image for what should not be in it; print each finding, exit with 1 if there is one.

    python -m scripts.image.hygiene IMAGE

Secrets, compilers, caches and logs, files that anyone may write, setuid and setgid programs; and packages that nothing
imports, of which tests/image/test_smoke.py keeps the record. What is there for a reason is in hygiene.toml with its
reason; an exception that excuses nothing is a finding too.
"""

from __future__ import annotations

import fnmatch
import re
import sys
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scripts.image.engine import inspect
from scripts.image.errors import command
from scripts.image.layers import File, Layer, layers_of

EXCUSES = Path(__file__).with_name("hygiene.toml")

_PATHS = {
    "secret": re.compile(
        r"""(^|/)( \.?(netrc|pypirc|npmrc|pgpass|git-credentials|dockercfg|htpasswd) | pip\.conf
                 | id_(rsa|dsa|ecdsa|ed25519) | credentials(\.json)? | [^/]+\.(pem|key|p12|pfx|jks|kdbx|crt) )$
        | (^|/)\.(aws|azure|docker|gnupg|kube|ssh|git)/
        | ^etc/ssl/(certs|private)/. | ^usr/local/share/ca-certificates/. | ^build/""",
        re.VERBOSE,
    ),
    "compiler": re.compile(
        r"""(^|/)s?bin/([\w.+-]+-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|clang\+\+|ld|as|make|cmake|ninja|gfortran|rustc|cargo|go)
            (-[\d.]+)?$
        | (^|/)(cc1(plus)?|collect2|lto1)$ | ^usr/include/.""",
        re.VERBOSE,
    ),
    "cache": re.compile(
        r"""(^|/)\.(cache|npm|cargo|conda)/. | ^var/cache/. | ^var/lib/apt/lists/. | ^(var/)?tmp/. | ^root/.
        | (^|/)(\.(pytest|mypy|ruff)_cache|pip-(build|install|unpack)-[^/]*)(/|$) | \.(deb|whl|swp|orig)$""",
        re.VERBOSE,
    ),
    "log": re.compile(r"^var/log/. | \.log$", re.VERBOSE),
}

_TOKENS = {
    b"PRIVATE KEY-----": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}"),
    b"AKIA": re.compile(rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    b"ASIA": re.compile(rb"(?<![A-Za-z0-9])ASIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    b"aws_se": re.compile(rb"aws_se(?:cret_access_key|ssion_token)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+=]{40}"),
    b"ghp_": re.compile(rb"(?<![A-Za-z0-9])ghp_[A-Za-z0-9]{36}"),
    b"github_pat_": re.compile(rb"github_pat_[A-Za-z0-9_]{60}"),
    b"glpat-": re.compile(rb"glpat-[A-Za-z0-9_-]{20}"),
    b"hf_": re.compile(rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{34}(?![A-Za-z0-9_])"),
    b"xoxb-": re.compile(rb"xoxb-[0-9A-Za-z-]{20}"),
    b"pypi-AgE": re.compile(rb"pypi-AgE[A-Za-z0-9_-]{50}"),
    b"index-url": re.compile(rb"index-url\s*=\s*\w+://[^/\s:@]+:[^/\s@]+@"),
}
"""Secrets that give themselves away, by a text that each has and that is found fast."""

LAYER_RULES = (*_PATHS, "world-writable", "setuid")

_LONGEST_SECRET = 4096
_PIECE = 1 << 24


@dataclass(frozen=True)
class Finding:
    """Something that should not be where it is."""

    rule: str
    path: str
    detail: str
    layer: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: /{self.path} ({self.detail})" + (f", from: {self.layer[:100]}" if self.layer else "")


@dataclass(frozen=True)
class Excuse:
    """Paths that one rule does not apply to, and why."""

    rule: str
    paths: tuple[str, ...]
    reason: str
    may_be_idle: bool = False
    """About the base image, which there is more than one of."""

    def covers(self, finding: Finding, path: str) -> bool:
        """Return whether one of these paths, or patterns of paths, is about a finding."""
        return finding.rule == self.rule and fnmatch.fnmatchcase(finding.path, path)


def tokens_in(_path: str, content: IO[bytes]) -> str:
    """Return the first secret's kind in a file, "" if there is none: the reader for layers_of."""
    before = b""
    while piece := content.read(_PIECE):
        text = before + piece
        for hint, pattern in _TOKENS.items():
            if hint in text and pattern.search(text):
                return pattern.pattern.decode()[:40]
        before = text[-_LONGEST_SECRET:]
    return ""


def findings_of(layers: Iterable[Layer]) -> Iterator[Finding]:
    """Yield what is wrong with the files of every layer."""
    for layer in layers:
        for path, file in layer.files.items():
            for rule, detail in _problems(path, file):
                yield Finding(rule, path, detail, layer.command)


def _problems(path: str, file: File) -> Iterator[tuple[str, str]]:
    if file.kind != "folder" and "/.wh." not in f"/{path}":
        for rule, pattern in _PATHS.items():
            if pattern.search(path):
                yield rule, f"its name; {file.size} bytes"
    if file.content:
        yield "secret", f"its content looks like {file.content}"
    if file.kind in ("file", "folder") and file.mode & 0o002:
        yield "world-writable", f"mode {file.mode:o}"
    if file.kind == "file" and file.mode & 0o6000:
        yield "setuid", f"mode {file.mode:o}"


def unexcused(findings: Sequence[Finding], excuses: Sequence[Excuse]) -> list[Finding]:
    """Return the findings that nothing excuses, and a finding for each excuse that there is no finding for."""
    used: set[tuple[str, str]] = set()
    left = []
    for finding in findings:
        covering = [(excuse.rule, path) for excuse in excuses for path in excuse.paths if excuse.covers(finding, path)]
        used.update(covering)
        if not covering:
            left.append(finding)
    idle = (
        (excuse.rule, path)
        for excuse in excuses
        for path in excuse.paths
        if not excuse.may_be_idle and (excuse.rule, path) not in used
    )
    left.extend(
        Finding("exception", path, f"there is no {rule} here: delete it in hygiene.toml") for rule, path in idle
    )
    return left


def unused(packages: Mapping[str, Sequence[str]], imported: Container[str]) -> list[Finding]:
    """Return the packages of which no module was imported.

    `packages` is importlib.metadata.packages_distributions() of the image: modules, and the packages that have them.
    """
    used = {name for module, names in packages.items() if module in imported for name in names}
    idle = {name for names in packages.values() for name in names} - used
    return [Finding("unused", name, "no module of it was imported") for name in sorted(idle)]


def read_excuses(rules: Container[str] = LAYER_RULES) -> list[Excuse]:
    """Return what hygiene.toml says about some rules."""
    entries = tomllib.loads(EXCUSES.read_text(encoding="utf-8"))["exception"]
    return [
        Excuse(entry["rule"], tuple(entry["paths"]), entry["reason"], entry.get("base", False))
        for entry in entries
        if entry["rule"] in rules
    ]


def main() -> None:
    """Check the image that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    image = inspect(sys.argv[1])["Id"]
    left = unexcused(list(findings_of(layers_of(image, tokens_in))), read_excuses())
    for finding in left:
        sys.stdout.write(f"{finding}\n")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    command(main)
