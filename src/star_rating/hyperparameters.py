"""The training job's hyperparameters: one typed, range-checked value each, read once from the command line.

    hyperparameters = Hyperparameters.from_arguments(["--epochs", "3", "--use_xla", "true"])

The names and meanings are the notebook's; what the notebook did not have is in the second group. SageMaker's SDKs
send a boolean as `True`, `true` or `"true"`, a number as `1e-05` or `"1e-05"`, a text bare or in quotes: all are read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from star_rating.failures import FAILURE_MAX_CHARACTERS, HyperparameterError, nearest_name, quote

Switch = Literal["True", "False", "auto"]
SWITCH = ("True", "False", "auto")

SENT_BY_SDKS = frozenset({"model_dir"})
"""SageMaker's TensorFlow estimator adds `model_dir` to every job; results go to /opt/ml/model all the same."""


def _integer(default: int, minimum: int, maximum: int, meaning: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return dataclasses.field(
        default=default, metadata={"kind": "integer", "minimum": minimum, "maximum": maximum, "meaning": meaning}
    )


def _number(default: float, minimum: float, maximum: float, meaning: str) -> Any:  # noqa: ANN401
    return dataclasses.field(
        default=default, metadata={"kind": "number", "minimum": minimum, "maximum": maximum, "meaning": meaning}
    )


def _boolean(*, default: bool, meaning: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"kind": "boolean", "meaning": meaning})


def _choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"kind": "choice", "choices": choices, "meaning": meaning})


def _text(default: str, meaning: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"kind": "text", "meaning": meaning})


