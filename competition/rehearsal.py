"""Training that leaves nothing behind: `make lr` reads the losses of its steps (rates.py), `make plan` their times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from competition import pseudo, train
from competition.config import Run
from competition.errors import Stopped
from competition.knobs import Training
from competition.split import Split
from competition.task import Fold

if TYPE_CHECKING:
    from competition.loop import Job


@contextmanager
def fold_of(run: Run, split: Split) -> Generator[Fold]:
    """The run's fold with the rows that training would have, in a folder that is thrown away; it logs, scores and shows
    nothing."""
    with TemporaryDirectory() as folder:
        fold = replace(train.silent(train.open_fold(run, split)), folder=Path(folder))
        yield pseudo.joined(fold, run, split)


def steps(job: Job, knobs: Training, fold: Fold, rate: Callable[[int], float]) -> Iterator[float]:
    """The loss of each step, without end; rate(n) is that of step n, from 0. Raises Stopped, EnvironmentFault RUN-OOM."""
    from competition import devices, loop
    from competition.step import stepper

    device = devices.device_of(knobs.device)
    state = loop.begin(job, knobs, device)
    step = stepper(state, knobs, device)
    job.model.train()
    for epoch in itertools.cycle(range(knobs.epochs)):
        for batch in job.batches(epoch, 0):
            if fold.stop():
                raise Stopped(f"{fold.name} stopped at step {state.step} of a rehearsal")
            yield float(step(batch, rate(state.step)))
