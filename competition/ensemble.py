"""Blends runs by what is fitted on their OOF, scored without the fold it is fitted on: `make ensemble COMP=leaves`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, board, config, decide, runfolder, runs, settings, yaml
from competition.artifacts import read_json
from competition.blending import choosing
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.decide import Stack
from competition.errors import ConfigFault, DataFault, Finding, examples, nearest
from competition.predict import write_run
from competition.predictions import fold_said, of_run, unusable, usable, written
from competition.runs import Opened
from competition.scoring import scored_folds, scored_on, show_score, write_score
from competition.task import Problem, pick

EVERY = "# Every run that has a score; `make ensemble` keeps this list up to date.\n"


def declare(competition: str, members: list[str], name: str, overrides: str = "") -> Run:
    """The blend's run file, written unless it says the same already. No members: every run that has a score.

    A file that was written for "every run" follows the runs, and takes the keys of `overrides`; one that names its members
    is never changed.
    """
    config.check_name(name)
    every = not members
    members = [m if "/" in m else f"{competition}/{m}" for m in members] or scored(competition, name)
    unknown = [m for m in members if not artifacts.run_yaml(m).exists() and runs.recorded(m) is None]
    if unknown or len(members) < 2:
        have = [f"{competition}/{p.stem}" for p in sorted((artifacts.CONFIGS / competition).glob("*.yaml"))]
        runs_there = [r for r in have if not r.endswith("/competition")]
        raise ConfigFault(
            Finding(
                code="ENS-MEMBERS",
                what="a blend needs two or more runs of the competition",
                where=f"RUNS={' '.join(members)}",
                found=f"no such run: {', '.join(unknown)}" if unknown else f"{len(members)} runs with a score",
                mend=nearest(unknown[0], runs_there)
                if unknown
                else "make predict RUN=... for more runs, or name them by RUNS=",
            )
        )
    if every:
        _say_left_out(competition, {name, *members}, name)
    inside = [member for member in members if name in runs.sources(member)]
    if inside:
        raise ConfigFault(*(config.made_of_itself("RUNS", member, name) for member in inside))
    _write(name, members, settings.parse(overrides), every)
    return config.load_run(name)


def _write(name: str, members: list[str], keys: dict[str, Any], every: bool) -> None:
    """The run file of these members and keys. Raises ConfigFault CFG-EXISTS where one says otherwise and may not change."""
    path = artifacts.run_yaml(name)
    config.make_run(name, {"members": members} | keys)  # refuses what is misspelt before it stands in a file
    if not path.exists():
        artifacts.write_text(path, EVERY * every + _text(members, keys))
        board.say(f"wrote {path}")
        return
    there, follows = config.read_run(name), every and path.read_text(encoding="utf-8").startswith(EVERY)
    values = there.config() if there.task is None else {}
    same = set(there.members or ()) == set(members) and all(values.get(key) == value for key, value in keys.items())
    if same:
        return
    if follows:
        kept = {key: value for key, value in yaml.read(path)[0].items() if key != "members"}
        artifacts.write_text(path, EVERY + _text(members, kept | keys))
        board.say(f"{path}: the members are now {', '.join(members)}" + f", {_short(keys)}" * bool(keys))
        return
    was = ", ".join(there.members or ()) if there.task is None else "a run with a task"
    told = {key: values.get(key) for key in keys}
    raise ConfigFault(
        Finding(
            code="CFG-EXISTS",
            what="a run of that name exists with other members or keys",
            where=str(path),
            found=was + f"; {_short(told)}" * bool(told and values),
            risk="its results would be of two configurations",
            mend=f"AS={name.partition('/')[0]}/<new name>"
            + f', or RUNS="{" ".join(m.split("/")[1] for m in there.members or members)}"' * (not keys),
        )
    )


def _text(members: list[str], keys: dict[str, Any]) -> str:
    import yaml as pyyaml

    listed = "members:\n" + "".join(f"  - {m}\n" for m in members)
    return listed + (pyyaml.safe_dump(keys, sort_keys=False, allow_unicode=True) if keys else "")


def _short(keys: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in keys.items())


def scored(competition: str, blend: str = "") -> list[str]:
    """The competition's task runs that have a score, best first, but for those that are made of `blend`."""
    names = [f"{competition}/{p.parent.name}" for p in artifacts.RUNS.glob(f"{competition}/*/score.json")]
    scores = {}
    for name in names:
        record = runs.recorded(name)
        single = record and not record["config"].keys() & {"members", "preset"}
        if single and _current(name) and blend not in runs.sources(name):
            score = read_json(artifacts.run_folder(name) / "score.json")
            scores[name] = score["score"] * (1 if score["greater_is_better"] else -1)
    return sorted(scores, key=lambda n: (-scores[n], n))


def _say_left_out(competition: str, there: set[str], blend: str) -> None:
    """Which runs of the competition a blend of "every run" goes without, and why."""
    files = {f"{competition}/{p.stem}" for p in (artifacts.CONFIGS / competition).glob("*.yaml")}
    folders = {f"{competition}/{p.parent.name}" for p in artifacts.RUNS.glob(f"{competition}/*/run.json")}
    for name in sorted((files | folders) - there - {f"{competition}/competition"}):
        board.say(f"{name} is left out: {_why_not(name, blend)}")