@dataclass(frozen=True)
class Hyperparameters:
    """Everything that a training job can set; the defaults train a usable model on a whole pass of the data."""

    # The notebook's nineteen.
    epochs: int = _integer(3, 1, 1000, "passes over the train channel")
    learning_rate: float = _number(5e-5, 0.0, 1e7, "Adam's learning rate; the peak of a schedule")
    epsilon: float = _number(1e-8, 1e-12, 1.0, "Adam's epsilon")
    train_batch_size: int = _integer(32, 1, 8192, "reviews per training step, over all hosts")
    validation_batch_size: int = _integer(128, 1, 8192, "reviews per validation step")
    test_batch_size: int = _integer(128, 1, 8192, "reviews per test step")
    train_steps_per_epoch: int = _integer(0, 0, 10**9, "steps per epoch, starting over when the data ends; 0: one pass")
    validation_steps: int = _integer(0, 0, 10**9, "validation batches, from the first; 0: all")
    test_steps: int = _integer(0, 0, 10**9, "test batches, from the first; 0: all")
    use_xla: Switch = _choice("auto", SWITCH, "compile the training step with XLA; auto: if faster here")
    use_amp: Switch = _choice("auto", SWITCH, "compute in bfloat16 (CPU) or float16 (GPU); auto: if faster here")
    max_seq_length: int = _integer(64, 2, 512, "tokens of a record; must be what `prepare` was given")
    freeze_bert_layer: bool = _boolean(default=False, meaning="train only the classification head")
    enable_sagemaker_debugger: bool = _boolean(default=True, meaning="save tensors with SMDebug's hook")
    enable_checkpointing: Switch = _choice(
        "auto", SWITCH, "write to and resume from /opt/ml/checkpoints; auto: if the platform mounts it"
    )
    enable_tensorboard: bool = _boolean(
        default=False, meaning="write TensorBoard scalars, histograms, settings and the confusion matrix"
    )
    run_validation: bool = _boolean(default=True, meaning="evaluate the validation channel after each epoch")
    run_test: bool = _boolean(default=True, meaning="evaluate the test channel at the end")
    run_sample_predictions: bool = _boolean(default=True, meaning="log predictions for three sentences")

    # What the notebook could not say.
    seed: int = _integer(42, 0, 2**31 - 1, "of the head's initial weights, the shuffling and the dropout")
    model: str = _text("auto", "auto (the weights in the image, or a `model` channel), a hub id, or a folder")
    learning_rate_schedule: str = _choice(
        "constant", ("constant", "linear", "cosine", "polynomial"), "all but constant warm up, then decay to zero"
    )
    warmup_ratio: float = _number(0.1, 0.0, 1.0, "share of all steps that a schedule warms up")
    weight_decay: float = _number(0.0, 0.0, 1.0, "decoupled (AdamW), not on biases and layer norms")
    gradient_clip_norm: float = _number(0.0, 0.0, 1e6, "largest global gradient norm; 0: no clipping")
    enable_profiler: bool = _boolean(
        default=True, meaning="record system metrics and step durations, and draw profiler-report.html of them"
    )
    debugger_rules: str = _text(
        "auto", "Debugger rules to evaluate: auto (all), none, or a list: Overfit, LossNotDecreasing(num_steps=50)"
    )
    debugger_rule_action: str = _choice("log", ("log", "stop"), "what to do if a rule fires; stop: end the training")
    require_sagemaker_debugger: bool = _boolean(
        default=False, meaning="end the job if the debugger cannot run or disables itself"
    )
    log_every_steps: int = _integer(10, 1, 10**6, "training steps between two log lines")
    tensorboard_in_model: bool = _boolean(default=False, meaning="put the TensorBoard files into model.tar.gz")
    checkpoint_every_minutes: float = _number(
        5.0, 0.0, 10080.0, "minutes between checkpoints, more if writing takes over 2 % of the time; 0: epoch ends only"
    )
    checkpoint_every_steps: int = _integer(
        0, 0, 10**9, "steps between checkpoints, however long writing takes; 0: by time"
    )
    checkpoints_kept: int = _integer(2, 1, 1000, "newest checkpoints that are kept, beside the best one")
    skip_nonfinite_steps: int = _integer(0, 0, 10**6, "steps to skip whose loss is NaN or infinite; 0: stop")
    stall_timeout_minutes: float = _number(30.0, 0.0, 10080.0, "minutes without progress that end the job; 0: no limit")
    train_batch_size_per_host: int = _integer(
        0, 0, 8192, "reviews per training step and host, instead of train_batch_size; 0: not used"
    )
    host_wait_minutes: float = _number(10.0, 0.01, 1440.0, "minutes to wait for the job's other hosts to connect")
    export_epoch: str = _choice("last", ("best", "last"), "weights to export; best: of the best epoch by best_metric")
    best_metric: str = _choice(
        "validation_loss",
        (
            "validation_loss",
            "validation_accuracy",
            "validation_macro_f1",
            "validation_mean_absolute_error",
        ),
        "what export_epoch=best and early stopping compare epochs by",
    )
    early_stopping_patience: int = _integer(
        0, 0, 1000, "epochs without a better best_metric after which training ends; 0: off"
    )
    polynomial_power: float = _number(2.0, 0.1, 10.0, "exponent of the polynomial schedule")
    loss: str = _choice(
        "cross_entropy",
        ("cross_entropy", "ordinal", "soft_labels"),
        "training loss; ordinal: errors count by distance; soft_labels: labels are spread over neighbouring stars",
    )
    label_smoothing: float = _number(0.0, 0.0, 0.9, "share of each training label that goes to all stars alike")
    r_drop: float = _number(
        0.0, 0.0, 100.0, "weight of the difference between two passes with other dropout masks; 0: one pass"
    )
    class_weights: str = _choice("none", ("none", "balanced"), "weights of the training losses; balanced: by rarity")
    pooling: str = _choice(
        "cls",
        ("cls", "mean"),
        "what the head reads; mean: one more layer, which begins close to the mean of all tokens",
    )
    layer_learning_rate_decay: float = _number(
        1.0, 0.1, 1.0, "factor of the learning rate per layer below the head; 1: the same for all"
    )
    gradual_unfreezing: float = _number(
        0.0, 0.0, 1.0, "share of all steps within which the layers begin to train, from the top; 0: all from the start"
    )
    weight_average_decay: float = _number(
        0.0, 0.0, 0.99999, "decay of the moving average of the weights that is validated and exported; 0: no average"
    )

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Hyperparameters:
        """Read `--name value` pairs as sagemaker-training passes them; raises what `from_texts` does."""
        return cls.from_texts(_pairs(arguments))

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Hyperparameters:
        """Read name -> text; raise HyperparameterError that names every bad one."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        problems = []
        for name, text in texts.items():
            if name in SENT_BY_SDKS:
                continue
            if name not in fields:
                problems.append(_unknown(name, text, fields))
                continue
            try:
                values[name] = _read(text, fields[name].metadata)
            except ValueError as problem:
                problems.append(f"Hyperparameter {name} is {quote(text)}: {problem}.")
        if problems:
            raise HyperparameterError(_together(problems))
        hyperparameters = cls(**values)
        if hyperparameters.compares_epochs and not hyperparameters.run_validation:
            raise HyperparameterError(
                "Hyperparameters export_epoch=best and early_stopping_patience compare epochs by their validation, and "
                "run_validation is False: set it to True, or leave both at their defaults."
            )
        return hyperparameters

    def resolve_batch_size(self, num_hosts: int) -> Hyperparameters:
        """Return them with train_batch_size as that of all hosts."""
        if not self.train_batch_size_per_host:
            return self
        return dataclasses.replace(self, train_batch_size=num_hosts * self.train_batch_size_per_host)

    @property
    def reviews_per_step(self) -> int:
        """Return how many reviews all hosts compute in a training step."""
        return self.train_batch_size * (2 if self.r_drop else 1)

    @property
    def compares_epochs(self) -> bool:
        """Return whether the run asks which of its epochs was the best."""
        return self.export_epoch == "best" or self.early_stopping_patience > 0

    @property
    def needed_channels(self) -> list[str]:
        """Return the channels that a job with these settings reads."""
        wanted = {"train": True, "validation": self.run_validation, "test": self.run_test}
        return [name for name, read in wanted.items() if read]

    def evaluation_size(self, channel: str) -> tuple[int, int]:
        """Return batch size and number of batches (0: all) of an evaluation of "validation" or "test"."""
        return {
            "validation": (self.validation_batch_size, self.validation_steps),
            "test": (self.test_batch_size, self.test_steps),
        }[channel]

    def as_dict(self) -> dict[str, bool | int | float | str]:
        """Return name -> value, in the order of the class."""
        return dataclasses.asdict(self)


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    remaining = list(arguments)
    while remaining:
        name = remaining.pop(0)
        if not name.startswith("-") or not name.lstrip("-"):
            raise HyperparameterError(
                f"The argument {quote(name)} is not a hyperparameter's name; write --name value, as in --epochs 3."
            )
        name = name.lstrip("-")
        if not remaining:
            raise HyperparameterError(f"Hyperparameter {quote(name)} has no value; write --name value.")
        pairs[name] = remaining.pop(0)
    return pairs


def _unknown(name: str, text: str, known: Mapping[str, object]) -> str:
    nearest = nearest_name(name, known)
    advice = f"Did you mean {nearest}?" if nearest else "Leave it out; docs/reference.md has the table of all."
    return f"Hyperparameter {name[:80]} (value {quote(text)}) does not exist. {advice}"


def _together(problems: Sequence[str]) -> str:
    """Join as many of the sentences as SageMaker shows."""
    text = problems[0]
    for index, problem in enumerate(problems[1:], start=1):
        if len(text) + len(problem) > FAILURE_MAX_CHARACTERS - 20:
            return f"{text} And {len(problems) - index} more."
        text += f" {problem}"
    return text


def _read(text: str, field: Mapping[str, Any]) -> bool | int | float | str:
    """Turn one hyperparameter's text into its value; raise ValueError with what is allowed instead."""
    bare = _unquoted(text).strip()
    if bare in ("", "null", "None"):
        raise ValueError("it has no value; leave it out to use the default")
    match field["kind"]:
        case "boolean":
            return _read_choice(bare, ("True", "False")) == "True"
        case "choice":
            return _read_choice(bare, field["choices"])
        case "integer":
            return int(_read_number(bare, field, "a whole number"))
        case "number":
            return float(_read_number(bare, field, "a number"))
        case _:
            return bare


def _unquoted(text: str) -> str:
    """Remove the JSON quotes that SageMaker's framework estimators put around values."""
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def _read_choice(text: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise ValueError(f"allowed are {', '.join(choices)}")


def _read_number(text: str, field: Mapping[str, Any], what: str) -> float:
    minimum, maximum = field["minimum"], field["maximum"]
    allowed = f"{what} from {minimum:.10g} to {maximum:.10g} is needed"
    try:
        # int() first: float() would round whole numbers beyond 2**53.
        number: float = int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        raise ValueError(allowed) from None
    whole = field["kind"] == "integer"
    # A NaN is between no two numbers.
    if not minimum <= number <= maximum or (whole and number != int(number)):
        raise ValueError(allowed)
    return number
