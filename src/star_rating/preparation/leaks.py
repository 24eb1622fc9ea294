"""Splits that the user brings: reviews that stand in two of them are counted, named and, if asked, left out of train.

    assignment = find_leaks(places, surveyed, given, drop=True)

A leak is a review whose text, to the letter, or whose id another split has as well: a model that was trained on it is
better at it than at new reviews.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from star_rating.failures import DataError
from star_rating.preparation.reviews import ReviewFile
from star_rating.preparation.sources import InputFile
from star_rating.preparation.split import LEFT_OUT, SPLITS, Assignment, Labels
from star_rating.preparation.survey import Survey

log = logging.getLogger(__name__)

TRAIN = SPLITS.index("train")
LEAKS_NAMED = 3
"""How many are named in the log, for each pair of splits."""


def check_given_splits(labels: Labels, given: Assignment, needed: Sequence[int]) -> None:
    """Raise DataError for a split of `needed` without a review, and for a train split with nothing to learn."""
    for split in needed:
        if not (given == split).any():
            raise DataError(
                f"--{SPLITS[split]} holds no usable review. Check the files, and the names of their columns."
            )
    of_train = np.unique(labels[given == TRAIN])
    if of_train.size == 1:
        raise DataError(
            f"All {(given == TRAIN).sum():,} usable reviews of --train have {of_train[0] + 1} star(s): there is "
            "nothing to learn. Check the star_rating column."
        )


def find_leaks(
    places: Sequence[tuple[InputFile, ReviewFile, slice]], surveyed: Survey, given: Assignment, *, drop: bool
) -> Assignment:
    """Log what each two splits share; return the assignment, with `drop` less what train shares with another.

    `places` are the files with where their reviews stand in the survey. Raise DataError where nothing of train is left.
    """
    assignment = given.copy()
    for one, other in itertools.combinations(np.unique(given).tolist(), 2):
        in_one, in_other = given == one, given == other
        by_text = in_one & np.isin(surveyed.text_hashes, surveyed.text_hashes[in_other])
        # Where a review has no id, its group is its text.
        by_id = in_one & ~by_text & np.isin(surveyed.group_hashes, surveyed.group_hashes[in_other])
        leaks = np.flatnonzero(by_text | by_id)
        if not leaks.size:
            continue
        dropped = drop and one == TRAIN
        more = f"; and {leaks.size - LEAKS_NAMED:,} more" if leaks.size > LEAKS_NAMED else ""
        log.warning(
            "%s of %s reviews of %s are in %s, too (%s with the same text, %s with the same review id only): %s%s. %s",
            f"{leaks.size:,}",
            f"{in_one.sum():,}",
            SPLITS[one],
            SPLITS[other],
            f"{by_text.sum():,}",
            f"{by_id.sum():,}",
            "; ".join(_lines_of(places, leaks[:LEAKS_NAMED])),
            more,
            "They are left out of train" if dropped else _ADVICE[one == TRAIN],
        )
        if dropped:
            assignment[leaks] = LEFT_OUT
    if (given == TRAIN).any() and not (assignment == TRAIN).any():
        raise DataError("Each review of --train is in another split, too: --drop-leaks leaves nothing to train on.")
    return assignment


_ADVICE = {
    True: "The result on them is better than that on new reviews; --drop-leaks leaves them out of train",
    False: "One of the two results repeats the other in part",
}


def _lines_of(places: Sequence[tuple[InputFile, ReviewFile, slice]], reviews: npt.NDArray[np.intp]) -> Iterator[str]:
    """Yield "file line n" of some reviews of the survey, in order; their files are read again so far."""
    for source, file, place in places:
        wanted = [int(review) - place.start for review in reviews if place.start <= review < place.stop]
        usable = (row.line for row in file if not row.problem)
        at = 0
        for position in wanted:
            line = next(islice(usable, position - at, None))
            at = position + 1
            yield f"{source.name} {file.unit} {line}"
