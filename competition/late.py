"""A submission from what there is: `make submission RUN=leaves/baseline TIME=9h` has one whatever was planned.

Before anything is trained there is one from the training labels alone. When time is up there is a better one, of the first
of these that there is: folds that are whole; whole members of a blend, whole parents; the averaged weights of unfinished
folds; the same of members and parents. It is written plain first, then as decided on the rows that are held out by these
folds. A better CSV is never replaced by a worse one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import (
    artifacts,
    board,
    constant,
    cuts,
    decide,
    git,
    kept,
    launch,
    locks,
    predictions,
    prior,
    runs,
    scoring,
    submit,
)
from competition.adjustment import Adjustment
from competition.config import Run
from competition.data import Data, load
from competition.decide import Search, Stack
from competition.engine import Engine
from competition.errors import Stopped
from competition.limit import Limit
from competition.predict import deciding, predicted_views
from competition.runs import Opened
from competition.scoring import scored_folds
from competition.split import Split
from competition.task import pick
from competition.train import done

NET, EARLY, OTHERS_FOLDS, OTHERS, FOLDS = range(5)  # the rungs, the best last
HALF = 0.5  # of the most steps done, below which an unfinished fold is left out
PARTS, FEWEST = 5, 20  # rows of one fold alone are parted for its decisions; with fewer rows there are none
FUSED = 0.01  # seconds to fuse and write the boxes of a picture in a view


@dataclass(frozen=True)
class Found:
    """Predictions to submit. oof: None where there are none. fold: by id, of the rows that oof holds out. amount: how much
    there is, within a rung. covers: in words."""

    at: Opened
    search: Search
    test: Stack
    oof: Stack | None
    fold: pd.Series
    rung: int
    amount: float
    covers: str


def net(limit: Limit) -> Limit:
    """A CSV from the training labels, unless there is one that can be submitted; the limit with what that takes.

    Raises EnvironmentFault RUN-LOCKED: another process may be about to write a better one.
    """
    data, run = load(limit.run.competition), limit.run
    path = artifacts.submission_csv(run.name)
    with locks.locked(artifacts.run_folder(run.name)):
        if not path.exists() or submit.check(data, path):
            alone = constant.prediction(data)
            _write(run, data, alone, None, None, NET, 0.0, "the training labels alone", "none", pd.Index([]))
            board.say(f"RUN-BUDGET: {path} is made of the training labels alone, until something is trained")
        else:
            board.say(f"RUN-BUDGET: {path} is there and stays until something better is")
    pictures = len(data.test) * FUSED * (1 if run.members else len(run.task.views)) if data.config.boxes else 0.0
    return limit.measured(pictures)


def forecast(limit: Limit, engine: Engine) -> None:
    """Says so where the folds that are trained tell that the others won't be in time."""
    run = limit.run
    if run.members is not None:
        return
    at = runs.look(run)
    every = [*at.splits, *at.refits]
    took = [artifacts.read_json(at.folder / s.name / "fit.json").get("seconds", 0.0) for s in every if done(run, s)]
    left = len(every) - len(took)
    needed = float(np.mean(took or [math.nan])) * math.ceil(left / engine.slots(launch.demand(run))[0])
    if left and needed > limit.training - time.monotonic():
        board.say(f"RUN-BUDGET: by those that are trained, the {left} folds that are left take {board.spoken(needed)}: not "
                  f"all will be whole; make plan RUN={run.name} TIME={limit.time} says what would fit")  # fmt: skip


def plain(run: Run) -> bool:
    """The best that there is, without decisions on OOF; whether there is any that may be written."""
    found = best(run)
    if found is None or not _may(run, found.rung, found.amount):
        return False
    problem, truth = found.at.data.problem, found.at.data.train.truth
    how, adjusted = decide.equal(found.test, problem), None
    if problem.kind == "boxes" and found.oof is not None and truth is not None:
        adjusted = cuts.of_boxes(how.combine(found.oof), pick(truth, found.fold.index), found.fold.index, problem)
    _write_found(run, found, how.combine(found.test), adjusted, None)
    return True


