"""Brings an outside model's predictions in as a run: `make import FILE=oof.csv,test.csv RUN=leaves/autogluon`.

Both files have the id and the prediction columns of DESIGN 5 (multiclass, ordinal: a probability a class; binary: that
of the positive class, in a column named by it, by the target, or the only one; multilabel: one a label; regression: a
value a target; boxes: one row a box, boxes/bringing.py). The first may say in a column `fold` which fold of
folds/<name>.csv each row was held out in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, board, config, kinds, runs
from competition.boxes import bringing
from competition.config import Run
from competition.data import Data
from competition.errors import ConfigFault, DataFault, Finding, examples, nearest
from competition.folds import FoldTable
from competition.hostread import ROUNDED, TOLERANCE
from competition.imported import PARTS, ImportedTask, source
from competition.runs import Opened
from competition.scoring import scored_folds
from competition.tables import read_csv
from competition.task import Problem, pick

FOLD = "fold"
RISK = "a score or a blend would be of wrong predictions; nothing was written"


@dataclass(frozen=True)
class Brought:
    """tables: `oof` and `test`, [rows, problem.columns] by id. notes: sentences that a user should see."""

    task: ImportedTask
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """cells: text by id. columns: prediction column -> the file's. wanted: the ids that it must have."""

    path: Path
    cells: pd.DataFrame
    columns: dict[str, str]
    wanted: pd.Index

    @property
    def numbers(self) -> pd.DataFrame:
        cells = self.cells.loc[self.wanted, list(self.columns.values())].set_axis(list(self.columns), axis=1)
        return cells.apply(pd.to_numeric, errors="coerce").astype(float)


def read(data: Data, table: FoldTable, files: str) -> Brought:
    """The two files, checked. files: the paths with a comma between them.

    Raises ConfigFault CFG-VALUE, and DataFault with all that is wrong: CSV-*, IMPORT-COLUMNS, -IDS, -NONFINITE, -PROB,
    -FOLDS, and of boxes -LABEL and -BOX.
    """
    paths = [Path(path.strip()) for path in files.split(",")]
    if len(paths) != 2:
        what, mend = "the out-of-fold and the test predictions are two files", "FILE=oof.csv,test.csv"
        raise ConfigFault(Finding("CFG-VALUE", what, f"FILE={files}", f"{len(paths)} paths", mend))
    if data.problem.kind == "boxes":
        return _read_boxes(data, table, paths)
    wanted = (scored_folds(table).index, data.test.ids)
    oof, test = (_open(data, path, ids) for path, ids in zip(paths, wanted, strict=True))
    problems = [*_bad_ids(oof, table.table.index), *_bad_ids(test, data.test.ids)]
    problems = problems or [*_bad_numbers(oof, data), *_bad_numbers(test, data), *_other_folds(oof, table, data)]
    if problems:
        raise DataFault(*problems)
    task = ImportedTask(oof=artifacts.file_digest(oof.path), test=artifacts.file_digest(test.path))
    tables = {part: _sound(file.numbers, data.problem) for part, file in zip(PARTS, (oof, test), strict=True)}
    return Brought(task, tables, (*_notes(oof, data), *_notes(test, data), *_unchecked(oof, data)))


def _read_boxes(data: Data, table: FoldTable, paths: list[Path]) -> Brought:
    (oof, said), (test, _) = (bringing.read(data, path) for path in paths)
    fold, classes = scored_folds(table), data.problem.classes
    problems = [
        *bringing.faults(paths[0], oof, table.table.index, classes),
        *bringing.faults(paths[1], test, data.test.ids, classes),
    ]
    if said is not None:
        said = said[said.index.isin(fold.index)]  # the others are always in training, or unknown
        wrong = said.index[pd.to_numeric(said, errors="coerce") != fold.loc[said.index]].unique()
        problems += [_other_split(paths[0], wrong, fold, data)] if len(wrong) else []
    if problems:
        raise DataFault(*problems)
    notes = (_no_folds(paths[0], data),) if said is None else ()
    task = ImportedTask(oof=artifacts.file_digest(paths[0]), test=artifacts.file_digest(paths[1]))
    return Brought(task, {"oof": pick(oof, fold.index), "test": pick(test, data.test.ids)}, notes)


