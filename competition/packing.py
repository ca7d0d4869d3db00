"""How many folds share a GPU: measured with a few steps, since a small network leaves most of it idle and a large one none.

Processes at once, 1, 2, then 4 a GPU, each training fold 0 without leaving anything behind; more of them are taken only
where all together are a tenth faster than fewer, and where their memory fits. `jobs:` of the run wins.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from competition import artifacts
from competition.config import Run
from competition.engine import Demand, Engine, gpus
from competition.errors import EnvironmentFault
from competition.runs import Opened
from competition.split import Split
from competition.task import Stepped

if TYPE_CHECKING:
    import torch

FILE = "packing.json"
COUNTS = (1, 2, 4)  # processes a GPU
GAIN = 1.1  # by which more of them must be faster than fewer
SHORT = 300.0  # seconds for all folds one after another, below which measuring costs more than it can save
WARM, SECONDS, PATIENCE = 3, 4.0, 180.0  # steps that are not counted; of steps that are; until all are ready
ROOM, CONTEXT = 0.9, 600e6  # share of the memory that may be taken; bytes of a process that torch does not count


@dataclass(frozen=True)
class Pace:
    """Of so many processes a GPU. rate: pictures a second of all together; need: share of the memory that one takes."""

    count: int
    rate: float
    need: float


def chosen(at: Opened, engine: Engine, folds: int) -> Demand:
    """The run's demand, with its own `jobs`, those that were found before on these GPUs, or those that are found now.

    No `jobs` where that is no question: no NVIDIA GPU, no training by steps, no more folds than GPUs, or a cluster's.
    """
    demand, there = at.run.demand, engine.slots(at.run.demand)[1]
    if at.run.jobs or not there or not isinstance(at.run.task, Stepped) or "Apple" in gpus():
        return demand
    if remembered(at, engine) == demand and folds > there:
        counts = [count for count in COUNTS if count <= -(-folds // there)]
        found = measured(at.run, at.splits[0], engine, demand, there, counts, pictures(at) * folds)
        best = choice(found)
        told = ", ".join(f"{pace.count}: {pace.rate:.0f} img/s" for pace in found)
        at.say(f"folds at once on a GPU: {best} ({told})")
        artifacts.write_json(at.folder / FILE, {"gpus": gpus(), "count": best, "rates": [vars(pace) for pace in found]})
    return remembered(at, engine)


def remembered(at: Opened, engine: Engine) -> Demand:
    """The same for what follows training: no `jobs` where none were found."""
    path, demand = at.folder / FILE, at.run.demand
    if demand.jobs or not engine.slots(demand)[1] or not path.exists():
        return demand
    record = artifacts.read_json(path)
    return replace(demand, jobs=record["count"] * len(gpus())) if record["gpus"] == gpus() else demand


def pictures(at: Opened) -> int:
    """Training rows of fold 0 in all epochs."""
    return len(at.table.ids(at.splits[0])[0]) * at.run.task.epochs


def measured(
    run: Run, split: Split, engine: Engine, demand: Demand, there: int, counts: Sequence[int], work: int
) -> list[Pace]:
    """Fewest first, until it gets no faster or no more fit. work: pictures to train on, of all folds; where one process a
    GPU is soon done with them, no more is tried. there: GPUs, or 1 for the cores of a CPU."""
    found: list[Pace] = []
    for count in counts:
        if found and (choice(found) < found[-1].count or count * found[-1].need > ROOM or work / found[0].rate < SHORT):
            break
        with TemporaryDirectory() as folder:
            job = functools.partial(pace, run, Path(folder), count * there)
            try:
                parts = engine.map(job, [split] * count * there, replace(demand, jobs=count * there))
            except EnvironmentFault:  # so many can't work here: fewer can
                if not found:
                    raise
                break
        found.append(Pace(count, sum(part.rate for part in parts), max(part.need for part in parts)))
    return found


def choice(found: Sequence[Pace]) -> int:
    """The fewest processes than which no more are faster by GAIN."""
    best = found[0]
    for pace in found[1:]:
        best = pace if pace.rate >= GAIN * best.rate else best
    return best.count


def pace(run: Run, folder: Path, together: int, split: Split) -> Pace:
    """Pictures a second of this process, counted from when as many as `together` train at once; 0 where they never do.
    Raises Stopped."""
    import torch

    from competition import devices, rehearsal

    task = run.task.model_copy(update={"compile": "off"})
    device = devices.device_of(task.device)
    with rehearsal.fold_of(run, split) as fold:
        steps = rehearsal.steps(task.job(fold), task, fold, lambda n: 0.0)
        for _ in range(WARM):
            next(steps)
        (folder / str(os.getpid())).touch()
        ends = time.monotonic() + PATIENCE
        while len(list(folder.iterdir())) < together:
            next(steps)
            if time.monotonic() > ends:
                return Pace(1, 0.0, share(device))
        began, done = time.monotonic(), 0
        while time.monotonic() < began + SECONDS:
            next(steps)  # reads the loss back, so the step is done
            done += 1
        rate = done * task.batch / (time.monotonic() - began)
    need = share(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Pace(1, rate, need)


def share(device: torch.device) -> float:
    """Of the device's memory that this process took at most."""
    import resource

    import torch

    if device.type == "cuda":
        return (torch.cuda.max_memory_reserved() + CONTEXT) / torch.cuda.mem_get_info()[1]
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return taken / (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
