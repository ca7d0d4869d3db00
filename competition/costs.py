"""What a run costs, measured in processes such as would train it: a few steps, or fits of ever larger parts, of fold 0.

`plan.py` makes the estimate of a whole run of it.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from competition import artifacts, board, rehearsal
from competition.config import Run
from competition.data import load
from competition.engine import Engine
from competition.runs import Opened
from competition.split import Split, inner
from competition.task import Adaptive, Fold, Stepped, Task

SECONDS = 15.0  # of steps that are measured
WARM, FEWEST = 2, 3  # steps that are not counted; the least that are
PARTS = (1 / 8, 1 / 4, 1 / 2, 1)  # of a fold's rows, fitted one after the other
LEAST_ROWS = 100
FITS = 40.0  # seconds, after which no larger part is begun
STEEPEST = 2.0  # power of the rows by which the time of a fit grows at most
LOOKED, LOOKED_ROWS = 4, 5_000  # batches, or rows, that are predicted in each view


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time of a process among those at work.

    start: until a process has its first fold's data and network. epoch: of an epoch of `rows` rows; of a task without
    epochs, of the whole fit. It grows with rows ** power. views: name -> seconds to predict a row. steps: how many were
    measured, 0 where there are none. fitted: rows of the largest part that was fitted. norms: whether batch norms are
    measured after the last epoch.
    """

    start: float
    epoch: float
    rows: int
    views: dict[str, float]
    power: float = 1.0
    steps: int = 0
    fitted: int = 0
    norms: bool = False


def measured(at: Opened, splits: int, engine: Engine) -> Cost:
    """Fold 0, in as many processes as would work on so many splits; the mean of what they say. Pseudo-labels, which may not
    be there yet, are left out: rows count by their number."""
    run = at.run.model_copy(update={"pseudo": None})
    together = min(engine.slots(run.demand)[0], splits)
    measure = functools.partial(_steps if isinstance(at.run.task, Stepped) else _fits, run, time.monotonic())
    found = engine.map(measure, at.table.splits[:1] * together, run.demand)

    def mean(of: Callable[[Cost], float]) -> float:
        return float(np.mean([of(cost) for cost in found]))

    views = {view: mean(lambda cost, view=view: cost.views[view]) for view in at.run.task.views}
    start, epoch, power = mean(lambda c: c.start), mean(lambda c: c.epoch), mean(lambda c: c.power)
    return replace(found[0], start=start, epoch=epoch, power=power, views=views)


def _steps(run: Run, began: float, split: Split) -> Cost:
    """At a rate of 0, which takes as long as any other. began: when the command asked for it, by `time.monotonic`."""
    from competition import averages, loop

    plain = run.task.model_copy(update={"compile": "off"})
    with rehearsal.fold_of(run, split) as fold:
        job = plain.job(fold)
        norms = bool(plain.swa and averages.norms(job.model))
        start, times, ends = time.monotonic() - began, [], time.monotonic() + SECONDS
        steps = rehearsal.steps(job, plain, fold, lambda n: 0.0)
        while len(times) < WARM + FEWEST or time.monotonic() < ends:
            before = time.monotonic()
            next(steps)
            times.append(time.monotonic() - before)
            left = max(0.0, ends - time.monotonic())
            board.show(f"{run.name} {split.name}: steps", round(SECONDS - left), round(SECONDS), f"{len(times)} steps")
        loop.keep(job.model, job, fold)
        views = _views(plain, fold, LOOKED * plain.batch)
    return Cost(
        start, float(np.mean(times[WARM:])) * job.steps, len(fold.train), views, steps=len(times) - WARM, norms=norms
    )


def _fits(run: Run, began: float, split: Split) -> Cost:
    """Parts of the fold, each as a fold of its own; other rows are fitted before, for what only the first fit takes."""
    with rehearsal.fold_of(run, split) as fold:
        rows = len(fold.train)
        task = run.task.settled(rows) if isinstance(run.task, Adaptive) else run.task
        sizes = sorted({min(rows, max(LEAST_ROWS, round(rows * part))) for part in PARTS})
        order = np.random.default_rng(fold.seed).permutation(rows)
        first = _seconds(task, part(run, fold, order[::-1][: sizes[0]]))
        start, points, ends = time.monotonic() - began, [], time.monotonic() + FITS
        for size in sizes:
            points.append((size, _seconds(task, part(run, fold, order[:size]))))
            board.show(f"{run.name} {split.name}: rows fitted", size, rows, f"{points[-1][1]:.1f} s")
            if len(points) > 1 and time.monotonic() + 2 * points[-1][1] > ends:
                break
        views = _views(task, fold, LOOKED_ROWS)
    size, seconds = points[-1]
    power = growth(points)
    return Cost(start - min(first, points[0][1]), seconds * (rows / size) ** power, rows, views, power, fitted=size)


def part(run: Run, fold: Fold, places: np.ndarray) -> Fold:
    """The fold with these of its training rows."""
    train, data = fold.train.take(fold.train.ids[places]), load(run.competition)
    return replace(fold, train=train, inner=lambda n: inner(train, data.problem.kind, data.config.folds, n, fold.seed))


def growth(points: Sequence[tuple[int, float]]) -> float:
    """The power of the rows by which seconds grew from the last part but one to the last."""
    if len(points) < 2:
        return 1.0
    (few, quick), (many, slow) = points[-2:]
    return float(np.clip(math.log(slow / quick) / math.log(many / few), 0.0, STEEPEST))


def _seconds(task: Task, fold: Fold) -> float:
    """Of a fit, whose models stay in the fold's folder."""
    before = time.monotonic()
    artifacts.write_json(fold.folder / "fit.json", task.fit(fold))
    return time.monotonic() - before


def _views(task: Task, fold: Fold, rows: int) -> dict[str, float]:
    """Seconds a row to predict at most so many held-out rows in each view."""
    assert fold.valid is not None
    some = fold.valid.take(fold.valid.ids[:rows])
    task.predict(fold.valid.take(fold.valid.ids[:2]), fold, task.views[0])  # reads the model
    seconds = {}
    for view in task.views:
        before = time.monotonic()
        task.predict(some, fold, view)
        seconds[view] = (time.monotonic() - before) / len(some)
    return seconds
