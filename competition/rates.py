"""The learning-rate range test (Smith 2017): `make lr RUN=leaves/baseline` -> lr.png.

Some steps of fold 0's training, its rate rising from next to nothing until the loss climbs. What it learns is thrown away.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from competition import artifacts, board, chart, pseudo, rehearsal, runs
from competition.config import Run, task_name
from competition.engine import Engine
from competition.errors import ConfigFault, DataFault, Finding
from competition.runs import Opened
from competition.split import Split
from competition.task import Stepped
from competition.train import check

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 150
CLIMBED = 4  # times the least of the smoothed loss, where the test ends
SMOOTH = 0.9  # decay of that loss
WIDTH = 6  # steps, a third of a decade: standard deviation of the bell that the curve is read by
FEWEST = 4 * WIDTH


@dataclass(frozen=True)
class Curve:
    """rates, losses: [steps] as they were. smooth: [steps] losses under a bell. steepest, least: steps, None where the
    loss falls by less than its noise."""

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    steepest: int | None
    least: int | None


def find(at: Opened, engine: Engine) -> Curve:
    """Draws lr.png and says which rate to try.

    Raises ConfigFault CFG-TASK and those of `pseudo.check`, DataFault LR-CURVE, Stopped.
    """
    refuse(at.run)
    check(at)
    if at.run.pseudo:
        pseudo.check(at)  # refuses labels that training would refuse
    rates, losses = engine.map(functools.partial(climb, at.run), at.table.splits[:1], at.run.demand)[0]
    curve = read(rates, losses)
    lr = at.run.task.lr
    path = at.folder / "lr.png"
    artifacts.write_bytes(path, chart.rates(curve, lr, f"{at.run.name}: loss against learning rate"))
    board.say(f"{at.run.name}: {spoken(curve, at.run)}")
    board.say(f"{at.run.name}: {path}, from {len(losses)} steps of {at.table.splits[0].name}")
    return curve


def refuse(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where the run does not train by steps."""
    if not isinstance(run.task, Stepped) or run.preset is not None:
        if run.task is None:
            found, mend = f"members: {', '.join(run.members or ())}", "RUN=<one of them>"
        else:
            found = f"task: {task_name(run.task)}"
            mend = (
                'set a learning rate of the model\'s own library, such as SET="params.learning_rate=0.02", and compare'
            )
        raise ConfigFault(
            Finding("CFG-TASK", "the run does not train by steps of a learning rate", f"RUN={run.name}", found, mend)
        )


def climb(run: Run, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """[steps] rates and losses of a fold in training; head_lr and layer_decay count as in a run."""
    plain = run.task.model_copy(update={"compile": "off"})
    grow = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))
    losses: list[float] = []
    with rehearsal.fold_of(run, split) as fold:
        steps = rehearsal.steps(plain.job(fold), plain, fold, lambda n: LOWEST * grow**n)
        mean, least = 0.0, math.inf
        for n, loss in enumerate(itertools.islice(steps, STEPS), 1):
            mean = SMOOTH * mean + (1 - SMOOTH) * loss
            now = mean / (1 - SMOOTH**n)
            least = min(least, now)
            if not now <= CLIMBED * least:
                break
            losses.append(loss)
            board.show(
                f"{run.name} {split.name} rates", n, STEPS, f"rate {LOWEST * grow ** (n - 1):.1e}  loss {now:.4f}"
            )
    return LOWEST * grow ** np.arange(len(losses)), np.array(losses)


def read(rates: np.ndarray, losses: np.ndarray) -> Curve:
    """Where the loss falls fastest and where it is least, before it climbs. Raises DataFault LR-CURVE."""
    from scipy.ndimage import gaussian_filter1d

    if len(losses) < FEWEST:
        found = f"{len(losses)} steps, up to a rate of {rates[-1] if len(rates) else LOWEST:.1e}"
        mend = "look at `batch.png` and the targets, or try `amp: off` and smaller values"
        raise DataFault(Finding("LR-CURVE", "the loss climbs at next to no rate", "make lr", found, mend))
    smooth, slope = (gaussian_filter1d(losses, WIDTH, order=n, mode="nearest") for n in (0, 1))
    least = int(smooth.argmin())
    noise = float(np.std((losses - smooth)[: least + 1]))
    if smooth[: least + 1].max() - smooth[least] <= noise:
        return Curve(rates, losses, smooth, None, None)
    return Curve(rates, losses, smooth, int(slope[: least + 1].argmin()), least)


def spoken(curve: Curve, run: Run) -> str:
    if curve.steepest is None or curve.least is None:
        return "no rate lowers the loss by more than its noise in so few steps; nothing is suggested"
    steepest, least = curve.rates[curve.steepest], curve.rates[curve.least]
    anew = f" AS={run.name}-lr" if runs.recorded(run.name) else ""
    return (
        f"the loss falls fastest at {steepest:.1e} and is least at {least:.1e} (a tenth of that: {least / 10:.1e}); the run "
        f'has lr {run.task.lr:g}. To use the first: make train RUN={run.name} SET="lr={steepest:.1e}"{anew}'
    )
