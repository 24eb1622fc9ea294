"""Checkpoint folders: whole or not there, damage is noticed and passed over, few are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from star_rating.checkpointing import store as module
from star_rating.checkpointing.store import MANIFEST, STAGING_FOLDER, STATE, TENSORS, CheckpointStore, Tensors
from star_rating.failures import ConfigurationError

Spoil = Callable[[Path], object]


def tensors(value: float) -> Tensors:
    return {"kernel": np.full((4, 3), value, np.float32), "step": np.asarray(np.int64(value))}


def write(store: CheckpointStore, step: int, validation_loss: float | None = None) -> Path:
    return store.write(f"step-{step:08d}", tensors(step), {"step": step, "validation_loss": validation_loss})


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", kept=2)


def test_what_was_written_is_read_to_the_last_bit(store: CheckpointStore) -> None:
    write(store, 7)
    newest = CheckpointStore(store.folder, kept=2).newest()
    assert newest is not None
    assert newest.state == {"step": 7, "validation_loss": None}
    for name, tensor in tensors(7).items():
        found = newest.tensors()[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert found.tobytes() == tensor.tobytes()


def test_an_empty_or_missing_folder_has_no_checkpoint(store: CheckpointStore) -> None:
    assert store.newest() is None
    store.folder.mkdir()
    (store.folder / "metadata.json").write_text("{}")  # smdebug keeps one there
    assert store.newest() is None


def test_the_last_ones_and_the_best_are_kept(store: CheckpointStore) -> None:
    for step, loss in enumerate([0.9, 0.5, 0.7, None, 0.8, None]):
        write(store, step, loss)
    assert names(store) == ["step-00000001", "step-00000004", "step-00000005"]


def test_without_validation_only_the_last_ones_are_kept(store: CheckpointStore) -> None:
    for step in range(4):
        write(store, step)
    assert names(store) == ["step-00000002", "step-00000003"]


def test_a_new_process_keeps_the_best_of_the_one_before(store: CheckpointStore) -> None:
    for step, loss in enumerate([0.5, 0.7, 0.6]):
        write(store, step, loss)
    again = CheckpointStore(store.folder, kept=2)
    again.newest()
    write(again, 3)
    assert names(again) == ["step-00000000", "step-00000002", "step-00000003"]


def cut(name: str) -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-3])


def flip(name: str, at: int) -> Spoil:
    def spoil(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[at] ^= 4
        (folder / name).write_bytes(content)

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


DAMAGE = {
    "tensors cut off": cut(TENSORS),
    "a bit of the tensors": flip(TENSORS, -1),
    "a bit of the tensors' header": flip(TENSORS, 9),
    "a bit of the state": flip(STATE, 3),
    "state cut off": cut(STATE),
    "manifest cut off": cut(MANIFEST),
    "a bit of the manifest": flip(MANIFEST, 60),
    "manifest of other JSON": lambda folder: (folder / MANIFEST).write_text("[]"),
    "manifest of another format": lambda folder: (folder / MANIFEST).write_text('{"format": 2, "sha256": {}}'),
    "empty tensors": lambda folder: (folder / TENSORS).write_bytes(b""),
}


def forge(name: str, content: bytes) -> Spoil:
    """Return what replaces a file and its hash in the manifest."""

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return spoil


def link(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to("../elsewhere")

    return spoil


def link_folder(folder: Path) -> None:
    folder.rename(folder.parent / f"elsewhere-{folder.name}")
    folder.symlink_to(f"elsewhere-{folder.name}")


DAMAGE |= {
    "deep JSON": forge(STATE, b"[" * 100_000),
    "a number of ten thousand digits": forge(STATE, b'{"step": ' + b"1" * 10_000 + b"}"),
    "a state that is a list": forge(STATE, b"[]"),
    "a state that is not UTF-8": forge(STATE, b'"\xff"'),
    "a deep manifest": lambda folder: (folder / MANIFEST).write_text("[" * 100_000),
    "a manifest of a long format": lambda folder: (folder / MANIFEST).write_text(
        json.dumps({"format": "x" * 9000, "sha256": {TENSORS: "", STATE: ""}})
    ),
    "tensors that are a link": link(TENSORS),
    "a state that is a link": link(STATE),
    "a folder that is a link": link_folder,
}
UNFINISHED = {f"no {name}": remove(name) for name in (TENSORS, STATE, MANIFEST)}


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in (DAMAGE | UNFINISHED).items()])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_the_log_says_so(
    store: CheckpointStore, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, 1)
    spoil(write(store, 2))
    newest = store.newest()
    assert newest is not None
    assert newest.state["step"] == 1
    assert "step-00000002 is" in caplog.text
    assert "passed over" in caplog.text


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in DAMAGE.items()])
def test_if_none_is_intact_the_error_names_each_and_what_to_do(store: CheckpointStore, spoil: Spoil) -> None:
    spoil(write(store, 1))
    spoil(write(store, 2))
    with pytest.raises(ConfigurationError, match=r"step-00000002: .*; step-00000001: .*empty checkpoint path"):
        store.newest()


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in UNFINISHED.items()])
def test_a_first_checkpoint_whose_upload_was_cut_off_is_none(store: CheckpointStore, spoil: Spoil) -> None:
    spoil(write(store, 1))
    assert store.newest() is None


def test_after_damage_the_run_goes_on_from_the_intact_one_and_clears_the_damaged(store: CheckpointStore) -> None:
    write(store, 1)
    write(store, 2)
    cut(TENSORS)(write(store, 3))
    store.newest()
    write(store, 3)
    assert names(store) == ["step-00000002", "step-00000003"]
    newest = CheckpointStore(store.folder, kept=2).newest()
    assert newest is not None
    assert newest.state["step"] == 3


def test_a_write_that_fails_leaves_what_was_there(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_verify", full)
    with pytest.raises(OSError, match="No space left"):
        write(store, 2)
    assert names(store) == ["step-00000001"]
    assert store.last() == store.folder / "step-00000001"


def test_what_a_killed_process_left_is_not_seen_and_goes_with_the_next_write(store: CheckpointStore) -> None:
    (store.folder / STAGING_FOLDER).mkdir(parents=True)
    (store.folder / STAGING_FOLDER / TENSORS).write_bytes(b"half")
    assert store.newest() is None
    write(store, 1)
    assert names(store) == ["step-00000001"]


def test_a_write_that_reads_back_otherwise_is_noticed(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_wrongly(content: Tensors, path: Path) -> None:
        save_file({name: np.asarray(tensor + 1) for name, tensor in content.items()}, path)

    monkeypatch.setattr(module, "save_file", save_wrongly)
    with pytest.raises(OSError, match="reads back as something else"):
        write(store, 1)
    assert names(store) == []


def test_the_files_are_of_an_open_format(store: CheckpointStore) -> None:
    folder = write(store, 1)
    assert sorted(path.name for path in folder.iterdir()) == sorted([TENSORS, STATE, MANIFEST])
    assert load_file(folder / TENSORS)["kernel"].shape == (4, 3)
    assert json.loads((folder / MANIFEST).read_text())["format"] == 1


def test_tensors_that_are_none_under_a_right_hash(store: CheckpointStore) -> None:
    folder = write(store, 1)
    forge(TENSORS, b"\xff" * 100)(folder)
    newest = CheckpointStore(store.folder, kept=2).newest()
    assert newest is not None
    with pytest.raises(ConfigurationError, match=r"tensors\.safetensors was not written by this image"):
        newest.tensors()


def test_a_link_in_a_checkpoints_place_is_removed_and_not_what_it_leads_to(
    store: CheckpointStore, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    store.folder.mkdir()
    for name in (STAGING_FOLDER, "step-00000001", "step-00000000"):
        (store.folder / name).symlink_to(tmp_path / "mine")
    write(store, 1)
    assert names(store) == ["step-00000001"]
    assert not (store.folder / "step-00000001").is_symlink()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