def decided(run: Run) -> None:
    """The same, decided on what the models have not seen; raises Stopped where time is up."""
    found = best(run)
    if found is None or found.oof is None or len(found.fold) < FEWEST or not _may(run, found.rung, found.amount):
        return
    problem, truth, fold = found.at.data.problem, found.at.data.train.truth, _parts(found.fold)
    assert truth is not None
    truth, oof = pick(truth, fold.index), decide.part(found.oof, fold.index)
    method = found.at.run.method if found.search == "blend" else "auto"
    result = decide.nested(found.search, oof, truth, fold, problem, deciding(run), method)
    score = scoring.score_record(problem, truth, fold, oof, result)
    artifacts.write_table(kept.folder(run.name) / "oof.parquet", result.decided)
    _write_found(run, found, result.final.combine(found.test), result.adjustment, score)


def rescue(run: Run) -> Path:
    """The CSV when time is up, whatever there is; says what it is made of."""
    with locks.locked(artifacts.run_folder(run.name)):
        if plain(run):
            try:
                decided(run)
            except Stopped:
                board.say(f"{run.name}: no time was left to decide on OOF: views or members count the same")
    path, state = artifacts.submission_csv(run.name), kept.record(run.name)
    made = "as it stood before" if state is None else f"made of {state['told']}"
    score = "" if state is None or state["score"] is None else f", {scoring.headline(state['score'])}"
    board.say(f"RUN-BUDGET: time is up. {path}, {made}{score}; the same command goes on")
    return path


def best(run: Run) -> Found | None:
    """The highest rung that there is."""
    return next(_rungs(run), None)


def _rungs(run: Run) -> Iterator[Found]:
    """From the highest down; of runs that others are made of, theirs count for less."""
    others = runs.members(run) if run.members is not None else [*runs.needs(run), *runs.ingredients(run)]
    own = None if run.members is not None else runs.look(run)
    if own is not None:
        yield from _folds(own)
    yield from _whole(run, [r for r in others if (artifacts.run_folder(r.name) / "score.json").exists()], len(others))
    if own is not None:
        yield from _unfinished(own)
    for other in others:
        for found in _rungs(other):
            yield replace(found, rung=min(found.rung, OTHERS_FOLDS), covers=f"{other.name}: {found.covers}")


def _folds(at: Opened) -> Iterator[Found]:
    views, every = at.run.task.views, [*at.splits, *at.refits]
    whole = [s for s in every if done(at.run, s) and set(views) <= set(predicted_views(at.run, s))]
    if not whole:
        return

    def table(split: Split, part: str, view: str) -> pd.DataFrame:
        return predictions.fold_predictions(at.run, split, part, view)

    yield _of_splits(at, whole, views, table, FOLDS, len(whole), f"{_names(whole)} of {len(every)} folds")


def _unfinished(at: Opened) -> Iterator[Found]:
    """Folds that have been predicted early, but for those that are far behind the others."""
    folder, every = kept.folder(at.run.name), [*at.splits, *at.refits]
    there = {s: artifacts.read_json(folder / s.name / "early.json") for s in every
             if (folder / s.name / "early.json").exists()}  # fmt: skip
    shares = {split: record["done"] / record["of"] for split, record in there.items()}
    some = [split for split, share in shares.items() if share >= HALF * max(shares.values())]
    if not some:
        return

    def table(split: Split, part: str, view: str) -> pd.DataFrame:
        return artifacts.read_table(folder / split.name / f"{part}.parquet")

    how_far = ", ".join(f"{s.name} ({there[s]['told']})" for s in some)
    scored = all(there[s]["oof"] or s not in at.splits for s in some)
    covers = f"unfinished folds: {how_far}"
    yield _of_splits(at, some, at.run.task.views[:1], table, EARLY, sum(shares[s] for s in some), covers, scored)


