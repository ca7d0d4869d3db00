"""The local leaderboard: `make compare COMP=leaves` ranks the competition's runs by their folders, in a second.

    make compare COMP=leaves RUNS="conv* blend" TASK=image TOP=10 SORT=time
    python -m competition compare leaves --json

`--json` prints one object, its figures as score.json has them, null where they are not known:

    competition, metric, greater_is_better   of competition.yaml; the direction is null where no run has a score
    best                                     name of the best run of all, whichever are shown; null without any
    runs                                     those that are shown, in the order of the table, then those without a
                                             comparable score; of each
        name, run, task, state, note         `state` is `scored`, or else all figures are null and `note` says why
        score, std, folds                    over all rows; standard deviation over folds; by fold
        gap, error, within_noise             to `best`, its standard error over folds, whether it is below two of these
        seconds, parameters, epochs          of training all folds, of what it is made of too; of one fold's model
        public, private                      of its last submission in the ledger
        made, members                        when it was scored; the runs that it is made of
    next                                     what may be done now, a list of sentences
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from rich.box import SIMPLE
from rich.measure import Measurement
from rich.table import Table

from competition import artifacts, board
from competition.config import load_competition
from competition.errors import ConfigFault, Finding, examples, nearest
from competition.significance import digits
from competition.standings import Standing, standings

SORTS: dict[str, Callable[[Standing], float | int | str | None]] = {
    "score": lambda s: s.gap,
    "time": lambda s: s.seconds,
    "parameters": lambda s: s.parameters,
    "epochs": lambda s: s.epochs,
    "std": lambda s: s.std,
    "public": lambda s: _better(s, s.public),
    "private": lambda s: _better(s, s.private),
    "name": lambda s: s.run,
}
DROPPED = ("epochs", "parameters", "task", "private", "± folds", "time")  # on a narrow screen, the first one first
WIDEST = 1_000  # letters, where a table goes into a file or a pipe
NAMED = 4  # runs in a sentence


def tell(competition: str, runs: Sequence[str], task: str, top: int | None, sort: str, as_json: bool) -> None:
    """Ranks the runs on the screen, or as JSON. runs: names or patterns; none: all. top: of those with a score, by score.

    Raises ConfigFault CFG-MISSING, CFG-VALUE and what `standings` raises.
    """
    _check(top, sort)
    metric = load_competition(competition).metric.name
    every = standings(competition)
    if not every:
        folder, mend = artifacts.RUNS / competition, f"make submission RUN={competition}/<run>"
        raise ConfigFault(Finding("CFG-MISSING", "the competition has no runs yet", str(folder), "no run folder", mend))
    shown = _chosen(every, runs, task)
    ranked, others = [s for s in shown if s.state == "scored"][:top], [s for s in shown if s.state != "scored"]
    ranked.sort(key=lambda s: (SORTS[sort](s) is None, SORTS[sort](s)))
    if as_json:
        print(json.dumps(record(competition, metric, every, [*ranked, *others]), indent=1, ensure_ascii=False))
        return
    if ranked:
        board.say(f"{competition}: {headline(every[0])}")  # a title would be broken at the table's width
        _print(_table(ranked, every[0]))
    for standing in others:
        board.say(f"{standing.run} ({standing.state}): {standing.note}")
    for sentence in advice(competition, every):
        board.say(sentence)


def record(competition: str, metric: str, every: Sequence[Standing], shown: Sequence[Standing]) -> dict[str, Any]:
    """What the module's docstring lists. every: all standings, of which `shown` are some."""
    best = every[0] if every[0].state == "scored" else None
    return {
        "competition": competition,
        "metric": metric,
        "greater_is_better": best and best.scored["greater_is_better"],
        "best": best and best.name,
        "runs": [_plain(standing) for standing in shown],
        "next": advice(competition, every),
    }


def _plain(standing: Standing) -> dict[str, Any]:
    figures = ("name", "run", "task", "state", "note", "score", "std", "folds", "gap", "error")
    later = ("seconds", "parameters", "epochs", "public", "private")
    return {
        **{key: getattr(standing, key) for key in figures},
        "within_noise": standing.level if standing.error is not None else None,
        **{key: getattr(standing, key) for key in later},
        "made": standing.scored.get("made"),
        "members": list(standing.members),
    }


def headline(best: Standing) -> str:
    """What the figures are of."""
    direction = "greater" if best.scored["greater_is_better"] else "smaller"
    return f"{best.scored['metric']}, {direction} is better; gap to {best.run}, ~ is within noise"


def advice(competition: str, every: Sequence[Standing]) -> list[str]:
    """What to do next, by all standings."""
    scored = [s for s in every if s.state == "scored"]
    if not scored:
        return ["no run has a score that counts yet"]
    best, level = scored[0], [s for s in scored[1:] if s.level]
    single = [s for s in scored if s.task != "blend" and "+" not in s.run]  # a preset blends its models itself
    told = []
    if level:
        told.append(
            f"within noise of {best.run}: {_listed(level)}; make compare A={best.name} B={level[0].name} tests it"
        )
    elif any(s.error is None for s in scored[1:]):
        told.append(
            "too few folds have a score to tell a gap from noise; make compare A= B= tests two runs by their rows"
        )
    elif len(scored) > 1:
        told.append(f"{best.run} is ahead of all others beyond noise")
    if len(single) > 1 and best.task != "blend":
        names = " ".join(s.run for s in single[:NAMED])
        told.append(f'next: blend them: make ensemble COMP={competition} RUNS="{names}"')
    elif len(single) < 2:
        told.append("next: a second run, of another model; a blend of unlike runs gains most")
    else:
        told.append(f"next: make submission RUN={best.name}")
    return told


