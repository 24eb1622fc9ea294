"""Which pretrained weights a job starts from.

    weights = resolve("auto", job.channels, os.environ)
    weights.folder      # a checkpoint folder: config.json, model.safetensors, tokenizer.json

The hyperparameter `model` is one of:

- `auto` (the default): the weights baked into the image. It never touches the network: whether a hub answers must not
  decide what a job trains, or the same job gives two results.
- a hub id: `distilbert-base-uncased` (pinned to a commit here), `owner/name`, or either with `@revision`. The hub is
  not asked if the image was built with that model at that commit.
- a path, which starts with `/`, `./` or `../`.

A channel named `model` wins over all of these: whoever mounts weights means them.
"""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from star_rating.data.files import file_sha256
from star_rating.data.manifest import KnownTokenizer
from star_rating.failures import WeightsError
from star_rating.model import pretrained_weights
from star_rating.model.tokenizer import TOKENIZER_FILES, check_tokenizer

AUTO = "auto"
CHANNEL = "model"
BAKED_VARIABLE = "DISTILBERT_WEIGHTS"
BAKED_FOLDER = "/opt/distilbert-trainer/weights"

PINNED_REVISIONS = {
    "distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
    "distilbert/distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
}
HUB_ID = re.compile(r"(?P<repository>[\w-][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
HUB_TIMEOUT_SECONDS = 10
LONGEST_NAME = 200
"""Characters of a name in weights.json."""
HUB_FILES = (pretrained_weights.CONFIG_FILE, pretrained_weights.WEIGHTS_FILE, *TOKENIZER_FILES)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """The checkpoint folder that a job starts from, as the run record names it."""

    folder: Path
    name: str
    """What they are: a hub id with its commit, the name in the folder's weights.json, or the folder's own."""
    source: str
    """Where they came from: `baked`, `channel`, `path` or `hub`."""
    sha256: str
    """Of model.safetensors."""
    tokenizer: KnownTokenizer

    def as_dict(self) -> dict[str, str]:
        """Return what run.json keeps."""
        return {
            "folder": str(self.folder),
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "tokenizer_sha256": self.tokenizer.sha256,
        }


def resolve(model: str, channels: Mapping[str, Path], environ: Mapping[str, str]) -> Weights:
    """Find the weights that the hyperparameter `model`, the job's channels and the image come to; log which.

    Raises WeightsError if the folder lacks a file that training or the export needs, or if the hub has no answer.
    """
    name = None
    baked = Path(environ.get(BAKED_VARIABLE, BAKED_FOLDER))
    if CHANNEL in channels:
        source, folder = "channel", channels[CHANNEL]
    elif model == AUTO:
        source, folder = "baked", baked
    elif model.startswith(("/", "./", "../")):
        source, folder = "path", Path(model)
    else:
        repository, revision = _parse_hub_id(model)
        if _is_of(baked, repository, revision):
            source, folder = "baked", baked
        else:
            folder, commit = _download(repository, revision)
            source, name = "hub", f"{repository}@{commit}"
    known_tokenizer = _check(folder, source)
    weights = Weights(
        folder=folder,
        name=name or _own_name(folder),
        source=source,
        sha256=file_sha256(folder / pretrained_weights.WEIGHTS_FILE),
        tokenizer=known_tokenizer,
    )
    logger.info(
        "weights: %s (source %s, folder %s, sha256 %s)", weights.name, weights.source, weights.folder, weights.sha256
    )
    return weights


def _check(folder: Path, source: str) -> KnownTokenizer:
    """Find out now what would otherwise fail after minutes of training; return the folder's tokenizer."""
    if not folder.is_dir():
        advice = {
            "baked": f"Set {BAKED_VARIABLE} to the image's weights, or give the job a '{CHANNEL}' channel.",
            "path": f"Correct the hyperparameter model, or set it to '{AUTO}'.",
        }.get(source, f"Give the '{CHANNEL}' channel a checkpoint folder.")
        raise WeightsError(f"The weights folder {folder} ({source}) does not exist. {advice}")
    if source == "channel" and (folder / "model.tar.gz").is_file():
        raise WeightsError(
            f"The '{CHANNEL}' channel holds model.tar.gz. Unpack it, and give the channel the prefix of the folder "
            "with config.json (transformers/fine-tuned/ in an archive of this image)."
        )
    config = pretrained_weights.read_config(folder)
    pretrained_weights.find_weights(folder)
    return check_tokenizer(folder, config.vocab_size)


def _parse_hub_id(model: str) -> tuple[str, str]:
    """Split `repository[@revision]`; a repository that is not pinned here is read at `main`."""
    match = HUB_ID.fullmatch(model)
    if match is None:
        raise WeightsError(
            f"model is {model!r}; allowed are '{AUTO}', a hub id like 'distilbert-base-uncased' or "
            "'owner/name@revision', and a path that starts with '/', './' or '../'."
        )
    repository = match["repository"]
    return repository, match["revision"] or PINNED_REVISIONS.get(repository, "main")


def _download(repository: str, revision: str) -> tuple[Path, str]:
    """Fetch the files that we read into the hub's cache; return their folder and the commit."""
    import huggingface_hub as hub  # half a second, and most jobs need no hub
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        # Asked first, because it takes a timeout and does not retry: the download itself waits without limit where
        # packets are dropped.
        commit = hub.model_info(repository, revision=revision, timeout=HUB_TIMEOUT_SECONDS).sha
        folder = hub.snapshot_download(repository, revision=commit, allow_patterns=list(HUB_FILES))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise WeightsError(
            f"The hub has no public model {repository!r} at revision {revision!r}. Correct the hyperparameter model."
        ) from error
    except OSError as error:
        # The hub's and requests' exceptions are OSErrors, as is a full disk.
        if error.errno == errno.ENOSPC:
            raise
        raise WeightsError(
            f"The hub did not give {repository!r} ({type(error).__name__}). A job with network isolation or without a "
            f"route to the internet cannot reach it: give the job a '{CHANNEL}' channel with the checkpoint's files, "
            f"or set model={AUTO} for the weights in the image."
        ) from error
    return Path(folder), str(commit)


def _is_of(folder: Path, repository: str, revision: str) -> bool:
    """Return whether weights.json says that a folder has a hub's model at that commit; a branch's name is no commit."""
    said = (_record_of(folder, "name"), _record_of(folder, "source"))
    return said[0] == f"{repository}@{revision}" or said[1] == f"hub {repository}@{revision}"


def _own_name(folder: Path) -> str:
    """Return the name in weights.json, or else the folder's."""
    name = _record_of(folder, "name")
    usable = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    return str(name) if usable else folder.resolve().name


def _record_of(folder: Path, key: str) -> object:
    """Return a value of weights.json, which the build of the image writes; None if it has none."""
    try:
        record = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record.get(key) if isinstance(record, dict) else None
