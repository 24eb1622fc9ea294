"""What scripts/image/ finds in images: archives as `docker save` writes them, records as Docker has them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from scripts.image import hygiene, opens
from scripts.image.content import difference
from scripts.image.diff import Image, differences
from scripts.image.diff import _content as read_for_diff
from scripts.image.errors import ExitCode, ImageError
from scripts.image.identity import tag_of
from scripts.image.layers import final_files, layers_of
from scripts.image.registry import MANIFEST
from scripts.image.sbom import bill_of_materials, license_table, lock_hashes
from scripts.image.weights_table import DEFAULT, read_table

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA" * 8 + "\n"


def record(**changes: Any) -> dict[str, Any]:
    labels = {"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.revision": COMMIT}
    image = {
        "Id": f"sha256:{'ab' * 32}",
        "Os": "linux",
        "Architecture": "amd64",
        "Created": "2026-11-24T22:03:33.086557715Z",
        "Size": 1000,
        "Config": {"Labels": labels, "Env": ["A=1"], "Entrypoint": ["python"], "Cmd": None},
        "RootFS": {"Layers": ["sha256:1", "sha256:2"]},
    }
    return image | changes


def archive(files: dict[str, tuple[bytes, int] | None]) -> bytes:
    """Return a layer: content and mode of each path, None for a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in files.items():
            member = tarfile.TarInfo(path)
            if file is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = len(file[0]), file[1]
                tar.addfile(member, io.BytesIO(file[0]))
    return buffer.getvalue()


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what puts layers in the place of an image: `docker save` writes them, in either engine's form."""

    def save(*layers: dict[str, tuple[bytes, int] | None], oci: bool = False) -> str:
        names = [f"blobs/sha256/{number}" if oci else f"{number}/layer.tar" for number in range(len(layers))]
        config = "blobs/sha256/config" if oci else "config.json"
        history = [{"created_by": "FROM base"}, {"created_by": "ENV A=1", "empty_layer": True}]
        history += [{"created_by": f"RUN step {number}"} for number in range(1, len(layers))]
        documents = {name: archive(layer) for name, layer in zip(names, layers, strict=True)}
        documents[config] = json.dumps({"history": history}).encode()
        documents["manifest.json"] = json.dumps([{"Config": config, "Layers": names}]).encode()
        (tmp_path / "saved.tar").write_bytes(archive({name: (text, 0o644) for name, text in documents.items()}))
        (tmp_path / "docker").write_text(f"#!/bin/sh\ncat {tmp_path}/saved.tar\n", encoding="utf-8")
        (tmp_path / "docker").chmod(0o755)
        return "image"

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return save


@pytest.mark.parametrize("oci", [False, True])
def test_layers_are_read_in_order_whatever_engine_saved_them(saved: Any, oci: bool) -> None:  # noqa: FBT001
    layers = layers_of(saved({"a": (b"1", 0o644)}, {"b": (b"22", 0o755)}, oci=oci), lambda _path, text: text.read())
    assert [layer.command for layer in layers] == ["FROM base", "RUN step 1"]
    assert layers[0].files["a"].content == b"1"
    assert (layers[1].files["b"].size, layers[1].files["b"].mode) == (2, 0o755)


def test_a_container_sees_neither_what_was_deleted_nor_what_was_replaced(saved: Any) -> None:
    first = {"d": None, "d/a": (b"1", 0o644), "d/b": (b"1", 0o644), "e": None, "e/x": (b"1", 0o644), "f": (b"1", 0o644)}
    second = {"d/.wh.a": (b"", 0o644), "e/.wh..wh..opq": (b"", 0o644), "e/y": (b"1", 0o644), "f": (b"22", 0o644)}
    files = final_files(layers_of(saved(first, second)))
    assert sorted(files) == ["d", "d/b", "e", "e/y", "f"]
    assert files["f"].size == 2


