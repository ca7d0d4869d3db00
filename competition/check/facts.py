"""What is known of each picture file, read once in a stream and kept in parts: a killed check goes on where it was.

    runs/.cache/<competition>/facts/<part>.parquet   path -> size, time, digest, what its header says, what is wrong
                                    <part>.npy       [rows, 32, 32, 3] uint8, RGB: thumbnails, squashed

A part is there once its parquet is. A picture whose size or time changed is read anew, into a new part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, disk, locks, remembered, shaped
from competition.decoding import BadPicture, Reading, alpha, decode, header, lacks_end, plain, unreadable
from competition.decoding import read as content_of
from competition.prefetch import ahead
from competition.task import Progress

SIDE = 32  # of a thumbnail
DECODED = 64  # pixels that a side has at least before it is made a thumbnail
PART = 2000  # pictures: what a kill may lose, a few seconds
DEPTH = 256  # pictures in memory at once, at most
WHOLE = ("size", "time", "width", "height", "turned", "frames", "part", "row")  # numbers
EMPTY: dict[str, Any] = {
    "digest": "", "form": "", "mode": "", "width": 0, "height": 0, "turned": 1, "frames": 1, "clear": 0.0,
    "endless": False, "fault": "", "found": "",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """reading: how files became pixels.

    table, by path: size in bytes of the file and time of its last change, of rights too, digest, form (JPEG, PNG, ...),
    mode (Pillow's), width and height as stored, turned (EXIF orientation), frames, clear (how transparent it is, 0..1),
    fault and found (a code of badpictures.PROBLEMS, or empty), endless (a JPEG without its end mark), and part and row of
    its thumbnail, -1 where it has none.
    """

    table: pd.DataFrame
    folder: Path
    reading: Reading

    @property
    def whole(self) -> pd.DataFrame:
        """The pictures that can be used."""
        return self.table[self.table["fault"] == ""]

    def thumbnails(self, paths: Sequence[str] | pd.Index) -> np.ndarray:
        """[paths, 32, 32, 3] uint8, RGB."""
        at = self.table.loc[paths, ["part", "row"]].to_numpy()
        out = np.empty((len(at), SIDE, SIDE, 3), np.uint8)
        for part in np.unique(at[:, 0]):
            mine = at[:, 0] == part
            out[mine] = np.load(_file(self.folder, part, "npy"), mmap_mode="r")[at[mine, 1]]
        return out


def read(paths: Sequence[str], folder: Path, progress: Progress, reading: Reading) -> Facts:
    """Reads those that are not known yet. Nothing is raised for a picture that can't be used: its fault is a fact.

    reading: how they become pixels; `folder` should tell.
    """
    paths = sorted(set(paths))
    with locks.locked(folder, wait=-1):
        files = pd.DataFrame([_stat(path) for path in paths], index=pd.Index(paths, name="path"))
        known = _known(folder)
        there = known.reindex(files.index)
        fresh = (there["size"] == files["size"]) & (there["time"] == files["time"])
        todo = files.index[~fresh & (files["fault"] == "")]
        _read_all(todo, files, folder, progress, len(paths), reading)
        known = _known(folder).reindex(files.index)
    lost = files.index[files["fault"] != ""]  # what has no plain file is told anew each time
    absent = pd.DataFrame([EMPTY | {"part": -1, "row": -1}] * len(lost), index=lost)
    absent = absent.assign(**{c: files.loc[lost, c] for c in ("size", "time", "fault", "found")})
    return Facts(pd.concat([known.drop(lost), absent]).sort_index().astype(dict.fromkeys(WHOLE, int)), folder, reading)


def look(path: str, reading: Reading) -> tuple[dict[str, Any], np.ndarray]:
    """The facts of one file, and its thumbnail, black where it can't be decoded."""
    facts, thumbnail = dict(EMPTY), np.zeros((SIDE, SIDE, 3), np.uint8)
    try:
        content = content_of(path)
        facts["digest"] = artifacts.digest(content)
        thumbnail = shaped.fitted(decode(content, DECODED, reading), (SIDE, SIDE), "squash")
        head = header(content)
        facts |= {
            "form": "JPEG" if head.form == "MPO" else head.form, "mode": head.mode, "width": head.width,
            "height": head.height, "turned": head.turn, "frames": head.frames, "endless": lacks_end(content, head),
            "clear": 1 - float(alpha(content).mean()) / 255 if head.clear else 0.0,
        }  # fmt: skip
    except BadPicture as e:
        facts |= {"fault": e.code, "found": e.found}
    return facts, thumbnail


def _stat(path: str) -> dict[str, Any]:
    facts = {"size": -1, "time": -1, "fault": "", "found": ""}
    try:
        s = plain(os.stat(path))
    except OSError as e:
        bad = unreadable(path, e)
    except BadPicture as e:
        bad = e
    else:
        return facts | {"size": s.st_size, "time": remembered.times(s)}
    return facts | {"fault": bad.code, "found": bad.found}


def _file(folder: Path, part: int, kind: str) -> Path:
    return folder / f"{part:05d}.{kind}"


def _parts(folder: Path) -> list[int]:
    return sorted(int(file.stem) for file in folder.glob("[0-9]*.parquet"))


def _known(folder: Path) -> pd.DataFrame:
    """All parts as one table by path, the newest of each."""
    tables = [artifacts.read_table(_file(folder, part, "parquet")).assign(part=part) for part in _parts(folder)]
    if not tables:
        return pd.DataFrame(columns=["size", "time", *EMPTY, "row", "part"])
    known = pd.concat(tables)
    return known[~known.index.duplicated(keep="last")]


def _read_all(
    todo: pd.Index, files: pd.DataFrame, folder: Path, progress: Progress, total: int, reading: Reading
) -> None:
    """Writes a part each PART pictures, and one of the rest, also where the work is asked to stop."""
    part, before = max(_parts(folder), default=-1) + 1, total - len(todo)
    held: list[tuple[str, dict[str, Any], np.ndarray]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for n, (path, told) in enumerate(
                zip(todo, ahead(pool, partial(look, reading=reading), todo, DEPTH), strict=True)
            ):
                held.append((path, *told))
                if len(held) == PART:
                    _write(folder, part, held, files)
                    part, held = part + 1, []
                progress(before + n + 1, total, "reading pictures")
        finally:
            if held:
                _write(folder, part, held, files)


def _write(folder: Path, part: int, held: list[tuple[str, dict[str, Any], np.ndarray]], files: pd.DataFrame) -> None:
    with disk.writing(_file(folder, part, "npy")) as f:
        np.save(f, np.stack([thumbnail for _, _, thumbnail in held]))
    paths = pd.Index([path for path, _, _ in held], name="path")
    table = pd.DataFrame([facts for _, facts, _ in held], index=paths)
    table = table.assign(row=np.arange(len(held)), **{c: files.loc[paths, c] for c in ("size", "time")})
    artifacts.write_table(_file(folder, part, "parquet"), table)
