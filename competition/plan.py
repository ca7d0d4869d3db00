"""What a run will take on this machine, and what of it fits a time: `make plan RUN=leaves/baseline [TIME=9h]`.

An estimate, from what costs.py measures: folds are dealt to the processes at once as the engine does, epochs grow with the
rows of a fold, pixels with the square of `size`. What the run is made of or learns from comes first. Decisions on OOF are
left out.
"""

from __future__ import annotations

import heapq
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from competition import artifacts, board, costs, elsewhere, portfolio, pseudo, runs, settings, stacked, train
from competition.config import Run
from competition.costs import Cost
from competition.engine import Engine
from competition.predict import predicted_views
from competition.runs import Opened
from competition.task import Stepped

SIDES = 32  # pixels between the sizes that are offered
HALF = 0.5  # of the epochs or of the side, below which the next way to save is taken
MORE = 10  # times the epochs of the run are offered at most


@dataclass(frozen=True)
class Work:
    """A fold: rows to train on (0: trained), pseudo-labelled ones included, held-out rows, and the views in which those and
    `test` rows, unlabelled ones included, are predicted."""

    rows: int
    valid: int
    test: int
    views: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """cost: of one process. slots: processes at once. ready: seconds before any fold. epochs: 1 of a task without."""

    cost: Cost
    slots: int
    ready: float
    epochs: int
    stepped: bool

    def fold(self, work: Work, epochs: int | None = None) -> float:
        """Seconds to train it, its validations included, and the pass in which batch norms are measured."""
        epochs, cost = epochs or self.epochs, self.cost
        if not work.rows:
            return 0.0
        seconds = epochs * cost.epoch * (work.rows / cost.rows) ** cost.power
        looked = shown(epochs, self.stepped) * work.valid + cost.norms * work.rows
        return seconds + looked * next(iter(cost.views.values()))

    def view(self, work: Work, names: Sequence[str]) -> float:
        """Seconds to predict its held-out and test rows in these views."""
        return sum(self.cost.views[name] for name in names) * (work.valid + work.test)

    def whole(self, works: Sequence[Work], epochs: int | None = None) -> float:
        """Seconds until all of it is trained and predicted; 0 where there is nothing to do."""
        train = makespan((self.fold(work, epochs) for work in works), self.slots)
        predict = makespan((self.view(work, work.views) for work in works), self.slots)
        return self.ready + self.cost.start + train + predict if train + predict else 0.0

    def scaled(self, factor: float) -> Estimate:
        """With so many times the pixels."""
        views = {name: seconds * factor for name, seconds in self.cost.views.items()}
        return replace(self, cost=replace(self.cost, epoch=self.cost.epoch * factor, views=views))


@dataclass(frozen=True)
class Option:
    """A way to go. change: what differs, as SET has it, or as a key of competition.yaml."""

    name: str
    seconds: float
    change: str
    settable: bool = True


def plan(run: Run, engine: Engine, time: str | None = None) -> float:
    """Shows the estimate and returns the seconds that the run still takes. Raises ConfigFault CFG-VALUE, Stopped."""
    allowed = None if time is None else portfolio.duration(time)
    blend = run.members is not None and run.preset is None
    before = {name: left(one, engine, whole) for name, (one, whole) in made(run).items() if name != run.name}
    first = sum(before.values())
    if before:
        total = "all members, one after the other" if blend else "what comes first, one after the other"
        _show(f"{run.name}: an estimate", before | {total: first})
    if run.preset is not None:
        trains = board.spoken(portfolio.allowed(run))
        board.say(f"{run.name}: preset {run.preset} trains for {trains} at most and keeps what is whole by then "
                  f"(its first model is always finished, prediction is not clocked); TIME= is for all of it: "
                  f"make submission RUN={run.name} TIME={time or '1h'}")  # fmt: skip
        return first + left(run, engine)
    if blend:
        if allowed is not None:
            ends = "" if first <= allowed else "; make plan RUN=<member> TIME=... says what of a member would"
            board.say(f"{run.name}: {board.spoken(first)} {'does not fit' if ends else 'fits'} into TIME={time}{ends}")
        return first
    return first + _single(look(run), engine, None if allowed is None else allowed - first)


def made(run: Run, whole: bool = True) -> dict[str, tuple[Run, bool]]:
    """By name all runs that are trained for this one, itself last unless it is a blend, and whether they are predicted
    too: the ingredients of a soup need not be."""
    found: dict[str, tuple[Run, bool]] = {}
    for parent, predicted in [(r, True) for r in runs.needs(run)] + [(r, False) for r in runs.ingredients(run)]:
        for name, (one, too) in made(parent, predicted).items():
            found[name] = (one, too or (name in found and found[name][1]))
    return found if run.members is not None and run.preset is None else found | {run.name: (run, whole)}