@pytest.mark.parametrize(
    ("path", "content", "mode", "rule"),
    [
        ("home/me/.aws/credentials", b"x", 0o600, "secret"),
        ("etc/pip.conf", b"x", 0o644, "secret"),
        ("usr/local/share/ca-certificates/company.crt", b"x", 0o644, "secret"),
        ("opt/deploy.txt", KEY.encode(), 0o644, "secret"),
        ("opt/settings.py", b'KEY = "AKIA' + b"Q" * 16 + b'"', 0o644, "secret"),
        ("opt/notes", b"x" * 100_000 + b" ghp_" + b"a1" * 18, 0o644, "secret"),
        ("usr/bin/x86_64-linux-gnu-gcc-12", b"x", 0o755, "compiler"),
        ("usr/include/stdio.h", b"x", 0o644, "compiler"),
        ("root/.cache/pip/http/a", b"x", 0o644, "cache"),
        ("var/cache/apt/archives/a.deb", b"x", 0o644, "cache"),
        ("var/log/dpkg.log", b"x", 0o644, "log"),
        ("opt/open", b"x", 0o666, "world-writable"),
        ("usr/bin/become-root", b"x", 0o4755, "setuid"),
    ],
)
def test_what_should_not_be_in_a_layer_is_found_even_if_the_next_one_deletes_it(
    saved: Any, path: str, content: bytes, mode: int, rule: str
) -> None:
    folder, _, name = path.rpartition("/")
    layers = layers_of(saved({path: (content, mode)}, {f"{folder}/.wh.{name}": (b"", 0o644)}), hygiene.tokens_in)
    (finding,) = hygiene.findings_of(layers)
    assert (finding.rule, finding.path, finding.layer) == (rule, path, "FROM base")


def test_an_exception_is_for_its_rule_and_path_alone_and_has_to_be_needed() -> None:
    findings = [hygiene.Finding("secret", "a/cert.pem", ""), hygiene.Finding("cache", "a/cert.pem", "")]
    needed = hygiene.Excuse("secret", ("a/*.pem",), "public")
    assert hygiene.unexcused(findings, [needed]) == findings[1:]
    (idle,) = hygiene.unexcused(findings[:1], [needed, hygiene.Excuse("log", ("b",), "gone")])
    assert (idle.rule, idle.path) == ("exception", "b")


def test_every_exception_has_a_reason() -> None:
    assert all(len(excuse.reason) > 20 for excuse in hygiene.read_excuses())


def test_a_diff_names_settings_packages_and_files(saved: Any) -> None:
    metadata = "opt/lib/numpy-1.dist-info/METADATA"
    status = "Package: bash\nStatus: install ok installed\nVersion: {}\n\n"
    images = [
        Image(
            record(Config={"Labels": {"v": version}, "Env": [f"A={version}"]}),
            final_files(
                layers_of(
                    saved(
                        {
                            metadata: (f"Name: numpy\nVersion: {version}\n".encode(), 0o644),
                            "var/lib/dpkg/status": (status.format(version).encode(), 0o644),
                            f"only-in-{version}": (b"", 0o644),
                            "same": (b"1", 0o644),
                            "changed": (b"1", 0o600 if version == "2" else 0o644),
                        }
                    ),
                    read_for_diff,
                )
            ),
        )
        for version in ("1", "2")
    ]
    found = differences(*images, times=False)
    assert found["settings"] == ["! label v: 1 => 2", "! variable A: 1 => 2"]
    assert found["packages"] == ["! debian bash: 1 => 2", "! python numpy: 1 => 2"]
    files = "\n".join(found["files"])
    assert "- /only-in-1 " in files
    assert "+ /only-in-2 " in files
    assert "! /changed: file 644 0:0 1 bytes 6b86b273ff34 => file 600 0:0 1 bytes 6b86b273ff34" in files
    assert "same" not in files
    assert not any(differences(images[0], images[0], times=True).values())


def test_the_tag_is_the_version_and_the_short_commit() -> None:
    assert tag_of(record(), "refuse") == "1.2.3-0123456789ab"


def test_an_image_with_other_weights_than_the_default_has_a_tag_of_its_own() -> None:
    labels = record()["Config"]["Labels"]
    name = "distilbert-trainer.weights.sha256"
    assert tag_of(record(Config={"Labels": labels | {name: read_table()[DEFAULT].sha256}}), "refuse") == tag_of(
        record(), "refuse"
    )
    others = record(Config={"Labels": labels | {name: "5e3f1108" + "0" * 56}})
    assert tag_of(others, "refuse") == "1.2.3-0123456789ab-weights-5e3f1108"


@pytest.mark.parametrize(
    ("changes", "exit_code", "said"),
    [
        ({"Architecture": "arm64"}, ExitCode.BUILD, "make image PLATFORM=linux/amd64"),
        ({"Descriptor": {"mediaType": "application/vnd.oci.image.index.v1+json"}}, ExitCode.BUILD, "does not take"),
        ({"Config": {"Labels": None}}, ExitCode.UNTRACEABLE, "no tag can be made"),
        (
            {
                "Config": {
                    "Labels": {
                        "org.opencontainers.image.version": "1",
                        "org.opencontainers.image.revision": f"{COMMIT}-dirty",
                    }
                }
            },
            ExitCode.UNTRACEABLE,
            "--dirty mark",
        ),
    ],
)
def test_an_image_that_no_tag_fits(changes: dict[str, Any], exit_code: ExitCode, said: str) -> None:
    with pytest.raises(ImageError, match=said) as error:
        tag_of(record(**changes), "refuse")
    assert error.value.exit_code == exit_code


