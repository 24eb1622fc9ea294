"""Raw reviews to TFRecord channels, from the first look at the input to the manifests.

    prepare(PrepareSettings(inputs=(Path("data"),), output=Path("channels"), weights=Path("weights")))

The input is read twice (survey.py says why): once to learn which rows are usable and to decide the split, once to
tokenise and write. Files come into being in a hidden folder beside their place and are renamed into it at the end, so
that a run that fails leaves no records.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from star_rating.data.fingerprint import SUFFIX
from star_rating.data.manifest import GIVEN, PATTERN, Manifest, Scalar, SourceCounts, TokenizerIdentity
from star_rating.data.schema import STARS
from star_rating.data.text_processing import TextProcessing
from star_rating.failures import UsageError
from star_rating.preparation.leaks import check_given_splits, find_leaks
from star_rating.preparation.parts import SplitTally, write_parts
from star_rating.preparation.reviews import Columns, HasToken, ReviewFile
from star_rating.preparation.sources import InputFile, dealt_by_bytes, find_sources, no_sources
from star_rating.preparation.split import LEFT_OUT, SPLITS, Assignment, assign_splits, balance
from star_rating.preparation.survey import Survey, check_rows, survey
from star_rating.preparation.tokenization import ReviewTokenizer, load_tokenizer

log = logging.getLogger(__name__)

_T = TypeVar("_T")

SHARE_TOLERANCE = 0.01
"""A split that misses its share by more than this is worth a warning."""


@dataclass(frozen=True)
class PrepareSettings:
    """One run of `prepare`; the defaults are the notebook's."""

    inputs: tuple[Path, ...]
    """What is split here; empty where `given` says what is in each split."""
    output: Path
    weights: Path
    """A folder with the tokenizer.json of the weights that will be trained."""
    review_format: str | None = None
    """tsv, csv, jsonl or parquet for all files; None: by their names."""
    columns: Columns = Columns()
    max_seq_length: int = 64
    shares: tuple[float, float, float] = (0.90, 0.05, 0.05)
    """Of train, validation and test; they add up to 1."""
    given: tuple[tuple[Path, ...], ...] = ()
    """The inputs of train, validation and test that are split already, in the order of SPLITS; () where none is."""
    drop_leaks: bool = False
    """Whether train loses the reviews that another given split has, too."""
    processing: TextProcessing = TextProcessing(keep_html=False)
    seed: int = 42
    balance: bool = False
    max_broken_share: float = 0.01
    overwrite: bool = False
    host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    shard_by_host: bool = False
    """Whether every host sees all files, and this one is to write only its share of them."""

    @property
    def splits(self) -> tuple[int, ...]:
        """Return the splits that are written, as indices into SPLITS."""
        wanted = self.given or self.shares
        return tuple(split for split, of_split in enumerate(wanted) if of_split)


def prepare(settings: PrepareSettings) -> tuple[Manifest, ...]:
    """Write the channels of this host and return their manifests, in the order of SPLITS.

    Raise DataError on unusable input, WeightsError on an unusable tokenizer, UsageError on an output that may not be
    written. On a host without files (more hosts than files) nothing is written.
    """
    folders = {split: settings.output / SPLITS[split] for split in settings.splits}
    if not settings.overwrite:
        _refuse_records(settings.output)
    sources = _find_sources(settings)
    tokenizer = load_tokenizer(settings.weights, settings.max_seq_length, settings.processing)
    if not sources:
        return ()
    plan = _plan(sources, settings, tokenizer.has_token)
    owned = _owned(sources, settings)
    mine = _mine(_with_places(sources, plan.surveyed), owned)
    if not mine:
        return ()
    with _staged(folders, settings.host) as staging:
        tallies = write_parts(
            mine,
            plan.surveyed,
            plan.assignment,
            tokenizer,
            folders=staging,
            # Hosts that see all files give no two the same name: their output is that of one host, name by name.
            prefix="part" if settings.shard_by_host else f"part-{settings.host}",
        )
        places = [place for *_, place in mine]
        counted = _mine(plan.surveyed.sources, owned)
        manifests = [
            replace(
                _manifest(split, tally, plan.dropped(split, places), counted, tokenizer, settings),
                texts=tally.texts.write(staging[split], settings.host),
            )
            for split, tally in tallies.items()
        ]
        _check_accounts(manifests)
        for folder, manifest in zip(staging.values(), manifests, strict=True):
            (folder / manifest.file_name).write_text(manifest.to_json(), encoding="utf-8")
        _publish(staging, folders, settings.output)
    return tuple(manifests)


