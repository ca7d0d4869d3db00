"""Boxes as a file has them, before anything is checked: what every reader of a form hands over.

A table of raw boxes has index `id` and the columns label (text, empty where the file has none), x_min, y_min, x_max, y_max
(floats, in pixels or fractions as the file has them, nan where no number stands), crowd, and where: the place, for messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES
from competition.errors import DataFault, Finding, examples

COLUMNS = ("label", *EDGES, "crowd", "where")


class Box(NamedTuple):
    """One box: numbers are the file's four, in the file's order."""

    id: str
    label: str
    numbers: Sequence[Any]
    crowd: bool
    where: str


def table(boxes: Sequence[Box], form: str) -> pd.DataFrame:
    """Raw boxes as a table, their numbers of this form (`boxes.form` of competition.yaml)."""
    numbers = np.array([[number(value) for value in box.numbers] for box in boxes], dtype=float).reshape(-1, 4)
    cells = pd.DataFrame(corners(numbers, form), columns=list(EDGES))
    cells.insert(0, "label", pd.Series([box.label for box in boxes], dtype="str"))
    cells["crowd"] = np.array([box.crowd for box in boxes], dtype=bool)
    cells["where"] = pd.Series([box.where for box in boxes], dtype="str")
    return cells.set_index(pd.Index([box.id for box in boxes], dtype="str", name="id"))


def corners(numbers: np.ndarray, form: str) -> np.ndarray:
    """[n, 4] of a form -> x_min, y_min, x_max, y_max in the same unit."""
    first, second = numbers[:, :2], numbers[:, 2:]
    if form == "corners":
        return numbers
    start = first if form == "sizes" else first - second / 2
    return np.hstack([start, start + second])


def as_form(edges: np.ndarray, form: str) -> np.ndarray:
    """The way back: [n, 4] x_min, y_min, x_max, y_max -> the numbers of a form."""
    start, side = edges[:, :2], edges[:, 2:] - edges[:, :2]
    return {"corners": edges, "sizes": np.hstack([start, side]), "centers": np.hstack([start + side / 2, side])}[form]


def number(value: Any) -> float:
    """A cell or a value of JSON as a number, nan where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def malformed(where: str, found: Sequence[str], mend: str) -> Finding:
    """What can't be read as boxes: found, a sentence each, names the place."""
    what = f"{len(found)} places can't be read as boxes" if len(found) > 1 else "boxes can't be read"
    return Finding("DET-FORMAT", what, where, examples(found), mend, "objects would be taken for background")


def read_file(path: Path) -> bytes:
    """Raises DataFault DET-FORMAT where the file is missing."""
    if not path.is_file():
        mend = "mend `boxes: {source}` or `train:` in competition.yaml"
        raise DataFault(malformed(str(path), ["no such file"], mend))
    return path.read_bytes()


def read_or_none(path: Path) -> bytes | None:
    """The file's content, None where there is none."""
    return path.read_bytes() if path.is_file() else None
