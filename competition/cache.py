"""Decoded pictures: decoded once, kept as one uint8 memory map that all folds, views and runs of a competition read.

Reading a 256 px picture from the map is about 50 times the rate of decoding its JPEG (28,000 against 500 a second and
core, measured). Tasks keep the pictures larger than the network sees them, so that crops and scales have room.

    runs/.cache/<competition>/<fit>-<side>/pictures.npy   [n, side, side, 3] uint8, RGB
                                           index.parquet  path -> row, size, time, digest of the file

The folder is `<fit>-<height>x<width>` where that is no square, and ends in `-stored` where EXIF notes are passed over.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from competition import artifacts, dicom
from competition.errors import DataFault, EnvironmentFault, Finding, examples
from competition.prefetch import ahead
from competition.task import Progress

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", dicom.FORMAT)
GREY = 128
Fit = Literal["squash", "pad", "crop", "corner"]
Shape = tuple[int, int]  # height, width
PROBLEMS = {
    "IMG-MISSING": ("pictures are missing", "mend `image:` (folder, file extension) or fetch the files"),
    "IMG-NOTFILE": ("pictures are no plain files", "replace the link, folder or device by the picture itself"),
    "IMG-PERM": ("pictures can't be read", "give this user the right to read them"),
    "IMG-EMPTY": ("picture files are empty", "fetch them again"),
    "IMG-NOTIMAGE": (
        "files are no pictures",
        "fetch them again (an error page or a Git LFS pointer was saved instead?)",
    ),
    "IMG-HUGE": (f"pictures have over {MAX_PIXELS:,} pixels", "scale them down first"),
    "IMG-DEPTH": ("pictures have more than 8 bits a channel", "convert them to 8 bits with the range that matters"),
    "IMG-TRUNC": ("pictures are cut short", "fetch them again"),
    "IMG-CORRUPT": ("pictures can't be decoded", "fetch them again"),
}


@dataclass(frozen=True)
class Cache:
    """pictures: [n, height, width, 3] uint8, RGB, read-only. row: path -> n. digest: of files' contents."""

    pictures: np.ndarray
    row: pd.Series
    digest: str

    def rows(self, paths: pd.Series) -> np.ndarray:
        return self.row.loc[paths].to_numpy()


class BadPicture(Exception):
    """One picture that can't be used: a code of PROBLEMS and what was found."""

    def __init__(self, code: str, found: str):
        super().__init__(code, found)
        self.code, self.found = code, found


def folder_of(competition: str, fit_to: Fit, shape: Shape, upright: bool = True) -> Path:
    """Where pictures of this shape lie."""
    height, width = shape
    extent = f"{height}" if height == width else f"{height}x{width}"
    return artifacts.cache_folder(competition) / f"{fit_to}-{extent}{'' if upright else '-stored'}"


def load(folder: Path, paths: Sequence[str] | None = None) -> Cache:
    """paths: those whose digest is wanted; None: all that are there."""
    index = artifacts.read_table(folder / "index.parquet")
    pictures = np.load(folder / "pictures.npy", mmap_mode="r")
    assert len(pictures) == len(index), f"{folder} is of two builds"
    return Cache(pictures, index["row"], artifacts.digest(*index["digest"].sort_index().loc[paths or slice(None)]))


