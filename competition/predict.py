"""Out-of-fold and test predictions of a run, views and all: `make predict RUN=leaves/baseline`."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, board, decide
from competition.artifacts import read_table, write_json, write_table
from competition.boxes import fusion
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.data import load
from competition.decide import Nested, Stack
from competition.engine import Engine, stopping
from competition.errors import DataFault, EnvironmentFault, Finding, Stopped, examples
from competition.folds import FoldTable, Split
from competition.runs import Opened
from competition.scoring import scored_folds, scored_on, show_score, write_score
from competition.task import Fold, pick
from competition.train import open_fold, prepare, trained

VIEW = "view"


def predict(at: Opened, engine: Engine) -> dict[str, Any]:
    """Predicts every fold's held-out and test rows that are missing, and reduces them to the run's. Returns score.json.

    Raises ConfigFault RUN-PARTIAL, EnvironmentFault CKPT-CORRUPT, Stopped.
    """
    missing = [s for s in trained(at) if not set(at.run.task.views) <= set(predicted_views(at.run, s))]
    if missing:
        prepare(at)
        views = len(at.run.task.views)
        at.say(f"predicting {', '.join(s.name for s in missing)}" + f" in {views} views" * (views > 1))
        engine.map(functools.partial(predict_fold, at.run), missing, at.run.task.device, at.run.jobs)
    fits = [(at.folder / s.name / "fit.json").read_bytes() for s in at.table.splits]
    basis = artifacts.digest(decide.VERSION, at.data.metric_hash, settings(at.run), *at.run.task.views, *fits)
    if missing or not scored_on(at, basis):
        reduce(at, basis)
    show_score(at, "view")
    return artifacts.read_json(at.folder / "score.json")


def predicted_views(run: Run, split: Split) -> list[str]:
    """The views that both of the fold's prediction files hold, made with these settings; predicted.json is written last."""
    path = artifacts.run_folder(run.name) / split.name / "predicted.json"
    record = artifacts.read_json(path) if path.exists() else {}
    return record["views"] if record.get("settings") == settings(run) else []


def settings(run: Run) -> str:
    """Hash of the keys that prediction depends on, but for the views, of which each is predicted by itself."""
    parts, values = run.parts(), run.config()
    wanted = {key: value for key, value in values.items() if parts.get(key) == "predict" and key != "views"}
    return artifacts.digest(json.dumps(wanted, sort_keys=True))


def predict_fold(run: Run, split: Split) -> None:
    """One fold's rows in every view that is missing, in whatever process the engine chose."""
    fold = open_fold(run, split)
    intact(fold.folder)
    assert fold.valid is not None
    have = predicted_views(run, split)
    parts = {"oof": fold.valid, "test": load(run.competition).test}
    steps = (len(run.task.views) - len(have)) * sum(map(len, parts.values()))
    before = 0
    for name, rows in parts.items():
        path = fold.folder / f"{name}.parquet"
        tables = [t[t[VIEW].isin(have)] for t in ([read_table(path)] if have else [])]
        for view in run.task.views:
            if view not in have:
                table = run.task.predict(rows, _counting(fold, before, steps), view)
                before += len(rows)
                _finite(table, run, split, view)
                tables.append(table.assign(**{VIEW: view}))
        write_table(path, pd.concat(tables))
    views = [*have, *(view for view in run.task.views if view not in have)]
    write_json(fold.folder / "predicted.json", {"settings": settings(run), "views": views})


def _counting(fold: Fold, before: int, steps: int) -> Fold:
    """The fold, whose progress counts the rows of all its parts and views."""

    def progress(done: int, _: int, text: str) -> None:
        board.show(f"{fold.origin['run']} {fold.name} predict", before + done, steps, text)
        if stopping():
            raise Stopped(f"{fold.name} stopped while it predicted")

    return replace(fold, progress=progress)


