"""Whatever a container leaves in its volumes: nothing outside is read or changed, and the model is not lost."""

from __future__ import annotations

import io
import os
import random
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local_sagemaker.server import LocalServer
from local_sagemaker.volumes import safe_files
from local_sagemaker.volumes.archive import merged, write_archive
from local_sagemaker.volumes.synchronization import Mirror

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host that no job was given."""
    folder = tmp_path / "outside"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "secret").write_text("secret")
    (folder / "resourceconfig.json").write_text("theirs")
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "hosts" / "ml" / "output" / "data").mkdir(parents=True)
    return tmp_path / "hosts" / "ml"


def contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for file in safe_files.files(folder):
        with file.open() as content:
            found[file.path] = content.read()
    return found


def untouched(outside: Path) -> bool:
    found = sorted(path.relative_to(outside).as_posix() for path in outside.rglob("*"))
    texts = [(outside / "data" / "secret").read_text(), (outside / "resourceconfig.json").read_text()]
    return found == ["data", "data/secret", "resourceconfig.json"] and texts == ["secret", "theirs"]


def archived(folder: Path, told: list[str] | None = None) -> dict[str, tarfile.TarInfo]:
    def selection(_: str) -> safe_files.Selection:
        return safe_files.Selection(
            1 << 30, lambda path, reason: (told if told is not None else []).append(f"{path} {reason}")
        )

    archive = folder.parent / f"{folder.name}.tar.gz"
    write_archive(merged([("algo-1", folder)], selection), archive)
    with tarfile.open(archive) as tar:
        return {member.name: member for member in tar}


@pytest.mark.parametrize("depth", ["output", "output/data", "output/data/a"])
def test_a_folder_whose_path_became_a_link_is_empty(volume: Path, outside: Path, depth: str) -> None:
    place = volume / depth
    if place.exists():
        place.rename(volume / "aside")
    place.symlink_to(outside)
    inside = volume / "output" / "data" / "a"
    told: list[str] = []
    selection = safe_files.Selection(None, lambda path, reason: told.append(f"{path} {reason}"))
    assert list(safe_files.files(inside, selection)) == []
    assert told == [" is a link, or on the way to it is one"]
    assert safe_files.read(volume / "output", "data/secret", 100) is None
    assert not safe_files.exists(inside)
    assert archived(inside) == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: safe_files.replace(folder, "resourceconfig.json", b"ours"),
        lambda folder: safe_files.replace(folder, "data/secret", io.BytesIO(b"ours")),
        lambda folder: safe_files.create(folder, "new"),
        lambda folder: safe_files.create(folder, "data/new"),
        lambda folder: safe_files.link(Path(__file__), folder, "new"),
        lambda folder: safe_files.make_fifo(folder, "new"),
        lambda folder: os.close(safe_files.open_fifo(folder, "data/secret")),
    ],
)
@pytest.mark.parametrize("place", ["input", "input/config"])
def test_nothing_is_written_through_a_link(
    volume: Path, outside: Path, write: Callable[[Path], None], place: str
) -> None:
    (volume / place).parent.mkdir(exist_ok=True)
    (volume / place).symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|levels of symbolic links"):
        write(volume / "input" / "config" if place == "input/config" else volume / "input")
    assert untouched(outside)


def test_a_file_that_is_written_takes_a_link_s_place(volume: Path, outside: Path) -> None:
    for name in ("resourceconfig.json", ".resourceconfig.json.part"):
        (volume / name).symlink_to(outside / "resourceconfig.json")
    safe_files.replace(volume, "resourceconfig.json", b"ours")
    assert (volume / "resourceconfig.json").read_bytes() == b"ours"
    assert not (volume / "resourceconfig.json").is_symlink()
    assert untouched(outside)


def test_deleting_follows_no_link(volume: Path, outside: Path) -> None:
    (volume / "link").symlink_to(outside)
    (volume / "output" / "data" / "link").symlink_to(outside / "data")
    (volume / "closed").mkdir()
    (volume / "closed" / "file").touch()
    (volume / "closed").chmod(0)
    safe_files.wipe(volume)
    assert not volume.exists()
    assert untouched(outside)


def test_a_folder_that_is_swapped_for_a_link_again_and_again_leads_nowhere(
    volume: Path, outside: Path, server: LocalServer
) -> None:
    """What a container does that knows how a race is won."""
    place, aside, link = volume / "output" / "data" / "a", volume / "aside", volume / "link"
    place.mkdir()
    for number in range(20):
        (place / f"{number}").write_text("ours")
    (place / "secret").write_text("ours")
    for name in ("secret", *map(str, range(20))):
        (outside / name).write_text("secret")
    ended = threading.Event()

    def swap() -> None:
        pauses = random.Random(1)
        while not ended.is_set():
            for step in (
                lambda: link.symlink_to(outside),
                lambda: place.rename(aside),
                lambda: link.rename(place),
                place.unlink,
                lambda: aside.rename(place),
            ):
                step()
                time.sleep(pauses.random() / 2000)  # else both threads may run in step, and one look is like the other

    refused: list[str] = []
    selection = safe_files.Selection(None, lambda _, reason: refused.append(reason))
    seen: set[bytes] = set()
    sent: list[bytes] = []
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        number = 0
        while number < 60 or not (seen and sent and any("link" in reason for reason in refused)):
            assert number < 5000, (len(seen), len(sent), set(refused))
            seen |= set(contents(volume / "output" / "data").values())
            Mirror(place, f"s3://bucket/race/{number}", server.objects, selection=selection).synchronize()
            objects = server.objects.list("bucket", f"race/{number}/")
            sent += [server.objects.path("bucket", entry.key).read_bytes() for entry in objects]
            number += 1
    finally:
        ended.set()
        thread.join()
    assert seen == {b"ours"}
    assert set(sent) == {b"ours"}


def test_what_no_archive_holds_costs_itself_alone(volume: Path) -> None:
    model = volume / "model"
    (model / "folder").mkdir(parents=True)
    (model / "weights").write_text("weights")
    (model / "latest").symlink_to("folder")
    os.mkfifo(model / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(model / "socket"))
    if os.geteuid() == 0:
        os.mknod(model / "device", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    (model / os.fsdecode(b"\xff\xfe")).write_text("bytes")
    with (model / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    told: list[str] = []
    members = archived(model, told)
    assert sorted(members) == ["folder", "latest", "weights", os.fsdecode(b"\xff\xfe")]
    assert (members["latest"].issym(), members["latest"].linkname) == (True, "folder")
    wanted = ["fifo is a FIFO", "socket is a socket", "sparse has 1099511627776 bytes, more than the job's volume"]
    assert [line for line in told if not line.startswith("device")] == wanted
    sent: list[str] = []
    found = [
        file.path for file in safe_files.files(model, safe_files.Selection(1 << 30, lambda path, _: sent.append(path)))
    ]
    assert found == ["weights"]
    assert {"latest", "fifo", "socket", "sparse", os.fsdecode(b"\xff\xfe")} <= set(sent)
    assert safe_files.shown(os.fsdecode(b"\xff\n")) == "\\xff\\n"


def test_a_file_that_changes_while_it_is_read_has_the_size_that_it_had(volume: Path) -> None:
    (volume / "grows").write_bytes(b"x" * 10)
    (volume / "shrinks").write_bytes(b"x" * 10)
    for entry in safe_files.files(volume):
        with (volume / entry.path).open("r+b") as file:
            file.truncate(5 if entry.path == "shrinks" else 1 << 30)
        with entry.open() as content:
            assert content.read() == b"x" * (5 if entry.path == "shrinks" else 10)
    for entry in safe_files.entries(volume):
        if entry.kind == "file":
            (volume / entry.path).unlink()
            (volume / entry.path).symlink_to("/etc/passwd")
            with pytest.raises(OSError, match="symbolic links"):
                entry.open()


def test_a_tree_that_is_too_deep_is_left_out_and_deleted(volume: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    place = os.open(volume, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("file", os.O_CREAT, dir_fd=place))
    os.close(place)
    told: list[str] = []
    assert len(archived(volume, told)) < 100
    assert [line.endswith("is a folder within 64 others") for line in told] == [True]
    safe_files.wipe(volume)
    assert not volume.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


_AS_OWNER = """
import os, sys
from pathlib import Path
from local_sagemaker.volumes import safe_files
os.setresgid(54321, 54321, 54321); os.setresuid(54321, 54321, 54321)
folder = Path(sys.argv[1])
for file in safe_files.files(folder, safe_files.Selection(None, print)):
    with file.open() as content:
        print(file.path, content.read().decode(), oct(file.status.st_mode & 0o777))
print(oct((folder / "closed").stat().st_mode & 0o777), oct((folder / "file").stat().st_mode & 0o777))
safe_files.wipe(folder)
print(folder.exists())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_its_owner_made_unreadable_is_read_as_sagemaker_does_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent != parent.parent and parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    volume = tmp_path / "volume" / "model"
    (volume / "closed").mkdir(parents=True)
    for path in (volume / "file", volume / "closed" / "inner"):
        path.write_text("content")
    for path in (tmp_path / "volume", volume, volume / "closed", volume / "file", volume / "closed" / "inner"):
        os.chown(path, 54321, 54321)
        path.chmod(0 if path.name in ("file", "closed", "inner") else 0o700)
    done = subprocess.run(
        [sys.executable, "-c", _AS_OWNER, volume], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "closed/inner content 0o0",
        "file content 0o0",
        "0o0 0o0",
        "False",
    ], done.stderr
