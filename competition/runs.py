"""A run and its folder: one configuration, recorded in run.json, that later commands take from there."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from competition import artifacts, board, card, config, folds, locks, settings
from competition.config import Run
from competition.data import Data, load
from competition.errors import ConfigFault, DataFault, Finding
from competition.folds import FoldTable
from competition.split import ALL, Split
from competition.task import Rows


@dataclass(frozen=True)
class Opened:
    """A run with everything it stands on."""

    run: Run
    data: Data
    table: FoldTable
    overrides: str = ""  # this command's SET

    @property
    def folder(self) -> Path:
        return artifacts.run_folder(self.run.name)

    @property
    def splits(self) -> list[Split]:
        """What is fitted and scored: every fold of every repeat, from every seed of the run."""
        return splits(self.table, self.run.seeds)

    @property
    def refits(self) -> list[Split]:
        """What is fitted on all rows, for test alone."""
        return [Split(ALL, seed=seed) for seed in range(self.run.seeds if self.run.refit else 0)]

    def say(self, text: str) -> None:
        board.say(f"{self.run.name}: {text}", self.folder)


def splits(table: FoldTable, seeds: int) -> list[Split]:
    return [replace(s, seed=seed) for seed in range(seeds) for s in table.splits]


def resolve(name: str, overrides: str = "", variant: str = "") -> Run:
    """The run's configuration: its YAML file, the SET it was made with, this SET; with AS, a new file that says so.

    Raises ConfigFault RUN-DIFFERS where the run folder holds another configuration.
    """
    _refuse_of_a_member(name, overrides, variant)
    if variant:
        record = recorded(name)
        before = settings.parse(record["set"]) if record else {}
        config.write_variant(name, variant, before | settings.parse(overrides))
        name, overrides = variant, ""
    run = would_be(name, overrides)
    return (
        run if run.members is not None else as_begun(run)
    )  # a blend is made anew when its members or method are others


def would_be(name: str, overrides: str = "") -> Run:
    """The configuration that this SET would make, whatever the run folder holds: to look at, never to go on with."""
    _refuse_of_a_member(name, overrides)
    if "+" in name:
        return config.member(resolve(name.partition("+")[0]), name)
    record = recorded(name)
    return config.load_run(name, f"{record['set']} {overrides}" if record else overrides)


def _refuse_of_a_member(name: str, overrides: str, variant: str = "") -> None:
    if "+" in name and (overrides or variant):
        raise ConfigFault(
            Finding(
                code="CFG-VALUE",
                what="a member of a preset has the settings of the preset",
                where=f"RUN={name}",
                found=f"SET={overrides} AS={variant}",
                mend=f"write a run of its own with the config of {artifacts.run_folder(name)}/run.json, changed",
            )
        )


def made(name: str) -> Run | None:
    """A run as its folder records it, whatever its file says by now; None where it has not begun."""
    record = recorded(name)
    if record is None:
        return None
    return config.make_run(name, card.of_run(record))


def members(run: Run) -> list[Run]:
    """The runs that a blend or a preset consists of."""
    if run.preset is None:
        return [resolve(member) for member in run.members or ()]
    return [as_begun(member) for name, member in config.expand(run).items() if name in (run.members or ())]


def needs(run: Run) -> list[Run]:
    """The runs that must be predicted before this one begins: a blend's members, whose predictions or labels it learns
    from."""
    return [resolve(name) for key, name in config.made_of(run) if key != "of"]


def ingredients(run: Run) -> list[Run]:
    """The runs of a soup, whose weights are all that it asks for."""
    return [resolve(name) for key, name in config.made_of(run) if key == "of"]


def sources(name: str) -> set[str]:
    """All that the run is made of, at any depth, those that are made of themselves too; of a preset's model, what the
    preset is. What has no file is made of nothing.
    """
    found: set[str] = set()
    waiting = [name]
    while waiting:
        owner = waiting.pop().partition("+")[0]
        if not artifacts.run_yaml(owner).exists():
            continue
        record = recorded(owner)
        inner = {member for _, member in config.made_of(config.read_run(owner, record["set"] if record else ""))}
        inner |= {member.partition("+")[0] for member in inner}
        waiting += inner - found
        found |= inner
    return found


def unknown(run: Run, data: Data) -> dict[str, Rows]:
    """The rows without labels that the run predicts: of an imported one and of one with columns of other models
    test alone, of a blend what all members do."""
    recalled = any(getattr(leaf.task, "recalls", False) for leaf in leaves(run))
    return {"test": data.test} if recalled else data.unknown


def leaves(run: Run) -> list[Run]:
    """The runs with a task of their own that it consists of: itself, or those of all members."""
    return [run] if run.members is None else [leaf for member in members(run) for leaf in leaves(member)]


def as_begun(run: Run) -> Run:
    """The run, if its folder holds this configuration or none. Raises ConfigFault RUN-DIFFERS."""
    name, before = run.name, made(run.name)
    if before is None:
        return run
    fields = run.parts()
    new, old = run.config(), before.config()
    differing = [k for k in new | old if new.get(k) != old.get(k) and fields.get(k, "fit") == "fit"]
    if differing:
        raise ConfigFault(
            *(
                Finding(
                    code="RUN-DIFFERS",
                    what="the run was made with another configuration",
                    where=f"{artifacts.run_folder(name)}, key {key}",
                    found=f"{old.get(key)!r} there, {new.get(key)!r} now",
                    risk="its folds would be of two configurations; nothing was changed",
                    mend=f"AS={run.competition}/<new name> for a run of its own, or remove {artifacts.run_folder(name)}",
                )
                for key in differing
            )
        )
    return run


def identity(run: Run, wanted: tuple[str, ...]) -> str:
    """Hash of the fields of these parts that differ from their defaults, of the runs that it is made of too.

    A new field with a default changes no identity.
    """
    parts = run.parts()
    chosen = {} if run.task is None else run.task.model_dump(mode="json", exclude_defaults=True)
    inner = [identity(part, wanted) for part in (*(members(run) if run.preset else ()), *needs(run), *ingredients(run))]
    fitted = run.model_dump(mode="json", include={"seeds", "refit", "pseudo", "method"}, exclude_defaults=True)
    values = {"members": inner, "seed": run.seed, "task": run.config().get("task")} | fitted | chosen
    kept = {k: v for k, v in values.items() if parts.get(k, "fit") in wanted}
    return artifacts.digest(json.dumps(kept, sort_keys=True))


def recorded(name: str) -> dict[str, Any] | None:
    """run.json of a run that has begun; before its first fold a run may still become another."""
    folder = artifacts.run_folder(name)
    signs = ("score.json", "portfolio.json", "fold*/fit.json", *(f"fold*/{name}" for name in artifacts.CHECKPOINTS))
    begun = any(path for sign in signs for path in folder.glob(sign))
    return artifacts.read_json(folder / "run.json") if begun else None


def look(run: Run) -> Opened:
    """The run's data and fold table, its folder left alone.

    Raises DataFault RUN-DATA, RUN-FOLDS where the run was trained on other data or another fold table.
    """
    data = load(run.competition)
    table = folds.load(data) if artifacts.fold_table(data.name).exists() else make_folds(data)
    for note in folds.mismatch(data, table):
        board.say(note)
    record = recorded(run.name)
    if record is not None:
        _same("RUN-DATA", "data", record["data"], data.hash, run.name)
        _same("RUN-FOLDS", "fold table", record["folds"], table.hash, run.name)
    return Opened(run, data, table)


@contextmanager
def opened(run: Run, overrides: str = "", wait: float = 0) -> Generator[Opened]:
    """What `look` gives, the folder held for this process; of a run that has not begun, run.json is written.

    wait: seconds for another process that holds the folder (-1: for ever).
    """
    at = replace(look(run), overrides=overrides)
    with locks.locked(at.folder, wait):
        if recorded(run.name) is None:
            _write(at, None)
        yield at


def record(at: Opened) -> None:
    """Into run.json what a run that has begun is now, and by which SET: once nothing can refuse it, for later commands
    take it up.
    """
    before = recorded(at.run.name)
    if before is not None:
        _write(at, before)


def _write(at: Opened, before: dict[str, Any] | None) -> None:
    competition, there = card.of_competition(config.load_competition(at.data.name)), before or {}
    values = {
        "run": at.run.name,
        "config": at.run.config(),
        "set": settings.both(before["set"] if before else "", at.overrides),
        "data": at.data.hash,
        "folds": at.table.hash,
        "seed": at.run.seed,
        "competition": competition,
        "files": card.files(at.data.name, competition, at.run.config(), there.get("files", {})),
    }
    if any(there.get(k) != v for k, v in values.items()):
        artifacts.write_json(
            card.path_of(at.run.name), values | {"inputs": None} | (before or card.surroundings()) | values
        )


def make_folds(data: Data) -> FoldTable:
    """Writes the fold table and shows it."""
    table, notes = folds.make(data)
    for note in notes:
        board.say(note)
    board.say(folds.summary(data, table).to_string(float_format="{:.3g}".format))
    return table


def check_inputs(at: Opened, inputs: str) -> None:
    """Records the hash of what the tables don't hold (pixels), or refuses when it is no longer the same."""
    path = card.path_of(at.run.name)
    record = artifacts.read_json(path)
    if record["inputs"] is None:
        artifacts.write_json(path, record | {"inputs": inputs})
    else:
        what = "runs that it is made of or their pictures" if ingredients(at.run) else "pictures or functions of yours"
        _same("RUN-DATA", what, record["inputs"], inputs, at.run.name)


def _same(code: str, what: str, there: str, now: str, name: str) -> None:
    if there != now:
        folder = artifacts.run_folder(name)
        raise DataFault(
            Finding(
                code=code,
                what=f"the {what} changed since this run began",
                where=str(folder),
                found=f"hash {there} there, {now} now",
                risk="its folds would not be comparable, or would be scored on rows they have seen",
                mend=f"restore the {what}, or train anew under another name (AS=) or without {folder}",
            )
        )
