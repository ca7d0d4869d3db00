"""Width and height of every picture, of its header alone; kept beside the decoded pictures, so that 100,000 are read once.

runs/.cache/<competition>/sizes.parquet  path -> size and time of the file, width, height, orientation
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ExifTags, Image

from competition import artifacts
from competition.cache import FORMATS

COLUMNS = ["width", "height", "stored_width", "stored_height", "orientation"]
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that turn by a quarter
CHUNK = 64  # pictures a thread takes at once


def read(paths: Sequence[str], folder: Path) -> pd.DataFrame:
    """[paths] floats by path: width and height as shown, stored_width and stored_height without the EXIF turn, and
    orientation (1 to 8, EXIF's own; 1 is upright); nan where the file can't be read, which decoding tells.

    A file whose size and time are those of last time is not opened again.
    """
    paths = sorted(set(paths))
    file = folder / "sizes.parquet"
    now = pd.DataFrame(map(_stat, paths), columns=["size", "time"], index=pd.Index(paths, name="path", dtype="str"))
    with artifacts.locked(folder, wait=-1):
        known = artifacts.read_table(file) if file.exists() else pd.DataFrame(columns=[*now, *COLUMNS])
        had = known.reindex(paths)
        stale = now.index[(had[["size", "time"]] != now).any(axis=1)]
        if not len(stale):
            return had[COLUMNS].astype(float)
        headers = pd.DataFrame(_headers(list(stale)), columns=COLUMNS, index=stale, dtype=float)
        rows = pd.concat([now.loc[stale], headers], axis=1)
        fresh = rows if known.empty else pd.concat([known.drop(stale, errors="ignore"), rows])
        artifacts.write_table(file, fresh)
    return fresh.loc[paths, COLUMNS].astype(float)


def _stat(path: str) -> tuple[int, int]:
    """Size and time; -1 where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _headers(paths: list[str]) -> np.ndarray:
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array([row for rows in pool.map(lambda chunk: [_header(p) for p in chunk], chunks) for row in rows])


def _header(path: str) -> tuple[float, ...]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            turn, (width, height) = _orientation(picture), picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return (np.nan,) * len(COLUMNS)
    shown = (height, width) if turn in SIDEWAYS else (width, height)
    return *shown, width, height, turn


def _orientation(picture: Image.Image) -> int:
    """Of the EXIF block alone, as OpenCV reads it; Pillow's getexif also takes XMP's word, and decodes a PNG for it."""
    if picture.format == "TIFF":
        return 1  # Pillow and OpenCV turn it whatever they are asked, so that is the only form there is
    note = Image.Exif()
    note.load(picture.info.get("exif", b""))
    turn = note.get(ExifTags.Base.Orientation, 1)
    return turn if turn in range(1, 9) else 1
