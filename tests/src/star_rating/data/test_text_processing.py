"""How texts become token ids: decoded, cut, recorded; the same in `prepare` and in the code that serves."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from star_rating.data.channel import open_channel
from star_rating.data.leakage import check_leakage
from star_rating.data.manifest import Manifest, read_manifests
from star_rating.data.records import Limits
from star_rating.data.text_processing import UNCHANGED, TextProcessing, head_and_tail
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.tokenization import load_tokenizer
from star_rating.results import inference
from tests.helpers.prepare_fixtures import WORDS, decoded, make_weights, random_reviews, read_records, write_tsv

LENGTH = 16
DECODED = TextProcessing(keep_html=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Don&#39;t &quot;buy&quot; &amp; don&#x27;t look", "Don't \"buy\" & don't look"),
        ("one<br />two<br>three<BR/>four<br  />", "one two three four "),
        ("AT&T, R&D; a &copy without its semicolon; <b>bold</b>; 1 < 2 > 0", None),
        ("&notanentity; &#1234567890; &;", None),
        ("&notin;&eacute;", "\u2209é"),
        ("&amp;quot;", "&quot;"),
        ("&lt;br /&gt;", " "),
        ("&#xD800;&#0;", "\ufffd\ufffd"),
        ("plain", None),
    ],
)
def test_entities_and_line_breaks_become_text_and_nothing_else_does(text: str, clean: str | None) -> None:
    assert DECODED.clean(text) == (text if clean is None else clean)
    assert UNCHANGED.clean(text) == text


def test_head_and_tail_keeps_both_ends() -> None:
    for longest in (3, 4, 16, 64, 510, 512):
        assert head_and_tail(list(range(longest)), longest) == list(range(longest))
        cut = head_and_tail(list(range(1000)), longest)
        assert (len(cut), cut[0], cut[-1]) == (longest, 0, 999)
        assert len(set(cut)) == longest
    # The source's 128 and 382 of 510 tokens, between [CLS] and [SEP].
    assert head_and_tail(list(range(1000)), 512)[127:130] == [127, 616, 617]


def served(weights: Path, folder: Path, processing: TextProcessing) -> inference.ModelFolder:
    """Return a model's folder as far as tokenising goes."""
    fine_tuned = folder / "transformers" / "fine-tuned"
    fine_tuned.mkdir(parents=True)
    shutil.copyfile(weights / "tokenizer.json", fine_tuned / "tokenizer.json")
    (fine_tuned / "tokenizer_config.json").write_text(json.dumps({"model_max_length": LENGTH}))
    (fine_tuned / "preprocessing.json").write_text(json.dumps(processing.as_settings()))
    return inference.ModelFolder(folder)


@pytest.mark.parametrize("truncate", ["head", "head-tail"])
@pytest.mark.parametrize("keep_html", [True, False])
def test_serving_makes_the_ids_that_prepare_makes(
    weights: Path, tmp_path: Path, truncate: str, *, keep_html: bool
) -> None:
    processing = TextProcessing(truncate, keep_html)
    pick = random.Random(1)
    pieces = (*WORDS, "&amp;", "<br />", "&#39;", "&bogus;", "<br>", "AT&T")
    reviews = [" ".join(pick.choices(pieces, k=pick.randrange(1, 40))) for _ in range(200)]

    tokenizer = load_tokenizer(weights, LENGTH, processing)
    ids, truncated = tokenizer.encode([processing.clean(review) for review in reviews])

    encodings = served(weights, tmp_path, processing).encode(reviews)
    assert [encoding.ids for encoding in encodings] == ids
    assert [encoding.truncated for encoding in encodings] == truncated
    assert {len(row) for row in ids} > {LENGTH}
    assert any(truncated)


def test_a_model_of_an_earlier_image_is_served_as_it_was(weights: Path, tmp_path: Path) -> None:
    folder = served(weights, tmp_path, replace(UNCHANGED, truncate="head-tail"))
    (folder.fine_tuned / "preprocessing.json").unlink()
    long = "great " * 30
    assert folder.encode([long])[0].ids == load_tokenizer(weights, LENGTH).encode([long]).ids[0]


def prepared(weights: Path, folder: Path, rows: list[tuple[str, int, str]], processing: TextProcessing) -> Manifest:
    source = write_tsv(folder / "in" / "reviews.tsv", rows)
    settings = PrepareSettings((source,), folder / "out", weights, max_seq_length=LENGTH, processing=processing)
    return prepare(replace(settings, shares=(1.0, 0.0, 0.0)))[0]


def test_prepare_decodes_before_it_compares_and_counts(weights: Path, tmp_path: Path) -> None:
    rows = [("a", 1, "great<br />book"), ("b", 2, "<br />"), *random_reviews(20)]

    assert prepared(weights, tmp_path / "kept", rows, UNCHANGED).sources[0].empty == 0
    manifest = prepared(weights, tmp_path / "decoded", rows, DECODED)

    assert manifest.sources[0].empty == 1
    assert "great book" in decoded(read_records((tmp_path / "decoded/out/train").glob("*.tfrecord"), LENGTH), weights)


def test_the_manifest_records_it_and_an_earlier_ones_silence_means_unchanged(weights: Path, tmp_path: Path) -> None:
    prepared(weights, tmp_path, random_reviews(20), TextProcessing("head-tail", keep_html=False))
    manifest = read_manifests(tmp_path / "out" / "train")[0]
    assert manifest.processing == TextProcessing("head-tail", keep_html=False)

    document = json.loads(manifest.to_json())
    for key in ("truncate", "keep_html"):
        del document["settings"][key]
    del document["dropped_as_leaks"]
    earlier = Manifest.from_json(json.dumps(document), "earlier")
    assert (earlier.processing, earlier.dropped_as_leaks) == (UNCHANGED, 0)


def test_channels_of_different_text_processing_are_refused(weights: Path, tmp_path: Path) -> None:
    ways = {"train": DECODED, "test": TextProcessing("head-tail", keep_html=False)}
    for seed, (name, processing) in enumerate(ways.items()):
        prepared(weights, tmp_path / name, random_reviews(20, seed=seed), processing)
    channels = {
        name: open_channel(name, tmp_path / name / "out/train", max_seq_length=LENGTH, vocabulary_size=1000)
        for name in ways
    }
    assert channels["test"].processing == ways["test"]
    with pytest.raises(DataError, match="--truncate head, and with --truncate head-tail"):
        check_leakage(channels, Limits(LENGTH, 1000))