@dataclass(frozen=True)
class _Plan:
    """What the first pass decided."""

    surveyed: Survey
    dealt: Assignment
    without_leaks: Assignment
    """`dealt`, less what --drop-leaks leaves out."""
    assignment: Assignment
    """`without_leaks`, less what balancing leaves out."""

    def dropped(self, split: int, places: Sequence[slice]) -> _Dropped:
        """Count the reviews in some places of the survey that were left out of a split."""
        leaks = balanced = 0
        for place in places:
            leaks += int(((self.dealt[place] == split) & (self.without_leaks[place] == LEFT_OUT)).sum())
            balanced += int(((self.without_leaks[place] == split) & (self.assignment[place] == LEFT_OUT)).sum())
        return _Dropped(leaks, balanced)


class _Dropped(NamedTuple):
    leaks: int
    by_balancing: int


def _plan(sources: Sequence[InputFile], settings: PrepareSettings, has_token: HasToken) -> _Plan:
    log.info("Surveying %d file(s)", len(sources))
    surveyed = survey(sources, settings.columns, settings.seed, has_token, settings.processing)
    check_rows(surveyed, settings.max_broken_share)
    if settings.given:
        splits = [source.split for source in sources]
        kept = [source.kept for source in surveyed.sources]
        dealt = np.repeat(np.array(splits, np.uint8), kept)
        check_given_splits(surveyed.labels, dealt, settings.splits if len(settings.hosts) == 1 else ())
        without_leaks = find_leaks(_with_places(sources, surveyed), surveyed, dealt, drop=settings.drop_leaks)
    else:
        dealt = assign_splits(surveyed.labels, surveyed.text_hashes, surveyed.group_hashes, settings.shares)
        without_leaks = dealt
        _warn_of_missed_shares(dealt, settings.shares)
    if settings.balance:
        return _Plan(surveyed, dealt, without_leaks, balance(without_leaks, surveyed.labels, surveyed.text_hashes))
    return _Plan(surveyed, dealt, without_leaks, without_leaks)


def _find_sources(settings: PrepareSettings) -> tuple[InputFile, ...]:
    """Return the files that this host sees; none is an error only where there is no other host."""
    sources: list[InputFile] = []
    for split, inputs in enumerate(settings.given or (settings.inputs,)):
        if not inputs:
            continue
        # S3 may have dealt all files of a split to other hosts, and then there is no folder.
        here = [path for path in inputs if not settings.given or len(settings.hosts) == 1 or path.exists()]
        found = find_sources(here, settings.review_format)
        if len(settings.hosts) == 1 and not found.sources:
            raise no_sources(inputs, found)
        # Two splits may have files of one name.
        label = f"{SPLITS[split]}/" if settings.given else ""
        sources += [replace(source, name=label + source.name, split=split) for source in found.sources]
    if len(settings.hosts) > 1 and not settings.shard_by_host:
        log.info(
            "%d hosts: this one splits what it sees. If the input is FullyReplicated, add --shard-by-host; that also "
            "keeps a text that two hosts have on one side.",
            len(settings.hosts),
        )
    return tuple(sources)


def _manifest(
    split: int,
    tally: SplitTally,
    dropped: _Dropped,
    sources: tuple[SourceCounts, ...],
    tokenizer: ReviewTokenizer,
    settings: PrepareSettings,
) -> Manifest:
    return Manifest(
        split=SPLITS[split],
        host=settings.host,
        records=int(tally.histogram.sum()),
        label_histogram=dict(zip(STARS, tally.histogram.tolist(), strict=True)),
        truncated=tally.truncated,
        dropped_by_balancing=dropped.by_balancing,
        dropped_as_leaks=dropped.leaks,
        max_seq_length=settings.max_seq_length,
        tokenizer=TokenizerIdentity(tokenizer.name, tokenizer.sha256),
        seed=settings.seed,
        files=tuple(tally.files),
        sources=sources,
        settings=_recorded(settings),
    )