def _of_splits(at: Opened, splits: Sequence[Split], views: Sequence[str], table: Callable[[Split, str, str], pd.DataFrame],
               rung: int, amount: float, covers: str, scored: bool = True) -> Found:  # fmt: skip
    """The mean over these folds' models of test, and what they say of the rows that they hold out."""
    holding = [s for s in splits if s in at.splits]
    ids = _held_out(at, holding)
    test = {v: pick(predictions.as_one([table(s, "test", v) for s in splits]), at.data.test.ids) for v in views}
    oof = {v: predictions.as_one([table(s, "oof", v) for s in holding]) for v in views} if scored and holding else None
    return Found(at, "views", test, oof, scored_folds(at.table).loc[ids], rung, amount, covers)


def _whole(run: Run, others: Sequence[Run], of: int) -> Iterator[Found]:
    """Those of the members or parents that have a score, as a blend."""
    if not others:
        return
    at, names = runs.look(run), [other.name for other in others]
    for other in others:
        runs.look(other)  # of the same folds
    oof, test = ({n: artifacts.read_table(predictions.of_run(n, part)) for n in names} for part in ("oof", "test"))
    kind = "members" if run.members is not None else "runs that it learns from"
    covers = f"{len(others)} of {of} {kind}: {', '.join(names)}"
    yield Found(at, "blend", test, oof, scored_folds(at.table), OTHERS, len(others), covers)


def _held_out(at: Opened, splits: Sequence[Split]) -> pd.Index:
    """The scored rows that one of these holds out, in the order of the fold table."""
    fold = scored_folds(at.table)
    there = pd.Index(np.unique(np.concatenate([at.table.ids(s)[1] for s in splits]))) if splits else fold.index[:0]
    return fold.index[fold.index.isin(there)]


def _parts(fold: pd.Series) -> pd.Series:
    """The folds, by which decisions are refitted; the rows of one alone are parted at random: its models saw none."""
    if fold.nunique() > 1:
        return fold
    order = np.random.default_rng(0).permutation(len(fold))
    return pd.Series(order % PARTS, fold.index)


def _names(splits: Sequence[Split]) -> str:
    return ", ".join(split.name for split in splits)


def _may(run: Run, rung: int, amount: float) -> bool:
    """Whether such a CSV is no worse than the one that is there; that of a whole run stays, one of another run doesn't."""
    state = kept.state(run.name)
    if state is not None:
        return (rung, amount) >= (state["rung"], state["amount"])
    there = artifacts.submission_csv(run.name).exists()
    return not (there and (artifacts.run_folder(run.name) / "score.json").exists())


def _write_found(
    run: Run, found: Found, test: pd.DataFrame, adjusted: Adjustment | None, score: dict[str, Any] | None
) -> None:
    folds = f"{found.at.table.hash}: {found.covers}"
    _write(run, found.at.data, test, adjusted, score, found.rung, found.amount, found.covers, folds, found.fold.index)


def _write(run: Run, data: Data, test: pd.DataFrame, adjusted: Adjustment | None, score: dict[str, Any] | None, rung: int,
           amount: float, told: str, folds: str, ids: pd.Index) -> None:  # fmt: skip
    """The CSV, then what it is made of."""
    truth = data.train.truth
    assert truth is not None
    test, _ = prior.submitted(data.config.prior, data.problem, truth, test, adjusted)
    submit.write(data, run.name, test)
    row = {
        "time": artifacts.now(),
        "competition": data.name,
        "run": run.name,
        "members": ";".join(run.members or ()),
        "metric": data.problem.metric.name,
        "cv": "" if score is None else round(score["score"], 6),
        "cv_std": "" if score is None or score["std"] is None else round(score["std"], 6),
        "config": runs.identity(run, ("fit", "predict")),
        "data": data.hash,
        "folds": folds,
        "git": git.sha() or "",
    }
    values = {"rung": rung, "amount": amount, "told": told, "rows": [*ids] if score else [], "score": score, "row": row}
    kept.keep(run.name, values)
