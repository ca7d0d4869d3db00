"""Out-of-fold and test predictions of a run, views and all, and its score: `make predict RUN=leaves/baseline`."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from competition import artifacts, board, cuts, decide
from competition.artifacts import read_table, write_json, write_table
from competition.boxes import fusion, sheet
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.data import load
from competition.decide import Nested, Stack
from competition.engine import Engine, stopping
from competition.errors import DataFault, EnvironmentFault, Finding, Stopped, examples
from competition.folds import FoldTable, Split
from competition.runs import Opened
from competition.task import Fold, Problem, pick
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
    basis = artifacts.digest(decide.VERSION, at.data.metric_hash, *at.run.task.views, *fits)
    if missing or not scored_on(at, basis):
        reduce(at, basis)
    show_score(at, "view")
    return artifacts.read_json(at.folder / "score.json")


def scored_on(at: Opened, basis: str) -> bool:
    """Whether score.json, the last file of a score, is there and was made of the same metric, predictions, decisions."""
    path = at.folder / "score.json"
    return path.exists() and artifacts.read_json(path)["basis"] == basis


def predicted_views(run: Run, split: Split) -> list[str]:
    """The views that stand in both of the fold's prediction files; test.parquet is written last."""
    folder = artifacts.run_folder(run.name) / split.name
    if not all((folder / f"{name}.parquet").exists() for name in ("oof", "test")):
        return []
    return list(pd.read_parquet(folder / "test.parquet", columns=[VIEW])[VIEW].unique())


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
    result = decide.nested(search, stack, pick(truth, fold.index), fold, problem, progress)
    write_table(at.folder / "oof.parquet", result.prediction)
    write_table(at.folder / "test.parquet", result.final.combine(test))
    return result


def write_score(at: Opened, basis: str, result: Nested, stack: Stack) -> None:
    """score.json, written last: with it the run has a score. basis: a hash of what it was made from."""
    assert at.data.train.truth is not None
    fold = scored_folds(at.table)
    truth, stack = pick(at.data.train.truth, fold.index), decide.part(stack, fold.index)
    record = score_record(at.data.problem, truth, fold, stack, result)
    if at.data.problem.kind == "boxes":
        for path in sheet.draw(at.data, fold.index, result.decided, at.folder):
            at.say(f"drew {path}")
    write_json(at.folder / "score.json", record | {"basis": basis, "made": artifacts.now()})


def score_record(
    problem: Problem, truth: pd.DataFrame, fold: pd.Series, stack: Stack, result: Nested
) -> dict[str, Any]:
    """The score of the nested decisions over all rows, its spread over folds, and what each part of the stack adds.

    parts and mean are of uncut predictions; uncut: the score without cuts, None where no fold has one.
    """
    metric = problem.metric

    def shown(prediction: pd.DataFrame) -> float:
        return metric.shown(metric.score(truth, prediction))

    by_fold = decide.fold_scores(metric, truth, result.decided, fold)
    everything = metric.score(truth, decide.equal(stack, problem).combine(stack))

    def gain(name: str) -> float | None:
        rest = {n: t for n, t in stack.items() if n != name}
        return everything - metric.score(truth, decide.equal(rest, problem).combine(rest)) if rest else None

    def alone(name: str) -> float:
        one = {name: stack[name]}
        return shown(decide.equal(one, problem).combine(one))

    return {
        "metric": metric.name,
        "greater_is_better": metric.greater,
        "score": shown(result.decided),
        "std": float(by_fold.std()) if len(by_fold) > 1 else None,
        "folds": {f"fold{k}": metric.shown(v) for k, v in by_fold.items()},
        "in_sample": shown(cuts.apply(result.cut, result.final.combine(stack))),
        "uncut": shown(result.prediction) if any(result.cuts_by_fold.values()) else None,
        "mean": metric.shown(everything),
        "rows": len(fold),
        "parts": {
            name: {"weight": result.final.weights.get(name, 0.0), "alone": alone(name), "gain": gain(name)}
            for name in stack
        },
        "decision": result.final.plain(),
        "weights_by_fold": {f"fold{k}": decision.plain() for k, decision in result.by_fold.items()},
        "cut": result.cut and result.cut.plain(),
        "cuts_by_fold": {f"fold{k}": cut and cut.plain() for k, cut in result.cuts_by_fold.items()},
    }


def show_score(at: Opened, part: str) -> None:
    """The score as a sentence, and what each view or member adds as a table."""
    score = artifacts.read_json(at.folder / "score.json")
    if len(score["parts"]) > 1:
        board.console.print(parts_table(at.run.name, part, score))
    at.say(headline(score))
    if len(score["parts"]) > 1:
        at.say(beside(score))
    if at.data.problem.kind == "boxes":
        at.say(f"fused by {decide.read(score['decision'], at.data.problem)}")
    if score["uncut"] is not None:
        at.say(decision(score))


def parts_table(run: str, part: str, score: dict[str, Any]) -> Table:
    table = Table(part, "alone", "gain in the mean", "weight", title=f"{run}: {score['metric']} by {part}")
    for name, values in score["parts"].items():
        gain = "" if values["gain"] is None else f"{values['gain']:+.4f}"
        weight = f"{values['weight']:.3f}" if values["weight"] else "dropped"
        table.add_row(name, f"{values['alone']:.4f}", gain, weight)
    return table


def headline(score: dict[str, Any]) -> str:
    """The score over all rows together, and beside it the mean and spread over folds (of a ranking they differ)."""
    folds = list(score["folds"].values())
    spread = f" (folds {np.mean(folds):.4f} ± {score['std']:.4f})" if score["std"] is not None else ""
    direction = "greater" if score["greater_is_better"] else "smaller"
    return f"CV {score['metric']} {score['score']:.4f}{spread} on {score['rows']:,} rows, {direction} is better"


def beside(score: dict[str, Any]) -> str:
    """The figures that the nested score must be read with."""
    best = (max if score["greater_is_better"] else min)(p["alone"] for p in score["parts"].values())
    others = f"best single {best:.4f}, plain mean {score['mean']:.4f}, in-sample {score['in_sample']:.4f}"
    return f"nested {score['score']:.4f}; {others}"


def decision(score: dict[str, Any]) -> str:
    """How the submission will decide, and what the default decision would have scored."""
    cut = cuts.read(score["cut"])
    if cut is None:
        kept = sum(c is not None for c in score["cuts_by_fold"].values())
        return f"no cut: {kept} of {len(score['folds'])} refits kept one; without any, {score['uncut']:.4f}"
    default = {"threshold": "0.5", "factor": "the most probable class", "level": "the nearest level",
               "score": "every box"}[cut.rule]  # fmt: skip
    return f"{cut}, fitted on the other folds; {default} would give {score['uncut']:.4f}"


def scored_folds(table: FoldTable) -> pd.Series:
    """Fold number by id of the first repeat, of the rows that are scored."""
    fold = table.table["fold"]
    return fold[fold >= 0]


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