def left(run: Run, engine: Engine, predicted: bool = True) -> float:
    """Seconds until the run itself is trained and predicted, or trained alone; of a preset the time that its models may
    take."""
    if run.preset is not None:
        return 0.0 if (artifacts.run_folder(run.name) / "score.json").exists() else portfolio.allowed(run)
    at = look(run)
    missing = [work if predicted else replace(work, views=()) for work in (works(at) if measurable(at) else ())]
    return estimate(at, engine).whole(missing) if any(w.rows or w.views for w in missing) else 0.0


def look(run: Run) -> Opened:
    """`runs.look`, and whether the run may learn from its parent, be that predicted or not."""
    at = runs.look(run)
    if run.pseudo is not None:
        (pseudo.check if pseudo.known(run.pseudo) else pseudo.refuse)(at)
    if stacked.given(run) and stacked.known(at):
        stacked.check(at)
    return at


def estimate(at: Opened, engine: Engine) -> Estimate:
    if runs.ingredients(at.run):
        return _tasted(at, engine)
    began = clock.monotonic()
    train.check(at)
    engine.everywhere(elsewhere.needs(at))
    ready = clock.monotonic() - began
    splits = len(at.splits) + len(at.refits)
    stepped = isinstance(at.run.task, Stepped)
    cost = costs.measured(at, splits, engine)
    together = min(engine.slots(at.run.demand)[0], splits)
    return Estimate(cost, together, ready, at.run.task.epochs if stepped else 1, stepped)


def _tasted(at: Opened, engine: Engine) -> Estimate:
    """Of a soup: 2 n - 1 means of n runs are scored at most, each on the held-out rows of every fold in the first view.
    What is scored for one fold serves the others, so a fold takes what its own rows do."""
    task = at.run.task
    network = replace(at, run=at.run.model_copy(update={"task": task.network()}))
    found, first = estimate(network, engine), works(at, anew=True)[0]
    seconds = (2 * len(task.of) - 1) * first.valid * found.cost.views[task.views[0]]
    cost = replace(found.cost, epoch=seconds, rows=first.rows, norms=False)
    return replace(found, cost=cost, epochs=1, stepped=False)


def works(at: Opened, anew: bool = False) -> list[Work]:
    """What is left to do of each fold, or all of it."""
    found, task = [], at.run.task
    test = sum(map(len, at.data.unknown.values()))
    for split in (*at.splits, *at.refits):
        rows, valid = map(len, at.table.ids(split))
        there = () if anew else predicted_views(at.run, split)
        views = tuple(view for view in task.views if view not in there)
        trained = not anew and train.done(at.run, split)
        found.append(Work(0 if trained else rows + pseudo.count(at, split), valid, test, views))
    return found


