"""The target columns of tables that have a row an id: who has a target, which classes there are, and truth as numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.csvfile import ends_cut
from competition.errors import DataFault, Finding, examples, nearest
from competition.keys import Competition
from competition.tables import label_sets, natural, said

FAR = 1000  # times the distance between the quartiles


@dataclass(frozen=True)
class Target:
    """What is to be learnt: table, the training rows that have a target; truth by their ids (Rows.truth); columns, those
    of a prediction (Problem.columns). Of boxes only: sizes and test_sizes, of the pictures of train and test (Rows.sizes);
    digest, of the files beside train that hold boxes.
    """

    table: pd.DataFrame
    truth: pd.DataFrame
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    sizes: pd.DataFrame | None = None
    test_sizes: pd.DataFrame | None = None
    digest: str = ""


def read(train: pd.DataFrame, config: Competition) -> Target:
    """Of every kind but boxes. Raises DataFault CLASS-UNSEEN, CSV-CUT, CSV-DECIMAL or LABEL-*."""
    table, notes = _with_target(train, config)
    classes = _classes(table, config)
    if len(config.targets) == 1 and classes:
        notes += _cut(table[config.targets[0]], config)
    truth = _truth(table, config, classes)
    if config.kind == "regression":
        notes += _far_off(truth)
    columns = {"binary": classes[-1:], "regression": config.targets}.get(config.kind, classes)
    if "view" in columns:
        where, mend = f"{config.data}/{config.train}", "rename that label in train and sample"
        raise DataFault(Finding("LABEL-NAME", "a label has the name of our own column", where, "'view'", mend))
    return Target(table, truth, classes, columns, notes)


def _with_target(train: pd.DataFrame, config: Competition) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leaves out the rows without a target, and says so. An empty set of labels is a target."""
    if config.kind == "multilabel" and len(config.targets) == 1:
        return train, ()
    given = config.classes or ()
    known = pd.concat([said(train[c]) | train[c].isin(given) for c in config.targets], axis=1).all(axis=1)
    if known.all():
        return train, ()
    note = f"LABEL-MISSING: {(~known).sum()} training rows have no target and are left out: {examples(train.index[~known])}"
    return train[known], (note,)


def _classes(train: pd.DataFrame, config: Competition) -> tuple[str, ...]:
    where = f"{config.data}/{config.train}, column {', '.join(config.targets)}"
    if config.kind == "regression":
        return ()
    if len(config.targets) > 1 and config.kind in ("binary", "ordinal"):
        mend = "name one column, or kind: multilabel"
        raise DataFault(Finding("LABEL-KIND", f"a {config.kind} target is one column", where, "several columns", mend))
    if len(config.targets) > 1:
        return config.targets
    cells = train[config.targets[0]]
    found = (
        set(cells) if config.kind != "multilabel" else {x for row in label_sets(cells, config.separator) for x in row}
    )
    classes = config.classes or natural(found)
    unknown = sorted(found - set(classes))
    if unknown:
        numbers = all(re.fullmatch(r"-?\d+", label) for label in (*classes, *unknown))
        raise DataFault(
            Finding(
                "LABEL-RANGE" if numbers else "CLASS-UNSEEN",
                "a label is not among `classes:`",
                where,
                examples(unknown),
                nearest(unknown[0], classes),
            )
        )
    if len(found) < 2:
        raise DataFault(
            Finding(
                "LABEL-ONECLASS",
                "every training row has the same label",
                where,
                f"only {examples(found)}",
                "name the right column by `target:`",
                risk="there is nothing to learn",
            )
        )
    if config.kind == "binary" and len(classes) != 2:
        raise DataFault(
            Finding(
                "LABEL-KIND", "a binary target has more than two values", where, examples(classes), "kind: multiclass"
            )
        )
    if config.kind in ("multiclass", "ordinal") and config.classes is None:
        _check_labels(classes, len(train), config.separator, where)
    return classes


def _check_labels(classes: tuple[str, ...], rows: int, separator: str, where: str) -> None:
    """Raises DataFault LABEL-KIND where the labels are values, or sets of labels. Labels that `classes:` names are right."""
    fractions = [c for c in classes if re.fullmatch(r"[-+]?\d*\.\d+(e[-+]?\d+)?", c) and float(c) % 1]
    if (len(classes) > 50 and len(classes) > 0.5 * rows) or (len(fractions) > 10 and len(classes) > 0.5 * rows):
        what, found = "nearly every row has a label of its own", f"{len(classes)} labels in {rows} rows"
        found += f", {len(fractions)} of them numbers with fractions: {examples(fractions, 3)}" if fractions else ""
        mend = "kind: regression, or name the right column by `target:`"
        raise DataFault(Finding("LABEL-KIND", what, where, found, mend))
    known = set(classes)
    for mark in dict.fromkeys((separator, ",", ";", "|", " ")):
        sets = [c for c in classes if mark in c.strip() and known.issuperset(x.strip() for x in c.split(mark))]
        if sets:
            found, mend = (
                examples(sets),
                f"kind: multilabel, separator: {mark!r}; or list `classes:` where each is a class",
            )
            raise DataFault(Finding("LABEL-KIND", "cells hold several labels", where, found, mend))


