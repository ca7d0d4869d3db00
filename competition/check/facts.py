"""What is known of each picture file, read once in a stream and kept in parts: a killed check goes on where it was.

    runs/.cache/<competition>/facts/<part>.parquet   path -> size, time, digest, what its header says, what is wrong
                                    <part>.npy       [rows, 32, 32, 3] uint8, RGB: thumbnails, squashed

A part is there once its parquet is. A picture whose size or time changed is read anew, into a new part.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, cache
from competition.cache import BadPicture
from competition.prefetch import ahead
from competition.task import Progress

SIDE = 32  # of a thumbnail
DECODED = 64  # pixels that a side has at least before it is made a thumbnail
PART = 2000  # pictures: what a kill may lose, a few seconds
DEPTH = 256  # pictures in memory at once, at most
ORIENTATION = 274  # EXIF tag: 1 is upright
WHOLE = ("size", "time", "width", "height", "turned", "frames", "part", "row")  # numbers
EMPTY: dict[str, Any] = {
    "digest": "", "form": "", "mode": "", "width": 0, "height": 0, "turned": 1, "frames": 1, "clear": 0.0,
    "fault": "", "found": "",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """table, by path: size in bytes and time of the file, digest, form (JPEG, PNG, ...), mode (Pillow's), width and
    height as stored, turned (EXIF orientation), frames, clear (how transparent it is, 0..1), fault and found (a code of
    cache.PROBLEMS, or empty), and part and row of its thumbnail, -1 where it has none."""

    table: pd.DataFrame
    folder: Path

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


def read(paths: Sequence[str], folder: Path, progress: Progress) -> Facts:
    """Reads those that are not known yet. Nothing is raised for a picture that can't be used: its fault is a fact."""
    paths = sorted(set(paths))
    with artifacts.locked(folder, wait=-1):
        files = pd.DataFrame([_stat(path) for path in paths], index=pd.Index(paths, name="path"))
        known = _known(folder)
        there = known.reindex(files.index)
        fresh = (there["size"] == files["size"]) & (there["time"] == files["time"])
        todo = files.index[~fresh & (files["fault"] == "")]
        _read_all(todo, files, folder, progress, len(paths))
        known = _known(folder).reindex(files.index)
    lost = files.index[files["fault"] != ""]  # what has no plain file is told anew each time
    absent = pd.DataFrame([EMPTY | {"part": -1, "row": -1}] * len(lost), index=lost)
    absent = absent.assign(**{c: files.loc[lost, c] for c in ("size", "time", "fault", "found")})
    return Facts(pd.concat([known.drop(lost), absent]).sort_index().astype(dict.fromkeys(WHOLE, int)), folder)


def look(path: str) -> tuple[dict[str, Any], np.ndarray]:
    """The facts of one file, and its thumbnail, black where it can't be decoded."""
    facts, thumbnail = dict(EMPTY), np.zeros((SIDE, SIDE, 3), np.uint8)
    try:
        content = Path(path).read_bytes()
        facts["digest"] = artifacts.digest(content)
        thumbnail = cache.fitted(cache.decode(content, DECODED), (SIDE, SIDE), "squash")
        facts |= _header(content) | {"clear": _clear(content)}
    except PermissionError as e:
        facts |= {"fault": "IMG-PERM", "found": str(e)}
    except BadPicture as e:
        facts |= {"fault": e.code, "found": e.found}
    return facts, thumbnail


def _header(content: bytes) -> dict[str, Any]:
    """What Pillow says of a picture that was decoded. A second frame of a JPEG is a phone's preview or depth map."""
    from PIL import Image

    with Image.open(BytesIO(content), formats=cache.FORMATS) as picture:
        form = "JPEG" if picture.format == "MPO" else str(picture.format)
        return {
            "form": form, "mode": picture.mode, "width": picture.width, "height": picture.height,
            "turned": int(picture.getexif().get(ORIENTATION, 1)),
            "frames": 1 if form == "JPEG" else int(getattr(picture, "n_frames", 1)),
        }  # fmt: skip


def _clear(content: bytes) -> float:
    """0 where every pixel is opaque, 1 where none can be seen."""
    from PIL import Image

    with Image.open(BytesIO(content), formats=cache.FORMATS) as picture:
        if not picture.has_transparency_data:
            return 0.0
        return 1 - float(np.asarray(picture.convert("RGBA").getchannel("A")).mean()) / 255


def _stat(path: str) -> dict[str, Any]:
    facts = {"size": -1, "time": -1, "fault": "", "found": ""}
    try:
        s = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return facts | {"fault": "IMG-MISSING", "found": "no such file"}
    except PermissionError as e:
        return facts | {"fault": "IMG-PERM", "found": str(e)}
    if not stat.S_ISREG(s.st_mode):
        return facts | {"fault": "IMG-NOTFILE", "found": stat.filemode(s.st_mode)}
    return facts | {"size": s.st_size, "time": s.st_mtime_ns}


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


def _read_all(todo: pd.Index, files: pd.DataFrame, folder: Path, progress: Progress, total: int) -> None:
    """Writes a part each PART pictures, and one of the rest, also where the work is asked to stop."""
    part, before = max(_parts(folder), default=-1) + 1, total - len(todo)
    held: list[tuple[str, dict[str, Any], np.ndarray]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for n, (path, told) in enumerate(zip(todo, ahead(pool, look, todo, DEPTH), strict=True)):
                held.append((path, *told))
                if len(held) == PART:
                    _write(folder, part, held, files)
                    part, held = part + 1, []
                progress(before + n + 1, total, "reading pictures")
        finally:
            if held:
                _write(folder, part, held, files)


def _write(folder: Path, part: int, held: list[tuple[str, dict[str, Any], np.ndarray]], files: pd.DataFrame) -> None:
    with artifacts.writing(_file(folder, part, "npy")) as f:
        np.save(f, np.stack([thumbnail for _, _, thumbnail in held]))
    paths = pd.Index([path for path, _, _ in held], name="path")
    table = pd.DataFrame([facts for _, facts, _ in held], index=paths)
    table = table.assign(row=np.arange(len(held)), **{c: files.loc[paths, c] for c in ("size", "time")})
    artifacts.write_table(_file(folder, part, "parquet"), table)
