"""A job's channels against each other: what is trained on must not be what is tested on.

    channels = {name: open_channel(name, ...) for name in ...}
    check_leakage(channels, limits)

What is surely wrong raises DataError; what may be meant is a warning. Three things are compared, each if it is there:

- the files, by their hashes;
- the manifests: two runs of `prepare` over one source have two splits, and one's test is the other's training data;
- the records: by the hashes of their texts, which `prepare` leaves; else by those of their tokens. For that, records
  that manifests vouch for are parsed, but no more than MOST_PARSED of a channel (about a second).

On several hosts files and manifests are those of all hosts, and records those of each host by itself.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from star_rating.data.channel import Channel
from star_rating.data.fingerprint import Fingerprint
from star_rating.data.manifest import GIVEN, Manifest
from star_rating.data.records import Hashes, Limits, check_records, fingerprint_of, scan
from star_rating.failures import DataError, quote

log = logging.getLogger(__name__)

TRAIN = "train"
MOST_PARSED = 100_000
"""Records of a channel that are parsed for no other reason than to compare them."""
WORTH_A_WARNING = 0.01
"""Share of a channel's records; short texts ("Great!") come twice in any collection of reviews."""

_SETTINGS = {"split": "--split", "hosts": "number of hosts"}


def check_leakage(
    channels: Mapping[str, Channel], limits: Limits, on_progress: Callable[[], object] = lambda: None
) -> None:
    """Check a job's opened channels; raise DataError where training would be on what it is tested on."""
    _check_text_processing(channels.values())
    for one, other in itertools.combinations(channels.values(), 2):
        _check_files(one, other)
    for channel in channels.values():
        _check_runs_within(channel)
    if TRAIN not in channels:
        return
    train, others = channels[TRAIN], [channel for name, channel in channels.items() if name != TRAIN]
    tokens: dict[str, Fingerprint] = {}
    for other in others:
        runs = _differing_runs(train.manifests, other.manifests)
        one_source = bool(_shared_sources(train.manifests, other.manifests))
        if train.texts is not None and other.texts is not None and train.texts.can_be_compared_with(other.texts):
            _check_overlap(other, "text", train.texts, other.texts, runs, one_source=one_source)
        elif runs and one_source:
            raise _two_splits(other, runs, "")
        elif train.manifests and other.manifests and not runs and not _is_given(train.manifests):
            log.info("channels train and %s are of one run of prepare, which keeps their texts apart", other.name)
        else:
            for channel in (train, other):
                if channel.name not in tokens:
                    tokens[channel.name] = channel.tokens or fingerprint_of(_tokens(channel, limits, on_progress))
            _check_overlap(other, "record", tokens[TRAIN], tokens[other.name], runs, one_source=one_source)


def _check_text_processing(channels: Iterable[Channel]) -> None:
    """Raise DataError for texts that became token ids in different ways: the model can serve one of them only."""
    prepared = [(channel.name, manifest) for channel in channels for manifest in channel.manifests]
    for (one, first), (other, manifest) in itertools.pairwise(prepared):
        if first.processing != manifest.processing:
            where = f"Channels {one!r} and {other!r} were" if one != other else f"Channel {one!r} was"
            raise DataError(
                f"{where} prepared in two ways: with {first.processing}, and with {manifest.processing}. Prepare "
                "all with the same options."
            )


def _check_files(one: Channel, other: Channel) -> None:
    digests = set(one.all_digests())
    shared = [digest for digest in other.all_digests() if digest in digests]
    if not shared:
        return
    names = dict(zip(other.digests, other.files, strict=True))
    example = f", for example {names[shared[0]]}" if shared[0] in names else ""
    message = (
        f"{len(shared)} of {len(other.all_digests())} record file(s) of channel {other.name!r} are in channel "
        f"{one.name!r}, too{example}"
    )
    if one.name == TRAIN:
        raise DataError(
            f"{message}: its result would be that of training data. Give each channel a prefix of its own (prepare "
            f"writes train/, validation/ and test/), or set run_{other.name}=False."
        )
    log.warning("%s: one of the two results says nothing. Give each channel a prefix of its own", message)


def _check_runs_within(channel: Channel) -> None:
    """Check one channel's manifests against its name and against each other."""
    for split in sorted({manifest.split for manifest in channel.manifests} - {channel.name}):
        log.warning(
            "channel %s holds what prepare wrote as %s (its manifest says so). If that is not meant, point the channel "
            "at the folder %s/ of that run",
            channel.name,
            quote(split),
            channel.name,
        )
    for one, other in itertools.combinations(_one_of_each_run(channel.manifests), 2):
        difference = _difference(one, other)
        same = [manifest for manifest in channel.manifests if not _difference(manifest, one)]
        others = [manifest for manifest in channel.manifests if not _difference(manifest, other)]
        if sources := _shared_sources(same, others):
            raise DataError(
                f"Channel {channel.name!r} holds two runs of `prepare` over {sources[0]} ({difference}): each review "
                "is there twice, and may be on two sides of the split. Remove one run's files, and give each run a "
                "prefix of its own."
            )
        log.warning(
            "channel %s holds two runs of prepare (%s), over other sources. If that is not meant, remove one run's "
            "files",
            channel.name,
            difference,
        )
    different = [manifest for at, manifest in enumerate(channel.manifests) if manifest not in channel.manifests[:at]]
    read = Counter((manifest.split, source.name, source.rows) for manifest in different for source in manifest.sources)
    if twice := [name for (_, name, _), count in read.items() if count > 1]:
        log.warning(
            "channel %s: %d source(s) are in several of its manifests, for example %s, so that each of their reviews "
            "is there more than once. Prepare a FullyReplicated input with --shard-by-host",
            channel.name,
            len(twice),
            quote(twice[0]),
        )
    if copies := [digest for digest, count in Counter(channel.digests).items() if count > 1]:
        path = channel.files[channel.digests.index(copies[0])]
        log.warning(
            "channel %s: %d file(s) are there more than once, for example %s, and so is each of their records",
            channel.name,
            len(copies),
            path,
        )


