"""The debugger in the image: what it saves in all ways to compute, who can read it, what pip says of its packages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.containers import SOURCES, Containers, docker
from tests.helpers.real_job import RealJob
from tests.helpers.tensor_files import read_collections, read_folder

pytestmark = pytest.mark.image

TESTS = Path(__file__).parents[1]


WITHOUT, WITH_BOTH = ("False", "False"), ("True", "True")


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param([WITHOUT, WITH_BOTH], id="neither, both"),
        pytest.param([("False", "True"), ("True", "False")], id="AMP, XLA", marks=pytest.mark.long),
    ],
)
def test_five_collections_with_and_without_xla_and_amp_equal_what_was_recorded_beside(
    containers: Containers, tmp_path: Path, ways: list[tuple[str, str]]
) -> None:
    result = containers.run(
        ["/repository/tests/helpers/debugger_parity.py", "/jobs", *map(",".join, ways)],
        [
            *("--entrypoint", "python", "--env", f"PYTHONPATH={SOURCES}:/repository"),
            *("--volume", f"{TESTS}:/repository/tests:ro", "--volume", f"{tmp_path}:/jobs"),
        ],
        timeout=550,
    )
    assert result.exit_code == 0, result.log
    reports = [json.loads(line) for line in result.log.splitlines() if line.startswith('{"xla"')]
    assert [(report["xla"], report["amp"]) for report in reports] == ways
    assert [report["compute_dtype"] for report in reports] == [
        "bfloat16" if amp == "True" else "float32" for _, amp in ways
    ]
    for report in reports:
        assert report["steps"] == [0, 2, 4]
        tensors = report["tensors"]
        assert (tensors["losses"], tensors["metrics"]) == (1, 3)  # accuracy, examples, batch
        assert tensors["gradients"] == tensors["weights"] + tensors["biases"]
        assert tensors["gradients"] > 30
    for folder in tmp_path.glob("xla-*/ml/output/tensors"):
        steps = read_folder(folder)
        assert [step.mode_step for step in steps if step.mode == "TRAIN"] == [0, 2, 4]
        assert (folder / "training_job_end.ts").exists()


def test_on_sagemaker_the_hooks_files_are_what_rule_containers_read(containers: Containers, tmp_path: Path) -> None:
    job = RealJob(containers, tmp_path, records={"train": 64, "validation": 20, "test": 30})
    job.configure(use_xla="False", use_amp="False", run_test="False", enable_tensorboard="True")
    config = job.root / "input" / "config"
    hook = {
        "LocalPath": "/opt/ml/output/tensors",
        "S3OutputPath": "s3://bucket/tensors",
        "HookParameters": {"save_interval": "2", "export_tensorboard": "true", "tensorboard_dir": "hook_tensorboard/"},
        "CollectionConfigurations": [
            {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}},
            {"CollectionName": "gradients", "CollectionParameters": {"reductions": "abs_mean"}},
            {"CollectionName": "layers"},
        ],
    }
    (config / "debughookconfig.json").write_text(json.dumps(hook))
    board = {"LocalPath": "/opt/ml/output/tensorboard", "S3OutputPath": "s3://bucket/board"}
    (config / "tensorboardoutputconfig.json").write_text(json.dumps(board))
    result = job.run("--env", "TRAINING_JOB_NAME=job")
    assert result.exit_code == 0, result.log

    folder = job.root / "output" / "tensors"
    steps = [step for step in read_folder(folder) if step.mode == "TRAIN"]
    assert [step.mode_step for step in steps] == [0, 1, 2, 3]
    reductions = [sum(name.startswith("smdebug/reductions/abs_mean/gradients") for name in s.tensors) for s in steps]
    assert reductions == [reductions[0], 0, reductions[0], 0]
    assert reductions[0] > 90
    assert read_collections(folder)["losses"]["save_config"]["TRAIN"]["save_interval"] == 1
    assert not (folder / "training_job_end.ts").exists(), "the platform writes it"
    assert "debugger: collection layers stays empty" in result.log

    tensorboard = job.root / "output" / "tensorboard"
    assert {path.name for path in tensorboard.iterdir()} >= {"TRAIN", "EVAL", "train", "validation"}
    record = json.loads((job.root / "model" / "run.json").read_text())["debugger"]
    assert record["enabled"]
    assert record["collections"]["layers"] == 0
    assert 0 < record["share_of_fit"] < 1


def test_a_required_debugger_that_cannot_run_ends_the_job_with_its_code(containers: Containers, tmp_path: Path) -> None:
    job = RealJob(containers, tmp_path)
    job.configure(use_xla="False", use_amp="False", require_sagemaker_debugger="True")
    config = {"HookParameters": {"reductions": "median"}}
    (job.root / "input" / "config" / "debughookconfig.json").write_text(json.dumps(config))
    result = job.run("--env", "TRAINING_JOB_NAME=job")
    assert result.exit_code == 20, result.log
    assert job.failure.startswith("No tensors are saved, and require_sagemaker_debugger is True: HookParameters: 'med")


def test_without_a_debug_hook_config_the_verdicts_are_in_the_jobs_output(
    containers: Containers, tmp_path: Path
) -> None:
    job = RealJob(containers, tmp_path)
    job.configure(
        use_xla="False", use_amp="False", learning_rate="10", epochs="30", debugger_rule_action="stop", run_test="False"
    )
    result = job.run("--env", "TRAINING_JOB_NAME=job")
    assert result.exit_code == 0, result.log
    run = json.loads((job.root / "model" / "run.json").read_text())
    assert run["steps"]["done"] < run["steps"]["of"]
    kept = job.root / "output" / "data" / "debugger"
    statuses = json.loads((kept / "rules.json").read_text())
    assert {"LossNotDecreasing", "ExplodingTensor", "VanishingGradient"} <= {
        s["RuleConfigurationName"] for s in statuses
    }
    found = {status["RuleConfigurationName"] for status in statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    assert run["stopped"]["rule"] in found
    assert read_folder(kept / "tensors")


def test_pip_complains_of_the_declared_overrides_and_of_nothing_else(containers: Containers) -> None:
    overrides = (TESTS.parent / "container" / "overrides.txt").read_text(encoding="utf-8")
    overruled = re.findall(r"^[a-z][a-z-]*", overrides, re.MULTILINE)
    assert overruled == ["protobuf", "tensorflow", "libclang"], "each with its reason in overrides.txt"
    result = containers.run(["-m", "pip", "check"], ["--entrypoint", "python"])
    of_amd64 = [
        "tensorflow-cpu 2.21.0 requires libclang, which is not installed.",
        "tf-keras 2.21.0 requires tensorflow, which is not installed.",
    ]
    of_arm64 = ["tensorflow 2.21.0 requires libclang, which is not installed."]
    architecture = docker("image", "inspect", "--format", "{{.Architecture}}", containers.image).strip()
    assert re.sub(r"protobuf [0-9.]+[0-9]", "protobuf", result.log).splitlines() == [
        *{"amd64": of_amd64, "arm64": of_arm64}[architecture],
        "smdebug 1.0.34 has requirement protobuf<=3.20.3,>=3.20.0, but you have protobuf.",
    ]
