"""The debugger's settings: SageMaker's config files, the defaults without them, and what is wrong with damaged ones."""

from __future__ import annotations

import pytest
from debugger_files import configure

from star_rating.contract import Contract
from star_rating.debugger.settings import read_settings
from star_rating.failures import ConfigurationError


def test_a_bare_run_saves_every_ten_steps_below_the_output_folder(contract: Contract) -> None:
    settings = read_settings(contract, on_sagemaker=False)
    assert settings == {
        "LocalPath": str(contract.output_dir / "tensors"),
        "HookParameters": {"save_interval": "10"},
    }


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


def test_outside_sagemaker_a_relative_tensorboard_folder_is_below_the_output_folder(contract: Contract) -> None:
    configure(contract, {"HookParameters": {"tensorboard_dir": "hook_tensorboard/"}})
    settings = read_settings(contract, on_sagemaker=False)
    assert settings is not None
    assert settings["HookParameters"]["tensorboard_dir"] == str(contract.output_dir / "hook_tensorboard")


def test_parts_that_sagemaker_leaves_empty_are_accepted(contract: Contract) -> None:
    configure(contract, {"CollectionConfigurations": {}})
    assert read_settings(contract, on_sagemaker=True)
