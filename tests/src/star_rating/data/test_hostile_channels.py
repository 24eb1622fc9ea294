"""Channel folders as nobody would make them: each is read to the last record, or refused at once, with a sentence."""

from __future__ import annotations

import gzip
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from star_rating.data import records
from star_rating.data.channel import Channel, open_channel
from star_rating.failures import DataError
from tests.helpers.training_job import examples, write_records

LENGTH = 16
RECORDS_A_FILE = 4


def check(folder: Path, on_progress: Callable[[], object] = lambda: None) -> Channel:
    return open_channel("train", folder, max_seq_length=LENGTH, vocabulary_size=200, on_progress=on_progress)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "a.tfrecord"
    write_records(path, examples(RECORDS_A_FILE, LENGTH, seed=0))
    return path.read_bytes()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's path has 107 bytes at most
        finally:
            os.close(here)


Maker = Callable[[Path, bytes], object]

READ: dict[str, tuple[Maker, int]] = {
    "a file": (lambda folder, good: write(folder / "a.tfrecord", good), 1),
    "names that a shell would mind": (lambda folder, good: write(folder / "*? $(x) '\"\\;.tfrecord", good), 1),
    "a line break in a name": (lambda folder, good: write(folder / "a\nb.tfrecord", good), 1),
    "a name of 255 bytes": (lambda folder, good: write(folder / f"{'ä' * 122}x.tfrecord", good), 1),
    "a folder with a record's name": (lambda folder, good: write(folder / "d.tfrecord" / "e.tfrecord", good), 1),
    "deep folders": (lambda folder, good: write(folder.joinpath(*"deep" * 20, "f.tfrecord"), good), 1),
    "a link to a file outside": (
        lambda folder, good: (folder / "g.tfrecord").symlink_to(write(folder.parent / "out" / "g", good)),
        1,
    ),
    "a link in a circle": (lambda folder, _: (folder / "circle").symlink_to(folder), 0),
    "an empty file": (lambda folder, _: write(folder / "empty.tfrecord", b""), 0),
    "hidden files": (lambda folder, _: write(folder / ".tmp.tfrecord", b"\xff" * 40), 0),
    "Hadoop's folders": (lambda folder, _: write(folder / "_temporary" / "0" / "h.tfrecord", b"\xff" * 40), 0),
    "a pipe of another name": (lambda folder, _: os.mkfifo(folder / "pipe"), 0),
    "a socket of another name": (lambda folder, _: listen(folder / "socket"), 0),
    "a name of odd bytes that is not read": (lambda folder, _: write(folder / os.fsdecode(b"\xff\xfe.txt"), b"x"), 0),
    "records under another name": (lambda folder, good: write(folder / "i.tfrecords", good), 0),
}
"""How an entry is made, and how many good files it adds."""

REFUSED: dict[str, tuple[Maker, str]] = {
    "a pipe": (lambda folder, _: os.mkfifo(folder / "p.tfrecord"), "neither a file nor a folder"),
    "a socket": (lambda folder, _: listen(folder / "s.tfrecord"), "neither a file nor a folder"),
    "a link that leads nowhere": (lambda folder, _: (folder / "l.tfrecord").symlink_to("/nowhere"), "is not there"),
    "a link to itself": (lambda folder, _: (folder / "c.tfrecord").symlink_to("c.tfrecord"), "in a circle"),
    "a link to a device": (lambda folder, _: (folder / "z.tfrecord").symlink_to("/dev/zero"), "neither a file nor"),
    "odd bytes": (lambda folder, good: write(folder / os.fsdecode(b"\xff.tfrecord"), good), "not UTF-8"),
    "a cut file": (lambda folder, good: write(folder / "t.tfrecord", good[:-1]), "middle of a record"),
    "a compressed file": (lambda folder, good: write(folder / "k.tfrecord", gzip.compress(good)), "with gzip"),
    "text": (lambda folder, _: write(folder / "x.tfrecord", b"review_body\n" * 9), "not a TFRecord file"),
    "a manifest that is a pipe": (lambda folder, _: os.mkfifo(folder / "manifest-a.json"), "neither a file nor"),
    "a deep manifest": (lambda folder, _: write(folder / "manifest-a.json", b"[" * 100_000), "is not JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_name(tmp_path: Path, good: bytes, name: str) -> None:
    make, said = REFUSED[name]
    write(tmp_path / "train" / "a.tfrecord", good)
    make(tmp_path / "train", good)
    with pytest.raises(DataError, match=said):
        check(tmp_path / "train")


def test_a_folder_of_anything_is_read_to_the_last_record_or_refused(
    tmp_path: Path, good: bytes, scaled: Callable[..., int]
) -> None:
    chance = random.Random(0)
    for number in range(scaled(500, in_ci=3)):
        folder = tmp_path / str(number) / "train"
        folder.mkdir(parents=True)
        made = [READ["a file"], *(READ[name] for name in chance.sample(sorted(READ), chance.randint(1, len(READ))))]
        for make, _ in {id(entry): entry for entry in made}.values():
            make(folder, good)
        expected = sum(files for _, files in {id(entry): entry for entry in made}.values())
        channel = check(folder)
        assert channel.records == expected * RECORDS_A_FILE
        assert len(channel.files) - len(list(folder.glob("empty.tfrecord"))) == expected
        name = chance.choice(sorted(REFUSED))
        REFUSED[name][0](folder, good)
        with pytest.raises(DataError, match=REFUSED[name][1]):
            check(folder)


def test_thousands_of_files(tmp_path: Path, good: bytes, scaled: Callable[..., int]) -> None:
    first = write(tmp_path / "0" / "0.tfrecord", good)
    files = scaled(3000, in_ci=30)  # each costs TensorFlow some milliseconds
    for number in range(1, files):
        path = tmp_path / str(number % 50) / f"{number}.tfrecord"
        path.parent.mkdir(exist_ok=True)
        os.link(first, path)
    assert check(tmp_path).records == files * RECORDS_A_FILE


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tfrecord", good * 100)
    monkeypatch.setattr(records, "_BYTES_A_READ", 1000)
    look = os.fstat

    def grow_after_the_first_look(descriptor: int) -> os.stat_result:
        before = look(descriptor)
        with path.open("ab") as file:
            file.write(good)
        return before

    monkeypatch.setattr(os, "fstat", grow_after_the_first_look)
    with pytest.raises(DataError, match=r"a\.tfrecord changes while it is read"):
        check(tmp_path)


def test_a_file_that_is_removed_before_it_is_read(tmp_path: Path, good: bytes) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.tfrecord", good)
    with pytest.raises(DataError, match=r"b\.tfrecord was there when the job began"):
        check(tmp_path, on_progress=lambda: (tmp_path / "b.tfrecord").unlink(missing_ok=True))


def test_a_folder_that_is_replaced_by_a_file(tmp_path: Path, good: bytes) -> None:
    write(tmp_path / "train", good)
    with pytest.raises(DataError, match="no channel 'train'"):
        check(tmp_path / "train")
