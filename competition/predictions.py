"""Predictions that lie in run folders, read: of a fold, of all its models as one, and whether they may be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from competition import artifacts, decide, runs
from competition.artifacts import read_json, read_table
from competition.boxes import fusion
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.data import Data
from competition.decide import Stack
from competition.errors import ConfigFault, Finding, examples
from competition.folds import FoldTable
from competition.runs import Opened
from competition.split import ALL, Split
from competition.task import Problem

VIEW = "view"
RISKS = {
    "RUN-PARTIAL": "its OOF rows are missing",
    "ENS-FOLDS": "its OOF rows were seen by models of other folds",
    "ENS-ALIGN": "rows of one id or class would be mixed with those of another",
    "ENS-NAN": "the mean would lose those rows, and the most probable class of nan is the first",
}


def of_run(run: str, name: str) -> Path:
    """name: oof or test."""
    return artifacts.run_folder(run) / f"{name}.parquet"


def written(path: Path, record: str) -> pd.DataFrame:
    """A table whose digest the file `record` beside it has, so that a whole one of another fold or run is noticed, too.

    Records of older versions have none. Raises EnvironmentFault CKPT-CORRUPT.
    """
    told = path.with_name(record)
    files = read_json(told).get("files", {}) if told.exists() else {}
    if path.name in files:
        artifacts.intact(path, files[path.name])
    return read_table(path)


def fold_predictions(run: Run, split: Split, name: str, view: str) -> pd.DataFrame:
    table = written(artifacts.run_folder(run.name) / split.name / f"{name}.parquet", "predicted.json")
    return table[table[VIEW] == view].drop(columns=VIEW)


def as_one(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """How predictions of several models become one: the mean of probabilities or values; boxes are kept, to be fused."""
    if holds_boxes(parts[0]):
        return fusion.pool(parts)
    return pd.concat(parts).groupby(level=0, sort=False).mean()


def fold_said(name: str, split: Split, problem: Problem, part: str = "test") -> pd.DataFrame:
    """What a run's models of one fold, of all its seeds, say of the rows of `part`, by the weights that never saw it.

    part: test or unlabeled. Those models have not seen the fold's rows, nor have the weights. Weights exclude the folds of
    the first repeat, other rows than those of fold k in a further one, so there all views count the same.
    """
    run = runs.resolve(name)
    tables = [written(file, "predicted.json") for file in fold_files(run, split, part)]
    if VIEW not in tables[0]:
        return tables[0]

    def views(names: Iterable[str]) -> Stack:
        return {view: as_one([t[t[VIEW] == view].drop(columns=VIEW) for t in tables]) for view in names}

    if split.repeat:
        stack = views(run.task.views)
        return decide.equal(stack, problem).combine(stack)
    by_fold = read_json(artifacts.run_folder(name) / "score.json")["weights_by_fold"]
    decision = decide.read(by_fold[split.plain], problem)
    return decision.combine(views(decision.weights))


def said(name: str, data: Data, table: FoldTable, split: Split, part: str = "test") -> pd.DataFrame:
    """`fold_said`; for the refit on all rows, which is never scored, what the models of all folds say."""
    if split.fold != ALL:
        return fold_said(name, split, data.problem, part)
    firsts = [s for s in table.splits if s.repeat == 0]
    every = {name: as_one([fold_said(name, s, data.problem, part) for s in firsts])}
    return decide.equal(every, data.problem).combine(every)


def fold_files(run: Run, split: Split, part: str) -> list[Path]:
    """What `fold_said` reads: the predictions of each seed; a blend or a preset has those of its members as one."""
    seeds = range(run.seeds if run.members is None else 1)
    return [artifacts.run_folder(run.name) / replace(split, seed=s).name / f"{part}.parquet" for s in seeds]


def usable(at: Opened, names: Sequence[str], splits: Sequence[Split], parts: Iterable[str]) -> None:
    """Raises ConfigFault RUN-PARTIAL, ENS-FOLDS where a run is not predicted, or not of this fold table and data.

    splits, parts: what `fold_said` will be asked for.
    """
    problems = []
    for member in names:
        record = runs.recorded(member)
        if record is None or not of_run(member, "test").exists():
            problems.append(unusable("RUN-PARTIAL", member, "it has no predictions yet", f"make predict RUN={member}"))
        elif record["folds"] != at.table.hash or record["data"] != at.data.hash:
            what = "fold table" if record["folds"] != at.table.hash else "data"
            problems.append(unusable("ENS-FOLDS", member, f"it is of another {what}", f"train {member} anew (AS=)"))
        else:
            problems += _lacking(at, runs.resolve(member), splits, parts)
    if problems:
        raise ConfigFault(*problems)


def _lacking(at: Opened, run: Run, splits: Sequence[Split], parts: Iterable[str]) -> list[Finding]:
    """What `fold_said` would miss: files of a fold or seed, or of rows that were named after it was predicted."""
    if run.members is not None and any(split.repeat for split in splits):
        found = "a blend has predictions of the first repeat's folds only"
        mend = f"name the runs that it blends: {', '.join(run.members)}"
        return [unusable("RUN-PARTIAL", run.name, found, mend)]
    files = {file: part for split in splits for part in parts for file in fold_files(run, split, part)}
    folder = artifacts.run_folder(run.name)
    lacking = [f"{file.relative_to(folder)} is missing" for file in files if not file.exists()] or [
        f"{file.relative_to(folder)} is of other rows"
        for file, part in files.items()
        if part == "unlabeled" and not at.data.unknown[part].ids.isin(read_table(file).index).all()
    ]
    mend = f"make submission RUN={run.name}"
    return [unusable("RUN-PARTIAL", run.name, examples(lacking), mend)] if lacking else []


def unusable(code: str, member: str, found: str, mend: str) -> Finding:
    """Why the predictions of a run can't be used, code one of RISKS."""
    return Finding(
        code=code,
        what="the predictions of a run can't be used",
        where=f"RUN={member}",
        found=found,
        risk=RISKS[code],
        mend=mend,
    )
