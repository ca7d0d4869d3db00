"""The target columns of tables that have a row an id: who has a target, which classes there are, and truth as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.errors import DataFault, Finding, examples, nearest
from competition.keys import Competition
from competition.tables import label_sets, natural, said


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
    """Of every kind but boxes. Raises DataFault CLASS-UNSEEN, LABEL-KIND, LABEL-ONECLASS or LABEL-NAME."""
    table, notes = _with_target(train, config)
    classes = _classes(table, config)
    truth = _truth(table, config, classes)
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
    note = f"{(~known).sum()} training rows have no target and are left out: {examples(train.index[~known])}"
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
        raise DataFault(
            Finding(
                "CLASS-UNSEEN",
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
    if config.kind in ("multiclass", "ordinal") and len(classes) > 50 and len(classes) > 0.5 * len(train):
        raise DataFault(
            Finding(
                "LABEL-KIND",
                "nearly every row has a label of its own",
                where,
                f"{len(classes)} labels in {len(train)} rows",
                "kind: regression, or name the right column by `target:`",
            )
        )
    return classes


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
    """The target columns as numbers. Raises DataFault LABEL-KIND with the lines where a cell is none."""
    values = train[list(config.targets)].apply(pd.to_numeric, errors="coerce").astype(float)
    bad = ~np.isfinite(values.to_numpy())
    if config.kind != "regression":
        bad |= (values.to_numpy() < 0) | (values.to_numpy() > 1)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        mend = "mend those cells" if config.kind == "regression" else "labels in several columns are 0 or 1 (or 0..1)"
        raise DataFault(
            Finding(
                "LABEL-KIND",
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
