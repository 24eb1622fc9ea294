"""A sick run in the image: it ends early and says why, and the command `rules` finds the same afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.containers import Containers
from tests.helpers.real_job import RealJob

pytestmark = pytest.mark.image


def test_a_sick_run_ends_early_and_rules_finds_why(containers: Containers, tmp_path: Path) -> None:
    job = RealJob(containers, tmp_path)
    job.configure(
        epochs="100", learning_rate="1", debugger_rules="LossNotDecreasing(num_steps=1)", debugger_rule_action="stop"
    )
    hook = job.root / "input" / "config" / "debughookconfig.json"
    hook.write_text(json.dumps({"HookParameters": {"save_interval": "1"}}))
    result = job.run()
    assert result.exit_code == 0, result.log

    run = json.loads((job.root / "model" / "run.json").read_text())
    stopped = run["stopped"]
    assert stopped["rule"] == "LossNotDecreasing"
    assert stopped["value"] > 5
    assert run["steps"]["done"] < 100 < run["steps"]["of"]
    assert f"debugger: rule LossNotDecreasing found an issue: {stopped['finding']}" in result.log
    assert f"stopped by rule LossNotDecreasing at step {run['steps']['done']}" in result.log
    assert (job.root / "model" / "transformers" / "fine-tuned" / "config.json").exists()

    mount = ["--volume", f"{job.root}:/opt/ml"]
    rules = [
        {"RuleConfigurationName": "mine", "RuleParameters": {"rule_to_invoke": "LossNotDecreasing", "num_steps": "1"}}
    ]
    (job.root / "rules.json").write_text(json.dumps(rules))
    arguments = ["/opt/ml/output/tensors", "--config", "/opt/ml/rules.json", "--output", "/opt/ml/statuses.json"]
    afterwards = containers.run(["rules", *arguments], [*mount, "--read-only"])
    assert afterwards.exit_code == 0, afterwards.log
    (status,) = json.loads((job.root / "statuses.json").read_text())
    assert status["RuleEvaluationStatus"] == "IssuesFound"
    assert status["StatusDetails"].endswith(stopped["finding"])
    assert "IssuesFound" in afterwards.log
