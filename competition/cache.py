"""Decoded pictures: decoded once, kept as one uint8 memory map that all folds, views and runs of a competition read.

Reading a 256 px picture from the map is about 50 times the rate of decoding its JPEG (28,000 against 500 a second and
core, measured). Tasks keep the pictures larger than the network sees them, so that crops and scales have room.

    runs/.cache/<competition>/<fit>-<side>/pictures.npy   [n, side, side, 3] uint8, RGB
                                           index.parquet  path -> row, size, time, digest of the file

The folder is `<fit>-<height>x<width>` where that is no square, and ends in Reading.mark: `-stored` where EXIF notes are
passed over, `-scale` where deep pictures are scaled to 8 bits.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd

from competition import artifacts
from competition.badpictures import refuse
from competition.decoding import PLAIN, BadPicture, Reading, decode, plain, read, unreadable
from competition.errors import EnvironmentFault, Finding
from competition.prefetch import ahead
from competition.task import Progress

GREY = 128
Fit = Literal["squash", "pad", "crop", "corner"]
Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Cache:
    """pictures: [n, height, width, 3] uint8, RGB, read-only. row: path -> n. digest: of files' contents."""

    pictures: np.ndarray
    row: pd.Series
    digest: str

    def rows(self, paths: pd.Series) -> np.ndarray:
        return self.row.loc[paths].to_numpy()

    def paths(self, rows: np.ndarray) -> list[str]:
        """Of some of its rows."""
        return self.row.index[self.row.isin(rows)].tolist()


def folder_of(competition: str, fit_to: Fit, shape: Shape, reading: Reading = PLAIN) -> Path:
    """Where pictures of this shape lie."""
    height, width = shape
    extent = f"{height}" if height == width else f"{height}x{width}"
    return artifacts.cache_folder(competition) / f"{fit_to}-{extent}{reading.mark}"


def load(folder: Path, paths: Sequence[str] | None = None) -> Cache:
    """paths: those whose digest is wanted; None: all that are there."""
    index = artifacts.read_table(folder / "index.parquet")
    pictures = _mapped(folder / "pictures.npy")
    assert len(pictures) == len(index), f"{folder} is of two builds"
    return Cache(pictures, index["row"], artifacts.digest(*index["digest"].sort_index().loc[paths or slice(None)]))


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as e:  # cut short, or with objects, which only a pickle could hold
        raise EnvironmentFault(artifacts.corrupt(path, str(e))) from None


def build(
    paths: Sequence[str], folder: Path, fit_to: Fit, shape: Shape, progress: Progress, reading: Reading = PLAIN
) -> Cache:
    """Decodes what is not there yet and returns the cache. A picture counts as changed when its content has.

    A cache that holds more pictures than are asked for is left as it is.

    shape: height and width of the pictures that are kept. reading: as of `decode`; `folder` should tell.

    Raises DataFault with every unreadable picture, by kind; EnvironmentFault where the disk has no room.
    """
    paths = sorted(set(paths))
    with artifacts.locked(folder, wait=-1):
        files = pd.DataFrame(_stat_all(paths), index=pd.Index(paths, name="path"))
        known = artifacts.read_table(folder / "index.parquet") if (folder / "index.parquet").exists() else None
        if known is not None and files.index.isin(known.index).all():
            there = known.loc[paths, ["size", "time"]]
            touched = there.index[(there != files[["size", "time"]]).any(axis=1)]
            same = [p for p in touched if artifacts.digest(Path(p).read_bytes()) == known.loc[p, "digest"]]
            if len(same) == len(touched):
                if len(touched):
                    known.loc[paths, "time"] = files["time"]
                    artifacts.write_table(folder / "index.parquet", known)
                return load(folder, paths)
        _decode_all(paths, files, folder, fit_to, shape, progress, reading)
        return load(folder, paths)


