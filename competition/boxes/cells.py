"""Boxes in a CSV: a row a box in four columns, or one column whose cell holds a box, a list of boxes, or words."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from competition.boxes import raw, spellings
from competition.boxes.raw import Box
from competition.errors import DataFault
from competition.keys import Competition
from competition.tables import MISSING, said

PLACEHOLDER = [0.0, 0.0, 1.0, 1.0]  # hosts write `none 1 0 0 1 1` or `14 1 0 0 1 1` where nothing was found
FLAGS = ("1", "1.0", "true")
Found = tuple[str, list[Any], str]  # label, empty where the cell has none; four numbers; their form


def read(train: pd.DataFrame, config: Competition) -> tuple[pd.DataFrame, list[str]]:
    """The raw boxes of config.train as read, and notes. Raises DataFault DET-FORMAT with the lines that can't be read."""
    assert config.boxes is not None
    columns = list(config.boxes.columns)
    given = ~train[columns].apply(lambda cells: cells.str.strip().isin(MISSING)).all(axis=1)
    given, notes = _without_words(train[columns[0]], given) if len(columns) == 1 else (given, [])
    rows = train[given]
    label, crowd = class_cells(rows, config), _crowds(rows)
    lines = [f"{config.train}, line {n + 2}" for n in given.to_numpy().nonzero()[0]]
    if len(columns) == 4:
        numbers = rows[columns].to_numpy().tolist()
        found = [[("", four, config.boxes.form)] for four in numbers]
    else:
        found = _one_column(rows[columns[0]], lines, config)
    boxes = {"corners": [], "sizes": [], "centers": []}
    for id, own, many, line, cell in zip(rows[config.id].tolist(), label.tolist(), crowd, lines, found, strict=True):
        for name, numbers, form in cell:
            boxes[form].append(Box(id, name or own, numbers, many, line))
    table = pd.concat([raw.table(some, form) for form, some in boxes.items()])
    table, told = _without_placeholders(table, config)
    return table, notes + told


def _without_words(cells: pd.Series, given: pd.Series) -> tuple[pd.Series, list[str]]:
    """Without the cells of one word, always the same, that says that a picture has no box (`no_box` in wheat 2021).

    Once is no way of saying it: such a cell is torn.
    """
    words = cells[given & ~cells.str.contains(r"[\d\[{(]", regex=True)]
    if len(words) < 2 or words.nunique() > 1:
        return given, []
    note = f"{len(words)} cells of column {cells.name!r} are {words.iloc[0]!r}: pictures without boxes"
    return given & ~cells.index.isin(words.index), [note]


def class_cells(rows: pd.DataFrame, config: Competition) -> pd.Series:
    """The class of each row, empty where its cell says none or there is no column of it."""
    if not config.targets or config.targets[0] not in rows:
        return pd.Series("", index=rows.index)
    cells = rows[config.targets[0]].str.strip()
    return cells.where(said(cells) | cells.isin(config.classes or ()), "")


def _crowds(rows: pd.DataFrame) -> list[bool]:
    """Which rows a column of flags such as IsGroupOf marks as no single object."""
    named = (rows[column].str.lower() for column in rows.columns if spellings.plain(column) in spellings.CROWD)
    marked = pd.Series(False, rows.index)
    for cells in (cells for cells in named if cells.isin([*FLAGS, "-1", "0", "0.0", "false", ""]).all()):
        marked |= cells.isin(FLAGS)
    return marked.tolist()


def _without_placeholders(table: pd.DataFrame, config: Competition) -> tuple[pd.DataFrame, list[str]]:
    assert config.boxes is not None
    edges = table[["x_min", "y_min", "x_max", "y_max"]]
    nothing = (edges == PLACEHOLDER).all(axis=1) & (config.boxes.unit == "pixels")
    if not nothing.any():
        return table, []
    note = f"{nothing.sum()} training boxes are 0 0 1 1, which says that a picture has none: they are no boxes"
    return table[~nothing], [note]


def _one_column(cells: pd.Series, lines: list[str], config: Competition) -> list[list[Found]]:
    """The boxes of each cell. The form of words is that of the whole column."""
    assert config.boxes is not None
    listed = cells.str.lstrip().str.startswith(("[", "{", "("))
    of_words = _words(cells[~listed], config.boxes.form)
    found, bad = [], []
    for cell, is_list, line in zip(cells.tolist(), listed.tolist(), lines, strict=True):
        try:
            found.append(_listed(cell, config.boxes.form) if is_list else of_words(cell))
        except ValueError as e:
            bad.append(f"line {line.rpartition(' ')[2]}: {str(cell)[:60]}: {e}")
    if bad:
        where = f"{config.data}/{config.train}, column {cells.name!r}"
        mend = "a cell holds [x, y, x, y], a list of such, or words; mend those cells; an empty cell is no box"
        raise DataFault(raw.malformed(where, bad, mend))
    return found


def _listed(cell: str, form: str) -> list[Found]:
    """`[1, 2, 3, 4]`, `[[1, 2, 3, 4], ...]` or `[{'x': 1, ...}, ...]`. Raises ValueError."""
    value = _literal(cell)
    if isinstance(value, dict) or _are_four(value):
        value = [value]
    return [_keyed(box) if isinstance(box, dict) else _four(box, form) for box in value]


def _are_four(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and not isinstance(value[0], (list, tuple, dict))


def _literal(cell: str) -> Any:
    with contextlib.suppress(ValueError):  # then Python's own way of writing: single quotes, tuples
        return json.loads(cell)
    try:
        return ast.literal_eval(cell.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError, ValueError):
        raise ValueError("not a list") from None


def _four(box: Any, form: str) -> Found:
    if not _are_four(box):
        raise ValueError("a box has four numbers")
    return "", list(box), form


def _keyed(box: dict[Any, Any]) -> Found:
    known = {str(key): value for key, value in box.items()}
    named = spellings.four(known)
    if named:
        by_plain = {spellings.plain(key): str(value) for key, value in known.items()}
        label = next((by_plain[key] for key in spellings.LABEL if key in by_plain), "")
        return label, [known[key] for key in named[1]], named[0]
    raise ValueError(f"keys {', '.join(map(str, box))} name no box such as x, y, width, height")


def _words(cells: pd.Series, form: str) -> Callable[[str], list[Found]]:
    """How the words of this column are read: boxes of 4 numbers, `label` and 4, or `label score` and 4."""
    split = [_split(cell) for cell in cells]
    numeric = all(not math.isnan(raw.number(word)) for words in split for word in words)
    sizes = (4, 5, 6) if numeric else (6, 5, 4)
    size = max(sizes, key=lambda n: sum(_fits(words, n) for words in split))  # the odd ones are told by line

    def read(cell: str) -> list[Found]:
        words = _split(cell)
        if not _fits(words, size):
            raise ValueError(f"{len(words)} words, of which {size} should make a box")
        return [
            (words[i] if size > 4 else "", words[i + size - 4 : i + size], form)
            for i in range(0, len(words), size)
            if size == 4 or words[i] not in MISSING
        ]

    return read


def _split(cell: str) -> list[str]:
    return re.split(r"[\s,;|]+", cell.strip(" \t\r\n,;|"))


def _fits(words: list[str], size: int) -> bool:
    """Whether these are whole boxes of `size` words, all but their labels numbers (or missing)."""
    numbers = (word for i, word in enumerate(words) if size == 4 or i % size)
    return len(words) % size == 0 and not any(math.isnan(raw.number(w)) and w not in MISSING for w in numbers)
