# ruff: noqa: INP001 - a script of its own
"""Make reviews.tsv from the rated review sentences of Hutto & Gilbert (2014).

    python data/from_snippets.py amazonReviewSnippets_GroundTruth.txt data/reviews.tsv

README.md beside this file says where the source comes from and what the result holds.
"""

from __future__ import annotations

import bisect
import hashlib
import sys
from pathlib import Path

SOURCE_SHA256 = "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2"

STAR_EDGES = (-2.4, -0.8, 0.8, 2.4)
"""Ratings run from -4 to 4; a rating on an edge belongs to the stars above it."""


def main() -> None:
    """Read the source named first on the command line, write the file named second."""
    source, target = map(Path, sys.argv[1:])
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SOURCE_SHA256:
        sys.exit(f"{source} is not the file of vaderSentiment 3.3.2: its sha256 is not {SOURCE_SHA256}.")
    rows = ["review_id\tstar_rating\treview_body"]
    for line in content.decode().splitlines():
        sentence_id, rating, text = line.split("\t")
        review_id, _, _ = sentence_id.partition("_")
        rows.append(f"{review_id}\t{1 + bisect.bisect_right(STAR_EDGES, float(rating))}\t{text}")
    target.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
