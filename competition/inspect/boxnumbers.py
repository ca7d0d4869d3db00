"""The numbers of training boxes as a table has them: which columns, corners or sizes or centers, pixels or fractions."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from competition.boxes.spellings import four, plain
from competition.errors import examples
from competition.inspect.guess import Guess, question

CELLS = re.compile(r"box|annotation|region|coord|prediction_?string|location", re.I)
STRAY = 0.1  # share of the boxes that may be wrong before numbers below 1 are taken for pixels
PROBED = 2000  # rows by whose numbers the form is told
ODD = 0.01  # share of boxes that may be mistakes without counting against a form


def find_columns(train: pd.DataFrame, asked: Iterable[str] = ()) -> Guess | None:
    """The key `boxes.columns`: four by their names, or one by its name (or the sample's) and its cells; None: no boxes."""
    spelled = four(train.columns)
    if spelled:
        return Guess("boxes.columns", list(spelled[1]), "their names")
    for column in (c for c in train.columns if CELLS.search(c) or c in asked):
        cells = _probe(train[column])
        if len(cells) and all(map(boxes_in, cells.head(50))):
            return Guess("boxes.columns", [column], f"its cells hold boxes, such as {cells.iloc[0][:60]}")
    return None


def find_form(train: pd.DataFrame, columns: list[str], unit: str) -> Guess:
    """The key `boxes.form`, by names where they tell it and by the numbers otherwise."""
    spelled = four(columns) if len(columns) > 1 else four(_keys(train[columns[0]]))
    numbers = _numbers(train, columns)
    if spelled and spelled[0] != "sizes":
        return Guess("boxes.form", spelled[0], f"the names {examples(spelled[1], 4)}")
    first, second, sides = numbers[:, :2], numbers[:, 2:], _extent(train, columns, unit)
    slack = 0.005 * sides
    beyond = float((first + second > sides + slack).any(axis=1).mean())
    centered = float(((first - second / 2 < -slack) | (first + second / 2 > sides + slack)).any(axis=1).mean())
    inverted = float((second <= first).any(axis=1).mean())
    if not spelled and inverted <= ODD:
        reason = "in every box the last two numbers are larger than the first two"
        return Guess("boxes.form", "corners", reason, sure=beyond > ODD)
    if beyond > ODD >= centered:
        reason = f"as sizes, {beyond:.0%} of the boxes would leave the picture"
        return Guess("boxes.form", "centers", reason, sure=False)
    if spelled:
        return Guess("boxes.form", "sizes", f"the names {examples(spelled[1], 4)}")
    return Guess("boxes.form", "sizes", f"in {inverted:.0%} of the boxes a last number is smaller than a first one")


def find_unit(train: pd.DataFrame, columns: list[str]) -> Guess:
    """The key `boxes.unit`. Raises ConfigFault INIT-BOXES where no cell holds a number."""
    numbers = _numbers(train, columns)
    if not len(numbers):
        found = f"columns {examples(columns)}: {examples(train[columns[0]].unique(), 3)}"
        raise question(
            "boxes.columns", "the columns of the boxes hold no numbers", "train", found, "[x_min, y_min, w, h]"
        )
    above = (numbers > 1.01).any(axis=1)
    if above.mean() < STRAY and (numbers % 1).any():
        reason = (
            f"{above.sum()} of {len(numbers)} boxes have a number above 1" if above.any() else "no number is above 1"
        )
        return Guess("boxes.unit", "fractions", reason, sure=not above.any())
    return Guess("boxes.unit", "pixels", f"numbers up to {numbers.max():g}")


def holds_boxes(train: pd.DataFrame, columns: list[str]) -> pd.Series:
    """[rows] bool: which rows have a box, and not only a picture without one."""
    if len(columns) == 1:
        return train[columns[0]].map(lambda cell: bool(boxes_in(cell)))
    return train[columns].apply(pd.to_numeric, errors="coerce").notna().all(axis=1)


def boxes_in(cell: str) -> list[Any]:
    """The boxes of a cell, each four numbers in a list or a dict of them; empty where it holds none.

    `[834, 222, 56, 36]`, lists of such lists, lists of dicts, and words: `99 692 160 764;641 27 697 115`, also with a
    class before the four numbers of each, or a class and a score.
    """
    text = cell.strip()
    if text[:1] in ("[", "{", "("):
        return _flat(_literal(text))
    words = [w for w in re.split(r"[\s;|,]+", text) if w]
    for size, skip in ((4, 0), (5, 1), (6, 2)):
        groups = [words[i + skip : i + size] for i in range(0, len(words), size)]
        if groups and len(words) % size == 0 and all(is_number(w) for group in groups for w in group):
            return [[float(w) for w in group] for group in groups]
    return []


def is_number(word: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", word))


def _literal(text: str) -> Any:
    """JSON, or what Python prints; None where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return None


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        inner = next((v for k, v in value.items() if "box" in str(k).lower()), None)
        return _flat(inner) if inner is not None else [value] if four(map(str, value)) else []
    if not isinstance(value, (list, tuple)):
        return []
    if len(value) == 4 and all(isinstance(v, (int, float)) for v in value):
        return [list(value)]
    return [box for part in value for box in _flat(part)]


def _keys(cells: pd.Series) -> list[str]:
    """The keys of the boxes of a column whose cells hold dicts."""
    first = next((box for cell in _probe(cells) for box in boxes_in(cell)), [])
    return [str(key) for key in first] if isinstance(first, dict) else []


def _probe(cells: pd.Series) -> pd.Series:
    """Some cells from all over that are not empty, nor the same word again and again (`no_box`)."""
    full = cells[cells.str.contains(r"\d.*\d.*\d.*\d", regex=True)]
    return full.iloc[:: len(full) // PROBED + 1]


def _numbers(train: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """[boxes, 4] of some rows, in the order of boxes.form."""
    if len(columns) == 1:
        boxes = [box for cell in _probe(train[columns[0]]) for box in boxes_in(cell)]
        spelled = four(_keys(train[columns[0]]))
        order = spelled[1] if spelled else range(4)
        return np.array([[float(box[k]) for k in order] for box in boxes]).reshape(-1, 4)
    values = train[columns].apply(pd.to_numeric, errors="coerce").dropna()
    return values.iloc[:: len(values) // PROBED + 1].to_numpy(dtype=float)


def _extent(train: pd.DataFrame, columns: list[str], unit: str) -> np.ndarray:
    """[2] the largest picture's width and height by columns of train; 1 for fractions; infinite where nothing says them."""
    if unit == "fractions":
        return np.ones(2)
    own = {re.sub(r"^(image|img|picture)", "", plain(c)): c for c in train.columns if c not in columns}
    if not {"width", "height"} <= own.keys():
        return np.full(2, np.inf)
    sides = train[[own["width"], own["height"]]].apply(pd.to_numeric, errors="coerce")
    return sides.max().to_numpy(dtype=float)
