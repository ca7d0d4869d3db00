"""Trains the folds of a run that are missing: `make train RUN=leaves/baseline [FOLD=2]`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, board, elsewhere, folds, launch, locks, packing, pseudo, runs, stacked
from competition.boxes import deciding
from competition.config import TASKS, Run, task_class, task_name
from competition.data import Data, load
from competition.engine import Engine, stopping, threads
from competition.errors import ConfigFault, Finding, Stopped
from competition.folds import Split
from competition.ranks import Ranks
from competition.runs import Opened
from competition.split import ALL, inner
from competition.task import Fold, Progress, Stepped, pick, together
from competition.tracking import History, follow


def train(at: Opened, engine: Engine, only: int | None = None, fit: Callable[[Run, Split], None] | None = None) -> None:
    """Every fold without fit.json, or of them only fold `only`, by `fit` (None: `fit_fold`). Raises Fault, Stopped."""
    splits, missing = wanted(at, only), untrained(at, only)
    ingredients = runs.ingredients(at.run)  # may have been trained anew, or be gone once the soup is made
    if missing or (ingredients and all(done(run, s) for run in ingredients for s in at.table.splits)):
        launch.check(at.run, engine)
        engine.expect(len(missing), needed(at.run), launch.demand(at.run))
        prepare(at)
    if missing:
        engine.everywhere(elsewhere.needs(at))
    if missing and at.run.pseudo:
        pseudo.keep(at)
    runs.record(at)
    for split in (s for s in splits if s not in missing):  # a kill may have come between a fold's record and this
        artifacts.drop_checkpoints(at.folder / split.name)
    if not missing:
        at.say(f"all {len(splits)} folds are trained" if only is None else f"fold {only} is trained")
        return
    if isinstance(at.run.task, Stepped):
        _fill_a_batch(at, missing)
        for split in missing:
            at.run.task.begins_with(split.name, origin(at.run, at.data, at.table, split))
    follow(at)
    at.say(f"training {', '.join(s.name for s in missing)}")
    demand = launch.demand(at.run)
    if demand.jobs is None:
        demand = packing.chosen(at, engine, len(missing))
    engine.map(functools.partial(fit or fit_fold, at.run), missing, demand)
    at.say(f"trained: {artifacts.run_folder(at.run.name)}")


def needed(run: Run) -> list[str]:
    """The modules that a worker needs to fit and predict the run's folds."""
    fitting = type(run.task).__module__.rpartition(".")[0] + ".fitting"  # of image, detection and tabular
    return [__name__, "competition.predict", *([fitting] if find_spec(fitting) else [])]


def _fill_a_batch(at: Opened, splits: Sequence[Split]) -> None:
    """Raises ConfigFault CFG-BATCH. Rows that don't fill a batch wait an epoch, so no batch is of one row unless all are."""
    ranks = launch.size_of(at.run.task)
    few = [split.name for split in splits if len(at.table.ids(split)[0]) < 2 * ranks]
    if few:
        what = "a fold has one row to train on, or none" if ranks == 1 else f"a fold has too few rows for {ranks} ranks"
        where = f"{artifacts.fold_table(at.data.name)}: {', '.join(few)}"
        found, mend = (
            "batch norm needs two rows in a batch",
            "fewer folds, or further rows; `task: tabular` takes fewer",
        )
        raise ConfigFault(Finding("CFG-BATCH", what, where, found, mend))


def wanted(at: Opened, only: int | None) -> list[Split]:
    """All that is fitted, or of it what holds out fold `only`. Raises ConfigFault CFG-VALUE."""
    splits = [s for s in (*at.splits, *at.refits) if only is None or s.fold == only]
    if not splits:
        numbers = sorted({s.fold for s in at.table.splits})
        raise ConfigFault(
            Finding(
                code="CFG-VALUE",
                what="there is no such fold",
                where=f"FOLD={only}",
                found=f"the folds are {numbers[0]} to {numbers[-1]}",
                mend=f"FOLD={numbers[0]}",
            )
        )
    return splits


def untrained(at: Opened, only: int | None = None) -> list[Split]:
    return [s for s in wanted(at, only) if not done(at.run, s)]


def done(run: Run, split: Split) -> bool:
    return (artifacts.run_folder(run.name) / split.name / "fit.json").exists()


def prepare(at: Opened) -> None:
    """`check`, and whether pictures, functions and columns of other models are those that the run began with."""
    stacked.keep(at)
    inputs = check(at)
    runs.check_inputs(at, artifacts.digest(inputs, stacked.content(at)) if stacked.given(at.run) else inputs)


def check(at: Opened) -> str:
    """The task's checks and caches, once, before any fold; the hash of what the tables don't hold."""

    def show(done: int, total: int, text: str) -> None:
        board.show(f"{at.run.competition}: data", done, total, text)
        if stopping():
            raise Stopped(f"stopped while {text}")

    _takes(at)
    return fill_caches(at.run, stacked.seen(at.run, at.table.splits[0]), show)


def fill_caches(run: Run, data: Data, progress: Progress) -> str:
    """`Task.prepare` of train and test, first with the unlabelled rows, so that the cache holds all; its hash is without:
    a run is of train and test, whatever comes beside.
    """
    rows = together(data.train, data.test)
    if data.unlabeled is not None:
        run.task.prepare(data.problem, together(rows, data.unlabeled), progress)
    return run.task.prepare(data.problem, rows, progress)


