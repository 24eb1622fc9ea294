from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from star_rating.failures import WeightsError
from star_rating.model import pretrained_weights
from star_rating.model.distilbert import BlockLayouts, DistilBertClassifier
from star_rating.model.packing import PackedTokens
from star_rating.model.tokenizer import TOKENIZER_FILES
from tests.helpers.tiny_model import tiny_weights
from tests.helpers.transformers_reference import load_reference

Tensors = dict[str, npt.NDArray[Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path / "weights")


def classifier(folder: Path, number_of_classes: int = 5) -> DistilBertClassifier:
    loaded = pretrained_weights.load(folder)
    model = DistilBertClassifier(loaded.config, number_of_classes, seed=1)
    pretrained_weights.load_into(model, loaded)
    return model


def rewrite_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite_tensors(folder: Path, change: Callable[[Tensors], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


class TestSave:
    def test_writes_the_very_tensors_that_were_loaded(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(classifier(folder), tmp_path / "saved", folder)
        original, saved = load_file(folder / "model.safetensors"), load_file(tmp_path / "saved/model.safetensors")
        assert saved.keys() - original.keys() == {
            "pre_classifier.weight",
            "pre_classifier.bias",
            "classifier.weight",
            "classifier.bias",
        }
        for name, tensor in original.items():
            np.testing.assert_array_equal(saved[name], tensor, err_msg=name)

    def test_what_is_saved_loads_with_its_head(self, folder: Path, tmp_path: Path) -> None:
        model = classifier(folder)
        pretrained_weights.save(model, tmp_path / "saved", folder)
        loaded = pretrained_weights.load(tmp_path / "saved")
        restored = DistilBertClassifier(loaded.config, 5, seed=2)
        assert pretrained_weights.load_into(restored, loaded) is True
        batch = {"input_ids": tf.constant([[2, 9, 30, 3]]), "input_mask": tf.ones([1, 4], tf.int32)}
        np.testing.assert_array_equal(restored(batch), model(batch))

    def test_transformers_reads_config_tokenizer_and_logits(self, folder: Path, tmp_path: Path) -> None:
        model = classifier(folder)
        pretrained_weights.save(model, tmp_path / "saved", folder)
        reference = load_reference(tmp_path / "saved")
        config = AutoConfig.from_pretrained(tmp_path / "saved")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")  # type: ignore[no-untyped-call]
        encoded = tokenizer(["The battery broke!", "great"], padding=True, return_tensors="np")

        assert config.id2label == {0: "1", 1: "2", 2: "3", 3: "4", 4: "5"}
        assert config.label2id == {"1": 0, "2": 1, "3": 2, "4": 3, "5": 4}
        assert config.architectures == ["DistilBertForSequenceClassification"]
        assert config.problem_type == "single_label_classification"
        assert type(tokenizer).__name__ == "DistilBertTokenizerFast"
        assert tokenizer.tokenize("The battery broke!") == ["the", "battery", "broke", "!"]
        ours = model({"input_ids": encoded["input_ids"], "input_mask": encoded["attention_mask"]})
        theirs = reference(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_takes_the_tokenizers_files_along(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(classifier(folder), tmp_path / "saved", folder)
        for name in TOKENIZER_FILES:
            assert (tmp_path / "saved" / name).read_bytes() == (folder / name).read_bytes()

    def test_leaves_out_what_leads_out_of_the_folder(self, folder: Path, tmp_path: Path) -> None:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        foreign = {
            "auto_map": {"AutoTokenizer": ["owner/code--tokenizer.Evil", None]},
            "name_or_path": "/home/somebody/checkpoint-9",
            "tokenizer_file": "/home/somebody/tokenizer.json",
            "tokenizer_class": "EvilTokenizer",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | foreign))
        pretrained_weights.save(classifier(folder), tmp_path / "saved", folder)
        del settings["tokenizer_class"]
        assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text()) == settings
        loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")  # type: ignore[no-untyped-call]
        assert type(loaded).__name__ == "DistilBertTokenizerFast"

    def test_others_than_the_owner_can_read_the_files(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(classifier(folder), tmp_path / "saved", folder)
        for path in (tmp_path / "saved").iterdir():
            assert path.stat().st_mode & stat.S_IROTH, path


class TestLoad:
    def test_names_without_the_prefix_are_understood(self, folder: Path) -> None:
        expected = pretrained_weights.load(folder).tensors

        def strip(tensors: Tensors) -> None:
            for name in list(tensors):
                tensors[name.removeprefix("distilbert.")] = tensors.pop(name)

        rewrite_tensors(folder, strip)
        loaded = pretrained_weights.load(folder).tensors
        assert loaded.keys() == expected.keys()

    def test_half_precision_is_widened(self, folder: Path) -> None:
        rewrite_tensors(
            folder, lambda tensors: tensors.update({name: t.astype(np.float16) for name, t in tensors.items()})
        )
        assert {tensor.dtype for tensor in pretrained_weights.load(folder).tensors.values()} == {np.dtype(np.float32)}

    def test_a_body_alone_leaves_the_head_fresh(self, folder: Path) -> None:
        loaded = pretrained_weights.load(folder)
        model = DistilBertClassifier(loaded.config, 5, seed=1)
        head = model.classifier.kernel.numpy()
        assert pretrained_weights.load_into(model, loaded) is False
        np.testing.assert_array_equal(model.classifier.kernel, head)

    def test_a_head_for_other_classes_is_left_alone(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(
            classifier(folder, number_of_classes=2), tmp_path / "two", folder, {0: "bad", 1: "good"}
        )
        loaded = pretrained_weights.load(tmp_path / "two")
        assert pretrained_weights.load_into(DistilBertClassifier(loaded.config, 5), loaded) is False


class TestPooling:
    IDS = ((2, 9, 30, 31, 3), (2, 17, 3, 0, 0), (2, 8, 8, 3, 0))
    BATCH: ClassVar = {"input_ids": tf.constant(IDS), "input_mask": tf.constant(np.array(IDS) != 0, tf.int32)}

    def pooled(self, folder: Path) -> DistilBertClassifier:
        loaded = pretrained_weights.load(folder).with_pooling("mean", seed=3)
        model = DistilBertClassifier(loaded.config, 5, seed=1)
        pretrained_weights.load_into(model, loaded)
        return model

    def test_cls_changes_nothing(self, folder: Path) -> None:
        loaded = pretrained_weights.load(folder)
        assert loaded.with_pooling("cls", seed=3) is loaded

    def test_the_layer_begins_as_the_mean_of_a_reviews_tokens(self, folder: Path) -> None:
        body = self.pooled(folder).distilbert
        tokens = PackedTokens.of(**self.BATCH)
        vectors = body.embeddings(tokens.ids, tokens.positions, None)
        for block in body.blocks[:-1]:
            vectors = block(vectors, tokens, BlockLayouts.of(tokens, body.heads, body.head_dim), None)
        found = body(tokens, None).numpy()
        for row, first, length in ((0, 0, 5), (2, 5, 4), (1, 9, 3)):  # the longest review is first
            mean = tf.reduce_mean(vectors[first : first + length], axis=0).numpy()
            assert np.corrcoef(found[row], mean)[0, 1] > 0.9
            assert np.corrcoef(found[row], vectors[first])[0, 1] < np.corrcoef(found[row], mean)[0, 1]

    def test_the_layer_learns_from_the_first_step_on(self, folder: Path) -> None:
        model = self.pooled(folder)
        block = model.distilbert.blocks[-1]
        kernels = [block.attention.q_lin, block.attention.v_lin, block.attention.out_lin, block.lin2]
        with tf.GradientTape() as tape:
            loss = tf.reduce_logsumexp(model(self.BATCH))
        for gradient in tape.gradient(loss, [layer.kernel for layer in kernels]):
            assert np.abs(gradient).max() > 0

    def test_transformers_reads_the_result(self, folder: Path, tmp_path: Path) -> None:
        model = self.pooled(folder)
        pretrained_weights.save(model, tmp_path / "saved", folder)
        theirs = load_reference(tmp_path / "saved")(
            input_ids=self.BATCH["input_ids"], attention_mask=self.BATCH["input_mask"]
        ).logits
        np.testing.assert_allclose(model(self.BATCH), theirs, atol=1e-5)

    def test_weights_with_a_head_keep_the_pooling_that_it_knows(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(self.pooled(folder), tmp_path / "saved", folder)
        fine_tuned = pretrained_weights.load(tmp_path / "saved")
        assert fine_tuned.with_pooling("mean", seed=3) is fine_tuned

    def test_a_head_for_other_classes_does_not_count(self, folder: Path, tmp_path: Path) -> None:
        pretrained_weights.save(
            classifier(folder, number_of_classes=2), tmp_path / "two", folder, {0: "bad", 1: "good"}
        )
        two = pretrained_weights.load(tmp_path / "two")
        assert two.with_pooling("mean", seed=3).config.n_layers == two.config.n_layers + 1


class TestBadFolder:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda folder: (folder / "config.json").unlink(), r"has no config\.json"),
            (lambda folder: (folder / "config.json").write_text("{"), r"config\.json cannot be read as JSON"),
            (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json holds no JSON object"),
            (lambda folder: rewrite_config(folder, model_type="bert"), r"model_type 'bert'.*Bring a DistilBERT"),
            (lambda folder: rewrite_config(folder, activation="relu"), r"activation is 'relu'; only 'gelu'"),
            (lambda folder: rewrite_config(folder, n_layers="6"), r"n_layers is '6'; it must be a positive whole"),
            (lambda folder: rewrite_config(folder, dropout=1.5), r"dropout is 1\.5; it must be a share"),
            (lambda folder: rewrite_config(folder, initializer_range=0), r"initializer_range is 0; it must be a pos"),
            (lambda folder: rewrite_config(folder, n_heads=5), r"dim 32 is not a multiple of n_heads 5"),
            (lambda folder: (folder / "model.safetensors").unlink(), r"has no model\.safetensors"),
        ],
    )
    def test_is_named_with_what_is_wrong(self, folder: Path, spoil: Callable[[Path], object], message: str) -> None:
        spoil(folder)
        with pytest.raises(WeightsError, match=message):
            pretrained_weights.load(folder)

    @pytest.mark.parametrize(("name", "option"), [("pytorch_model.bin", "folder"), ("tf_model.h5", "from_tf=True")])
    def test_with_another_format_says_how_to_convert(self, folder: Path, name: str, option: str) -> None:
        (folder / "model.safetensors").rename(folder / name)
        with pytest.raises(WeightsError, match=f"has {name} but no model.safetensors.*{option}.*save_pretrained"):
            pretrained_weights.load(folder)

    @pytest.mark.parametrize("kept", [0, 4, 5000])
    def test_with_truncated_weights_is_damaged(self, folder: Path, kept: int) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(WeightsError, match=r"model\.safetensors is damaged.*Copy it again"):
            pretrained_weights.load(folder)

    def test_written_by_tensorflow_classes_is_refused(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(load_file(path), path, metadata={"format": "tf"})
        with pytest.raises(WeightsError, match="TensorFlow class of transformers"):
            pretrained_weights.load(folder)

    def test_without_a_tensor_names_it(self, folder: Path) -> None:
        rewrite_tensors(folder, lambda tensors: tensors.pop("distilbert.transformer.layer.1.ffn.lin2.bias"))
        with pytest.raises(WeightsError, match=r"has no tensor distilbert\.transformer\.layer\.1\.ffn\.lin2\.bias"):
            classifier(folder)

    def test_of_another_geometry_names_the_tensor_and_both_shapes(self, folder: Path) -> None:
        rewrite_config(folder, hidden_dim=48)
        with pytest.raises(WeightsError, match=r"layer\.0\.ffn\.lin1\.weight has shape \(64, 32\).*\(48, 32\)"):
            pretrained_weights.load(folder)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"n_layers": 10**9}, r"has no tensor distilbert\.transformer\.layer\.2\.attention\.q_lin\.weight"),
            ({"n_layers": 10**30}, "n_layers is 10+.*it must be a positive whole number"),
            ({"n_layers": -1}, "n_layers is -1"),
            ({"vocab_size": 2**31 - 1}, r"word_embeddings\.weight has shape \(112, 32\).*\(2147483647, 32\)"),
            ({"dim": 2**30, "n_heads": 2**20}, r"has shape \(112, 32\)"),
            ({"initializer_range": 1e300}, "initializer_range is 1e\\+300"),
            ({"dropout": float("nan")}, "dropout is nan"),
            ({"model_type": ["x" * 9000]}, "model_type"),
        ],
    )
    def test_no_model_is_built_of_numbers_that_are_not_the_weights(
        self, folder: Path, changes: dict[str, Any], said: str
    ) -> None:
        rewrite_config(folder, **changes)
        with pytest.raises(WeightsError, match=said) as raised:
            pretrained_weights.load(folder)
        assert len(str(raised.value)) < 600

    def test_of_deep_json(self, folder: Path) -> None:
        (folder / "config.json").write_text("[" * 100_000)
        with pytest.raises(WeightsError, match="cannot be read as JSON"):
            pretrained_weights.load(folder)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_numbers_any_more(self, folder: Path, value: float) -> None:
        tensors = load_file(folder / "model.safetensors")
        tensors["distilbert.embeddings.LayerNorm.bias"][3] = value
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=r"LayerNorm\.bias holds NaN or infinite values"):
            pretrained_weights.load(folder)

    def test_a_pickle_is_never_loaded(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        loaded = folder / "loaded"
        (folder / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch " + str(loaded).encode() + b"'\ntR.")
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin but no model\.safetensors"):
            pretrained_weights.load(folder)
        assert not loaded.exists()
