"""Write how an image came to be: an in-toto statement with SLSA's provenance (slsa.dev/provenance/v1).

    python -m scripts.image.provenance --record FOLDER REPOSITORY DIGEST

FOLDER has the image's image.json and sbom.cdx.json (scripts/image/describe.py) and gets provenance.intoto.json. Its
subject is the image in the registry. It names the commit, the hashes of what was built from, and the builder: the
workflow's run in GitHub Actions, else a workstation, whose name is nobody's business.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.image.errors import command

STATEMENT = "provenance.intoto.json"

_LABELS = "org.opencontainers.image."
_BUILD_TYPE = "urn:distilbert-trainer:build_image.sh:v1"
_WORKSTATION = "urn:distilbert-trainer:workstation"
_INPUTS = ("Dockerfile", "container/requirements.txt", "container/weights-requirements.txt", "scripts/build_image.sh")


def statement(
    subject: tuple[str, str], record: Mapping[str, Any], sbom: bytes, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return the statement about `subject`, an image's repository and digest, of its record in image.json."""
    name, digest = subject
    labels = record["labels"]
    version, revision, source = (
        labels.get(f"{_LABELS}{what}", "unknown") for what in ("version", "revision", "source")
    )
    commit = revision.removesuffix("-dirty")
    inputs = [{"uri": f"git+{source}@{commit}", "digest": {"gitCommit": commit}}]
    inputs += [{"name": path, "digest": {"sha256": sum_}} for path, sum_ in _hashes_at(commit)]
    inputs.append({"name": "the base image's layers", "digest": {"sha256": _hash_of(record["layers"][0])}})
    if record["lock_sha256"]:
        inputs.append({"name": "the lock in the image", "digest": {"sha256": record["lock_sha256"]}})
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": _hash_of(digest)}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {"version": version, "revision": revision, "source": source},
                "resolvedDependencies": inputs,
            },
            "runDetails": {
                **_builder(environment),
                "byproducts": [{"name": "sbom.cdx.json", "digest": {"sha256": hashlib.sha256(sbom).hexdigest()}}],
            },
        },
    }


def _builder(environment: Mapping[str, str]) -> dict[str, Any]:
    if environment.get("GITHUB_ACTIONS") != "true":
        return {"builder": {"id": _WORKSTATION}}
    server, repository = environment["GITHUB_SERVER_URL"], environment["GITHUB_REPOSITORY"]
    run = f"{server}/{repository}/actions/runs/{environment['GITHUB_RUN_ID']}"
    return {
        "builder": {"id": f"{server}/{environment['GITHUB_WORKFLOW_REF']}"},
        "metadata": {"invocationId": f"{run}/attempts/{environment['GITHUB_RUN_ATTEMPT']}"},
    }


def _hashes_at(commit: str) -> Iterator[tuple[str, str]]:
    """Yield the inputs' hashes as the commit has them; none of a commit that this checkout does not know."""
    for path in _INPUTS:
        show = ["git", "show", f"{commit}:{path}"]
        found = subprocess.run(show, capture_output=True, check=False)  # noqa: S603 - this project's own
        if found.returncode == 0:
            yield path, hashlib.sha256(found.stdout).hexdigest()


def _hash_of(digest: str) -> str:
    return digest.removeprefix("sha256:")


def main() -> None:
    """Write the statement about the image that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("repository")
    parser.add_argument("digest")
    options = parser.parse_args()
    record = json.loads((options.record / "image.json").read_text(encoding="utf-8"))
    sbom = (options.record / "sbom.cdx.json").read_bytes()
    content = statement((options.repository, options.digest), record, sbom, os.environ)
    (options.record / STATEMENT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(main)
