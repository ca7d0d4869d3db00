"""A preset: as many of a task's models as the time allows, the most valuable first; then their blend.

Members are runs like any other, `runs/<name>/<run>+<member>`; what the clock cuts short is continued by the same command.
`portfolio.json` in the run's folder lists what was tried, what it cost and what it weighs.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from typing import Any

from rich.table import Table

from competition import artifacts, board, config, runs
from competition.config import Run
from competition.engine import Engine, signalled
from competition.errors import ConfigFault, Fault, Finding, Stopped
from competition.runs import Opened

WHOLE, LATE = "whole", "time is up"
SURVIVED = {"TAB-MODEL", "RUN-DIVERGED", "RUN-WORKER"}  # faults of one model; of data or disk all would have them


def complete(
    run: Run,
    engine: Engine,
    fit: Callable[[Opened, Engine], None],
    predict: Callable[[Run, Engine], None],
    overrides: str = "",
) -> Run:
    """Trains and predicts the members in their order until the time is up; returns the run with those that are whole.

    The time is what the run says that they may train; the first one is finished all the same. Where the engine has a limit,
    that is the time, for the first one too. A member that fails is said and left out. Raises Stopped where a signal asked
    for it or no member is whole in time, and the first fault where every member fails.
    """
    with runs.opened(run, overrides) as at:
        assert run.preset is not None
        limited, faults = engine.limit is not None, []
        deadline = engine.deadline if limited else clock.monotonic() + allowed(run)
        minutes = (deadline - clock.monotonic()) / 60
        at.say(f"preset {run.preset}: {len(run.members or ())} models, {minutes:.3g} minutes to train in")
        states = dict.fromkeys(run.members or (), "not begun")
        members = runs.members(run)
        runs.record(at)
        artifacts.write_json(at.folder / "portfolio.json", states)
        for member in members:
            first = WHOLE not in states.values() and not limited
            states[member.name] = _attempt(member, engine, fit, predict, math.inf if first else deadline, faults)
            artifacts.write_json(at.folder / "portfolio.json", states)
        if WHOLE not in states.values():
            raise faults[0] if faults else Stopped(f"time is up before a model of {run.name} is whole")
        cut = [name for name, state in states.items() if state == LATE]
        if cut:
            done, rest = sum(state == WHOLE for state in states.values()), ", ".join(map(short, cut))
            at.say(f"time is up, {done} of {len(states)} models are whole; the same command goes on with {rest}")
    return run.model_copy(update={"members": tuple(name for name, state in states.items() if state == WHOLE)})


def _attempt(
    member: Run,
    engine: Engine,
    fit: Callable[[Opened, Engine], None],
    predict: Callable[[Run, Engine], None],
    deadline: float,
    faults: list[Fault],
) -> str:
    """Its state afterwards; what made it fail is said and added to `faults`. Raises Stopped where a signal asked for it."""
    if clock.monotonic() > deadline and not (artifacts.run_folder(member.name) / "score.json").exists():
        return LATE
    try:
        with engine.until(deadline), runs.opened(member) as opened:
            fit(opened, engine)
        predict(member, engine)
    except Stopped:
        if signalled():
            raise
        return LATE
    except ConfigFault:
        raise
    except Fault as fault:
        if not {finding.code for finding in fault.findings} <= SURVIVED:
            raise
        faults.append(fault)
        board.say(f"{member.name} is left out:\n{fault}", artifacts.run_folder(member.name))
        return f"failed: {fault.findings[0].code}"
    return WHOLE


def allowed(run: Run) -> float:
    """Seconds that the models of the run's preset may train for."""
    assert run.preset is not None
    return duration(run.time or config.presets(run.task)[run.preset].time)


def duration(time: str) -> float:
    """TIME= as seconds. Raises ConfigFault CFG-VALUE."""
    try:
        return config.seconds(time)
    except ValueError as e:
        raise ConfigFault(
            Finding("CFG-VALUE", "the command has a mistake", f"TIME={time}", str(e), "TIME=10m")
        ) from None


def finished(run: Run) -> Run:
    """The run with the members that have predictions. Raises ConfigFault RUN-PARTIAL where none has."""
    whole = tuple(m.name for m in runs.members(run) if (artifacts.run_folder(m.name) / "score.json").exists())
    if not whole:
        found = f"none of {', '.join(short(m) for m in run.members or ())}"
        raise ConfigFault(_partial(run, "no model of the preset is trained", found))
    return run.model_copy(update={"members": whole})


def _partial(run: Run, what: str, found: str) -> Finding:
    return Finding("RUN-PARTIAL", what, f"RUN={run.name}", found, f"make submission RUN={run.name}")


def show(run: Run) -> None:
    """What was tried, what it scores alone, what it cost and what it weighs, as a table."""
    folder = artifacts.run_folder(run.name)
    if not (folder / "score.json").exists():
        raise ConfigFault(_partial(run, "the preset has no blend yet", f"no score.json in {folder}"))
    score, tried = artifacts.read_json(folder / "score.json"), folder / "portfolio.json"
    states = artifacts.read_json(tried) if tried.exists() else dict.fromkeys(score["parts"], WHOLE)
    table = Table(
        "model", "state", f"{score['metric']} alone", "model time", "weight", title=f"{run.name}: {run.preset}"
    )
    for name, state in states.items():
        part = score["parts"].get(name)
        alone, weight = ("", "") if part is None else (f"{part['alone']:.4f}", f"{part['weight']:.3f}")
        table.add_row(short(name), state, alone, f"{cost(name):.1f} s", weight)
    board.console.print(table)


def cost(name: str) -> float:
    """Seconds that the folds of a run were fitted for, all added up."""
    records: list[dict[str, Any]] = [artifacts.read_json(f) for f in artifacts.run_folder(name).glob("fold*/fit.json")]
    return sum(record["seconds"] for record in records)


def short(name: str) -> str:
    return name.partition("+")[2]
