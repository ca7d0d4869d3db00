"""Predictions that lie in run folders, read: of a fold, of all its models as one, and whether they may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from competition import artifacts, decide, runs
from competition.artifacts import read_json, read_table
from competition.boxes import fusion
from competition.boxes.table import holds_boxes
from competition.config import Run
from competition.errors import ConfigFault, Finding
from competition.runs import Opened
from competition.split import Split
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


def fold_predictions(run: Run, split: Split, name: str, view: str) -> pd.DataFrame:
    table = read_table(artifacts.run_folder(run.name) / split.name / f"{name}.parquet")
    return table[table[VIEW] == view].drop(columns=VIEW)


def as_one(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """How predictions of several models become one: the mean of probabilities or values; boxes are kept, to be fused."""
    if holds_boxes(parts[0]):
        return fusion.pool(parts)
    return pd.concat(parts).groupby(level=0, sort=False).mean()


def fold_said(name: str, split: Split, problem: Problem, part: str = "test") -> pd.DataFrame:
    """What a run's models of one fold, of all its seeds, say of the rows of `part`, by the weights that never saw it.

    part: test or unlabeled. Those models have not seen the fold's rows, nor have the weights.
    """
    folder, seeds = artifacts.run_folder(name), range(runs.resolve(name).seeds)
    tables = [read_table(folder / replace(split, seed=seed).name / f"{part}.parquet") for seed in seeds]
    if VIEW not in tables[0]:
        return tables[0]
    decision = decide.read(read_json(folder / "score.json")["weights_by_fold"][split.plain], problem)

    def view(name: str) -> pd.DataFrame:
        return as_one([table[table[VIEW] == name].drop(columns=VIEW) for table in tables])

    return decision.combine({name: view(name) for name in decision.weights})


def usable(at: Opened, names: Sequence[str]) -> None:
    """Raises ConfigFault RUN-PARTIAL, ENS-FOLDS where a run is not predicted, or not of this fold table and data."""
    problems = []
    for member in names:
        record = runs.recorded(member)
        if record is None or not of_run(member, "test").exists():
            problems.append(unusable("RUN-PARTIAL", member, "it has no predictions yet", f"make predict RUN={member}"))
        elif record["folds"] != at.table.hash or record["data"] != at.data.hash:
            what = "fold table" if record["folds"] != at.table.hash else "data"
            problems.append(unusable("ENS-FOLDS", member, f"it is of another {what}", f"train {member} anew (AS=)"))
    if problems:
        raise ConfigFault(*problems)


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
