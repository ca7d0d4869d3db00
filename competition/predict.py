"""Out-of-fold and test predictions of a run, views and all: `make predict RUN=leaves/baseline`."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, board, card, decide, elsewhere, packing, runs, stacked, versions
from competition.artifacts import file_digest, read_json, read_table, write_json, write_table
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.data import load
from competition.decide import Nested, Stack
from competition.engine import Engine, stopping, threads
from competition.errors import DataFault, Finding, Stopped, examples
from competition.folds import Split
from competition.predictions import VIEW, as_one, fold_predictions
from competition.runs import Opened
from competition.scoring import scored_folds, scored_on, show_score, write_score
from competition.task import Fold, Progress, pick
from competition.train import needed, open_fold, prepare, trained


def predict(at: Opened, engine: Engine) -> dict[str, Any]:
    """Predicts every fold's held-out and test rows that are missing, and reduces them to the run's. Returns score.json.

    Raises ConfigFault RUN-PARTIAL, EnvironmentFault CKPT-CORRUPT, Stopped.
    """
    anew = predict_folds(at, engine)
    fits = [(at.folder / s.name / "fit.json").read_bytes() for s in (*at.splits, *at.refits)]
    basis = artifacts.digest(decide.VERSION, at.data.metric_hash, settings(at.run), *at.run.task.views, *fits)
    if anew or not scored_on(at, basis):
        reduce(at, basis)
    show_score(at, "view")
    return artifacts.read_json(at.folder / "score.json")


def predict_folds(at: Opened, engine: Engine) -> bool:
    """Predicts every fold's rows that are missing; whether there were any. Raises as `predict` does."""
    missing = [s for s in trained(at) if not set(at.run.task.views) <= set(predicted_views(at.run, s))]
    if missing:
        engine.expect(len(missing), needed(at.run), at.run.demand)
        prepare(at)
        engine.everywhere(elsewhere.needs(at))
    runs.record(at)
    if missing:
        if told := versions.differences(versions.of_run(at.folder), versions.now(card.PACKAGES)):
            at.say(f"its models were made by other versions: {told}; predictions may differ in their last bits")
        views = len(at.run.task.views)
        at.say(f"predicting {', '.join(s.name for s in missing)}" + f" in {views} views" * (views > 1))
        engine.map(functools.partial(predict_fold, at.run), missing, packing.remembered(at, engine))
    return bool(missing)


def predicted_views(run: Run, split: Split) -> list[str]:
    """The views that both of the fold's prediction files hold, made with these settings; predicted.json is written last."""
    path = artifacts.run_folder(run.name) / split.name / "predicted.json"
    record = artifacts.read_json(path) if path.exists() else {}
    return record["views"] if record.get("settings") == settings(run) else []


def settings(run: Run) -> str:
    """Hash of what a model's prediction depends on: keys of the task, but for the views, each of which is predicted by
    itself, and which rows are unlabelled."""
    unlabeled = runs.unknown(run, load(run.competition)).get("unlabeled")
    return artifacts.digest(predict_keys(run), *([] if unlabeled is None else unlabeled.ids))


def predict_keys(run: Run) -> str:
    """As JSON, those of the task but for the views."""
    parts, values = run.parts(), run.task.model_dump(mode="json")
    wanted = {key: value for key, value in values.items() if parts.get(key) == "predict" and key != "views"}
    return json.dumps(wanted, sort_keys=True)


