"""Debugger's and the profiler's rules in a request: what is evaluated, where its files go, what is done about it.

rules_of(request)       # (Rule("debugger", "LossNotDecreasing", {...}, "s3://..."), ...)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from local_sagemaker.container_contract.paths import join


@dataclass(frozen=True)
class Rule:
    """One rule configuration."""

    kind: Literal["debugger", "profiler"]
    configuration: dict[str, Any]
    output_uri: str
    """Prefix of its files."""

    @property
    def name(self) -> str:
        """RuleConfigurationName."""
        return str(self.configuration["RuleConfigurationName"])

    @property
    def has_folder(self) -> bool:
        """Whether the name can be a folder's, for the rule's files: SageMaker takes any."""
        return not {"", ".", ".."} & set(self.name.split("/")) and "\0" not in self.name

    @property
    def stops_training(self) -> bool:
        """Whether its action is to stop the job when it finds something.

        AWS's SDK writes `action_json` with a backslash before each quote; plain JSON is taken as well.
        """
        text = self.configuration.get("RuleParameters", {}).get("action_json", "[]")
        try:
            actions = json.loads(text.replace('\\"', '"'))
        except ValueError:
            return False
        return any(isinstance(action, dict) and action.get("name") == "stoptraining" for action in actions)


def rules_of(request: dict[str, Any]) -> tuple[Rule, ...]:
    """Return every rule of a CreateTrainingJob request."""
    output = request["OutputDataConfig"]["S3OutputPath"]
    kinds: tuple[tuple[Literal["debugger", "profiler"], str], ...] = (
        ("debugger", "DebugRuleConfigurations"),
        ("profiler", "ProfilerRuleConfigurations"),
    )
    return tuple(
        Rule(
            kind,
            configuration,
            join(
                configuration.get("S3OutputPath") or output,
                request["TrainingJobName"],
                "rule-output",
                configuration["RuleConfigurationName"],
            ),
        )
        for kind, field in kinds
        for configuration in request.get(field, [])
    )
