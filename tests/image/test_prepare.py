"""prepare in the image, as a SageMaker Processing job: folders and hosts as the platform gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.containers import Containers

pytestmark = pytest.mark.image

REVIEWS = Path(__file__).parents[2] / "data" / "reviews.tsv"
HOSTS = ["algo-1", "algo-2"]


def run_host(containers: Containers, folder: Path, host: str) -> None:
    config, output = folder / host / "config", folder / host / "output"
    for own in (config, output):
        own.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": host, "hosts": HOSTS}))
    mounts = {folder / "input": "processing/input:ro", output: "processing/output", config: "config:ro"}
    options = [word for source, place in mounts.items() for word in ("--volume", f"{source}:/opt/ml/{place}")]
    result = containers.run(["prepare", "--shard-by-host"], options)
    assert result.exit_code == 0, result.log


def test_two_hosts_share_the_files_and_lose_no_review(containers: Containers, tmp_path: Path) -> None:
    header, *rows = REVIEWS.read_text(encoding="utf-8").splitlines()
    (tmp_path / "input").mkdir()
    for part in range(3):
        lines = [header, *rows[part::3]]
        (tmp_path / "input" / f"part-{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for host in HOSTS:
        run_host(containers, tmp_path, host)
    manifests = [json.loads(file.read_text()) for file in tmp_path.glob("*/output/*/manifest-*.json")]
    assert {(manifest["split"], manifest["host"]) for manifest in manifests} == {
        (split, host) for split in ("train", "validation", "test") for host in HOSTS
    }
    assert sum(manifest["records"] for manifest in manifests) == len(rows)