def test_docker_media_types_of_containerds_image_store_are_taken() -> None:
    assert tag_of(record(Descriptor={"mediaType": MANIFEST}), "refuse")


def test_content_is_layers_and_settings_not_the_time_of_the_build() -> None:
    image = record()
    published = {
        "created": "2020-01-01T00:00:00Z",
        "config": image["Config"] | {"Cmd": []},
        "rootfs": {"diff_ids": ["sha256:1", "sha256:2"]},
    }
    assert difference(published, image) == ""
    published["rootfs"]["diff_ids"] = ["sha256:1", "sha256:3", "sha256:4"]
    published["config"] = published["config"] | {"Entrypoint": ["sh"]}
    assert difference(published, image) == "layers 1, 2 of 2, settings Entrypoint"


INVENTORY: dict[str, Any] = {
    "python": [
        {
            "name": "Some_Package",
            "version": "1.0",
            "summary": "does something",
            "license_expression": "",
            "license": "",
            "classifiers": ["License :: OSI Approved :: MIT License"],
            "license_files": ["/opt/venv/some/LICENSE"],
        }
    ],
    "debian": [
        {
            "Package": "libc6",
            "Version": "2.36-9+deb12u14",
            "Architecture": "amd64",
            "source:Package": "glibc",
            "source:Version": "2.36-9+deb12u14",
            "licenses": ["GPL-2", "LGPL-2.1"],
        }
    ],
    "bundled": [{"name": "hdf5", "version": "1.14.6", "path": "/opt/venv/h5py.libs/libhdf5.so"}],
    "weights": {
        "name": f"small@{COMMIT}",
        "source": f"hub reviews/small@{COMMIT}",
        "licence": {"model": "Apache-2.0"},
        "sha256": "3" * 64,
        "files": {"model.safetensors": "3" * 64, "vocab.txt": "4" * 64},
    },
    "os_release": {"ID": "debian", "VERSION_ID": "12"},
    "lock": f"some-package==1.0 \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}\n    # via x\n",
}


