"""Fetch the pretrained weights that an image is to be built with, check them, and lay them out for the build.

    PYTHONPATH=src python -m scripts.image.weights WEIGHTS FOLDER

WEIGHTS is a name in scripts/image/weights.toml (or in the file that WEIGHTS_TABLE names), or a local folder, written
with a leading /, ./ or ../ . FOLDER is made; what the image gets is in FOLDER/baked. Printed are two lines for the
image's labels: the name of the weights, and the SHA-256 of model.safetensors.

Files come from the hub at the table's revision, through huggingface_hub and its cache, so its environment variables
hold: HF_ENDPOINT (a mirror), HF_TOKEN, HF_HOME, HF_HUB_OFFLINE. Exit codes: 2 no such weights; 5 they cannot be used;
10 the hub does not give them; 11 a file has another SHA-256 than the table's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.image.errors import ExitCode, ImageError, command
from scripts.image.weights_table import DEFAULT, NEEDED, TABLE, KnownWeights, read_table
from star_rating.failures import WeightsError
from star_rating.model import pretrained_weights
from star_rating.model.tokenizer import TOKENIZER_FILES, check_tokenizer

TABLE_VARIABLE = "WEIGHTS_TABLE"

_TAKEN = (*NEEDED, *TOKENIZER_FILES, "LICENSE", "LICENSE.txt", "NOTICE", "MODEL_CARD.md", "README.md")
"""What is copied of a local folder, where it is there."""
_HUB = "https://huggingface.co"
_HUB_SECONDS = 10


def lay_out(weights: str, folder: Path, table: Path = TABLE) -> dict[str, Any]:
    """Write FOLDER/baked, with weights.json, and return what that says; raise ImageError for what cannot be used."""
    baked = folder / "baked"
    if baked.exists():
        shutil.rmtree(baked)
    baked.mkdir(parents=True)
    if weights.startswith(("/", "./", "../")):
        record = _copy_folder(Path(weights), baked)
    else:
        known = read_table(table)
        downloadable = {name: row for name, row in known.items() if row.repository}
        if weights not in downloadable:
            raise ImageError(
                ExitCode.USAGE,
                f"WEIGHTS is {weights!r}; known are {DEFAULT}, {', '.join(sorted(downloadable))} ({table}). For a "
                "local folder write its path with a leading /, ./ or ../; for others of a hub give a table by "
                f"{TABLE_VARIABLE}.",
            )
        record = _download(downloadable[weights], baked)
    _check_usable(baked, weights)
    (baked / "weights.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return record


def _download(known: KnownWeights, baked: Path) -> dict[str, Any]:
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # has retries of its own, on top of the time limit
    import huggingface_hub as hub  # noqa: PLC0415 - it reads the environment when it is imported

    hub.logging.set_verbosity(logging.CRITICAL)  # its warnings have the whole address in them, credentials included
    repository, revision = known.repository, known.revision
    try:
        if not all(
            isinstance(hub.try_to_load_from_cache(repository, name, revision=revision), str) for name in known.files
        ):
            # Asked first, because it does not try again and again: the download does, for most of a minute a file.
            hub.model_info(repository, revision=revision, timeout=_HUB_SECONDS)
        sys.stderr.write(f"weights: {repository} at {revision}, {len(known.files)} files\n")
        found = {name: Path(hub.hf_hub_download(repository, name, revision=revision)) for name in known.files}
    except (OSError, ValueError) as error:  # the hub's own exceptions are among these
        raise ImageError(
            ExitCode.HUB,
            f"the hub {_endpoint()} did not give {repository} at {revision} ({type(error).__name__}). Set "
            "HF_ENDPOINT to a mirror that this machine reaches (HF_TOKEN if it asks for one), or build from a local "
            "folder: WEIGHTS=/path/to/folder.",
        ) from None
    for name, cached in found.items():
        shutil.copyfile(cached, baked / name)
        sha256, expected = _sha256(baked / name), known.files[name]
        if sha256 != expected:
            cached.resolve().unlink()  # or the next build would find it in the cache
            cached.unlink(missing_ok=True)
            raise ImageError(
                ExitCode.HASH,
                f"{name} of {repository}@{revision} from {_endpoint()} has the SHA-256 {sha256}, the table "
                f"of known weights says {expected}. The file was damaged or replaced: nothing was built, and it was "
                "deleted from the hub's cache. Run the build again, or take another mirror by HF_ENDPOINT.",
            )
    return {
        "name": f"{known.name}@{revision}",
        "source": f"hub {repository}@{revision}",
        "licence": {"model": known.licence},
        "sha256": known.files[pretrained_weights.WEIGHTS_FILE],
        "files": known.files,
    }


def _copy_folder(source: Path, baked: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise ImageError(ExitCode.USAGE, f"WEIGHTS is {source}, and there is no such folder")
    try:
        for name in _TAKEN:
            if (source / name).is_file():
                shutil.copyfile(source / name, baked / name)
    except OSError as error:
        raise ImageError(ExitCode.BUILD, f"the weights in {source} cannot be read: {error}") from None
    missing = [name for name in NEEDED if not (baked / name).is_file()]
    if missing:
        raise ImageError(
            ExitCode.BUILD,
            f"{source} has no {', '.join(missing)}: give a folder as save_pretrained of transformers writes it, with "
            "safe_serialization=True and the tokenizer of class DistilBertTokenizerFast",
        )
    files = {path.name: _sha256(path) for path in sorted(baked.iterdir())}
    return {
        "name": source.resolve().name,
        "source": "folder",
        "licence": {"model": "unknown"},
        "sha256": files[pretrained_weights.WEIGHTS_FILE],
        **_own_record(source, files[pretrained_weights.WEIGHTS_FILE]),
        "files": files,
    }


def _own_record(source: Path, sha256: str) -> dict[str, Any]:
    """Return name, source and licence as the folder's weights.json has them, if it is of these very weights."""
    try:
        record = json.loads((source / "weights.json").read_text(encoding="utf-8"))
        usable = record["sha256"] == sha256 and record["name"].isprintable() and isinstance(record["licence"], dict)
        return {key: record[key] for key in ("name", "source", "licence")} if usable else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _check_usable(baked: Path, weights: str) -> None:
    """Find out before the build what would otherwise end each job."""
    try:
        loaded = pretrained_weights.load(baked)
        check_tokenizer(baked, loaded.config.vocab_size)
    except WeightsError as error:
        reason = str(error).replace(f"{baked}/", "").replace(str(baked), "the folder")
        raise ImageError(ExitCode.BUILD, f"{weights} cannot be used: {reason}") from None


def _endpoint() -> str:
    """Return the hub's address without credentials."""
    parts = urlsplit(os.environ.get("HF_ENDPOINT") or _HUB)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Lay out the weights that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    record = lay_out(options.weights, options.folder, Path(os.environ.get(TABLE_VARIABLE) or TABLE))
    print(record["name"], record["sha256"], sep="\n")  # noqa: T201 - this command's output


if __name__ == "__main__":
    command(main)
