"""The image's own check of itself: passes where the image is whole, and names what is not."""

import pytest
from containers import Containers

pytestmark = pytest.mark.image

LOCKED_DOWN = ["--read-only", "--tmpfs", "/tmp", "--user", "12345:0", "--cap-drop", "ALL"]


def test_smoke_passes_on_a_read_only_image_as_any_user_without_a_network(containers: Containers) -> None:
    result = containers.run(["smoke"], LOCKED_DOWN, timeout=300)
    assert result.exit_code == 0, result.log
    checks = [line.split()[1].rstrip(":") for line in result.log.splitlines() if line.startswith("ok ")]
    assert checks[:3] == ["prepare", "train", "finite"]
    for artifact in (
        "tensorflow/saved_model/0",
        "transformers/fine-tuned/config.json",
        "transformers/fine-tuned/model.safetensors",
        "transformers/fine-tuned/tokenizer.json",
        "code/inference.py",
        "metrics/evaluation.json",
        "metrics/confusion_matrix.png",
        "metrics/training_curves.png",
        "metrics/predictions.csv",
        "run.json",
    ):
        assert artifact in checks
    assert "smoke: every check passed in" in result.log.splitlines()[-1]


def test_smoke_names_what_fails(containers: Containers) -> None:
    result = containers.run(["smoke"], ["--tmpfs", "/opt/distilbert-trainer/weights"])
    assert result.exit_code == 1
    assert result.log.splitlines()[-1].startswith("FAILED  prepare: exit code 12: ")


def test_smoke_says_what_it_needs_where_nothing_can_be_written(containers: Containers) -> None:
    result = containers.run(["smoke"], ["--read-only"])
    assert result.exit_code == 13
    assert "docker run --tmpfs /tmp" in result.log