def _takes(at: Opened) -> None:
    """Raises ConfigFault CFG-TASK where the task does not predict what the competition asks for."""
    kind, task = at.data.problem.kind, at.run.task
    if kind not in task.kinds:
        fitting = [name for name in TASKS if kind in task_class(name).kinds]
        found = f"kind: {kind}; task: {task_name(task)} is for {', '.join(task.kinds)}"
        where, mend = f"{artifacts.run_yaml(at.run.name)}, key task", f"task: {' or '.join(fitting)}"
        raise ConfigFault(
            Finding("CFG-TASK", "the task does not predict what the competition asks for", where, found, mend)
        )


@dataclass(frozen=True)
class Watch:
    """By which a search follows a fold: its name on the screen, report(epoch, score as shown), whether it should end."""

    label: str
    report: Callable[[int, float], None]
    stop: Callable[[], bool]


def fit_fold(run: Run, split: Split, watch: Watch | None = None) -> None:
    """One fold, in whatever process the engine chose. The file that says "trained" is written last."""
    folder = artifacts.run_folder(run.name) / split.name
    with locks.locked(folder, wait=10), launch.together(run, split) as ranks:
        given = replace(open_fold(run, split, watch), ranks=ranks)
        fold = pseudo.joined(given, run, split)
        added = {"pseudo": len(fold.train) - len(given.train)} if run.pseudo else {}
        if run.pseudo:  # not into the history: a line of step 0 would drop those of a stopped fold that goes on
            of = f"{len(load(run.competition).unknown[run.pseudo.rows])} {run.pseudo.rows} rows"
            note = f"learns from {added['pseudo']} of {of} too, as {run.pseudo.run} labels them"
            board.say(f"{run.name} {split.name}: {note}", artifacts.run_folder(run.name))
        record = run.task.fit(fold) | added
        files = {p.name: artifacts.file_digest(p) for p in sorted(folder.glob("model*"))}
        made = {"finished": artifacts.now(), "threads": threads()}  # those of a resumed fold's first process, too
        artifacts.write_json(folder / "fit.json", made | record | {"files": files})
        artifacts.drop_checkpoints(folder)


def train_along(run: Run, split: Split, ranks: Ranks) -> None:
    """One fold, as any of its ranks but the first trains it: nothing is shown and nothing left behind."""
    from competition import devices, loop

    task = run.task
    assert isinstance(task, Stepped)
    fold = pseudo.joined(replace(silent(open_fold(run, split)), ranks=ranks), run, split)
    loop.train(task.job(fold), task, fold, devices.device_of(task.device))


def silent(fold: Fold) -> Fold:
    """The same, that logs, scores and shows nothing."""
    return replace(
        fold,
        log=lambda step, values: None,
        report=lambda epoch, prediction: 0.0,
        progress=lambda done, total, text: None,
    )


def open_fold(run: Run, split: Split, watch: Watch | None = None) -> Fold:
    """The fold as its task sees it."""
    data = stacked.seen(run, split)
    table = folds.load(data)
    train_ids, held_out = table.ids(split)
    folder = artifacts.run_folder(run.name) / split.name
    history = History(folder)
    train, valid = table.grouped(data.train).take(train_ids), None if split.fold == ALL else data.train.take(held_out)
    seed = fold_seed(run.seed, split)

    def log(step: int, values: dict[str, Any]) -> None:
        history.log(step, values)
        if "note" in values:
            board.say(f"{run.name} {split.name}: {values['note']}", artifacts.run_folder(run.name))

    def report(epoch: int, prediction: pd.DataFrame) -> float:
        metric = data.problem.metric
        assert valid is not None and valid.truth is not None
        if not np.isfinite(prediction.select_dtypes("number").to_numpy()).all():
            return float("nan")  # the loop stops a run that diverges
        score = metric.shown(deciding.best_score(metric, valid.truth, pick(prediction, valid.ids)))
        if watch is not None:
            watch.report(epoch, score)
        return score

    return Fold(
        name=split.name,
        problem=data.problem,
        train=train,
        valid=valid,
        folder=folder,
        seed=seed,
        log=log,
        report=report,
        progress=functools.partial(board.show, watch.label if watch else f"{run.name} {split.name}"),
        stop=(lambda: stopping() or watch.stop()) if watch else stopping,
        inner=lambda n: inner(train, data.problem.kind, data.config.folds, n, seed),
        ordered=data.config.folds.time is not None,
        origin=origin(run, data, table, split),
    )


def origin(run: Run, data: Data, table: folds.FoldTable, split: Split) -> dict[str, str]:
    """What a fold's weights remember of where they come from."""
    return {
        "run": run.name,
        "competition": run.competition,
        "fold": split.name,
        "data": data.hash,
        "folds": table.hash,
    }


def fold_seed(seed: int, split: Split) -> int:
    """A 32-bit seed of its own for every fold and repeat."""
    return int(artifacts.digest(str(seed), split.name)[:8], 16)


def trained(at: Opened) -> Sequence[Split]:
    """All that is fitted, once all is. Raises ConfigFault RUN-PARTIAL."""
    missing = [s.name for s in untrained(at)]
    if missing:
        raise ConfigFault(
            Finding(
                code="RUN-PARTIAL",
                what="folds of the run are not trained",
                where=str(at.folder),
                found=f"missing: {', '.join(missing)}",
                risk="a score over some folds is not the run's score",
                mend=f"make train RUN={at.run.name}",
            )
        )
    return wanted(at, None)