def declare(name: str, task: ImportedTask) -> Run:
    """The run, its file written. Raises ConfigFault RUN-DIFFERS where the name is taken by another run or other files."""
    config.check_name(name)
    path, record = artifacts.run_yaml(name), runs.recorded(name)
    there = [config.load_run(name)] if path.exists() else []
    there += [config.make_run(name, record["config"])] if record else []
    other = [run for run in there if run.task != task]
    if other or "+" in name:
        raise ConfigFault(_taken(name, other))
    if not path.exists():
        head = f"# Predictions from elsewhere: make import FILE=oof.csv,test.csv RUN={name}\n"
        digests = f'oof: "{task.oof}"\ntest: "{task.test}"\n'
        artifacts.write_text(path, f"{head}task: imported\n{digests}jobs: 1   # there is nothing to compute\n")
        board.say(f"wrote {path}")
    return config.load_run(name)


def keep(at: Opened, brought: Brought) -> None:
    """Copies the predictions into the run's folder, unless a fold stands on them already."""
    for part, table in brought.tables.items():
        path = source(at.folder, part)
        if runs.recorded(at.run.name) is None or not path.exists():
            artifacts.write_table(path, table)


def _open(data: Data, path: Path, wanted: pd.Index) -> _File:
    """Raises DataFault IMPORT-COLUMNS where the id or a prediction is missing."""
    cells = read_csv(path)
    names = [column for column in (data.config.id, "id", data.sample_id) if column in cells]
    if not names:
        mend = f"add the column {data.config.id!r}"
        raise DataFault(_finding("COLUMNS", "the id is missing", path, examples(cells.columns, 12), mend))
    problem, ids = data.problem, cells.pop(names[0]).str.strip()
    offered = [column for column in cells if column != FOLD or FOLD in problem.columns]
    return _File(path, cells.set_index(ids.rename("id")), _columns(problem, offered, path), wanted)


def _columns(problem: Problem, offered: list[str], path: Path) -> dict[str, str]:
    """Prediction column -> the file's column. A single column may have the target's name, or any but another class's."""
    missing = [column for column in problem.columns if column not in offered]
    if missing and len(problem.columns) == 1:
        near = [target for target in problem.targets if target in offered]
        near += offered if len(offered) == 1 and offered[0] not in problem.classes else []
        if near:
            return {problem.columns[0]: near[0]}
    if missing:
        found = f"missing: {examples(missing)}; the file has {examples(offered, 12) or 'no other column'}"
        mend = f"one column for each of {examples(problem.columns)}; {nearest(missing[0], offered)}"
        raise DataFault(_finding("COLUMNS", "columns of predictions are missing", path, found, mend))
    return {column: column for column in problem.columns}


def _bad_ids(file: _File, known: pd.Index) -> Iterator[Finding]:
    ids = file.cells.index
    lists = {"missing": file.wanted.difference(ids), "unknown": ids.difference(known).unique()}
    lists["twice"] = ids[ids.duplicated()].unique()
    found = "; ".join(f"{len(some)} {what}: {examples(some)}" for what, some in lists.items() if len(some))
    if found:
        mend = "one row for each id: FILE=<training rows, held out>,<test rows>; read ids as text"
        yield _finding("IDS", "the ids are not the competition's", file.path, found, mend)


def _bad_numbers(file: _File, data: Data) -> Iterator[Finding]:
    numbers = file.numbers
    bad = numbers.index[np.flatnonzero(~np.isfinite(numbers.to_numpy()).all(axis=1))]
    if len(bad):
        found = f"{len(bad)} rows: {examples(bad)}"
        mend = "give probabilities, not names of classes" if data.problem.classes else "every cell must hold a number"
        yield _finding("NONFINITE", "cells are empty, infinite or no numbers", file.path, found, mend)
    if data.problem.kind == "regression":
        return
    bad = numbers.index[((numbers < -TOLERANCE) | (numbers > 1 + TOLERANCE)).any(axis=1)]
    if len(bad):
        found, mend = f"{len(bad)} rows: {examples(bad)}", "write probabilities (predict_proba), not scores or logits"
        yield _finding("PROB", "probabilities outside 0..1", file.path, found, mend)
    odd = _off(numbers, data.problem, ROUNDED)
    if len(odd):
        found = f"{len(odd)} rows: {examples(f'{i}: {s:.6g}' for i, s in odd.items())}"
        yield _finding("PROB", "rows do not sum to 1", file.path, found, "divide each row by its sum")