def amount(parameters: int | None) -> str:
    """`4.93M`, `971k`."""
    if parameters is None:
        return ""
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if parameters >= s), (1, ""))
    return f"{parameters / size:.3g}{unit}"


def precision(ranked: Sequence[Standing]) -> float:
    """The error by which scores are rounded: the smallest of a gap, or of folds; 0 where none is known."""
    return min([s.error for s in ranked if s.error] or [s.std for s in ranked if s.std], default=0.0)


def one_form(competition: str, a: str, b: str, filters: Sequence[str]) -> bool:
    """Whether `make compare` is to rank a competition, not to tell two runs apart. Raises ConfigFault CFG-VALUE where it is
    told neither, both, or to filter two runs.
    """
    pair, given = bool(a or b), f"COMP={competition} A={a} B={b} {' '.join(filters)}".strip()
    if bool(competition) == pair or (pair and (filters or not (a and b))):
        what, found = (
            "compare has two forms, and this is neither",
            "COMP= ranks runs; A= and B= tells two of them apart",
        )
        mend = f"make compare COMP={(competition or a or b or 'leaves').partition('/')[0]}, or A=<name>/<run> B=<name>/<run>"
        raise ConfigFault(Finding("CFG-VALUE", what, given, found, mend))
    return not pair


def _check(top: int | None, sort: str) -> None:
    wrong = []
    if top is not None and top < 1:
        wrong.append(Finding("CFG-VALUE", "the command has a mistake", f"TOP={top}", "fewer than one run", "TOP=10"))
    if sort not in SORTS:
        wrong.append(Finding("CFG-VALUE", "the command has a mistake", f"SORT={sort}", sort, nearest(sort, SORTS)))
    if wrong:
        raise ConfigFault(*wrong)


def _chosen(every: Sequence[Standing], patterns: Sequence[str], task: str) -> list[Standing]:
    """Raises ConfigFault CFG-VALUE with every filter that fits nothing."""
    names, tasks = [s.run for s in every], sorted({s.task for s in every if s.task})
    idle = [pattern for pattern in patterns if not any(_fits(s, pattern) for s in every)]
    found = f"none of {len(every)} runs"
    wrong = [Finding("CFG-VALUE", "no run has that name", f"RUNS={p}", found, nearest(p, names)) for p in idle]
    if task and task not in tasks:
        wrong.append(Finding("CFG-VALUE", "no run is of that task", f"TASK={task}", found, nearest(task, tasks)))
    if wrong:
        raise ConfigFault(*wrong)
    chosen = [s for s in every if not patterns or any(_fits(s, p) for p in patterns)]
    left = [s for s in chosen if not task or s.task == task]
    if not left:
        found = f"of these runs the tasks are {examples(sorted({s.task for s in chosen}))}"
        where, mend = f"RUNS={' '.join(patterns)} TASK={task}", "leave one of the two out"
        raise ConfigFault(Finding("CFG-VALUE", "no run fits both", where, found, mend))
    return left


def _fits(standing: Standing, pattern: str) -> bool:
    return fnmatchcase(standing.run, pattern) or fnmatchcase(standing.name, pattern)


def _better(standing: Standing, score: float | None) -> float | None:
    """A figure that is smaller where the score is better."""
    return None if score is None else -score if standing.scored["greater_is_better"] else score


def _listed(some: Sequence[Standing]) -> str:
    more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
    return ", ".join(s.run for s in some[:NAMED]) + more


def _print(table: Callable[[Sequence[str]], Table]) -> None:
    """With as many columns as the screen is wide for; all of them where there is no screen."""
    console, left_out = board.console, []
    options = console.options.update(width=WIDEST)
    wide = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDEST
    while Measurement.get(console, options, table(left_out)).maximum > wide and len(left_out) < len(DROPPED):
        left_out.append(DROPPED[len(left_out)])
    screen = console if wide < WIDEST else board.Screen(width=WIDEST, highlight=False, markup=False, emoji=False)
    screen.print(table(left_out))
    if left_out:
        board.say(f"not shown for want of width: {', '.join(left_out)}")


def _table(ranked: Sequence[Standing], best: Standing) -> Callable[[Sequence[str]], Table]:
    """A table of the columns that say something, less those that it is told to leave out."""
    error = precision(ranked)

    def number(value: float | None) -> str:
        return "" if value is None else digits(value, error)

    def noise(s: Standing) -> str:
        mark = "" if s is best else " ~" if s.level else "  "
        return "" if s is best or s.error is None else number(s.error) + mark

    cells: dict[str, list[str]] = {
        "task": [s.task for s in ranked],
        "CV": [number(s.score) for s in ranked],
        "± folds": [number(s.std) for s in ranked],
        "gap": ["" if s is best else number(s.gap) for s in ranked],
        "± gap": [noise(s) for s in ranked],
        "time": ["" if s.seconds is None else board.spoken(s.seconds) for s in ranked],
        "parameters": [amount(s.parameters) for s in ranked],
        "epochs": [str(s.epochs or "") for s in ranked],
        "public": [number(s.public) for s in ranked],
        "private": [number(s.private) for s in ranked],
    }

    def make(left_out: Sequence[str]) -> Table:
        kept = {name: column for name, column in cells.items() if name not in left_out and any(column)}
        table = Table(box=SIMPLE, padding=(0, 1), pad_edge=False)
        table.add_column("run", overflow="fold")
        for name in kept:
            table.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
        for n, standing in enumerate(ranked):
            table.add_row(standing.run, *(column[n] for column in kept.values()))
        return table

    return make
