"""Which files `prepare` reads, however the folder came about, and what it says of those that it does not read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import prepare as command
from star_rating.data.manifest import read_manifests
from star_rating.failures import DataError
from star_rating.preparation.prepare import PrepareSettings, prepare
from star_rating.preparation.sources import InputFile, find_sources, no_sources
from tests.helpers.prepare_fixtures import MAX_SEQ_LENGTH, make_weights, random_reviews, write_tsv


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights"))


def sources(*inputs: Path) -> list[InputFile]:
    return list(find_sources(inputs).sources)


def names(*inputs: Path) -> list[str]:
    return [source.name for source in sources(*inputs)]


def run(folder: Path, weights: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [*arguments, "--output", str(folder), "--weights", str(weights), "--max-seq-length", "16"]
    return subprocess.run(
        [sys.executable, command.__file__, *words],
        capture_output=True,
        text=True,
        check=False,
        errors="backslashreplace",
    )


def test_linked_folders_and_files_are_followed_and_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = write_tsv(tmp_path / "elsewhere" / "a.tsv", []).parent
    given = tmp_path / "in"
    write_tsv(given / "nested" / "b.tsv", [])
    (given / "folder").symlink_to(elsewhere)
    (given / "nested" / "up").symlink_to(given)
    with caplog.at_level(logging.INFO):
        assert names(given) == ["folder/a.tsv", "nested/b.tsv"]
        assert "another path" not in caplog.text
        (given / "z.tsv").symlink_to(elsewhere / "a.tsv")
        (given / "y.tsv").hardlink_to(given / "nested" / "b.tsv")
        assert names(given, given / "z.tsv", elsewhere) == ["a.tsv", "nested/b.tsv"]
    assert "3 file(s) that are read under another path, such as" in caplog.text


@pytest.mark.parametrize("name", ["2015.tsv", "2015", "2015.tsv.gz"])
@pytest.mark.parametrize(
    ("leads_to", "said"), [("/data/x", "is a link to /data/x, which is not there"), ("{}", "leads in a circle")]
)
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, name: str, leads_to: str, said: str) -> None:
    write_tsv(tmp_path / "2014.tsv", [])
    (tmp_path / name).symlink_to(leads_to.format(name))
    with pytest.raises(DataError, match=rf"{name} .*{said}"):
        find_sources([tmp_path])
    with pytest.raises(DataError, match=said):
        find_sources([tmp_path / name])


AS_NOBODY = """
import os, sys
from pathlib import Path
from star_rating.preparation.sources import find_sources
from star_rating.failures import DataError
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    print(len(find_sources([Path(sys.argv[1])]).sources), "read")
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("locked", "mode", "said"),
    [
        ("in/2015", 0o700, "cannot list"),
        ("in", 0o700, "cannot list"),
        ("in/2015/reviews.tsv", 0o600, "may not read"),
        ("in/2015", 0o744, "may not re"),  # may be listed, and not entered
        ("in/notes.txt", 0o600, "2 read"),
    ],
)
def test_what_the_user_may_not_read_is_refused(locked: str, mode: int, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's: only its owner may enter that one
        folder = Path(name)
        folder.chmod(0o755)
        for year in ("2014", "2015"):
            write_tsv(folder / "in" / year / "reviews.tsv", [])
        (folder / "in" / "notes.txt").touch()
        (folder / locked).chmod(mode)
        result = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder / "in")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(command.__file__).parent)},
        )
        (folder / locked).chmod(0o755)
    assert said in result.stdout


def test_hidden_and_other_files_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tsv(tmp_path / "reviews.tsv", [])
    for name in ("_SUCCESS", ".reviews.tsv.crc", "._reviews.tsv", "_temporary/0/part.tsv", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level(logging.INFO):
        assert names(tmp_path) == ["reviews.tsv"]
    assert "4 file(s) that have a hidden name (it starts with . or _), such as ._reviews.tsv" in caplog.text
    assert "1 file(s) that are no reviews by name, such as README.md" in caplog.text


def test_a_folder_without_reviews_is_said_to_hold_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "_part.tsv").touch()
    (tmp_path / "a.txt").touch()
    message = str(no_sources([tmp_path], find_sources([tmp_path])))
    assert "a.txt" in message
    assert "_part.tsv" in message


@pytest.mark.parametrize(
    "name", [b"r" * 240 + b".tsv", b"r" * 251 + b".tsv", b"caf\xe9.tsv", b"a\nb.tsv", "日本.tsv".encode()]
)
def test_any_legal_name_is_read_and_recorded(tmp_path: Path, weights: Path, name: bytes) -> None:
    given = write_tsv(tmp_path / "in" / os.fsdecode(name), random_reviews(100)).parent
    host = "h" * 63
    settings = PrepareSettings(
        (given,), tmp_path / "out", weights, max_seq_length=MAX_SEQ_LENGTH, host=host, hosts=(host,)
    )

    manifests = prepare(settings)

    assert sum(manifest.records for manifest in manifests) == 100
    assert read_manifests(tmp_path / "out" / "train")[0].sources[0].name.isprintable()


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    for end in "abAB":
        write_tsv(tmp_path / f"{'r' * 200}{end}.tsv", [])
    stems = [source.part_stem.lower() for source in sources(tmp_path)]
    assert len(set(stems)) == 4


def test_a_message_may_name_a_file_whose_name_is_not_utf8(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.tsv")).write_bytes(b"a\tb\n")
    result = run(tmp_path / "out", weights, "--input", str(tmp_path / "in"))
    assert result.returncode == 11
    assert r"caf\xe9.tsv" in result.stderr


def test_inputs_that_are_given_apart_add_up(tmp_path: Path, weights: Path) -> None:
    rows = random_reviews(80)
    paths = [str(write_tsv(tmp_path / f"{part}.tsv", rows[part::4])) for part in range(4)]
    result = run(tmp_path / "out", weights, "--input", paths[0], "--input", *paths[1:3], "--input", paths[3])
    assert (result.returncode, "80 rows" in result.stdout) == (0, True), result.stderr


def test_files_of_one_name_in_two_inputs_are_told_apart(tmp_path: Path) -> None:
    paths = [write_tsv(tmp_path / folder / "reviews.tsv", []) for folder in "ab"]
    assert names(*paths) == names(*(path.parent for path in paths)) == [str(path) for path in paths]


def test_an_empty_path_is_refused(tmp_path: Path, weights: Path) -> None:
    assert run(tmp_path / "out", weights, "--input", "").returncode == 2


def test_what_prepare_wrote_is_not_read_as_reviews(tmp_path: Path, weights: Path) -> None:
    write_tsv(tmp_path / "reviews.tsv", random_reviews(60))
    (tmp_path / "manifest-of-mine.json").write_text(
        "".join(json.dumps({"star_rating": 1 + row % 5, "review_body": f"fine {row}"}) + "\n" for row in range(40))
    )
    settings = PrepareSettings((tmp_path,), tmp_path, weights, max_seq_length=MAX_SEQ_LENGTH, overwrite=True)
    runs = [[(part.name, part.sha256) for part in prepare(settings)[0].files] for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) == 2