def _cut(cells: pd.Series, config: Competition) -> tuple[str, ...]:
    """A note where the last line of train has no end and a label that no other row has. Raises DataFault CSV-CUT where
    that is the beginning of another label."""
    path = Path(config.data) / config.train
    last = cells.iloc[-1]
    if not path.is_file() or not ends_cut(path) or (cells == last).sum() > 1:
        return ()
    longer = sorted({c for c in set(cells) if c != last and c.startswith(last)})
    where, what = f"{path}, line {len(cells) + 1}", "the last line has no end, and a label of its own"
    found = f"{last!r}; " + (f"other rows have {examples(longer, 3)}" if longer else "no other row has it")
    if longer:
        mend = "fetch the file again; if it is whole, end its last line"
        risk = "rows are missing, and one would make a class of its own"
        raise DataFault(Finding("CSV-CUT", what, where, found, mend, risk=risk))
    return (f"CSV-CUT: {where}: {what}: {found}; is the file whole?",)


def _far_off(truth: pd.DataFrame) -> tuple[str, ...]:
    """A note for each target whose largest values lie far beyond the others."""
    notes = []
    for name, values in truth.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        far = (values - middle).abs() > FAR * max(high - low, np.finfo(float).tiny)
        if high > low and far.any():
            told = ", ".join(f"{values[i]:g}" for i in values.index[far][:3])
            notes.append(f"LABEL-SCALE: {far.sum()} values of {name!r} are over {FAR:,} times as far from the median "
                         f"({middle:g}) as half of the rows: {told} (ids {examples(values.index[far], 3)}); such "
                         "rows alone would decide the loss")  # fmt: skip
    return tuple(notes)


def _truth(train: pd.DataFrame, config: Competition, classes: tuple[str, ...]) -> pd.DataFrame:
    if len(config.targets) > 1 or config.kind == "regression":
        return _numbers(train, config)
    cells = train[config.targets[0]]
    if config.kind == "multilabel":
        rows = label_sets(cells, config.separator)
        truth = np.array([[label in row for label in classes] for row in map(set, rows)], dtype=float)
        return pd.DataFrame(truth, index=train.index, columns=list(classes))
    wanted = classes[-1:] if config.kind == "binary" else classes
    return pd.DataFrame({c: (cells == c).astype(float) for c in wanted}, index=train.index)


def _numbers(train: pd.DataFrame, config: Competition) -> pd.DataFrame:
    """The target columns as numbers. Raises DataFault LABEL-KIND, CSV-DECIMAL, LABEL-INF or LABEL-RANGE with the row where
    a cell is none."""
    values = train[list(config.targets)].apply(pd.to_numeric, errors="coerce").astype(float)
    bad = ~np.isfinite(values.to_numpy())
    commas = train[list(config.targets)].apply(lambda cells: cells.str.fullmatch(r"[-+]?\d+,\d+")).to_numpy(bool)
    if config.kind != "regression":
        bad |= (values.to_numpy() < 0) | (values.to_numpy() > 1)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        code = "LABEL-KIND" if np.isnan(values.iloc[row, column]) else "LABEL-RANGE"
        if commas[bad].all():
            code = "CSV-DECIMAL"
        elif np.isinf(values.iloc[row, column]):
            code = "LABEL-INF"
        mend = "mend those cells" if config.kind == "regression" else "labels in several columns are 0 or 1 (or 0..1)"
        mend = "write numbers with a decimal point" if code == "CSV-DECIMAL" else mend
        raise DataFault(
            Finding(
                code,
                f"a {config.kind} target is not a number in range",
                f"{config.data}/{config.train}, id {train.index[row]!r}, column {values.columns[column]!r}",
                f"{train[values.columns[column]].iloc[row]!r}; {int(bad.any(axis=1).sum())} such rows",
                mend,
            )
        )
    if config.kind == "multiclass" and (abs(values.sum(axis=1) - 1) > 1e-6).any():
        odd = values.index[abs(values.sum(axis=1) - 1) > 1e-6]
        found = f"{len(odd)} rows, ids {examples(odd)}"
        where = f"{config.data}/{config.train}, columns {', '.join(values.columns)}"
        what, mend = "one-hot rows do not sum to 1", "kind: multilabel, or mend those rows"
        raise DataFault(Finding("LABEL-KIND", what, where, found, mend))
    constant = [c for c in values.columns if values[c].nunique() < 2]
    if constant and (config.kind == "regression" or len(constant) == len(values.columns)):
        raise DataFault(
            Finding(
                "LABEL-ONECLASS",
                "a target has the same value in every row",
                f"{config.data}/{config.train}",
                examples(constant),
                "name the right columns by `target:`",
                risk="there is nothing to learn",
            )
        )
    return values
