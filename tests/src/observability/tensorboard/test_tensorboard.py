"""TensorBoard's files: what is in them, read by TensorFlow's own records and messages, and where they go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from observability.tensorboard import TensorBoardWriter, as_markdown, tensorboard_folder
from star_rating.contract import Contract
from star_rating.failures import ConfigurationError
from tests.helpers.debugger_files import configure
from tests.helpers.tensorboard_events import read


def test_scalars_texts_histograms_and_pictures_are_read_back(tmp_path: Path) -> None:
    picture = tf.io.encode_png(tf.zeros([3, 7, 3], tf.uint8)).numpy()
    board = TensorBoardWriter(tmp_path)
    board.scalars("train", 10, {"loss": 1.5, "accuracy": 0.25})
    board.scalars("train", 20, {"loss": 1.25})
    board.text("train", 0, "hyperparameters", as_markdown({"epochs": 3, "use_xla": "auto"}))
    board.histograms("train", 20, {"weights/kernel": np.array([[-1.0, 0.0], [2.0, np.nan]], np.float32)})
    board.image("test", 20, "confusion matrix", picture)
    board.close()

    train, test = read(tmp_path / "train"), read(tmp_path / "test")
    assert train["loss"] == {10: ("scalars", 1.5), 20: ("scalars", 1.25)}
    assert train["accuracy"] == {10: ("scalars", 0.25)}
    plugin, text = train["hyperparameters"][0]
    assert plugin == "text"
    assert text.item() == b"| hyperparameter | value |\n|---|---|\n| epochs | 3 |\n| use_xla | auto |"
    plugin, buckets = train["weights/kernel"][20]
    assert plugin == "histograms"
    assert buckets.shape == (30, 3)
    assert (buckets[0, 0], buckets[-1, 1]) == (-1.0, 2.0)
    assert (buckets[:, 2].sum(), buckets[0, 2], buckets[10, 2], buckets[-1, 2]) == (3, 1, 1, 1)
    plugin, image = test["confusion matrix"][20]
    assert plugin == "images"
    assert image.tolist() == [b"7", b"3", picture]


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    board = TensorBoardWriter(tmp_path / "file" / "events")
    for step in range(3):
        board.scalars("train", step, {"loss": 1.5})
        board.flush()
    board.close()
    assert board.failed
    (record,) = caplog.records
    assert record.getMessage().startswith(f"tensorboard: {board.folder} is incomplete, training goes on: ")


def test_they_go_where_sagemaker_mirrors_them_from(contract: Contract) -> None:
    assert tensorboard_folder(contract, in_model=False) == contract.output_dir / "data" / "tensorboard"
    assert tensorboard_folder(contract, in_model=True) == contract.model_dir / "tensorboard"
    configure(contract, {"S3OutputPath": "s3://bucket/"}, "tensorboardoutputconfig.json")
    assert tensorboard_folder(contract, in_model=False) == contract.output_dir / "tensorboard"
    configure(contract, {"LocalPath": "/opt/ml/output/tensorboard"}, "tensorboardoutputconfig.json")
    assert tensorboard_folder(contract, in_model=False) == Path("/opt/ml/output/tensorboard")


@pytest.mark.parametrize("document", ["{", "[]", {"LocalPath": 3}, {"LocalPath": "tensorboard"}])
def test_a_damaged_config_file_is_named(contract: Contract, document: object) -> None:
    path = configure(contract, document, "tensorboardoutputconfig.json")
    with pytest.raises(ConfigurationError, match=path.name):
        tensorboard_folder(contract, in_model=False)
