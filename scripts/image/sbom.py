"""A bill of materials (CycloneDX 1.6) and a licence table, of an image's inventory.

bill_of_materials(inventory, image_record) -> JSON text, the same for the same image
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from scripts.image.engine import platform_of

_LICENSES = LicenseFactory()
_NAMESPACE = uuid.UUID("5c3b7a0e-6f0c-4b62-9f0b-3d1f1f0f5b1e")
"""Of the bills' serial numbers: a bill of the same image has the same one."""


def bill_of_materials(inventory: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """Return the CycloneDX document of an image: every Python and every Debian package, with purl and licences.

    The pretrained weights are a component of type machine-learning-model. Of what wheels bring along it has the
    libraries whose version the inventory can tell.
    """
    labels = image["Config"].get("Labels") or {}
    root = Component(
        name=labels.get("org.opencontainers.image.title", "image"),
        version=labels.get("org.opencontainers.image.version", ""),
        type=ComponentType.CONTAINER,
        bom_ref="image",
        properties=[
            Property(name="distilbert-trainer:image-id", value=image["Id"]),
            Property(name="distilbert-trainer:platform", value=platform_of(image)),
            Property(
                name="distilbert-trainer:revision", value=labels.get("org.opencontainers.image.revision", "unknown")
            ),
        ],
    )
    hashes = lock_hashes(inventory["lock"])
    components = [_python(package, hashes) for package in inventory["python"]]
    components += [_debian(package, inventory["os_release"]) for package in inventory["debian"]]
    components += _bundled(inventory["bundled"])
    components += _weights(inventory.get("weights"))
    bom = Bom(components=components, serial_number=uuid.uuid5(_NAMESPACE, image["Id"]))
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromisoformat(re.sub(r"\.\d+", "", image["Created"]))
    bom.register_dependency(root, components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def license_table(inventory: Mapping[str, Any]) -> str:
    """Return a line for each package and for the weights: kind, name, version, licences, where their text is."""
    rows = [("kind", "package", "version", "licences", "text in the image")]
    rows += sorted(
        ("python", package["name"], package["version"], python_license(package), " ".join(package["license_files"]))
        for package in inventory["python"]
    )
    rows += sorted(
        (
            "debian",
            package["Package"],
            package["Version"],
            ", ".join(package["licenses"]) or "unknown",
            f"/usr/share/doc/{package['Package']}/copyright",
        )
        for package in inventory["debian"]
    )
    if weights := inventory.get("weights"):
        row = ("weights", weights["name"], weights["sha256"][:12], _weights_license(weights))
        rows.append((*row, "/opt/distilbert-trainer/weights"))
    return "".join("\t".join(row) + "\n" for row in rows)


def lock_hashes(lock: str) -> dict[str, list[str]]:
    """Return the sha256 sums that a requirements file allows for each package."""
    hashes: dict[str, list[str]] = {}
    for name, text in re.findall(r"^([a-z0-9._-]+)==(.*?)(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL):
        hashes[name] = re.findall(r"--hash=sha256:([0-9a-f]{64})", text)
    return hashes


def normalized(name: str) -> str:
    """Return a Python package's name as indexes and lock files write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def python_license(package: Mapping[str, Any]) -> str:
    """Return a package's licence: the SPDX expression, else the short name, else the classifiers."""
    expression, name = package["license_expression"], package["license"].strip()
    classified = [text.rpartition(" :: ")[2] for text in package["classifiers"]]
    # Some packages have their licence's whole text there.
    short = name if name and len(name) < 60 and "\n" not in name else ""
    return expression or short or ", ".join(classified) or "unknown"


def _python(package: Mapping[str, Any], hashes: Mapping[str, list[str]]) -> Component:
    name = normalized(package["name"])
    purl = PackageURL("pypi", None, name, package["version"])
    return Component(
        name=package["name"],
        version=package["version"],
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        description=package["summary"] or None,
        licenses=[_LICENSES.make_from_string(python_license(package))],
        properties=[Property(name="distilbert-trainer:lock-sha256", value=" ".join(hashes[name]))]
        if name in hashes
        else None,
    )


def _debian(package: Mapping[str, Any], os_release: Mapping[str, str]) -> Component:
    system = os_release.get("ID", "debian")
    qualifiers = {"arch": package["Architecture"], "distro": f"{system}-{os_release.get('VERSION_ID', '')}"}
    if package["source:Package"] != package["Package"]:
        qualifiers["upstream"] = f"{package['source:Package']}@{package['source:Version']}"
    purl = PackageURL("deb", system, package["Package"], package["Version"], qualifiers)
    return Component(
        name=package["Package"],
        version=package["Version"],
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        licenses=list(_named(package["licenses"])),
    )


def _bundled(libraries: Iterable[Mapping[str, str]]) -> Iterable[Component]:
    paths: dict[tuple[str, str], list[str]] = {}
    for library in libraries:
        paths.setdefault((library["name"], library["version"]), []).append(library["path"])
    for (name, version), files in paths.items():
        purl = PackageURL("generic", None, name, version)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=str(purl),
            properties=[Property(name="distilbert-trainer:bundled-as", value=file) for file in files],
        )


def _weights(record: Mapping[str, Any] | None) -> Iterable[Component]:
    """Yield what the image's weights.json says; a purl only for weights of a hub, at their commit."""
    if record is None:
        return
    name, _, version = record["name"].partition("@")
    kind, _, repository = record["source"].partition(" ")
    purl = None
    if kind == "hub":
        owner, _, model = repository.partition("@")[0].rpartition("/")
        purl = PackageURL("huggingface", owner, model, version)
    files = record.get("files") or {"model.safetensors": record["sha256"]}
    yield Component(
        name=name,
        version=version or None,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        purl=purl,
        bom_ref=f"weights:{record['sha256']}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=record["sha256"])],
        licenses=list(_named([_weights_license(record)])),
        properties=[
            Property(name="distilbert-trainer:source", value=record["source"]),
            *(Property(name=f"distilbert-trainer:sha256:{file}", value=files[file]) for file in sorted(files)),
        ],
    )


def _weights_license(record: Mapping[str, Any]) -> str:
    return str(record["licence"].get("model", "unknown"))


def _named(names: Iterable[str]) -> Iterable[License]:
    return (_LICENSES.make_with_name(name) for name in names)
