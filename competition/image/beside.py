"""Table columns beside the pictures: which they are, checked; as features fitted on a fold's training rows.

The features are those of the tabular task for networks (tabular/features.py, form dense). They hang on the fold's training
rows alone, so a resume makes them anew; what is predicted reads them from the fold's folder.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition import artifacts
from competition.data import describing, load
from competition.errors import DataFault, Finding, nearest
from competition.image.task import ImageTask
from competition.tabular import columns
from competition.task import Fold, Problem, Rows

if TYPE_CHECKING:
    from competition.tabular.features import Features  # scikit-learn: 2.4 s of each process that has no columns

FILE = "model-columns.skops"
LEVELS, TEXT_DIMS = 32, 16  # as the tabular task has them


@dataclass(frozen=True)
class Beside:
    """features: fitted on the fold's training rows. cells: [training rows, features] float32. note: what they hang on."""

    features: Features
    cells: np.ndarray
    note: str


def check(task: ImageTask, problem: Problem, rows: Rows) -> None:
    """Raises DataFault TAB-COLUMNS, TAB-CONST, with every column of `columns:` that nothing can be learned from."""
    if task.columns is None:
        return
    problems = list(_unfit(task, problem, rows.table))
    if problems:
        raise DataFault(*problems)
    if all(c.type == "ignore" for c in columns.resolve(rows.table[list(task.reads(problem))], task.types)):
        where, what = f"{problem.competition}: train and test", "there is no column to learn from beside the pictures"
        found = "no column but the id, the targets and what paths are made of says anything in both"
        raise DataFault(Finding("TAB-COLUMNS", what, where, found, "leave `columns:` out"))


def _unfit(task: ImageTask, problem: Problem, table: pd.DataFrame) -> Iterator[Finding]:
    train, where = load(problem.competition).train.table, "key columns"
    for name in task.reads(problem) if task.columns != "all" else ():
        if name in problem.inputs:
            told = columns.infer(table[[name]])[0].reason
            if told in (columns.CONSTANT, columns.EMPTY):
                found, mend = f"{name!r}: {told}", "leave it out of `columns:`"
                yield Finding("TAB-CONST", "a column of `columns:` says nothing", where, found, mend)
            continue
        found, mend = f"{name!r} is not in train", nearest(name, problem.inputs)
        if name in problem.targets:
            found, mend = f"{name!r} is what is predicted", "leave it out of `columns:`"
        elif name in columns_of_paths(problem):
            found, mend = f"{name!r} names the row or its picture", "leave it out of `columns:`"
        elif name in train:
            found, mend = f"{name!r} is in train, and test lacks it", "leave it out of `columns:`"
        yield Finding("TAB-COLUMNS", "a column of `columns:` can't be learned from", where, found, mend)


def columns_of_paths(problem: Problem) -> set[str]:
    """The id, and what the paths of pictures are made of."""
    data = load(problem.competition)
    return set(data.train.table) - set(describing(data.train.table, data.config)) - set(problem.targets)


def fit(task: ImageTask, fold: Fold) -> Beside:
    """From the fold's training rows; the same for every run of these columns, so that their weights may be averaged."""
    from competition.tabular import target
    from competition.tabular.features import Features

    train = fold.train
    assert train.truth is not None
    table = train.table[list(task.reads(fold.problem))]
    y = target.of(fold.problem, train.truth).encode(train.truth)
    features = Features(columns.resolve(table, task.types), "dense", LEVELS, TEXT_DIMS)
    cells = features.fit_transform(table, y, seed=0).values
    types = json.dumps([(c.name, c.type, c.day_first) for c in features.columns])
    return Beside(features, cells, artifacts.digest(types, *train.ids, y.tobytes()))


def to_bytes(beside: Beside) -> bytes:
    from competition.tabular import skopsfile

    return skopsfile.to_bytes(beside.features)


def cells_of(folder: Path, rows: Rows) -> np.ndarray:
    """[rows, features] float32, by the features in the fold's folder."""
    path = folder / FILE
    return _features(path, path.stat().st_mtime_ns).transform(rows.table).values


@functools.lru_cache(maxsize=1)
def _features(path: Path, _time: int) -> Features:
    from competition.tabular import skopsfile

    return skopsfile.load(path)
