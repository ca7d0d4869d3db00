"""What each column of a table is: a number, a category, a date, a text or nothing to learn from. Labels play no part.

    columns = resolve(train, Columns(category=("Pclass",)))   # types given by the run, the others inferred
    frame = read(test, columns)                               # typed; the order of test's columns doesn't matter

Cells are text. A type is told from the distinct cells, so the order of rows doesn't count, except for a column that
counts the rows itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from pydantic import field_validator, model_validator

from competition import artifacts, dates
from competition.errors import DataFault, Finding, examples, nearest
from competition.keys import Strict, fit
from competition.tables import MISSING

ColumnType = Literal["number", "category", "date", "text", "ignore"]

NUMBERS = 0.95  # of the distinct cells that must be finite numbers
OWN = 0.8  # distinct cells a row, from which on a column of words is text
WORDS, LENGTH = 3, 30  # a cell on average, from which on it is text
COUNTED = 10  # rows, from which on 0, 1, 2, ... is no accident
SHOWN = 10  # columns that get a note each
NAMES = re.compile(r".*[_ ](cat|category|categorical)", re.I)  # ps_car_11_cat
UNNAMED = re.compile(r"\s*|Unnamed: ?\d+|index|level_0", re.I)
CONSTANT, EMPTY, SAME, CODE = "constant", "every cell is missing", "the same as column", "a code"


@dataclass(frozen=True)
class Column:
    """reason: a short sentence for the user. day_first: how a date such as 05/06/2020 is read, in every table."""

    name: str
    type: ColumnType
    reason: str
    day_first: bool = False


class Columns(Strict):
    """The run's `columns:`: types that are given; those of the other columns are inferred."""

    number: tuple[str, ...] = fit((), "columns of numbers")
    category: tuple[str, ...] = fit((), "columns whose values are names, even where they look like numbers")
    date: tuple[str, ...] = fit((), "columns of dates")
    text: tuple[str, ...] = fit((), "columns of words")
    ignore: tuple[str, ...] = fit((), "columns to leave out")

    @field_validator("*", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(str(v) for v in value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _each_once(self) -> Columns:
        names = [name for listed in self.model_dump().values() for name in listed]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a column has one type, but {examples(twice)} stand in two places")
        return self


@dataclass(frozen=True)
class Cells:
    """A column by its distinct cells, without blanks around them; missing ones are "". codes: [rows] into `values`."""

    codes: np.ndarray
    values: np.ndarray

    @cached_property
    def told(self) -> np.ndarray:
        """[values] bool: not missing."""
        return self.values != ""

    @cached_property
    def counts(self) -> np.ndarray:
        """[values] rows."""
        return np.bincount(self.codes, minlength=len(self.values))

    @cached_property
    def numbers(self) -> np.ndarray:
        """[values] float64; NaN for what is no number."""
        return pd.to_numeric(pd.Series(self.values, dtype=object), errors="coerce").to_numpy(dtype="float64")

    @property
    def infinite(self) -> np.ndarray:
        return np.isinf(self.numbers)

    @property
    def words(self) -> np.ndarray:
        """[values] bool: neither missing nor any number."""
        return self.told & np.isnan(self.numbers)

    def rows(self, which: np.ndarray) -> int:
        return int(self.counts[which].sum())


def cells_of(column: pd.Series) -> Cells:
    codes, raw = pd.factorize(column, use_na_sentinel=False)
    clean = [str(cell).strip() for cell in np.asarray(raw, dtype=object)]  # NaN becomes `nan`, which is missing
    again, values = pd.factorize(np.array(["" if cell in MISSING else cell for cell in clean], dtype=object))
    return Cells(again[codes], np.asarray(values, dtype=object))


def infer(table: pd.DataFrame) -> list[Column]:
    """The type of every column of `table`, in its order; those left out are `ignore` and say why."""
    seen: dict[str, str] = {}
    columns = []
    for name in table.columns:
        cells = cells_of(table[name])
        first = seen.setdefault(artifacts.digest(cells.codes.tobytes(), "\0".join(cells.values)), name)
        column = _told(name, cells)
        if column.reason not in (CONSTANT, EMPTY) and first != name:
            column = Column(name, "ignore", f"{SAME} {first!r}")
        columns.append(column)
    return columns


def resolve(table: pd.DataFrame, given: Columns) -> list[Column]:
    """The given types, then the others inferred. Raises DataFault TAB-COLUMNS where `table` lacks a given column."""
    types: dict[str, ColumnType] = {name: kind for kind in get_args(ColumnType) for name in getattr(given, kind)}
    lacking = [name for name in types if name not in table.columns]
    if lacking:
        raise DataFault(
            *(
                Finding("TAB-COLUMNS", "a column of `columns:` is not in the table", f"columns: {types[name]}", repr(name),
                        nearest(name, table.columns))
                for name in lacking
            )
        )  # fmt: skip
    days = {name: dates.read(_shown(cells_of(table[name]))).day_first for name in given.date}
    known = [Column(name, types[name], "given", days.get(name, False)) for name in table.columns if name in types]
    return known + infer(table[[name for name in table.columns if name not in types]])


def read(table: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The typed columns of `table`, by its index, without those that are ignored; further columns play no part.

    number: float64, NaN where missing, infinite or no number. category, text: object, "" where missing. date:
    datetime64[us] in UTC, NaT where missing or unread. Raises DataFault TAB-COLUMNS where `table` lacks columns.
    """
    used = [column for column in columns if column.type != "ignore"]
    lacking = [column.name for column in used if column.name not in table.columns]
    if lacking:
        mend = f"add them, or list them by `columns: ignore:`; {nearest(lacking[0], table.columns)}"
        risk = "the model learned from them; without them it can't predict"
        what, where = "columns that the model was trained on are missing", "the table of rows to predict"
        raise DataFault(Finding("TAB-COLUMNS", what, where, examples(lacking, 12), mend, risk))
    typed = {column.name: _typed(cells_of(table[column.name]), column) for column in used}
    return pd.DataFrame(typed, index=table.index, columns=[column.name for column in used])


def notes(train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Sentences for a user on what is left out, taken as missing or new in test: TAB-CONST, -DUP, -COLUMNS, -INF, -MIXED,
    -DATE, -UNSEEN."""
    used = [column for column in columns if column.type != "ignore"]
    lacking = [column.name for column in used if column.name not in test.columns]
    said = list(_left_out(columns))
    if lacking:
        said.append(f"TAB-COLUMNS: test lacks columns of train: {examples(lacking)}; a model can't use them")
    pairs = [(c, cells_of(train[c.name]), cells_of(test[c.name])) for c in used if c.name not in lacking]
    for note in (_infinite, _mixed, _unread, _ambiguous, _unseen):
        some = [text for column, old, new in pairs if (text := note(column, old, new))]
        said += some[:SHOWN]
        if len(some) > SHOWN:
            said.append(f"{some[0].partition(':')[0]}: so it is in {len(some) - SHOWN} more columns")
    return said


def _told(name: str, cells: Cells) -> Column:
    """The first rule that applies."""
    for rule in (_nothing, _index, _number, _code, _date, _text):
        if found := rule(name, cells):
            return found
    told = int(cells.told.sum())
    own = told == cells.rows(cells.told)
    return Column(
        name, "category", (f"{told} values of its own, {CODE}" if own else f"{told} values") + _missing(cells)
    )


def _nothing(name: str, cells: Cells) -> Column | None:
    if not (cells.told & ~cells.infinite).any():
        return Column(name, "ignore", EMPTY)
    return Column(name, "ignore", CONSTANT) if len(cells.values) == 1 else None


def _index(name: str, cells: Cells) -> Column | None:
    """A column that only counts the rows: unnamed whole numbers, or 0, 1, 2, ... and 1, 2, 3, ... in the rows' order."""
    if len(cells.values) < len(cells.codes) or not np.isfinite(cells.numbers).all():
        return None
    rows = cells.numbers[cells.codes]
    if UNNAMED.fullmatch(name) and (rows % 1 == 0).all():
        return Column(name, "ignore", "an unnamed column that numbers the rows")
    counts = len(rows) >= COUNTED and rows[0] in (0, 1) and (np.diff(rows) == 1).all()
    return Column(name, "ignore", "it counts the rows") if counts else None


def _is_number(cells: Cells) -> bool:
    finite, told = np.isfinite(cells.numbers).sum(), (cells.told & ~cells.infinite).sum()
    return bool(finite and finite >= NUMBERS * told)


def _has_leading_zeros(cells: Cells) -> bool:
    return any(cell[0] == "0" and len(cell) > 1 and cell.isdecimal() for cell in cells.values if cell)


def _number(name: str, cells: Cells) -> Column | None:
    if not _is_number(cells) or _has_leading_zeros(cells):
        return None
    if NAMES.fullmatch(name) and not (cells.numbers % 1 > 0).any():
        return Column(name, "category", f"its name; {cells.told.sum()} values{_missing(cells)}")
    parts = {"infinite": cells.infinite, "of text": cells.words}
    said = [f"{cells.rows(which)} {what}" for what, which in parts.items() if which.any()]
    return Column(name, "number", ", ".join(["numbers", *said]) + _missing(cells))


def _code(name: str, cells: Cells) -> Column | None:
    if not _is_number(cells):
        return None
    return Column(name, "category", f"{cells.told.sum()} values with leading zeros, {CODE}{_missing(cells)}")


def _date(name: str, cells: Cells) -> Column | None:
    shown = _shown(cells)
    if not dates.likely(shown) or not (found := dates.read(shown)).nearly_all:
        return None
    several = len(found.forms) > 1
    reason = f"dates in {len(found.forms)} forms: {', '.join(found.forms)}" if several else f"dates like {shown[0]}"
    if found.ambiguous:
        reason += "; day or month first can't be told, read as month first"
    elif dates.SLASHED in found.forms:
        reason += f"; {'day' if found.day_first else 'month'} first"
    return Column(name, "date", reason + _missing(cells), found.day_first)


def _text(name: str, cells: Cells) -> Column | None:
    shown, rows = _shown(cells), cells.rows(cells.told)
    words = sum(len(cell.split()) for cell in shown) / len(shown)
    length = sum(map(len, shown)) / len(shown)
    if len(shown) < OWN * rows or not (words >= WORDS or (length > LENGTH and words > 1)):
        return None
    return Column(name, "text", f"{words:.0f} words a cell, {len(shown)} different{_missing(cells)}")


def _shown(cells: Cells) -> list[str]:
    """The distinct cells that say something, in the order of text."""
    return sorted(cells.values[cells.told])


def _missing(cells: Cells) -> str:
    missing = cells.rows(~cells.told)
    return f", {missing} missing" if missing else ""


def _typed(cells: Cells, column: Column) -> np.ndarray:
    """[rows] of the column's type."""
    if column.type == "number":
        return np.where(np.isfinite(cells.numbers), cells.numbers, np.nan)[cells.codes]
    if column.type == "date":
        return dates.read(list(cells.values), column.day_first).times[cells.codes]
    return cells.values[cells.codes]


def _left_out(columns: Sequence[Column]) -> Iterator[str]:
    constant = [c.name for c in columns if c.type == "ignore" and c.reason in (CONSTANT, EMPTY)]
    double = [f"{c.name} ({c.reason})" for c in columns if c.type == "ignore" and c.reason.startswith(SAME)]
    if constant:
        yield f"TAB-CONST: {len(constant)} columns have the same value in every row and are left out: {examples(constant)}"
    if double:
        yield f"TAB-DUP: {len(double)} columns repeat another one and are left out: {', '.join(double[:SHOWN])}"


def _counted(old: Cells, new: Cells, which: Callable[[Cells], np.ndarray]) -> tuple[str, str]:
    """`3 in train, 1 in test` and some of the cells; empty where there are none."""
    counts = [(cells.rows(which(cells)), part) for cells, part in ((old, "train"), (new, "test"))]
    cells = dict.fromkeys([*old.values[which(old)], *new.values[which(new)]])
    return ", ".join(f"{n} in {part}" for n, part in counts if n), examples(cells, 3)


def _infinite(column: Column, old: Cells, new: Cells) -> str:
    count, _ = _counted(old, new, lambda cells: cells.infinite)
    told = f"TAB-INF: column {column.name!r} has infinite values, taken as missing: {count}"
    return told if column.type == "number" and count else ""


def _mixed(column: Column, old: Cells, new: Cells) -> str:
    count, some = _counted(old, new, lambda cells: cells.words)
    told = f"TAB-MIXED: column {column.name!r} has cells that are no numbers, taken as missing: {count}: {some}"
    return told if column.type == "number" and count else ""


def _unread(column: Column, old: Cells, new: Cells) -> str:
    if column.type != "date":
        return ""
    count, some = _counted(old, new, lambda c: c.told & np.isnat(dates.read(list(c.values), column.day_first).times))
    told = f"TAB-DATE: column {column.name!r} has cells that are no dates, taken as missing: {count}: {some}"
    return told if count else ""


def _ambiguous(column: Column, old: Cells, new: Cells) -> str:
    if column.type != "date" or not dates.read([*_shown(old), *_shown(new)]).ambiguous:
        return ""
    shown = next(cell for cell in _shown(old) + _shown(new) if dates.read([cell]).ambiguous)
    order = "day" if column.day_first else "month"
    return f"TAB-DATE: column {column.name!r}: no cell tells day from month ({shown!r}); read as {order} first"


def _unseen(column: Column, old: Cells, new: Cells) -> str:
    """Where every row of train has a value of its own, new ones say nothing."""
    if column.type != "category" or old.told.sum() == old.rows(old.told):
        return ""
    strange = new.told & ~np.isin(new.values, old.values)
    if not strange.any():
        return ""
    share = new.rows(strange) / new.rows(new.told)
    return (
        f"TAB-UNSEEN: column {column.name!r}: {share:.1%} of test's cells have a value that train has not: "
        f"{examples(sorted(new.values[strange]), 3)}"
    )
