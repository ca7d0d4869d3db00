"""Columns of a run that come from other models: what runs say of a row out of fold, what a backbone sees in its picture.

As stacking has it (Wolpert 1992): a training row has what models say that never saw it, the run's out-of-fold prediction. A
test row has for fold k what the run's models of fold k say of it: one model's word, like a training row's, and of no label
of fold k. A row that no fold holds out has empty cells. Probabilities become log odds, of several classes logarithms.
An embedding is of weights that never saw a label of this competition, its main directions found on the fold's training rows.

The columns are kept in the run's folder from its first training on, so that its folds and seeds learn from the same ones
whatever becomes of the other runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, embeddings, folds, predictions
from competition.config import Run
from competition.data import Data, load
from competition.keys import Embeddings
from competition.kinds import CLASSES, COLUMNS
from competition.runs import Opened
from competition.split import ALL, Split
from competition.task import Problem, Rows

FLOOR = 1e-6  # of a probability whose logarithm is taken
PARTS = ("train", "test")


def given(run: Run) -> bool:
    """Whether the run has such columns."""
    return bool(parents(run)) or spec_of(run) is not None


def parents(run: Run) -> tuple[str, ...]:
    """The runs whose predictions are columns of this one."""
    return getattr(run.task, "runs", ())


def spec_of(run: Run) -> Embeddings | None:
    return getattr(run.task, "embeddings", None)


def seen(run: Run, split: Split) -> Data:
    """The competition as a fold of the run sees it: train and test with these columns, `problem.inputs` with their names."""
    data = load(run.competition)
    if not given(run):
        return data
    train, test = tables(run, data, split)
    problem = replace(data.problem, inputs=(*data.problem.inputs, *train))
    return replace(data, problem=problem, train=_wider(data.train, train), test=_wider(data.test, test))


def tables(run: Run, data: Data, split: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The columns of all training and of all test rows, numbers by id: as they are kept, before that as they are now."""
    split = replace(split, seed=0)
    path = _folder(run, data) / f"{split.name}.parquet"
    both = artifacts.read_table(path) if path.exists() else _made(run, data, split)
    train, test = (both.loc[part] for part in PARTS)
    return train, test


def kept(at: Opened) -> bool:
    """Whether the run has its columns, those of all rows written last."""
    return (_folder(at.run, at.data) / f"{Split(ALL).name}.parquet").exists()


def keep(at: Opened) -> None:
    """Writes the columns that the run will learn from, unless they are there. Raises what `check` raises, Stopped."""
    if not given(at.run) or kept(at):
        return
    check(at)
    for split in (*at.table.splits, Split(ALL)):
        artifacts.write_table(_folder(at.run, at.data) / f"{split.name}.parquet", _made(at.run, at.data, split))


def known(at: Opened) -> bool:
    """Whether all that the columns are made of is there."""
    return kept(at) or all(predictions.of_run(name, "test").exists() for name in parents(at.run))


def check(at: Opened) -> None:
    """Raises ConfigFault RUN-PARTIAL, ENS-FOLDS where another run's predictions can't be had, and what `embeddings.check`
    raises. Keeps nothing."""
    if kept(at):
        return
    predictions.usable(at, parents(at.run), at.table.splits, ["test"])
    spec = spec_of(at.run)
    if spec is not None:
        embeddings.check(spec, at.data, at.table)


def content(at: Opened) -> str:
    """A hash of the columns that are kept."""
    return artifacts.digest(*(artifacts.file_digest(file) for file in sorted(_files(at.run, at.data))))


def copy(source: Run, at: Opened) -> None:
    """The columns that one run has kept become those of another of the same keys."""
    for file in sorted(_files(source, at.data), key=lambda f: f.stem == Split(ALL).name):
        artifacts.write_bytes(_folder(at.run, at.data) / file.name, file.read_bytes())


def _files(run: Run, data: Data) -> Iterable[Path]:
    return _folder(run, data).glob("*.parquet")


def _folder(run: Run, data: Data) -> Path:
    """Of what the columns are made of, data and fold table; the models of a preset and the trials of a search share it."""
    owner = "/".join(run.name.split("/")[:2]).partition("+")[0]
    spec = spec_of(run)
    made = json.dumps([parents(run), spec and spec.model_dump()])
    return artifacts.run_folder(owner) / "columns" / artifacts.digest(made, data.hash, folds.load(data).hash)[:8]


def _made(run: Run, data: Data, split: Split) -> pd.DataFrame:
    """[(train or test, id), columns]"""
    parts = [_said(name, data, split) for name in parents(run)]
    spec = spec_of(run)
    if spec is not None:
        fitted = data.train.ids if split.fold == ALL else folds.load(data).ids(split)[0]
        parts.append(embeddings.columns(spec, data, fitted, run.task.device))
    return pd.concat(parts, axis=1)


def _said(name: str, data: Data, split: Split) -> pd.DataFrame:
    oof = artifacts.read_table(predictions.of_run(name, "oof")).reindex(data.train.ids)
    test = predictions.said(name, data, folds.load(data), split).loc[data.test.ids]
    both = pd.concat(dict(zip(PARTS, (oof, test), strict=True)))[list(data.problem.columns)]
    return logarithms(both, data.problem).add_prefix(f"{name}: ")


def logarithms(said: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Log odds of probabilities, of classes that exclude each other their logarithms; values stay."""
    if problem.kind in CLASSES:
        return said.clip(lower=FLOOR).map(np.log)
    return said.clip(FLOOR, 1 - FLOOR).map(lambda p: np.log(p / (1 - p))) if problem.kind in COLUMNS else said


def _wider(rows: Rows, more: pd.DataFrame) -> Rows:
    text = more.astype(str).where(more.notna(), "")
    return replace(rows, table=rows.table.join(text))