def predict_fold(run: Run, split: Split) -> None:
    """One fold's rows in every view that is missing, in whatever process the engine chose."""
    fold = open_fold(run, split)
    intact(fold.folder)
    have, data = predicted_views(run, split), stacked.seen(run, split)
    parts = {name: rows for name, rows in (("oof", fold.valid), *runs.unknown(run, data).items()) if rows is not None}
    steps = (len(run.task.views) - len(have)) * sum(map(len, parts.values()))
    before, done = 0, fold.folder / "predicted.json"
    if done.exists():  # it has digests of files that are about to become others
        write_json(done, {key: value for key, value in read_json(done).items() if key != "files"})
    for name, rows in parts.items():
        path = fold.folder / f"{name}.parquet"
        tables = [t[t[VIEW].isin(have)] for t in ([read_table(path)] if have else [])]
        for view in run.task.views:
            if view not in have:
                table = run.task.predict(rows, _counting(fold, before, steps), view)
                before += len(rows)
                finite(table, run, split, view)
                tables.append(table.assign(**{VIEW: view}))
        write_table(path, pd.concat(tables))
    views = [*have, *(view for view in run.task.views if view not in have)]
    files = {f"{name}.parquet": file_digest(fold.folder / f"{name}.parquet") for name in parts}
    write_json(done, {"settings": settings(run), "views": views, "threads": threads(), "files": files})


def _counting(fold: Fold, before: int, steps: int) -> Fold:
    """The fold, whose progress counts the rows of all its parts and views."""

    def progress(done: int, _: int, text: str) -> None:
        board.show(f"{fold.origin['run']} {fold.name} predict", before + done, steps, text)
        if stopping():
            raise Stopped(f"{fold.name} stopped while it predicted")

    return replace(fold, progress=progress)


def reduce(at: Opened, basis: str) -> None:
    """Folds and views -> the run's oof.parquet, test.parquet and score.json."""
    stack = {view: out_of_fold(at, view) for view in at.run.task.views}
    test = {view: test_mean(at, view) for view in at.run.task.views}
    result = write_run(at, "views", stack, test)
    alone = [{v: out_of_fold(at, v, seed) for v in stack} for seed in range(at.run.seeds)] if at.run.seeds > 1 else []
    write_score(at, basis, result, stack, alone)


def write_run(at: Opened, search: decide.Search, stack: Stack, test: Stack) -> Nested:
    """Decides on `stack` and writes the run's predictions, unadjusted: honest OOF, test by the decision of all folds."""
    problem, truth = at.data.problem, at.data.train.truth
    assert truth is not None
    fold = scored_folds(at.table)
    cover(stack, fold.index, at.run.name)
    stack = decide.part(stack, fold.index)
    result = decide.nested(search, stack, pick(truth, fold.index), fold, problem, deciding(at.run), at.run.method)
    card.forget_results(at.run.name)
    write_table(at.folder / "oof.parquet", result.prediction)
    write_table(at.folder / "test.parquet", result.final.combine(test))
    return result


def deciding(run: Run) -> Progress:
    """What shows the decisions on OOF, and raises Stopped where they are to stop."""

    def progress(done: int, total: int, text: str) -> None:
        board.show(f"{run.name}: deciding on OOF", done, total, text)
        if stopping():
            raise Stopped(f"{run.name} stopped while it decided on OOF")

    return progress


def out_of_fold(at: Opened, view: str, seed: int | None = None) -> pd.DataFrame:
    """A view's held-out predictions of all folds by id; those of all repeats and seeds, or of one seed, as one."""
    whole: dict[tuple[int, int], list[pd.DataFrame]] = {}
    for split in at.splits:
        if seed in (None, split.seed):
            whole.setdefault((split.repeat, split.seed), []).append(fold_predictions(at.run, split, "oof", view))
    return as_one([pd.concat(parts) for parts in whole.values()])


def test_mean(at: Opened, view: str) -> pd.DataFrame:
    """A view's test predictions, each model's counting the same: of the folds, or of all rows, or both (`refit`)."""
    splits = at.refits if at.run.refit == "only" else [*at.splits, *at.refits]
    parts = [fold_predictions(at.run, split, "test", view) for split in splits]
    return pick(as_one(parts), at.data.test.ids)


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
        artifacts.intact(folder / name, expected)


def finite(table: pd.DataFrame, run: Run, split: Split, view: str) -> None:
    """Raises DataFault SUB-NONFINITE where a prediction is no number."""
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
