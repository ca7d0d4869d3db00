"""How many folds, and what must not be torn apart by them: groups of like rows, and the order of time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from competition import dates, groups
from competition.errors import examples
from competition.inspect.guess import Guess, Tables, question
from competition.tables import label_sets, said

FOLDS, FEW_FOLDS, FEW_ROWS = 5, 3, 50


def count_labels(tables: Tables, targets: list[str], kind: str, separator: str) -> pd.Series:
    """Label -> rows of train; empty for regression."""
    if kind == "regression":
        return pd.Series(dtype=int)
    if len(targets) > 1:
        return tables.train[targets].apply(pd.to_numeric, errors="coerce").ge(0.5).sum()
    cells = tables.train[targets[0]]
    labels = label_sets(cells, separator).explode() if kind == "multilabel" else cells[said(cells)]
    return labels.value_counts()


def find_folds(tables: Tables, targets: list[str], labels: pd.Series, given: dict[str, Any]) -> list[Guess]:
    """The keys of `folds`. What is given decides about the others: a time order allows no groups."""
    count = _count(len(tables.train), labels)
    n = given.get("folds.n", count.value)
    ordered = given.get("folds.scheme", "time") == "time" and not given.keys() & {"folds.group", "folds.repeats"}
    time, note = _time(tables, n) if ordered and "folds.time" not in given else (given.get("folds.time"), "")
    if given.get("folds.scheme") == "time" and not time:
        raise question("folds.time", "no column of train and test tells the order of time", tables.names["train"],
                       f"columns {examples(tables.train.columns, 12)}", tables.train.columns[-1])  # fmt: skip
    if time:
        reason = note or "a column of time is given"
        return [count, Guess("folds.scheme", "time", reason, False), Guess("folds.time", time, reason, False)]
    spread = "every fold has its share of each " + ("label" if len(labels) else "range of values")
    group, reason = _group(tables, targets, n)
    return [
        count,
        Guess("folds.scheme", "stratified", spread + (f"; {note}" if note else ""), sure=not note),
        *([Guess("folds.group", group, reason, sure=False)] if reason else []),
    ]


def _count(rows: int, labels: pd.Series) -> Guess:
    if rows < FEW_ROWS:
        return Guess("folds.n", FEW_FOLDS, f"few, because train has only {rows} rows")
    if len(labels) and labels.min() < FOLDS:
        return Guess("folds.n", FEW_FOLDS, f"few, because label {labels.idxmin()!r} has only {labels.min()} rows")
    return Guess("folds.n", FOLDS, f"usual for {rows} rows")


def _group(tables: Tables, targets: list[str], n: int) -> tuple[str | None, str]:
    """The column whose equal values should share a fold, and why; (None, "") where no name suggests one."""
    skip = (tables.id, *targets, "path", "stem")
    hints = groups.named([c for c in tables.train.columns if c not in skip])
    fits = [c for c in hints if groups.repeats(tables.train[c], n)]
    if fits:
        reason = f"{tables.train[fits[0]].nunique()} values in {len(tables.train)} rows; "
        reason += "rows that are alike should share a fold, else the score is too good"
        return fits[0], reason + (f"; {examples(fits[1:])} could be meant too" if fits[1:] else "")
    why = f"the name of {examples(hints)} suggests groups, but its values are too few, stand once or are empty"
    return None, why if hints else ""


def _time(tables: Tables, n: int) -> tuple[str | None, str]:
    """The column by which test lies after train, and why; or what speaks against it."""
    note = ""
    shared = [c for c in tables.train.columns if c in tables.test.columns and c != tables.id and c not in tables.own]
    for order in dates.orders(tables.train, tables.test, shared):
        if order.apart and order.different > n:
            return order.column, f"test begins at {order.start}, after train ends at {order.end}"
        note = note or f"column {order.column!r} is a time, but test does not lie after train by it"
    lacking = [c for c in tables.own if dates.hold_dates(tables.train[c])]
    return None, note or (f"column {lacking[0]!r} is a time that test lacks" if lacking else "")