def test_the_bill_of_materials_is_valid_and_the_same_for_the_same_image() -> None:
    from cyclonedx.schema import SchemaVersion

    text = bill_of_materials(INVENTORY, record())
    assert text == bill_of_materials(INVENTORY, record())
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", SchemaVersion.V1_6.to_version())
    debian, bundled, weights, python = sorted(bill["components"], key=lambda component: str(component["purl"]))
    assert python["purl"] == "pkg:pypi/some-package@1.0"
    assert bundled["purl"] == "pkg:generic/hdf5@1.14.6"
    assert (weights["type"], weights["name"], weights["version"]) == ("machine-learning-model", "small", COMMIT)
    assert weights["purl"] == f"pkg:huggingface/reviews/small@{COMMIT}"
    assert weights["hashes"] == [{"alg": "SHA-256", "content": "3" * 64}]
    assert {"name": "distilbert-trainer:sha256:vocab.txt", "value": "4" * 64} in weights["properties"]
    assert weights["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    assert python["licenses"] == [{"license": {"name": "MIT License"}}]
    assert python["properties"][0]["value"] == f"{'1' * 64} {'2' * 64}"
    assert debian["purl"].startswith("pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12")
    assert {entry["license"].get("name", entry["license"].get("id")) for entry in debian["licenses"]} == {
        "GPL-2",
        "LGPL-2.1",
    }
    assert "2026-11-24T22:03:33" in bill["metadata"]["timestamp"]
    assert {"name": "distilbert-trainer:platform", "value": "linux/amd64"} in bill["metadata"]["component"][
        "properties"
    ]


def test_the_licence_table_says_where_each_text_is() -> None:
    header, *rows = license_table(INVENTORY).splitlines()
    assert header.split("\t")[0] == "kind"
    assert rows[0].split("\t") == ["python", "Some_Package", "1.0", "MIT License", "/opt/venv/some/LICENSE"]
    assert rows[1].split("\t")[3:] == ["GPL-2, LGPL-2.1", "/usr/share/doc/libc6/copyright"]
    assert rows[2].split("\t")[:2] == ["weights", f"small@{COMMIT}"]


def test_the_bill_of_an_image_without_weights_has_none() -> None:
    components = json.loads(bill_of_materials(INVENTORY | {"weights": None}, record()))["components"]
    assert {component["type"] for component in components} == {"library"}


def test_the_hashes_of_the_real_lock_are_all_read() -> None:
    lock = (Path(__file__).parents[2] / "container" / "requirements.txt").read_text(encoding="utf-8")
    hashes = lock_hashes(lock)
    assert sum(map(len, hashes.values())) == lock.count("--hash=sha256:")
    assert all(hashes.values())


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/team/trainer.git", "https://github.com/team/trainer.git"),
        ("https://user:SECRET@github.com/team/trainer", "https://github.com/team/trainer"),
        ("https://SECRET@github.com:443/team/trainer", "https://github.com:443/team/trainer"),
        ("https://user:SEC@RET@host/trainer", "https://host/trainer"),
        ("https://host/trainer.git?private_token=SECRET", "https://host/trainer.git"),
        ("https://host/trainer.git#SECRET", "https://host/trainer.git"),
        ("ssh://git:SECRET@host:22/trainer", "ssh://host:22/trainer"),
        ("git@github.com:team/trainer.git", "ssh://github.com/team/trainer.git"),
        ("SECRET@host:team/trainer", "ssh://host/team/trainer"),
        ("user:SECRET@host:team/trainer", "ssh://host/team/trainer"),
        ("https://user:SECRET@[::1]:80/trainer", "https://[::1]:80/trainer"),
        ("https://user:SEC/RET@host/trainer", "unknown"),
        ("https://user:12?SECRET@host/trainer", "unknown"),
        ("https://user:12#SECRET@host/trainer", "unknown"),
        ("https://host/trainer;token=SECRET", "unknown"),
        ("https://host/SECRET@trainer", "unknown"),
        ("HTTPS://user:SECRET@host/trainer", "unknown"),
        ("ftp://user:SECRET@host/trainer", "unknown"),
        ("codecommit::eu-west-1://SECRET@trainer", "unknown"),
        ("ext::sh -c SECRET", "unknown"),
        ("/srv/git/SECRET", "unknown"),
        ("../SECRET", "unknown"),
        ("file:///srv/SECRET", "unknown"),
    ],
)
def test_no_form_of_a_remote_brings_a_credential_into_the_labels(remote: str, address: str, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "image" / "source_address.sh"
    for command in (["git", "init", "--quiet"], ["git", "remote", "add", "origin", remote]):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{address}\n", "")


def test_the_provenance_names_commit_inputs_and_builder() -> None:
    from scripts.image.provenance import statement

    show = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(show, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    labels = {"org.opencontainers.image.revision": commit, "org.opencontainers.image.version": "1.2.3"}
    layers = [f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"]
    image = {"labels": labels, "layers": layers, "lock_sha256": "3" * 64}
    found = statement(("registry/name", f"sha256:{'4' * 64}"), image, b"bill", {})
    assert found["subject"] == [{"name": "registry/name", "digest": {"sha256": "4" * 64}}]
    definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    source, *inputs = definition["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": commit}
    sums = {entry["name"]: entry["digest"]["sha256"] for entry in inputs}
    of_commit = subprocess.run(["git", "show", "HEAD:Dockerfile"], stdout=subprocess.PIPE, check=True).stdout
    assert sums["Dockerfile"] == hashlib.sha256(of_commit).hexdigest()
    assert (sums["the base image's layers"], sums["the lock in the image"]) == ("1" * 64, "3" * 64)
    assert run["builder"] == {"id": "urn:distilbert-trainer:workstation"}
    assert run["byproducts"][0]["digest"]["sha256"] == hashlib.sha256(b"bill").hexdigest()

    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_RUN_ID": "7",
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_WORKFLOW_REF": "owner/name/.github/workflows/publish.yml@refs/heads/main",
    }
    run = statement(("registry/name", "sha256:4"), image, b"bill", github)["predicate"]["runDetails"]
    assert run["builder"]["id"] == "https://example.org/owner/name/.github/workflows/publish.yml@refs/heads/main"
    assert run["metadata"]["invocationId"] == "https://example.org/owner/name/actions/runs/7/attempts/2"
    unknown = {**image, "labels": {}}
    assert "Dockerfile" not in str(statement(("registry/name", "sha256:4"), unknown, b"bill", {}))


# Which files were opened


def test_what_a_child_process_has_read_is_told_from_what_nothing_has_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = tmp_path / "packages" / "lib" / "python3.11" / "site-packages"
    for name in ("one/read.py", "one/other/not_read.py", "two/not_read.py"):
        file = packages / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"#" * 1_000_000)
        os.utime(file, (opens.NEVER, 1))
    subprocess.run(["cat", str(packages / "one" / "read.py")], stdout=subprocess.DEVNULL, check=True)
    opens.report(tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["1.0", "MB", "of", "3.0", "MB", "were", "opened"]
    assert ["1.0", "2.0", "one"] in lines
    assert ["0.0", "1.0", "two"] in lines
    assert lines[-2:] == [["1.0", "two"], ["1.0", "one/other"]]