def build(
    paths: Sequence[str], folder: Path, fit_to: Fit, shape: Shape, progress: Progress, upright: bool = True
) -> Cache:
    """Decodes what is not there yet and returns the cache. A picture counts as changed when its content has.

    A cache that holds more pictures than are asked for is left as it is.

    shape: height and width of the pictures that are kept. upright: as of `decode`; `folder` should tell.

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
        _decode_all(paths, files, folder, fit_to, shape, progress, upright)
        return load(folder, paths)


def decode(data: bytes, at_least: int, upright: bool = True, exact: bool = False) -> np.ndarray:
    """A picture file's content as uint8 RGB [h, w, 3], upright by its EXIF note or as stored. Raises BadPicture.

    A JPEG is scaled down by 2, 4 or 8 while decoding, as long as both sides stay `at_least` pixels; exact: and divide,
    or the last pixel stands for less than the others and boxes would be up to a pixel off.

    OpenCV decodes (2.6 times the rate of Pillow); Pillow reads the header first, because OpenCV opens decompression bombs
    and shortens 16 bits to 8 without a word, and looks twice at a JPEG without its end mark, of which OpenCV makes a half
    grey picture.
    """
    width, height, mode, form = _header(data)
    if width * height > MAX_PIXELS:
        raise BadPicture("IMG-HUGE", f"{width} x {height}")
    if form == dicom.FORMAT:
        return _by_pillow(data)
    if mode.startswith(("I", "F")) or (form == "PNG" and data[24] > 8):  # Pillow calls 16-bit colour RGB too
        raise BadPicture("IMG-DEPTH", f"mode {mode}")
    if form in ("JPEG", "MPO") and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        try:
            Image.open(BytesIO(data)).load()
        except (OSError, SyntaxError) as e:
            raise BadPicture("IMG-TRUNC", str(e)) from None
    halves = (8, 4, 2) if form in ("JPEG", "MPO") else ()  # only JPEG averages; others would be point-sampled
    fits = [f for f in halves if min(width, height) >= f * at_least and not (exact and (width % f or height % f))]
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    orientation = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag[max(fits, default=1)] | orientation)
    if picture is None:
        raise BadPicture("IMG-CORRUPT", f"{form}, {len(data):,} bytes")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _by_pillow(data: bytes) -> np.ndarray:
    try:
        return np.asarray(Image.open(BytesIO(data), formats=FORMATS).convert("RGB"))
    except OSError as e:
        raise BadPicture("IMG-CORRUPT", str(e)) from None


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


def _header(data: bytes) -> tuple[int, int, str, str]:
    if not data:
        raise BadPicture("IMG-EMPTY", "0 bytes")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as header:
            return *header.size, header.mode, str(header.format)
    except Image.DecompressionBombError as e:
        raise BadPicture("IMG-HUGE", str(e)) from None
    except (OSError, SyntaxError, ValueError):
        raise BadPicture("IMG-NOTIMAGE", f"begins with {data[:60]!r}") from None


def _stat_all(paths: list[str]) -> list[dict[str, int]]:
    """Size and time of every file. Raises DataFault where some are missing or no plain files."""
    found, bad = [], []
    for path in paths:
        try:
            s = os.stat(path)
        except OSError:
            bad.append((path, BadPicture("IMG-MISSING", "no such file")))
            continue
        if not stat.S_ISREG(s.st_mode):
            bad.append((path, BadPicture("IMG-NOTFILE", stat.filemode(s.st_mode))))
        found.append({"size": s.st_size, "time": s.st_mtime_ns})
    refuse(bad)
    return found


def _decode_all(
    paths: list[str], files: pd.DataFrame, folder: Path, fit_to: Fit, size: Shape, progress: Progress, upright: bool
) -> None:
    shape = (len(paths), *size, 3)
    (folder / "index.parquet").unlink(missing_ok=True)  # never an old index beside new pictures
    _need_room(folder, math.prod(shape))
    digests: list[str] = []
    bad: list[tuple[str, BadPicture]] = []

    def one(path: str) -> tuple[str, np.ndarray | BadPicture]:
        try:
            data = Path(path).read_bytes()
            picture = decode(data, min(size), upright, exact=fit_to == "corner")
            return artifacts.digest(data), fitted(picture, size, fit_to)
        except PermissionError as e:
            return "", BadPicture("IMG-PERM", str(e))
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


def refuse(bad: list[tuple[str, BadPicture]]) -> None:
    """Raises DataFault with one finding for each kind of problem."""
    by_code: dict[str, list[tuple[str, BadPicture]]] = {}
    for path, problem in bad:
        by_code.setdefault(problem.code, []).append((path, problem))
    if bad:
        raise DataFault(
            *(
                Finding(
                    code=code,
                    what=f"{len(items)} {PROBLEMS[code][0]}" if len(items) > 1 else PROBLEMS[code][0],
                    where=examples([path for path, _ in items], 20),
                    found=items[0][1].found,
                    risk="those rows would be trained on or predicted from nothing",
                    mend=PROBLEMS[code][1],
                )
                for code, items in by_code.items()
            )
        )
