"""Blends runs by weights fitted on OOF, scored without the fold they are fitted on: `make ensemble COMP=leaves`."""

from __future__ import annotations

from typing import Any

from competition import artifacts, board, config, decide, runs
from competition.artifacts import read_json, read_table
from competition.config import Run
from competition.errors import ConfigFault, Finding, nearest
from competition.predict import write_run
from competition.predictions import fold_said, of_run, usable
from competition.runs import Opened
from competition.scoring import scored_on, show_score, write_score
from competition.task import pick

EVERY = "# Every run that has a score; `make ensemble` keeps this list up to date.\n"


def declare(competition: str, members: list[str], name: str) -> Run:
    """The blend's run file, written unless it says the same already. No members: every run that has a score.

    A file that was written for "every run" follows the runs; one that names its members is never changed.
    """
    every = not members
    members = [m if "/" in m else f"{competition}/{m}" for m in members] or scored(competition)
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
    path = artifacts.run_yaml(name)
    text = "members:\n" + "".join(f"  - {m}\n" for m in members)
    if every and path.exists() and path.read_text().startswith(EVERY):
        if set(config.load_run(name).members or ()) != set(members):
            artifacts.write_text(path, EVERY + text)
            board.say(f"{path}: the members are now {', '.join(members)}")
    elif path.exists():
        there = config.load_run(name).members
        if there is None or set(there) != set(members):
            raise ConfigFault(
                Finding(
                    code="CFG-EXISTS",
                    what="a run of that name exists with other members",
                    where=str(path),
                    found=", ".join(there) if there else "a run with a task",
                    risk="its results would be of two configurations",
                    mend=f'AS={competition}/<new name>, or RUNS="{" ".join(m.split("/")[1] for m in there or members)}"',
                )
            )
    else:
        artifacts.write_text(path, EVERY * every + text)
        board.say(f"wrote {path}")
    return config.load_run(name)


def scored(competition: str) -> list[str]:
    """The competition's task runs that have a score, best first."""
    names = [f"{competition}/{p.parent.name}" for p in artifacts.RUNS.glob(f"{competition}/*/score.json")]
    scores = {}
    for name in names:
        record = runs.recorded(name)
        if record and not record["config"].keys() & {"members", "preset"} and _current(name):
            score = read_json(artifacts.run_folder(name) / "score.json")
            scores[name] = score["score"] * (1 if score["greater_is_better"] else -1)
    return sorted(scores, key=lambda n: (-scores[n], n))


def _current(name: str) -> bool:
    """Whether a preset that has made this run still has it."""
    parent = name.partition("+")[0]
    return parent == name or (artifacts.run_yaml(parent).exists() and name in (runs.resolve(parent).members or ()))


def blend(at: Opened) -> dict[str, Any]:
    """Fits the weights on the members' OOF and writes the blend's files, fold by fold too. Returns score.json.

    Raises ConfigFault ENS-FOLDS where a member was trained on another fold table, RUN-PARTIAL where it has no score.
    """
    assert at.run.members is not None
    usable(at, at.run.members)
    inputs = artifacts.digest(*(artifacts.file_digest(of_run(m, n)) for m in at.run.members for n in ("oof", "test")))
    basis = artifacts.digest(decide.VERSION, at.data.metric_hash, inputs)
    if not scored_on(at, basis):
        stack = {m: read_table(of_run(m, "oof")) for m in at.run.members}
        test = {m: pick(read_table(of_run(m, "test")), at.data.test.ids) for m in at.run.members}
        result = write_run(at, "blend", stack, test)
        _write_folds(at, result)
        by_fold = {f"fold{k}": decision.plain() for k, decision in result.by_fold.items()}
        artifacts.write_json(at.folder / "weights.json", {"all": result.final.plain()} | by_fold)
        write_score(at, basis, result, stack)
    show_score(at, "member")
    return read_json(at.folder / "score.json")


def _write_folds(at: Opened, result: decide.Nested) -> None:
    """fold<k>/oof.parquet and test.parquet of the first repeat, by the weights that exclude fold k."""
    for split in (s for s in at.table.splits if s.repeat == 0):
        held_out = at.table.ids(split)[1]
        decision = result.by_fold[split.fold]
        folder = at.folder / split.name
        artifacts.write_table(folder / "oof.parquet", pick(result.prediction, held_out))
        for part, rows in at.data.unknown.items():
            said = {m: fold_said(m, split, at.data.problem, part) for m, w in decision.weights.items() if w}
            stack = {m: pick(table, rows.ids) for m, table in said.items()}
            artifacts.write_table(folder / f"{part}.parquet", decision.combine(stack))