def _off(numbers: pd.DataFrame, problem: Problem, by: float) -> pd.Series:
    """Sums of the rows whose probabilities of exclusive classes are further than `by` from 1."""
    sums = numbers.sum(axis=1, skipna=False)
    return sums[(abs(sums - 1) > by) & (problem.kind in kinds.CLASSES)]


def _has_fold(file: _File, data: Data) -> bool:
    return FOLD in file.cells and FOLD not in data.problem.columns


def _other_folds(oof: _File, table: FoldTable, data: Data) -> Iterator[Finding]:
    if not _has_fold(oof, data):
        return
    fold = scored_folds(table)
    wrong = fold.index[pd.to_numeric(oof.cells[FOLD], errors="coerce").loc[fold.index] != fold]
    if len(wrong):
        yield _other_split(oof.path, wrong, fold, data)


def _other_split(path: Path, wrong: pd.Index, fold: pd.Series, data: Data) -> Finding:
    found = f"{len(wrong)} of {len(fold)} rows: {examples(wrong)}"
    mend = f"fit anew, a model for each fold of {artifacts.fold_table(data.name)} on the rows of the others"
    risk = "rows were predicted by models that saw other rows' folds: weights and scores of blends would be too good"
    return _finding("FOLDS", "the predictions are of another split", path, found, mend, risk)


def _sound(numbers: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Rounding taken away: within 0..1, and rows of classes that sum to 1."""
    if problem.kind == "regression":
        return numbers
    numbers, odd = numbers.clip(0, 1), _off(numbers, problem, TOLERANCE).index
    numbers.loc[odd] = numbers.loc[odd].div(numbers.loc[odd].sum(axis=1), axis=0)
    return numbers


def _notes(file: _File, data: Data) -> Iterator[str]:
    odd = _off(file.numbers, data.problem, TOLERANCE)
    if len(odd):
        sums = f"{odd.min():.6g}..{odd.max():.6g}"
        yield f"IMPORT-PROB: {len(odd)} rows of {file.path} sum to {sums}, not to 1, and were divided by that"
    more = len(file.cells) - len(file.wanted)
    if more:
        yield f"IMPORT-IDS: {more} rows of {file.path} are always in training, never scored, and were left out"
    other = [c for c in file.cells if c not in (*file.columns.values(), *data.problem.classes, FOLD)]
    if other:
        yield f"IMPORT-COLUMNS: columns of {file.path} that play no part: {examples(other)}"


def _unchecked(oof: _File, data: Data) -> Iterator[str]:
    if not _has_fold(oof, data):
        yield _no_folds(oof.path, data)


def _no_folds(path: Path, data: Data) -> str:
    return (
        f"IMPORT-FOLDS: WARNING: {path} has no column `{FOLD}`, so it can't be checked that no row was predicted by "
        f"a model that saw rows of its fold in {artifacts.fold_table(data.name)}; if the split was another one, "
        "scores of blends with this run are too good"
    )


def _taken(name: str, other: list[Run]) -> Finding:
    again = bool(other) and isinstance(other[0].task, ImportedTask)
    return Finding(
        code="RUN-DIFFERS",
        what="the run was imported from other files" if again else "the name is that of another run",
        where=f"RUN={name}, {artifacts.run_yaml(name)}, {artifacts.run_folder(name)}",
        found="other digests" if again else "another task or a blend" if other else "`+` names a model of a preset",
        risk="its results would be of two models; nothing was changed",
        mend=f"RUN={name.partition('/')[0]}/<new name>, or remove that file and folder",
    )


def _finding(code: str, what: str, path: Path, found: str, mend: str, risk: str = RISK) -> Finding:
    return Finding(f"IMPORT-{code}", what, str(path), found, mend, risk)