def options(at: Opened, estimate: Estimate, allowed: float) -> list[Option]:
    """Ways to spend the time, the run as it is first: one seed, epochs, one view, a smaller size, both, fewer folds."""
    every, task = works(at, anew=True), at.run.task
    found = [Option("as it is", estimate.whole(works(at)), "")]
    if len(every) > len(at.table.splits):
        once = every[: len(at.table.splits)]
        found.append(Option("one seed, no refit", estimate.whole(once), "seeds=1 refit=null"))
    if estimate.stepped:
        one = [replace(work, views=work.views[:1]) for work in every]
        found += _epochs("all folds and views", estimate, every, allowed, "")
        if len(task.views) > 1:
            plain = f"views=[{task.views[0]}]"
            found.append(Option("one view", estimate.whole(one), plain))
            found += _epochs("all folds, one view", estimate, one, allowed, f"{plain} ")
        for side in range(task.size // SIDES * SIDES, SIDES - 1, -SIDES):
            seconds = estimate.scaled((side / task.size) ** 2).whole(every)
            if side < task.size and seconds <= allowed:
                found.append(Option("smaller pictures", seconds, f"size={side}"))
                break
    return found + list(_fewer_folds(at, estimate, every, allowed))


def _epochs(name: str, estimate: Estimate, every: Sequence[Work], allowed: float, more: str) -> Iterator[Option]:
    """The most epochs that fit."""
    for epochs in range(MORE * estimate.epochs, 0, -1):
        if (seconds := estimate.whole(every, epochs)) <= allowed:
            yield Option(name, seconds, f"{more}epochs={epochs}")
            return


def _fewer_folds(at: Opened, estimate: Estimate, every: Sequence[Work], allowed: float) -> Iterator[Option]:
    """The most folds that fit, of the same rows."""
    rows, held = every[0].rows + every[0].valid, sum(work.valid for work in every[: at.table.table["fold"].max() + 1])
    refits = list(every[len(at.splits) :])
    for n in range(at.data.config.folds.n - 1, 1, -1):
        fold = replace(every[0], rows=rows - held // n, valid=held // n)
        if (seconds := estimate.whole([fold] * n * at.run.seeds + refits)) <= allowed:
            yield Option("fewer folds, a table anew", seconds, f"competition.yaml: folds: {{n: {n}}}", settable=False)
            return


def chosen(found: Sequence[Option], estimate: Estimate, size: int | None, allowed: float) -> Option | None:
    """The first that fits and leaves at least half of the epochs and of the side; else any; None where nothing fits."""

    def keeps(option: Option) -> bool:
        values = settings.parse(option.change)
        epochs, side = values.get("epochs", estimate.epochs), values.get("size", size)
        return epochs >= HALF * estimate.epochs and (size is None or side >= HALF * size)

    fitting = [option for option in found if option.settable and option.seconds <= allowed]
    return next(filter(keeps, fitting), next(iter(fitting), None))


def _single(at: Opened, engine: Engine, allowed: float | None) -> float:
    run, missing = at.run, works(at)
    if not measurable(at):
        return 0.0
    if not isinstance(run.task, Stepped) and not any(work.rows or work.views for work in missing):
        board.say(f"{run.name}: all folds are trained and predicted; nothing is left")
        return 0.0
    found, every = estimate(at, engine), works(at, anew=True)
    first, seconds = every[0], found.whole(missing)
    cost = found.cost
    lines = {"an epoch of fold 0": cost.epoch} if found.stepped else {}
    lines["a fold"] = found.fold(first)
    lines[f"all {len(every)} folds, {found.slots} at once"] = makespan(
        (found.fold(work) for work in every), found.slots
    )
    lines["a view of all folds, OOF and test"] = makespan((found.view(w, w.views[:1]) for w in every), found.slots)
    lines["the run from here, start and all views included"] = seconds
    of = f"{cost.steps} steps" if found.stepped else f"fits of up to {cost.fitted} of {cost.rows} rows"
    if run.pseudo and any(work.rows for work in missing):
        few = "as labelled now" if pseudo.known(run.pseudo) else f"at most, until {run.pseudo.run} has labelled them"
        board.say(f"{run.name}: fold 0 learns from {pseudo.count(at, at.splits[0])} {run.pseudo.rows} rows too, {few}")
    _show(f"{run.name}: an estimate, from {of} of fold 0 in {found.slots} processes at once", lines)
    if allowed is not None:
        _offer(at, found, allowed)
    return seconds


def measurable(at: Opened) -> bool:
    """Whether the columns that other runs give are there, or can be had; says where they are not."""
    ready = not stacked.given(at.run) or stacked.known(at)
    if not ready:
        board.say(
            f"{at.run.name}: what it takes itself is left out until {', '.join(stacked.parents(at.run))} is predicted"
        )
    return ready


def _offer(at: Opened, found: Estimate, allowed: float) -> None:
    """A table of options, and the line that goes on."""
    run, ways = at.run, options(at, found, allowed)
    table = Table("option", "takes", "fits", "by", title=f"{run.name} in {board.spoken(allowed)}")
    for way in ways:
        table.add_row(way.name, board.spoken(way.seconds), "yes" if way.seconds <= allowed else "no", way.change)
    board.console.print(table, markup=False)
    best = chosen(ways, found, getattr(run.task, "size", None), allowed)
    if best is None:
        board.say(f"{run.name}: nothing that SET can say fits into {board.spoken(allowed)}")
    elif not best.change:
        board.say(f"{run.name} fits as it is: make submission RUN={run.name}")
    else:
        anew = f" AS={run.name}-fast" if runs.recorded(run.name) else ""
        board.say(f'{run.name}: make submission RUN={run.name} SET="{best.change}"{anew}')


def _show(title: str, lines: dict[str, float]) -> None:
    table = Table("what", "takes", title=title)
    for name, seconds in lines.items():
        table.add_row(name, board.spoken(seconds))
    board.console.print(table)


def shown(epochs: int, stepped: bool) -> int:
    """Validations of a fold."""
    if not stepped:
        return 0
    from competition import loop

    return loop.validations(epochs)


def makespan(seconds: Iterable[float], slots: int) -> float:
    """When the last of these is done, each begun in its order as soon as one of the slots is free."""
    ends = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)
