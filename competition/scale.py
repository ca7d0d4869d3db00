"""What a run, or a search over it, takes on several machines: `make plan RUN=leaves/baseline NODES=4 [GPUS=8] [TRIALS=30]`.

Folds, seeds and trials are dealt to slots as the engine deals them: each in its order, as soon as a slot is free. Their
seconds are measured here (costs.py), in one slot of this machine among those at work; a fold has one slot. Machines are
taken to be alike and to share nothing that they wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from competition import board, plan, portfolio
from competition.config import Run
from competition.engine import Engine, accelerators
from competition.errors import ConfigFault, Finding
from competition.plan import Estimate, Work, makespan
from competition.runs import Opened

SIZES = (*(2**n for n in range(10)), 1000)  # slots in the table


@dataclass(frozen=True)
class Stage:
    """Jobs of which none begins before the last one of the stage before has ended.

    jobs: seconds of each. start: seconds until a slot has its data and network, which all slots take side by side.
    """

    jobs: tuple[float, ...]
    start: float = 0.0

    def wall(self, slots: int) -> float:
        """Seconds; 0 where there is nothing to do."""
        return self.start + makespan(self.jobs, slots) if any(self.jobs) else 0.0


def wall(stages: Sequence[Stage], slots: int) -> float:
    return sum(stage.wall(slots) for stage in stages)


def idle(stages: Sequence[Stage], slots: int) -> float:
    """Share of the slots' time in which none of the jobs is at work, 0 to 1."""
    return 1 - sum(sum(stage.jobs) for stage in stages) / (slots * wall(stages, slots))


def of_run(found: Estimate, works: Sequence[Work]) -> list[Stage]:
    """What is left to do of a run: its folds, then their views. As `Estimate.whole`, of any number of slots."""
    folds, views = [found.fold(work) for work in works], [found.view(work, work.views) for work in works]
    start = found.ready + found.cost.start
    stages = [Stage(tuple(folds), start), Stage(tuple(views), 0.0 if any(folds) else start)]
    return [stage for stage in stages if any(stage.jobs)]


def of_search(found: Estimate, works: Sequence[Work], trials: int, again: int) -> list[Stage]:
    """A search whose trials are all whole, so at most: a trial's folds come one after the other, in one slot.

    works: a fold each; again: runs that are trained on another seed at the end, a fold a job.
    """
    view = next(iter(found.cost.views.values()))
    folds = [found.fold(work) + view * work.valid for work in works]
    last = [Stage(tuple(folds * again))] if again else []
    return [Stage((sum(folds),) * trials, found.ready + found.cost.start), *last]


def scaled(
    run: Run, engine: Engine, nodes: int, gpus: int | None, trials: int | None = None, time: str | None = None
) -> float:
    """Shows the table and returns the seconds on so many machines. gpus: of each; None: as many slots as this one has.

    Raises ConfigFault CFG-VALUE, Stopped.
    """
    _check(run, nodes, gpus, trials)
    allowed = None if time is None else portfolio.duration(time)
    each = gpus or engine.slots(run.demand)[0]
    stages = [stage for one, whole in plan.made(run).values() for stage in _stages(one, engine, whole, trials, run)]
    if not stages:
        board.say(f"{run.name}: nothing is left to train or to predict")
        return 0.0
    _show(run, stages, nodes, each, trials)
    seconds = wall(stages, nodes * each)
    if allowed is not None:
        enough = next((n for n in range(1, max(SIZES) + 1) if wall(stages, n) <= allowed), None)
        _say(run, f"fits into {time} from {enough} slots on" if enough else f"fits into {time} on no number of slots")
    return seconds


def _check(run: Run, nodes: int, gpus: int | None, trials: int | None) -> None:
    given = {"NODES": nodes, "GPUS": gpus, "TRIALS": trials}
    wrong = [f"{name}={value}" for name, value in given.items() if value is not None and value < 1]
    mistakes = [("a number of at least 1 is meant", text, "1 or more") for text in wrong]
    if run.preset is not None:
        mistakes.append(("a preset takes the time that it is given, on any number of machines", f"run {run.name}",
                         "plan a run with a task, or a blend"))  # fmt: skip
    elif trials and run.members is not None:
        mistakes.append(("a blend is not searched", f"TRIALS={trials}", "plan the searches of its members"))
    if mistakes:
        raise ConfigFault(*(Finding("CFG-VALUE", "the command has a mistake", where, found, mend)
                            for found, where, mend in mistakes))  # fmt: skip


def _stages(one: Run, engine: Engine, predicted: bool, trials: int | None, run: Run) -> list[Stage]:
    """Of the run, or of one that is made before it; predicted: whether its views count."""
    if one.preset is not None:
        board.say(f"{one.name}: the time of a preset is left out")
        return []
    at = plan.look(one)
    if not plan.measurable(at):
        return []
    if trials and one.name == run.name:
        again = run.tune.finalists + 1 if run.tune.finalists else 0
        return of_search(plan.estimate(at, engine), _first_repeat(at), trials, again)
    works = plan.works(at)
    left = works if predicted else [Work(w.rows, w.valid, w.test, ()) for w in works]
    return of_run(plan.estimate(at, engine), left) if any(w.rows or w.views for w in left) else []


def _first_repeat(at: Opened) -> list[Work]:
    """Every fold once, of one seed: what a trial trains."""
    every = zip(at.splits, plan.works(at, anew=True), strict=False)  # without refits
    return [work for split, work in every if split.repeat == 0 and split.seed == at.splits[0].seed]


def _show(run: Run, stages: Sequence[Stage], nodes: int, each: int, trials: int | None) -> None:
    real = run.demand.device != "cpu" and accelerators() > 0
    what = f"a search of {trials} trials, all of them whole" if trials else "all of it"
    table = Table("slots", "nodes", "takes", "slot hours", "idle", title=f"{run.name}, {what}: an estimate")
    for n in sorted({*SIZES, nodes * each}):
        seconds, mark = wall(stages, n), " <" if n == nodes * each else ""
        hours = f"{n * seconds / 3600:.2f}"
        table.add_row(f"{n:,}{mark}", str(-(-n // each)), board.spoken(seconds), hours, f"{idle(stages, n):.0%}")
    board.console.print(table)
    jobs = max(len(stage.jobs) for stage in stages)
    kind = "GPU of this machine" if real else "process on this machine's CPU, for there is no GPU here to measure"
    _say(run, f"a slot is as fast as one {kind}; {each} of them a node; slot hours are what is paid for, idle ones too")
    _say(run, f"{jobs:,} jobs at once at most: more slots than that save no time")


def _say(run: Run, text: str) -> None:
    board.say(f"{run.name}: {text}")
