"""Decoded pictures: what makes them be decoded anew, what is said then, and that none are needed on the disk."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import artifacts, board, cache, cli, locks
from competition.errors import DataFault, EnvironmentFault

SHAPE = (19, 19)


def nothing(*_: object) -> None:
    pass


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{n}.bmp") for n in range(5)]
    for path in paths:
        cv2.imwrite(path, rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    return paths


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(board, "say", lambda text, log=None: lines.append(text))
    return lines


def build(paths: list[str], folder: Path, on_disk: bool = True, progress: Callable = nothing) -> cache.Cache:
    return cache.build(paths, folder, "squash", SHAPE, progress, on_disk=on_disk)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte of a picture": (lambda c: flip(c / "pictures.npy", 2000), "checksum"),
    "a flipped byte of its header": (lambda c: flip(c / "pictures.npy", 20), "checksum"),
    "pictures cut short": (lambda c: os.truncate(c / "pictures.npy", 3000), "checksum"),
    "no pictures": (lambda c: (c / "pictures.npy").unlink(), "checksum None"),
    "a flipped byte of the index": (lambda c: flip(c / "index.parquet", -30), "index.parquet"),
    "an empty index": (lambda c: (c / "index.parquet").write_bytes(b""), "index.parquet"),
    "a flipped byte of the record": (lambda c: flip(c / "built.json", 60), "built.json"),
    "no record": (lambda c: (c / "built.json").unlink(), "built.json"),
    "another decoder": (
        lambda c: artifacts.write_json(
            c / "built.json", artifacts.read_json(c / "built.json") | {"decoder": "opencv 1"}
        ),
        "opencv 1, and this is",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_as_written_or_of_another_decoder_is_said_and_made_anew(
    damage: str, pictures: list[str], tmp_path: Path, said: list[str]
):
    folder = tmp_path / "c"
    first = np.array(build(pictures, folder).pictures)
    assert not said
    DAMAGE[damage][0](folder)
    assert np.array_equal(build(pictures, folder).pictures, first)
    assert len(said) == 1 and DAMAGE[damage][1] in said[0] and "decoded anew" in said[0]
    build(pictures, folder)
    assert len(said) == 1


def test_a_byte_that_rots_under_the_same_stamp_is_found(
    pictures: list[str], tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
):
    """As far as the file is read over; beyond that size the stamp alone tells."""
    file = tmp_path / "c" / "pictures.npy"
    build(pictures, tmp_path / "c")
    kept = cache._stamp(file)
    flip(file, 2000)
    monkeypatch.setattr(cache, "_stamp", lambda path: kept)
    monkeypatch.setattr(cache, "LOOKED_OVER", 100)
    build(pictures, tmp_path / "c")
    assert not said
    monkeypatch.setattr(cache, "LOOKED_OVER", 2e9)
    build(pictures, tmp_path / "c")
    assert "checksum" in said[0]


def test_other_pictures_are_said(pictures: list[str], tmp_path: Path, said: list[str]):
    folder = tmp_path / "c"
    build(pictures[:3], folder)
    os.utime(pictures[0], ns=(0, 2**61))  # a time in the future, and touched: the same picture
    build(pictures[:2], folder)
    assert not said
    old = os.stat(pictures[1])
    Path(pictures[1]).write_bytes(Path(pictures[2]).read_bytes())
    os.utime(pictures[1], ns=(old.st_atime_ns, old.st_mtime_ns))  # of the same size and time, as by `cp -p`
    build(pictures[:3], folder)
    assert "1 of 3 pictures have changed" in said[0]
    build(pictures, folder)
    assert "2 of 5 pictures are not among the 3 of the cache" in said[1]


def test_without_a_disk_the_same_bytes_are_read(pictures: list[str], tmp_path: Path, said: list[str]):
    kept, read = build(pictures, tmp_path / "a"), build(pictures, tmp_path / "b", on_disk=False)
    assert not (tmp_path / "b" / "pictures.npy").exists() and kept.digest == read.digest
    assert kept.pictures.shape == read.pictures.shape and len(read.pictures) == 5
    for at in (2, -1, slice(1, 4), np.array([3, 0, 3]), np.array([], int), (1, slice(None, 7), slice(2, 9)),
               (slice(0, 2), slice(3, 5))):  # fmt: skip
        assert np.array_equal(kept.pictures[at], read.pictures[at]), at
    assert np.array_equal(kept.pictures, np.asarray(read.pictures))
    assert isinstance(build(pictures, tmp_path / "a", on_disk=False).pictures, np.memmap), "what is there is used"
    assert isinstance(build(pictures, tmp_path / "b").pictures, np.memmap) and "cache: none" in said[0]


def test_a_picture_that_changes_while_a_run_reads_it_is_refused(pictures: list[str], tmp_path: Path):
    read = build(pictures, tmp_path / "c", on_disk=False).pictures
    Path(pictures[1]).write_bytes(Path(pictures[2]).read_bytes())
    with pytest.raises(DataFault, match="RUN-DATA"):
        read[1]
    Path(pictures[0]).unlink()
    with pytest.raises(DataFault, match="IMG-MISSING"):
        read[0]
    assert read[2].shape == (*SHAPE, 3)


def test_no_room_says_how_much_is_needed_and_offers_to_go_without(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: Usage(1000))
    with pytest.raises(EnvironmentFault) as fault:
        build(pictures, tmp_path / "c")
    finding = fault.value.findings[0]
    assert finding.code == "ENV-DISK" and "5.41e-06 GB needed, 1e-06 GB free" in finding.found
    assert "cache=none" in finding.mend
    assert [p.name for p in (tmp_path / "c").iterdir()] == [".lock"]


class Usage:
    def __init__(self, free: int):
        self.free = free


def test_a_process_that_dies_while_it_decodes_leaves_nothing_that_counts(
    pictures: list[str], tmp_path: Path, said: list[str]
):
    def dies(done: int, *_: object) -> None:
        if done == 3:
            os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=build, args=(pictures, tmp_path / "c", True, dies))
    child.start()
    child.join()
    assert list((tmp_path / "c").glob(".*.tmp")) and not (tmp_path / "c" / "built.json").exists()
    assert build(pictures, tmp_path / "c").pictures.shape == (5, *SHAPE, 3)
    assert not list((tmp_path / "c").glob(".*.tmp")) and not said


def test_the_second_of_two_that_build_waits_and_says_for_whom(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shown: list[str] = []
    monkeypatch.setattr(locks, "SOON", 0.0)
    monkeypatch.setattr(board, "show", lambda name, done, total, text: shown.append(f"{name} {text}"))
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        go_on.wait(20)

    first = threading.Thread(target=build, args=(pictures, tmp_path / "c", True, slow))
    first.start()
    assert begun.wait(20)
    threading.Timer(0.3, go_on.set).start()
    assert build(pictures, tmp_path / "c").pictures.shape[0] == 5
    first.join()
    assert shown and str(tmp_path / "c") in shown[0] and (f"process {os.getpid()}" in shown[0] or os.name == "nt")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["image", "detection"])
def test_a_run_without_a_cache_predicts_the_same_bytes(task: str, competition: Callable[..., str]):
    kind = "boxes" if task == "detection" else "multiclass"
    competition(kind, task=task, run="epochs=1")
    for name, keys in (("kept", ""), ("read", "cache=none"), ("ahead", "cache=none workers=2")):
        artifacts.write_bytes(Path(f"configs/toy/{name}.yaml"), Path("configs/toy/base.yaml").read_bytes())
        if name == "kept":
            continue
        assert cli.main(["submission", f"toy/{name}", "--set", keys]) == 0
        assert not list(Path("runs/.cache/toy").rglob("pictures.npy"))
    assert cli.main(["submission", "toy/kept"]) == 0
    for file in ("oof.parquet", "test.parquet"):
        assert len({artifacts.file_digest(Path(f"runs/toy/{name}/{file}")) for name in ("kept", "read", "ahead")}) == 1
