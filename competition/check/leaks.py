"""Notes on tables: cells, columns that give the target away, and rows that repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from competition.check.notes import Note, about, of_sentence
from competition.data import Data
from competition.keys import Kind
from competition.likeness import FEW, FOLDS, values
from competition.split import labels_of, truth_of
from competition.tabular import columns as typed
from competition.tabular.columns import Column

ROWS = 20_000  # that leaks and drift are measured on
LEAK = 0.99  # AUC, or rank correlation, of one column alone
FEW_CLASS = 5  # rows of a class, below which a perfect column is chance, as of FEW rows in all
BINS = 100  # that a number is cut into
CLASSES = 10  # the commonest, that a column is tried on


def notes(data: Data, columns: Sequence[Column], fold: pd.Series | None) -> Iterator[Note]:
    """TAB-*: cells, leaks and, where rows have no pictures, copies. columns: of train, as inspect.columns has them. fold:
    of each training row, by id, where there is a fold table."""
    train, test = data.train.table, data.test.table
    yield from map(of_sentence, typed.notes(train, test, columns))
    more = [name for name in test.columns if name not in train.columns]
    if more:
        yield about("info", "TAB-COLUMNS", "test has columns that train lacks, which play no part", more)
    used = [column for column in columns if column.type != "ignore"]
    if used:
        yield from leaking(typed.read(some(train, ROWS), used), used, data)
        if data.train.pictures is None:
            yield from copies(data, [column.name for column in used], fold)


def leaking(frame: pd.DataFrame, columns: Sequence[Column], data: Data) -> Iterator[Note]:
    """TAB-LEAK for each column that alone tells the target. frame: typed training rows."""
    of = "rank correlation" if data.problem.kind == "regression" else "AUC"
    for name, strength in telling(frame, columns, data).items():
        if strength > LEAK:
            mend = "make sure that it is known when test is predicted, or list it under columns: ignore:"
            what = f"column {name!r} alone tells the target ({of} {strength:.4f})"
            yield Note("warn", "TAB-LEAK", what, mend=mend)


def telling(frame: pd.DataFrame, columns: Sequence[Column], data: Data) -> dict[str, float]:
    """How well each column alone tells the target: AUC, mean over classes, or rank correlation. frame: typed rows."""
    rows, kind = data.train.take(frame.index), data.problem.kind
    truth = truth_of(rows) if kind == "regression" else labels_of(rows, kind)
    if kind != "regression":  # of two classes one says it all
        truth = truth[truth.sum().nlargest(1 if kind == "binary" else CLASSES).index]
    told = {}
    for column in columns:
        cells = values(frame[column.name])
        known = ~np.isnan(cells)
        names = column.type in ("category", "text")
        tried = [_strength(cells[known], t, names, kind) for t in truth[known].to_numpy(dtype="float64").T]
        found = [strength for strength in tried if strength]  # without classes of too few rows
        best = max(found, default=0) if kind in ("multilabel", "regression") else float(np.mean(found or [0]))
        told[column.name] = best
    return told


def copies(data: Data, names: Sequence[str], fold: pd.Series | None) -> Iterator[Note]:
    """TAB-COPY for rows that are the same in all these columns: within train, with other targets, and in test."""
    both = pd.concat([data.train.table[list(names)], data.test.table[list(names)]])
    same = both.groupby(list(names), sort=False, dropna=False).ngroup()
    train, test = same.iloc[: len(data.train)], same.iloc[len(data.train) :]
    twice = train[train.duplicated(keep=False)]
    if len(twice):
        what, mend = "training rows are copies of one another", "folds: {group: auto} keeps them in one fold"
        if fold is not None and (fold[twice.index].groupby(twice).nunique() == 1).all():
            yield about("info", "TAB-COPY", f"{what}; none crosses folds", twice.index, "nothing")
        else:
            yield about("warn", "TAB-COPY", what, twice.index, mend)
        targets = data.train.table.loc[twice.index, list(data.config.targets)].agg("\0".join, axis=1)
        several = targets.groupby(twice).nunique()
        odd = twice[twice.isin(several.index[several > 1])]
        if len(odd):
            yield about("warn", "TAB-COPY", "copies have another target", odd.index, "no model can tell them apart")
    shared = test[test.isin(set(train))]
    if len(shared):
        yield about(
            "warn", "TAB-COPY", "test rows stand in train too", shared.index, "nothing; their targets are known"
        )


def some(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    return table if len(table) <= rows else table.sample(rows, random_state=0)


def _bins(values: np.ndarray) -> np.ndarray:
    """[rows] whole numbers: bins of as many rows, equal values in one."""
    bins = min(BINS, max(1, len(values) // 20))
    return (pd.Series(values).rank().to_numpy() * bins / (len(values) + 1)).astype("int64")


def _strength(values: np.ndarray, target: np.ndarray, names: bool, kind: Kind) -> float:
    """How well one column ranks one target: by its values (numbers) and by the mean target of like rows; at most 1."""
    if len(values) < FEW:
        return 0.0
    score = _correlation if kind == "regression" else _auc
    alike = score(_held_out(values.astype("int64") if names else _bins(values), target), target)
    return alike if names else max(alike, score(values, target), score(-values, target))


def _auc(values: np.ndarray, target: np.ndarray) -> float:
    """Of high values for 1, by ranks (Mann and Whitney 1947): scikit-learn's checks of arguments take 10 times as long here.
    0 where a class has too few rows to tell."""
    from scipy.stats import rankdata

    ones, zeros = int(target.sum()), int(len(target) - target.sum())
    if min(ones, zeros) < FEW_CLASS:
        return 0.0
    return float((rankdata(values)[target == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _correlation(values: np.ndarray, target: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(values, target).statistic) if np.ptp(values) and np.ptp(target) else 0.0


def _held_out(codes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[rows] the mean of `target` over rows of the same code in the other folds; over all their rows for a new code."""
    fold = np.random.RandomState(0).permutation(len(codes)) % FOLDS  # rows may come class by class, or in turn
    told = np.empty(len(codes))
    for k in range(FOLDS):
        out = fold == k
        count = np.bincount(codes[~out], minlength=codes.max() + 1)
        total = np.bincount(codes[~out], target[~out], minlength=codes.max() + 1)
        told[out] = np.where(count > 0, total / np.maximum(count, 1), target[~out].mean())[codes[out]]
    return told
