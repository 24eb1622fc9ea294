"""Hyperparameters: every form that SageMaker's SDKs send is read, everything else is refused with a remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from star_rating.failures import ExitCode, HyperparameterError
from star_rating.hyperparameters import Hyperparameters

Form = Callable[[object], str]

NOTEBOOK = {
    "epochs": 3,
    "learning_rate": 0.00001,
    "epsilon": 0.00000001,
    "train_batch_size": 128,
    "validation_batch_size": 128,
    "test_batch_size": 128,
    "train_steps_per_epoch": 100,
    "validation_steps": 100,
    "test_steps": 100,
    "use_xla": "True",
    "use_amp": "True",
    "max_seq_length": 64,
    "freeze_bert_layer": False,
    "enable_sagemaker_debugger": True,
    "enable_checkpointing": "False",
    "enable_tensorboard": True,
    "run_validation": True,
    "run_test": True,
    "run_sample_predictions": True,
}


@pytest.mark.parametrize("form", [str, lambda value: str(value).lower(), lambda value: f'"{value}"'])
@pytest.mark.parametrize("name", NOTEBOOK)
def test_each_of_the_notebooks_hyperparameters_is_read_in_every_form_that_sdks_send(name: str, form: Form) -> None:
    assert getattr(Hyperparameters.from_texts({name: form(NOTEBOOK[name])}), name) == NOTEBOOK[name]


def test_arguments_are_read_as_the_toolkit_passes_them() -> None:
    arguments = ["--enable_tensorboard", "True", "--epochs", "3", "--learning_rate", "1e-05", "--use_xla", "True"]
    read = Hyperparameters.from_arguments(arguments)
    assert (read.enable_tensorboard, read.epochs, read.learning_rate, read.use_xla) == (True, 3, 1e-05, "True")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-05", 1e-05), ('"1e-05"', 1e-05), ("0.00001", 1e-05), ("1", 1.0), ("1e6", 1e6)]
)
def test_numbers_are_read_in_every_notation(text: str, value: object) -> None:
    assert Hyperparameters.from_texts({"learning_rate": text}).learning_rate == value


def test_a_whole_number_may_come_as_a_float() -> None:
    assert Hyperparameters.from_texts({"epochs": "3.0"}).epochs == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("epochs", "three", "a whole number from 1 to 1000"),
        ("epochs", "0", "a whole number from 1 to 1000"),
        ("epochs", "2.5", "a whole number from 1 to 1000"),
        ("epochs", "1e400", "a whole number from 1 to 1000"),
        ("learning_rate", "nan", "a number from 0"),
        ("learning_rate", "-1", "a number from 0"),
        ("use_xla", "yes", "True, False, auto"),
        ("freeze_bert_layer", "1", "True, False"),
        ("learning_rate_schedule", "step", "constant, linear, cosine, polynomial"),
        ("max_seq_length", "513", "from 2 to 512"),
        ("epochs", "", "leave it out to use the default"),
        ("epochs", "null", "leave it out to use the default"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, text: str, said: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.from_texts({name: text})
    assert name in str(caught.value)
    assert repr(text) in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.HYPERPARAMETER


def test_an_unknown_name_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(HyperparameterError, match=r"learning_rat .*does not exist\. Did you mean learning_rate\?"):
        Hyperparameters.from_texts({"learning_rat": "1e-5"})


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.from_texts({"epochs": "x", "seed": "-1", "nonsense_zzz": "1"})
    assert all(name in str(caught.value) for name in ("epochs", "seed", "nonsense_zzz"))


@pytest.mark.parametrize("arguments", [["epochs", "3"], ["--epochs"], ["--"], ["--", "3"]])
def test_arguments_that_are_not_pairs_are_refused(arguments: list[str]) -> None:
    with pytest.raises(HyperparameterError):
        Hyperparameters.from_arguments(arguments)


def test_what_the_tensorflow_estimator_adds_is_accepted() -> None:
    assert Hyperparameters.from_texts({"model_dir": '"s3://bucket/model"'}) == Hyperparameters()


def test_defaults_are_within_their_own_limits() -> None:
    texts = {name: str(value) for name, value in Hyperparameters().as_dict().items()}
    assert Hyperparameters.from_texts(texts) == Hyperparameters()


def test_every_hyperparameter_says_what_it_means() -> None:
    assert all(field.metadata["meaning"] for field in dataclasses.fields(Hyperparameters))