def _check_overlap(
    other: Channel, what: str, train: Fingerprint, test: Fingerprint, runs: str, *, one_source: bool
) -> None:
    """Judge what `other` and the train channel share.

    `what` was compared; `runs` tells how two runs differ that wrote them, if there are two, and `one_source` whether
    manifests of both have read the same input.
    """
    bits = max(train.sampled_bits, test.sampled_bits)
    shared, compared = train.shared_with(test), len(test.sampled(bits).hashes)
    sample = "" if bits == 0 else f" of a sample of one in {2**bits}"
    found = (
        f"{shared:,} of {compared:,} different {what}s{sample} of channel {other.name!r} are in channel 'train', too"
    )
    advice = (
        "Prepare both in one run, which keeps equal texts on one side (for splits of your own: with --drop-leaks), or "
        f"set run_{other.name}=False"
    )
    if not shared:
        log.info("channels: none of %s different %ss%s of %s is in train", f"{compared:,}", what, sample, other.name)
    elif runs and (one_source or 2 * shared > compared):
        raise _two_splits(other, runs, f"{found}. ")
    elif 2 * shared > compared:
        raise DataError(f"{found}: its result would be that of training data. {advice}.")
    else:
        level = logging.WARNING if shared >= WORTH_A_WARNING * compared else logging.INFO
        log.log(level, "%s: its result is better than that of new reviews will be. %s", found, advice)


def _is_given(manifests: Sequence[Manifest]) -> bool:
    """Tell whether the splits were the user's own (--train, --validation, --test), which may share texts."""
    return any(manifest.settings.get("split") == GIVEN for manifest in manifests)


def _two_splits(other: Channel, runs: str, found: str) -> DataError:
    return DataError(
        f"{found}Channels 'train' and {other.name!r} are of two runs of `prepare` ({runs}), whose splits put a review "
        "on different sides. Take both from one run, and give each run a prefix of its own; or set "
        f"run_{other.name}=False."
    )


def _tokens(channel: Channel, limits: Limits, on_progress: Callable[[], object]) -> Iterator[Hashes]:
    """Yield the hashes of a channel's records, from the first, until there are enough."""
    parsed = 0
    for path in channel.files:
        for records in check_records(path, scan(path), limits):
            yield records.hashes
            parsed += len(records.hashes)
            on_progress()
            if parsed >= MOST_PARSED:
                log.info("channel %s: its first %d records are compared", channel.name, parsed)
                return


def _one_of_each_run(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Return the first manifest of each run that differs from those before."""
    first: list[Manifest] = []
    for manifest in manifests:
        if all(_difference(manifest, known) for known in first):
            first.append(manifest)
    return first


def _differing_runs(train: Sequence[Manifest], other: Sequence[Manifest]) -> str:
    """Say how the manifests of two channels differ that cannot be of one run; "" where there are no such."""
    for one, another in itertools.product(_one_of_each_run(train), _one_of_each_run(other)):
        if difference := _difference(one, another):
            return difference
    read = {manifest.host: manifest.sources for manifest in train}
    for manifest in other:
        if read.get(manifest.host, manifest.sources) != manifest.sources:
            return f"{manifest.host} read other sources, or they had other rows"
    return ""


def _difference(one: Manifest, other: Manifest) -> str:
    """Say how two manifests differ that cannot be of one run; "" where they can."""
    if one.seed != other.seed:
        return f"seed {one.seed} and {other.seed}"
    if one.max_seq_length != other.max_seq_length:
        return f"max_seq_length {one.max_seq_length} and {other.max_seq_length}"
    if one.tokenizer.sha256 != other.tokenizer.sha256:
        return f"tokenizer {quote(one.tokenizer.name)} and {quote(other.tokenizer.name)}"
    for key in sorted({*one.settings, *other.settings} - {"truncate", "keep_html", "drop_leaks"}):
        if one.settings.get(key) != other.settings.get(key):
            return f"{_SETTINGS.get(key, key)} {quote(one.settings.get(key))} and {quote(other.settings.get(key))}"
    return ""


def _shared_sources(train: Sequence[Manifest], other: Sequence[Manifest]) -> list[str]:
    """Return the sources, as a sentence quotes them, that manifests of both have read."""
    names = {(source.name, source.rows) for manifest in train for source in manifest.sources}
    return sorted(
        quote(source.name) for manifest in other for source in manifest.sources if (source.name, source.rows) in names
    )
