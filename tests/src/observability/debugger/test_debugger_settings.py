"""The debugger's settings: SageMaker's config files, the defaults without them, and what is wrong with damaged ones."""

from __future__ import annotations

from typing import Any

import pytest

from observability.debugger.settings import UnsupportedSettingError, read_settings, unsupported_settings
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from tests.helpers.debugger_files import configure


def collection(name: str, **parameters: str) -> dict[str, Any]:
    return {"CollectionConfigurations": [{"CollectionName": name, "CollectionParameters": parameters}]}


def read(contract: Contract, *, on_sagemaker: bool = False) -> dict[str, Any]:
    settings = read_settings(contract, on_sagemaker=on_sagemaker)
    assert settings is not None
    return settings.document


def test_a_bare_run_saves_every_ten_steps_below_the_output_folder_and_large_tensors_at_a_pace(
    contract: Contract,
) -> None:
    settings = read_settings(contract, on_sagemaker=False)
    assert settings is not None
    assert settings.paced == ("weights", "biases", "gradients")
    reductions = {"reductions": "min,max,mean,variance,abs_mean,abs_max"}
    assert settings.document == {
        "LocalPath": str(contract.output_dir / "tensors"),
        "HookParameters": {"save_interval": "10"},
        "CollectionConfigurations": [
            {"CollectionName": name, "CollectionParameters": reductions} for name in settings.paced
        ],
    }


def test_what_a_file_asks_for_is_saved_at_no_pace(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": [{"CollectionName": "weights"}]})
    settings = read_settings(contract, on_sagemaker=False)
    assert settings is not None
    assert settings.paced == ()


def test_booleans_that_smdebug_reads_as_no_text_are_booleans(contract: Contract) -> None:
    parameters = {"reductions": "mean", "save_raw_tensor": "True", "save_shape": "false", "save_histogram": "false"}
    configure(
        contract, {"CollectionConfigurations": [{"CollectionName": "weights", "CollectionParameters": parameters}]}
    )
    assert read(contract)["CollectionConfigurations"][0]["CollectionParameters"] == {
        "reductions": "mean",
        "save_raw_tensor": True,
        "save_shape": False,
        "save_histogram": "false",
    }


def test_empty_reductions_are_none(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"reductions": " "}})
    assert read(contract)["HookParameters"] == {}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ({"LocalPath": "s3://bucket/tensors"}, "LocalPath is 's3://bucket/tensors'"),
        ({"HookParameters": ["save_interval"]}, "HookParameters must be an object"),
        ({"HookParameters": {"save_interval": "ten"}}, "save_interval is 'ten'; a whole number from 1"),
        ({"HookParameters": {"eval.save_interval": "0"}}, "eval.save_interval is '0'"),
        ({"HookParameters": {"save_steps": "1;2"}}, "save_steps is '1;2'"),
        ({"HookParameters": {"save_all": "yes"}}, "save_all is 'yes'; true or false"),
        ({"HookParameters": {"include_regex": "("}}, "include_regex '(' does not compile"),
        ({"CollectionConfigurations": {"CollectionName": "losses"}}, "CollectionConfigurations is not a list"),
        ({"CollectionConfigurations": [{}]}, "CollectionConfigurations[0] has no CollectionName"),
        ({"CollectionConfigurations": [{"CollectionName": "mine"}]}, "'mine' is not one of smdebug's collections"),
        (
            {"CollectionConfigurations": [{"CollectionName": "losses", "CollectionParameters": {"end_step": "-1"}}]},
            "(losses): end_step is '-1'",
        ),
    ],
)
def test_a_damaged_config_file_is_named_with_what_is_wrong(
    contract: Contract, document: object, complaint: str
) -> None:
    path = configure(contract, document)
    with pytest.raises(ConfigurationError) as error:
        read_settings(contract, on_sagemaker=False)
    assert str(error.value).startswith(str(path))
    assert complaint in str(error.value)


def test_a_tensorboard_setting_that_sagemaker_ignores_is_said(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    configure(contract, {"HookParameters": {"export_tensorboard": "true"}})
    read_settings(contract, on_sagemaker=True)
    assert "TensorBoardOutputConfig" in caplog.text
    caplog.clear()
    configure(contract, {"LocalPath": "/tensorboard"}, "tensorboardoutputconfig.json")
    read_settings(contract, on_sagemaker=True)
    assert caplog.messages == []
    configure(contract, {"HookParameters": {"tensorboard_dir": "hook_tensorboard/"}})
    read_settings(contract, on_sagemaker=True)
    assert caplog.messages == [
        "debugger: tensorboard_dir does nothing on SageMaker: TensorBoardOutputConfig has the folder"
    ]


def test_outside_sagemaker_a_relative_tensorboard_folder_is_below_the_output_folder(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"tensorboard_dir": "hook_tensorboard/"}})
    assert read(contract)["HookParameters"]["tensorboard_dir"] == str(contract.output_dir / "hook_tensorboard")


def test_parts_that_sagemaker_leaves_empty_are_accepted(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": {}})
    assert read_settings(contract, on_sagemaker=True)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"HookParameters": {"save_intervall": "3"}}, "HookParameters: 'save_intervall' is no setting of smdebug's"),
        ({"HookParameters": {"save_all": "true"}}, "save_all does not reach the collections inputs"),
        ({"HookParameters": {"reductions": "abs_l2_norm"}}, "HookParameters: smdebug's l2_norm of a matrix"),
        (collection("layers"), "collection layers stays empty: the training step is one compiled graph"),
        (collection("losses", reductions="mean"), "reductions of collection losses are not made"),
        (collection("weights", include_regex="kernel"), "include_regex of collection weights does nothing"),
    ],
)
def test_what_will_not_be_saved_is_said_once(contract: Contract, document: object, said: str) -> None:
    configure(contract, document)
    assert [remark[: len(said)] for remark in unsupported_settings(read(contract))] == [said]


def test_settings_without_a_fault_are_not_remarked_on(contract: Contract) -> None:
    assert list(unsupported_settings(read(contract))) == []
    configure(contract, collection("gradients", reductions="abs_mean, variance", include_regex="kernel"))
    assert list(unsupported_settings(read(contract))) == []


def test_a_reduction_that_smdebug_does_not_have_cannot_run(contract: Contract) -> None:
    configure(contract, collection("gradients", reductions="median"))
    with pytest.raises(UnsupportedSettingError, match="collection gradients: 'median' is no reduction of smdebug's"):
        list(unsupported_settings(read(contract)))