def fitted(picture: np.ndarray, shape: Shape, fit_to: Fit) -> np.ndarray:
    """[h, w, 3] -> [*shape, 3]: squash: scaled unevenly; crop: the middle part of that form; pad: scaled evenly, grey
    bars around; corner: scaled evenly, in the left upper corner, so that one factor takes its pixels there."""
    height, width = picture.shape[:2]
    if fit_to == "crop":
        share = min(height / shape[0], width / shape[1])
        h, w = round(shape[0] * share), round(shape[1] * share)
        top, left = (height - h) // 2, (width - w) // 2
        picture = picture[top : top + h, left : left + w]
    if fit_to in ("squash", "crop"):
        return _resize(picture, shape[1], shape[0])
    height, width = extent(height, width, shape)
    small = _resize(picture, width, height)
    free = (0, 0) if fit_to == "corner" else (shape[0] - small.shape[0], shape[1] - small.shape[1])
    top, left = free[0] // 2, free[1] // 2
    out = np.full((*shape, 3), GREY, np.uint8)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def factor(height: Any, width: Any, shape: Shape) -> Any:
    """By how much pictures of these sides (numbers or arrays) are scaled to fit evenly into `shape`."""
    return np.minimum(shape[0] / height, shape[1] / width)


def extent(height: float, width: float, shape: Shape) -> Shape:
    """Height and width of a picture of these sides once it is scaled by `factor`, at most half a pixel off."""
    scale = factor(height, width, shape)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinks = picture.shape[0] * picture.shape[1] > width * height
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _stat_all(paths: list[str]) -> list[dict[str, int]]:
    """Size and time of every file. Raises DataFault where some are missing or no plain files."""
    found, bad = [], []
    for path in paths:
        try:
            s = plain(os.stat(path))
        except OSError as e:
            bad.append((path, unreadable(path, e)))
        except BadPicture as e:
            bad.append((path, e))
        else:
            found.append({"size": s.st_size, "time": s.st_mtime_ns})
    refuse(bad)
    return found


def _decode_all(
    paths: list[str], files: pd.DataFrame, folder: Path, fit_to: Fit, size: Shape, progress: Progress, reading: Reading
) -> None:
    shape = (len(paths), *size, 3)
    (folder / "index.parquet").unlink(missing_ok=True)  # never an old index beside new pictures
    _need_room(folder, math.prod(shape))
    digests: list[str] = []
    bad: list[tuple[str, BadPicture]] = []

    def one(path: str) -> tuple[str, np.ndarray | BadPicture]:
        try:
            data = read(path)
            picture = decode(data, min(size), reading, exact=fit_to == "corner")
            return artifacts.digest(data), fitted(picture, size, fit_to)
        except BadPicture as e:
            return "", e

    with artifacts.writing(folder / "pictures.npy") as f, ThreadPoolExecutor(os.cpu_count()) as pool:
        np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": shape})
        f.flush()
        _reserve(f.fileno(), f.tell(), math.prod(shape))
        pictures = np.memmap(f, np.uint8, "r+", offset=f.tell(), shape=shape)
        for row, (path, (digest, picture)) in enumerate(zip(paths, ahead(pool, one, paths, 256), strict=True)):
            if isinstance(picture, BadPicture):
                bad.append((path, picture))
            else:
                pictures[row] = picture
            digests.append(digest)
            progress(row + 1, len(paths), "decoding pictures")
        refuse(bad)
        pictures.flush()
        del pictures  # Windows renames no file that is mapped
    artifacts.write_table(folder / "index.parquet", files.assign(row=np.arange(len(paths)), digest=digests))


def _need_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size * 1.05 > free:
        raise EnvironmentFault(
            Finding(
                code="ENV-DISK",
                what="the disk has no room for the decoded pictures",
                where=str(folder),
                found=f"{size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free",
                risk="nothing was written",
                mend="free some space, or train at a smaller `size`",
            )
        )


def _reserve(file: int, offset: int, size: int) -> None:
    """Blocks on the disk before they are mapped: writing to a map on a full disk kills the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, offset, size)
    else:
        os.truncate(file, offset + size)
