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
from PIL import Image

from competition import remembered
from competition.decoding import FORMATS, SIDEWAYS, BadPicture, opened, turn_of

COLUMNS = ["width", "height", "stored_width", "stored_height", "orientation"]
CHUNK = 64  # pictures a thread takes at once


def read(paths: Sequence[str], folder: Path) -> pd.DataFrame:
    """[paths] floats by path: width and height as shown, stored_width and stored_height without the EXIF turn, and
    orientation (1 to 8, EXIF's own; 1 is upright); nan where the file can't be read, which decoding tells.

    A file whose size and time are those of last time is not opened again.
    """

    return remembered.of_files(paths, folder / "sizes.parquet", COLUMNS, headers).astype(float)


def headers(paths: list[str]) -> pd.DataFrame:
    """The same, each file opened now, one row a path."""
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for some in pool.map(lambda chunk: [_header(p) for p in chunk], chunks) for row in some]
    return pd.DataFrame(rows, columns=COLUMNS, index=paths, dtype=float)


def _header(path: str) -> tuple[float, ...]:
    try:
        with opened(path) as file, Image.open(file, formats=FORMATS) as picture:
            turn, (width, height) = turn_of(picture), picture.size
    except (BadPicture, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return (np.nan,) * len(COLUMNS)
    shown = (height, width) if turn in SIDEWAYS else (width, height)
    return *shown, width, height, turn