def _why_not(name: str, blend: str) -> str:
    if not artifacts.run_yaml(name.partition("+")[0]).exists():
        return f"{artifacts.run_yaml(name.partition('+')[0])} is gone"
    if not _current(name):
        return f"{name.partition('+')[0]} no longer has it"
    if blend in runs.sources(name):
        return f"it is made of {blend}"
    if "+" not in name and config.read_run(name).members is not None:
        return "a blend, whose members count by themselves; RUNS= takes it too"
    return f"it has no score; make predict RUN={name}"


def _current(name: str) -> bool:
    """Whether the run still has its file, or the preset that has made it still has it."""
    parent = name.partition("+")[0]
    there = artifacts.run_yaml(parent).exists()
    return there and (parent == name or name in (runs.resolve(parent).members or ()))


def check(run: Run, problem: Problem) -> None:
    """Raises ConfigFault CFG-VALUE where the blend's method is not for what the competition predicts."""
    why = "" if run.method == "auto" else choosing.unsuited(run.method, problem)
    if why:
        raise _unsuited(run, problem, why)


def blend(at: Opened) -> dict[str, Any]:
    """Fits the blend on the members' OOF and writes its files, fold by fold too. Returns score.json.

    Raises ConfigFault CFG-VALUE of a method that does not suit, ENS-FOLDS where a member was trained on another fold table,
    RUN-PARTIAL where it has no score; DataFault ENS-ALIGN, ENS-NAN where what it predicts can't be joined.
    """
    assert at.run.members is not None
    firsts, parts = [s for s in at.table.splits if s.repeat == 0], runs.unknown(at.run, at.data)
    usable(at, at.run.members, firsts, parts)
    problem, method = at.data.problem, at.run.method
    check(at.run, problem)
    runs.record(at)
    inputs = runfolder.inputs(at.run.members)
    further = parts["unlabeled"].ids if "unlabeled" in parts else []
    basis = artifacts.digest(decide.VERSION, at.data.metric_hash, inputs, method, *further)
    if not scored_on(at, basis):
        stack, wrong = _tables(at, "oof", scored_folds(at.table).index)
        test, also_wrong = _tables(at, "test", at.data.test.ids)
        if wrong or also_wrong:
            raise DataFault(*wrong, *also_wrong)
        why = "" if method == "auto" else choosing.unsuited(method, problem, stack)
        if why:
            raise _unsuited(at.run, problem, why)
        result = write_run(at, "blend", stack, test)
        _write_folds(at, result)
        by_fold = {f"fold{k}": decision.plain() for k, decision in result.by_fold.items()}
        artifacts.write_json(at.folder / "weights.json", {"all": result.final.plain()} | by_fold)
        write_score(at, basis, result, stack, inputs=inputs)
    show_score(at, "member")
    return read_json(at.folder / "score.json")


def _tables(at: Opened, name: str, ids: pd.Index) -> tuple[Stack, list[Finding]]:
    """The members' predictions of these ids, joined by id and by column; and why some can't be."""
    columns, stack, problems = list(at.data.problem.columns), {}, []
    for member in at.run.members or ():
        table = written(of_run(member, name), "score.json")
        if not holds_boxes(table):
            wrong = _misaligned(table, ids, columns)
            if wrong:
                problems.append(unusable("ENS-ALIGN", f"{member}, {name}.parquet", wrong, f"make predict RUN={member}"))
                continue
            table = table.loc[ids, columns]
            bad = table.index[~np.isfinite(table.to_numpy(float)).all(axis=1)]
            if len(bad):
                found = f"{len(bad)} rows that are not numbers: {examples(bad)}"
                problems.append(unusable("ENS-NAN", f"{member}, {name}.parquet", found, f"leave {member} out by RUNS="))
        stack[member] = pick(table, ids)
    return stack, problems


def _misaligned(table: pd.DataFrame, ids: pd.Index, columns: list[str]) -> str:
    """What a member's table lacks or has twice; empty where it can be joined."""
    missing, twice = ids.difference(table.index), table.index[table.index.duplicated()]
    parts = {
        f"columns {', '.join(map(str, table))}, not {', '.join(columns)}": set(table) != set(columns),
        f"{len(missing)} ids are missing: {examples(missing)}": len(missing),
        f"{len(twice)} ids stand twice: {examples(twice)}": len(twice),
    }
    return "; ".join(text for text, there in parts.items() if there)


def _write_folds(at: Opened, result: decide.Nested) -> None:
    """fold<k>/oof.parquet and test.parquet of the first repeat, by the weights that exclude fold k."""
    for split in (s for s in at.table.splits if s.repeat == 0):
        held_out = at.table.ids(split)[1]
        decision = result.by_fold[split.fold]
        folder = at.folder / split.name
        artifacts.write_table(folder / "oof.parquet", pick(result.prediction, held_out))
        for part, rows in runs.unknown(at.run, at.data).items():
            said = {m: fold_said(m, split, at.data.problem, part) for m, w in decision.weights.items() if w}
            stack = {m: pick(table, rows.ids) for m, table in said.items()}
            artifacts.write_table(folder / f"{part}.parquet", decision.combine(stack))


def _unsuited(run: Run, problem: Problem, why: str) -> ConfigFault:
    suited = [name for name in choosing.METHODS if not choosing.unsuited(name, problem)]
    return ConfigFault(
        Finding(
            code="CFG-VALUE",
            what="the way of blending is not for what is predicted",
            where=f"{artifacts.run_yaml(run.name)}, key method",
            found=f"method: {run.method}, {why}; kind: {problem.kind}, metric: {problem.metric.name}",
            mend=f"method: {' | '.join(['auto', *suited])}",
        )
    )
