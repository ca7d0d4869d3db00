"""A fold under a limit: it is predicted as soon as it is trained, and where time is up before, by what there is of it.

That is the averaged weights of its last checkpoint, or the models of a bag that are whole, in the first view. Such
predictions lie in the run's folder `late` (kept.py), those of a whole fold where they always do.
"""

from __future__ import annotations

import functools
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from competition import artifacts, board, kept, predict, pseudo, stacked, train
from competition.config import Run
from competition.engine import closing, signalled
from competition.errors import Stopped
from competition.knobs import Training
from competition.limit import Limit
from competition.split import Split
from competition.task import Fold, Parted, Stepped
from competition.train import Watch

SURE = 20  # steps, and seconds, from which on their rate tells how long a fold takes
FORWARD = 0.35  # of a training step, a pass that predicts as many rows
SAFETY = 1.3


def fitting(limit: Limit | None, predicted: bool = True) -> Callable[[Run, Split], None]:
    """What fits a fold. predicted: whether all its predictions are wanted, or those for want of better ones alone."""
    return train.fit_fold if limit is None else functools.partial(_fit_fold, predicted)


def _fit_fold(predicted: bool, run: Run, split: Split) -> None:
    """`train.fit_fold`, in time for predictions until workers are ended. Raises Stopped."""
    pace = _Pace(run, split, closing())
    try:
        train.fit_fold(run, split, Watch(f"{run.name} {split.name}", lambda epoch, score: None, pace.late))
        if predicted and not pace.late(len(run.task.views)):
            predict.predict_fold(run, split)
            return
    except Stopped:
        if not signalled():
            predict_early(run, split)
        raise
    predict_early(run, split)
    if predicted:
        raise Stopped(f"{split.name} is trained, its predictions would take too long")


class _Pace:
    """When a fold must stop training, so that what there is of it can still predict test and held-out rows."""

    def __init__(self, run: Run, split: Split, closing: float):
        self.run, self.split, self.closing = run, split, closing
        if isinstance(run.task, Training):
            import competition.loop  # noqa: F401  # torch, which takes seconds and is not to be imported again
        self.began, self.first, self.steps = time.monotonic(), math.inf, 0
        folder = artifacts.run_folder(run.name) / split.name
        began = any((folder / name).exists() for name in artifacts.CHECKPOINTS)  # by how many steps, is not known
        self.told = began or not isinstance(run.task, Stepped)

    def late(self, views: int = 1) -> bool:
        """Once a step. Never where another fold is whole: its predictions do."""
        now = time.monotonic()
        self.first = min(self.first, now)
        self.steps += 1
        if self.steps > SURE and now - self.first > SURE and not self.told:
            self._forecast(now)
        return now + self._needed(now, views) > self.closing and not self._whole()

    def _forecast(self, now: float) -> None:
        """Says once where by their rate the steps of the fold, taken from the first, won't all be done."""
        task, self.told = self.run.task, True
        assert isinstance(task, Stepped)
        step = (now - self.first) / (self.steps - 1)
        whole = step * task.epochs * (len(train.open_fold(self.run, self.split).train) // task.batch)
        if self.first + whole > self.closing:
            board.say(f"RUN-BUDGET: by its first steps {self.run.name} {self.split.name} takes {board.spoken(whole)}, "
                      f"{board.spoken(self.closing - self.first)} are left: it won't be whole; make plan "
                      f"RUN={self.run.name} says what would fit")  # fmt: skip

    def _needed(self, now: float, views: int) -> float:
        """Seconds: to begin as the fold did, and to predict at the rate of its steps. 0 of a task without steps."""
        task = self.run.task
        if not isinstance(task, Stepped) or self.steps < 2:
            return 0.0
        step = (now - self.first) / (self.steps - 1)
        return (self.first - self.began) + SAFETY * FORWARD * step * views * self._rows / task.batch

    @functools.cached_property
    def _rows(self) -> int:
        fold = train.open_fold(self.run, self.split)
        return len(train.load(self.run.competition).test) + (0 if fold.valid is None else len(fold.valid))

    def _whole(self) -> bool:
        return any(artifacts.run_folder(self.run.name).glob("fold*/predicted.json"))


def predict_early(run: Run, split: Split) -> None:
    """late/<fold>/test.parquet, oof.parquet and early.json, which says how far the fold is; nothing where it has not begun
    or predicts what is no number. The file of test comes first: it alone makes a submission."""
    given = train.open_fold(run, split)
    at = kept.folder(run.name) / split.name
    for before in at.glob(".models*"):  # of a process that was killed
        shutil.rmtree(before)
    at.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".models", dir=at) as models:
        folder = Path(models)
        done, of = (1, 1) if train.done(run, split) else _finished(run, pseudo.joined(given, run, split), folder)
        if not done:
            return
        fold = replace(given, folder=given.folder if train.done(run, split) else folder, progress=lambda *_: None)
        for part, rows in (("test", stacked.seen(run, split).test), ("oof", fold.valid)):
            if rows is None:
                continue
            table = run.task.predict(rows, fold, run.task.views[0])
            if not np.isfinite(table.select_dtypes("number").to_numpy()).all():
                return
            artifacts.write_table(at / f"{part}.parquet", table)
            what = "steps" if isinstance(run.task, Stepped) else "models"
            record = {"done": done, "of": of, "told": f"{done} of {of} {what}", "oof": part == "oof"}
            artifacts.write_json(at / "early.json", record)


def _finished(run: Run, fold: Fold, folder: Path) -> tuple[int, int]:
    """Leaves in `folder` what can predict, as the fold's own would; how much of how much is done."""
    task = run.task
    if isinstance(task, Training):
        return _stepped(task.model_copy(update={"compile": "off"}), fold, folder)
    return task.finished(fold, folder) if isinstance(task, Parted) else (0, 1)


def _stepped(task: Training, fold: Fold, folder: Path) -> tuple[int, int]:
    from competition import checkpoint, devices, loop

    assert isinstance(task, Stepped)

    if not any((fold.folder / name).exists() for name in artifacts.CHECKPOINTS):
        return 0, 1
    device, job = devices.device_of(task.device), task.job(fold)
    state = loop.begin(job, task, device)
    checkpoint.resume(state, fold, device)
    loop.keep(state.ema.module if state.ema else job.model, job, replace(fold, folder=folder))
    return state.step, task.epochs * job.steps
