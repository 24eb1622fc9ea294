"""Which records of a channel are whose: arithmetic alone, the same on every host.

Two ways in which the platform brings a channel to several hosts, and both give batches of the same size as on one:

- every host has all of it (FullyReplicated): each works on its slice of every batch that one host would have;
- each has some of it (ShardedByS3Key): to every batch each gives as many records as its share of what is left of the
  pass, so that all shards end with the same batch, however uneven they are, and each record comes once a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def slice_of(number: int, rank: int, size: int) -> tuple[int, int]:
    """Return start and end of what is this host's of `number` things in a row."""
    return number * rank // size, number * (rank + 1) // size


def records_of_batches(shards: Sequence[int], batch_size: int) -> Iterator[tuple[int, ...]]:
    """Yield for each batch of a pass how many records each host gives to it.

    By largest remainders: a host whose shard is 9 of 13 gives 9 of 13, to one more or less.
    """
    left = list(shards)
    while total := sum(left):
        batch = min(batch_size, total)
        given = [own * batch // total for own in left]
        by_remainder = sorted(range(len(left)), key=lambda rank: (-(left[rank] * batch % total), rank))
        for rank in by_remainder[: batch - sum(given)]:
            given[rank] += 1
        left = [own - some for own, some in zip(left, given, strict=True)]
        yield tuple(given)


def most_of_a_batch(shards: Sequence[int] | None, rank: int, size: int, batch_size: int) -> int:
    """Return how many records of a batch can be this host's; `shards` None where all hosts have all."""
    if shards is None:
        return -(-batch_size // size)
    return min(shards[rank], -(-shards[rank] * batch_size // sum(shards)) + 1, batch_size)


def part_in_order(shards: Sequence[int] | None, rank: int, size: int, records: int) -> tuple[int, int]:
    """Return start and end, in what this host holds, of its part of a channel's first `records`.

    The parts of all hosts, one after the other, are these records in the channel's order; a sharded channel is its
    shards one after the other.
    """
    if shards is None:
        return slice_of(records, rank, size)
    before = sum(shards[:rank])
    return 0, max(0, min(shards[rank], records - before))