def reduce(at: Opened, basis: str) -> None:
    """Folds and views -> the run's oof.parquet, test.parquet and score.json."""
    stack = {view: out_of_fold(at.run, at.table, view) for view in at.run.task.views}
    test = {view: test_mean(at, view) for view in at.run.task.views}
    write_score(at, basis, write_run(at, "views", stack, test), stack)


def write_run(at: Opened, search: decide.Search, stack: Stack, test: Stack) -> Nested:
    """Decides on `stack` and writes the run's predictions, uncut: honest OOF, test by the decision of all folds."""
    problem, truth = at.data.problem, at.data.train.truth
    assert truth is not None
    fold = scored_folds(at.table)
    cover(stack, fold.index, at.run.name)
    progress = functools.partial(board.show, f"{at.run.name}: deciding on OOF")
    stack = decide.part(stack, fold.index)
    result = decide.nested(search, stack, pick(truth, fold.index), fold, problem, progress, at.run.method)
    write_table(at.folder / "oof.parquet", result.prediction)
    write_table(at.folder / "test.parquet", result.final.combine(test))
    return result


def out_of_fold(run: Run, table: FoldTable, view: str) -> pd.DataFrame:
    """A view's held-out predictions of all folds by id, of repeats those of all of them as one."""
    repeats: dict[int, list[pd.DataFrame]] = {}
    for split in table.splits:
        repeats.setdefault(split.repeat, []).append(fold_predictions(run, split, "oof", view))
    return as_one([pd.concat(parts) for parts in repeats.values()])


def test_mean(at: Opened, view: str) -> pd.DataFrame:
    parts = [fold_predictions(at.run, split, "test", view) for split in at.table.splits]
    return pick(as_one(parts), at.data.test.ids)


def fold_predictions(run: Run, split: Split, name: str, view: str) -> pd.DataFrame:
    table = read_table(artifacts.run_folder(run.name) / split.name / f"{name}.parquet")
    return table[table[VIEW] == view].drop(columns=VIEW)


def as_one(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """How predictions of several models become one: the mean of probabilities or values; boxes are kept, to be fused."""
    if holds_boxes(parts[0]):
        return fusion.pool(parts)
    return pd.concat(parts).groupby(level=0, sort=False).mean()


def cover(stack: Stack, ids: pd.Index, name: str) -> None:
    """Raises DataFault OOF-COVER where a table misses a scored row or has one twice; of boxes any number will do."""
    problems = []
    for part, table in stack.items():
        if holds_boxes(table):
            continue
        missing, twice = ids.difference(table.index), table.index[table.index.duplicated()]
        if len(missing) or len(twice):
            problems.append(
                Finding(
                    code="OOF-COVER",
                    what="out-of-fold predictions do not cover every row once",
                    where=f"{artifacts.run_folder(name)}, {part}",
                    found=f"{len(missing)} missing: {examples(missing)}; {len(twice)} twice: {examples(twice)}",
                    risk="the CV score would be of other rows",
                    mend=f"delete the oof.parquet files below {artifacts.run_folder(name)} and predict again",
                )
            )
    if problems:
        raise DataFault(*problems)


def intact(folder: Path) -> None:
    """Raises EnvironmentFault CKPT-CORRUPT where a file of a trained fold is not what was written."""
    for name, expected in artifacts.read_json(folder / "fit.json")["files"].items():
        found = artifacts.file_digest(folder / name)
        if found != expected:
            raise EnvironmentFault(artifacts.corrupt(folder / name, expected, found))


def _finite(table: pd.DataFrame, run: Run, split: Split, view: str) -> None:
    bad = table.index[np.flatnonzero(~np.isfinite(table.select_dtypes("number").to_numpy()).all(axis=1))]
    if len(bad):
        raise DataFault(
            Finding(
                code="SUB-NONFINITE",
                what="a model predicts what is not a number",
                where=f"{run.name} {split.name}, view {view}",
                found=f"{len(bad)} rows: {examples(bad)}",
                risk="the mean over folds would lose those rows in silence",
                mend="look at the history of that fold; delete its folder to train it anew with a lower rate",
            )
        )
