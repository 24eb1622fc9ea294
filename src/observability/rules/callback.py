"""Rules evaluated while the run trains, on what the hook has saved; with the action to stop.

    watch = RulesCallback(configured, tensors=Path("/opt/ml/output/tensors"), on_finding=stop.request)
    model.fit(..., callbacks=[*others, hook, watch, supervision])
    record = watch.finish()            # after the hook's end

AWS's action StopTraining stops the job from outside; here the run ends as on any stop: with a checkpoint and a model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tf_keras

from observability.rule import finite
from observability.rules.configuration import ConfiguredRule
from observability.rules.evaluation import ISSUES, Evaluation, RuleStatus
from observability.rules.tensor_reader import TensorReader, line

log = logging.getLogger(__name__)

SHARE_OF_TIME = 0.01
"""Of training that looking for new tensors and evaluating them may take; they are looked for less often to keep it."""
SECONDS_TO_START = 2.0
"""That it may take beyond its share: opening smdebug's readers."""


class RulesCallback(tf_keras.callbacks.Callback):
    """Evaluates rules between steps; stands after the hook, and before whatever carries out a stop."""

    def __init__(
        self,
        rules: Sequence[ConfiguredRule],
        tensors: Path | None,
        on_finding: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        super().__init__()
        self.reader = TensorReader(tensors) if tensors and rules else None
        """None where there is nothing to evaluate."""
        self.evaluation = Evaluation(rules)
        self.on_finding = on_finding
        self.error: str | None = None
        self.seconds = 0.0
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Evaluate what was saved up to the step before, if it is time."""
        del batch, logs
        allowed = SECONDS_TO_START + SHARE_OF_TIME * (time.monotonic() - self._started)
        if self.reader is not None and self.error is None and self.seconds < allowed:
            self._look(self.reader, final=False)

    def finish(self) -> dict[str, Any]:
        """Evaluate what is left, log each status, and return what run.json keeps; after the hook's end, once."""
        if self.reader is not None and self.error is None and self.reader.has_steps:
            self._look(self.reader, final=True)
        self.evaluation.finish()
        self.evaluation.leave_out_what_does_not_apply()
        for rule_status in self.evaluation.rules:
            if rule_status.status != ISSUES:  # those were said when they were found
                log.info("debugger: rule %s found no issues", rule_status.configured.name)
        return {
            "verdicts": [as_record(rule_status) for rule_status in self.evaluation.rules],
            "error": self.error,
            "seconds": self.seconds,
        }

    def _look(self, reader: TensorReader, *, final: bool) -> None:
        started = time.monotonic()
        try:
            for step in reader.new_steps(final=final):
                for rule_status in self.evaluation.feed(step):
                    self._report(rule_status, final=final)
        except Exception as error:  # noqa: BLE001 - a rule must not end a run that it only looks at
            self.error = line(error)
            log.warning("debugger: the rules are evaluated no further, training goes on: %s", self.error)
        self.seconds += time.monotonic() - started

    def _report(self, rule_status: RuleStatus, *, final: bool) -> None:
        log.warning("debugger: rule %s found an issue: %s", rule_status.configured.name, rule_status.summary())
        if self.on_finding is not None and not final:
            finding = as_record(rule_status)
            self.on_finding({name: finding[name] for name in ("rule", "step", "value", "finding")})


def as_record(rule_status: RuleStatus) -> dict[str, Any]:
    """Return what run.json keeps of a rule."""
    record: dict[str, Any] = {"rule": rule_status.configured.name, "status": rule_status.status}
    if rule_status.findings:
        first = rule_status.findings[0]
        record |= {"step": first.step, "value": finite(first.value), "finding": rule_status.summary()}
    return record
