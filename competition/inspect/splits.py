"""How many folds, and what must not be torn apart by them: groups of like rows, and the order of time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from competition import dates, groups
from competition.errors import examples
from competition.inspect.guess import Guess, Tables, question
from competition.tables import label_sets, pattern, said

FOLDS, FEW_FOLDS, FEW_ROWS = 5, 3, 50
SHARED = 0.2  # share of the rows from which ids with the same start tell groups


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
    apart = [c for c in fits if not groups.in_both(tables.train, tables.test, c)]
    if apart:
        reason = f"{tables.train[apart[0]].nunique()} values in {len(tables.train)} rows; "
        reason += "rows that are alike should share a fold, else the score is too good"
        return apart[0], reason + (f"; {examples(apart[1:])} could be meant too" if apart[1:] else "")
    if fits:
        return None, f"the name of {examples(fits)} suggests groups, but most rows of test are of groups of train"
    told = _of_ids(tables, n)
    if told:
        return told
    why = f"the name of {examples(hints)} suggests groups, but its values are too few, stand once or are empty"
    return None, why if hints else ""


def _of_ids(tables: Tables, n: int) -> tuple[str, str] | None:
    """The template by which ids tell groups, and why: many rows share the start of their id, and train none with test."""
    for template in ("{group}_*", "{group}-*", "{group}.*"):
        fits = f"^{pattern(template).pattern}$"
        train, test = (
            table[tables.id].drop_duplicates().str.extract(fits)["group"] for table in (tables.train, tables.test)
        )
        if train.isna().any() or test.isna().any() or train.isin(test).any():
            continue
        share = train.duplicated(keep=False).mean()
        if min(share, test.duplicated(keep=False).mean()) >= SHARED and train.nunique() >= 2 * n and test.nunique() > 1:
            reason = f"{share:.0%} of the rows share the start of their id, none with a row of test"
            return template, f"{reason}; rows that are alike should share a fold, else the score is too good"
    return None


def _time(tables: Tables, n: int) -> tuple[str | None, str]:
    """The column by which test lies after train, and why; or what speaks against it."""
    note, left = "", {*tables.own, "path", "stem"}
    shared = [c for c in tables.train.columns if c in tables.test.columns and c not in left]
    for order in dates.orders(tables.train, tables.test, shared):
        if order.apart and order.different > n:
            return order.column, f"test begins at {order.start}, after train ends at {order.end}"
        if order.stretches and order.different > n:
            why = "no row of test has its neighbours in train, and none of a held-out block will"
            return order.column, f"test is {order.stretches} stretches of time of its own between train's: {why}"
        note = note or f"column {order.column!r} is a time, but test does not lie after train by it"
    lacking = [c for c in tables.own if dates.hold_dates(tables.train[c])]
    return None, note or (f"column {lacking[0]!r} is a time that test lacks" if lacking else "")