def _check_accounts(manifests: Sequence[Manifest]) -> None:
    """Make sure that every row that was kept is in a split, or was left out as a leak or to balance the classes."""
    kept = sum(source.kept for source in manifests[0].sources)
    written = sum(
        manifest.records + manifest.dropped_by_balancing + manifest.dropped_as_leaks for manifest in manifests
    )
    if written != kept:
        raise RuntimeError(f"{kept:,} rows were kept, and {written:,} came into the splits")


def _with_places(sources: Sequence[InputFile], surveyed: Survey) -> list[tuple[InputFile, ReviewFile, slice]]:
    """Return each source with its file and the slice of the survey that its reviews take."""
    ends = np.cumsum([0] + [source.kept for source in surveyed.sources]).tolist()
    places = [slice(*ends[index : index + 2]) for index in range(len(sources))]
    return list(zip(sources, surveyed.files, places, strict=True))


def _owned(sources: Sequence[InputFile], settings: PrepareSettings) -> list[bool]:
    """Return for each source whether this host writes its reviews."""
    if not settings.shard_by_host:
        return [True] * len(sources)
    rank = settings.hosts.index(settings.host)
    owners = dealt_by_bytes([source.path.stat().st_size for source in sources], len(settings.hosts))
    return [owner == rank for owner in owners]


def _mine(of_sources: Sequence[_T], owned: Sequence[bool]) -> tuple[_T, ...]:
    return tuple(item for item, is_mine in zip(of_sources, owned, strict=True) if is_mine)


def _warn_of_missed_shares(assignment: Assignment, shares: Sequence[float]) -> None:
    reached = np.bincount(assignment, minlength=len(SPLITS)) / assignment.size
    for name, share, is_share in zip(SPLITS, shares, reached.tolist(), strict=True):
        if abs(is_share - share) > SHARE_TOLERANCE:
            log.warning(
                "%s gets %.1f %% of the reviews instead of %.1f %%: those with one review_id or one text stay together",
                name,
                100 * is_share,
                100 * share,
            )


def _recorded(settings: PrepareSettings) -> Mapping[str, Scalar]:
    return {
        "split": GIVEN if settings.given else ",".join(f"{100 * share:g}" for share in settings.shares),
        **({"drop_leaks": settings.drop_leaks} if settings.given else {}),
        **settings.processing.as_settings(),
        "balance": settings.balance,
        "max_broken_share": settings.max_broken_share,
        "review_body_column": settings.columns.review_body,
        "star_rating_column": settings.columns.star_rating,
        "review_id_column": settings.columns.review_id,
        "shard_by_host": settings.shard_by_host,
        "hosts": len(settings.hosts),
    }


def _records_in(output: Path) -> list[Path]:
    """Return the records and manifests of earlier runs, whatever host wrote them."""
    patterns = ("*.tfrecord", PATTERN, f"texts-*{SUFFIX}")
    return sorted(path for name in SPLITS for pattern in patterns for path in (output / name).glob(pattern))


def _refuse_records(output: Path) -> None:
    if earlier := _records_in(output):
        raise UsageError(
            f"{output} already holds {len(earlier)} file(s) of an earlier run, for example {earlier[0]}. Name another "
            "--output, or add --overwrite to replace them."
        )


@contextmanager
def _staged(folders: Mapping[int, Path], host: str) -> Iterator[dict[int, Path]]:
    """Make a hidden folder inside each split's folder (a rename needs one file system) and remove it at the end."""
    staging = {split: folder / f".prepare-{host}" for split, folder in folders.items()}
    try:
        for folder in staging.values():
            shutil.rmtree(folder, ignore_errors=True)  # what a killed run of this host may have left
            try:
                folder.mkdir(parents=True)
            except (FileExistsError, NotADirectoryError, PermissionError) as error:
                raise UsageError(f"--output cannot be written: {error.strerror}: {error.filename}.") from error
        yield staging
    finally:
        for folder in staging.values():
            shutil.rmtree(folder, ignore_errors=True)


def _publish(staging: Mapping[int, Path], folders: Mapping[int, Path], output: Path) -> None:
    """Replace what an earlier run left by what this one wrote, each manifest after its records."""
    for earlier in _records_in(output):
        earlier.unlink()
    for split, folder in staging.items():
        for path in sorted(folder.iterdir(), key=lambda path: path.suffix == ".json"):
            path.rename(folders[split] / path.name)
