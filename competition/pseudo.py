"""Pseudo-labels that stay honest: rows without labels join a fold's training, labelled by models that never saw the fold.

Fold k learns what the parent's models of fold k say of them, by weights that were fitted without fold k. Labels of all the
parent's models would carry what four of five have learnt from the rows that fold k is scored on: where test holds copies
of them, the score would rise by itself. A second round is a run whose `pseudo:` is the first.

The labels are kept in the run's folder from its first training on, so that all its folds and seeds learn from the same
ones whatever becomes of the parent.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, predictions, runs, stacked
from competition.boxes.table import EDGES, holds_boxes
from competition.config import Run
from competition.data import Data
from competition.errors import ConfigFault, DataFault, Finding, examples
from competition.folds import FoldTable
from competition.folds import load as load_folds
from competition.imported import ImportedTask
from competition.keys import Pseudo
from competition.kinds import CLASSES, COLUMNS
from competition.runs import Opened
from competition.split import ALL, Split
from competition.task import Fold, Problem, Rows, pick, together

BOX_CUT = 0.5  # the lowest score of a box that is believed, unless `cut:` says otherwise
SUFFIX = "~pseudo"  # behind an id: a test row's may also stand in train


def joined(fold: Fold, run: Run, split: Split) -> Fold:
    """The fold as the run learns from it, with what `pseudo:` labels, if any; inner splits hold out real rows only."""
    if run.pseudo is None:
        return fold
    data = stacked.seen(run, split)
    real, more = fold.train, labelled(run.pseudo, data, labels(run, data, split))
    weight = pd.Series(1.0, real.ids) if real.weight is None else real.weight
    both = together(replace(real, weight=weight), replace(more, weight=pd.Series(run.pseudo.weight, more.ids)))
    assert both.weight is not None

    def inner(n: int) -> list[tuple[pd.Index, pd.Index]]:
        return [(fitted.append(more.ids), held) for fitted, held in fold.inner(n)]

    return replace(fold, train=replace(both, weight=both.weight / both.weight.mean()), inner=inner)


def labels(run: Run, data: Data, split: Split) -> pd.DataFrame:
    """What is said of the rows that the run learns from: as it is kept, and before that as the parent says it now."""
    assert run.pseudo is not None
    path = _folder(run, data, load_folds(data)) / f"{replace(split, seed=0).name}.parquet"
    return artifacts.read_table(path) if path.exists() else said(run.pseudo, data, replace(split, seed=0))


def labelled(spec: Pseudo, data: Data, said: pd.DataFrame) -> Rows:
    """The rows of `spec.rows` that are sure enough, with what is said of them as truth."""
    rows = data.unknown[spec.rows].shown
    said = pick(said, rows.ids)
    if holds_boxes(said):
        cut = BOX_CUT if spec.cut is None else spec.cut
        said = said[said["score"] >= cut][["label", *EDGES]].assign(crowd=False)
        rows = rows.take(rows.ids[rows.ids.isin(said.index)])
    else:
        rows = rows.take(rows.ids[confidence(said, data.problem) >= (spec.cut or 0.0)])
        said = said.loc[rows.ids]
        said = said if spec.soft else hard(said, data.problem)
    return renamed(replace(rows, truth=said))


def count(at: Opened, split: Split) -> int:
    """How many labelled rows join the fold: all that could, where the parent is not predicted yet."""
    spec = at.run.pseudo
    if spec is None:
        return 0
    return (
        len(labelled(spec, at.data, labels(at.run, at.data, split))) if known(spec) else len(at.data.unknown[spec.rows])
    )


def known(spec: Pseudo) -> bool:
    """Whether the labels are there."""
    return predictions.of_run(spec.run, "test").exists()


def confidence(said: pd.DataFrame, problem: Problem) -> np.ndarray:
    """[rows] 0..1: the probability of the likeliest class; of labels that of the least sure; 1 of values."""
    p = said.to_numpy(float)
    if problem.kind in CLASSES:
        return p.max(axis=1)
    return np.maximum(p, 1 - p).min(axis=1) if problem.kind in COLUMNS else np.ones(len(p))


def hard(said: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """1 for the likeliest class, or for labels from 0.5 up; values stay."""
    p = said.to_numpy(float)
    if problem.kind in CLASSES:
        p = np.eye(p.shape[1])[p.argmax(axis=1)]
    elif problem.kind in COLUMNS:
        p = (p >= 0.5).astype(float)
    return pd.DataFrame(p, said.index, said.columns)


def renamed(rows: Rows) -> Rows:
    """The rows under ids that no training row has."""
    parts = {name: part.set_axis(part.index + SUFFIX) for name, part in vars(rows).items() if part is not None}
    return Rows(**{name: part.rename_axis("id") for name, part in parts.items()})


def said(spec: Pseudo, data: Data, split: Split) -> pd.DataFrame:
    """What the parent's models of this fold say; for the refit on all rows, which is never scored, those of all folds."""
    return predictions.said(spec.run, data, load_folds(data), split, spec.rows)


def kept(at: Opened) -> bool:
    """Whether the run has its labels, those of all rows written last."""
    return (_folder(at.run, at.data, at.table) / f"{Split(ALL).name}.parquet").exists()


def keep(at: Opened) -> None:
    """Writes all labels that the run will learn from, before they are cut, unless they are there. Raises Fault.

    RUN-PARTIAL: the parent has no predictions; ENS-FOLDS: it is of other folds or data; PSEUDO-LEAK: its predictions of
    one fold are not to be had; CFG-VALUE: `cut` of values, rows that the competition does not have; RUN-DATA: other rows
    are unlabelled now.
    """
    spec, folder = at.run.pseudo, _folder(at.run, at.data, at.table)
    assert spec is not None
    splits = [*at.table.splits, Split(ALL)]
    check(at)
    for split in splits if not kept(at) else ():
        artifacts.write_table(folder / f"{split.name}.parquet", said(spec, at.data, split))


def content(at: Opened) -> str:
    """A hash of the labels that are kept."""
    folder = _folder(at.run, at.data, at.table)
    return artifacts.digest(*(artifacts.file_digest(file) for file in sorted(folder.glob("*.parquet"))))


def copy(source: Run, at: Opened) -> None:
    """The labels that one run has kept become those of another of the same `pseudo:`."""
    for file in sorted(_folder(source, at.data, at.table).glob("*.parquet"), key=lambda f: f.stem == Split(ALL).name):
        artifacts.write_bytes(_folder(at.run, at.data, at.table) / file.name, file.read_bytes())


def _folder(run: Run, data: Data, table: FoldTable) -> Path:
    """Of one parent, data and fold table; the trials of a search learn from what the search keeps."""
    assert run.pseudo is not None
    owner, parent = "/".join(run.name.split("/")[:2]), run.pseudo.run.partition("/")[2]
    made = artifacts.digest(run.pseudo.run, data.hash, table.hash)[:8]
    return artifacts.run_folder(owner) / "pseudo" / f"{run.pseudo.rows}-of-{parent}-{made}"


def _same_rows(at: Opened, spec: Pseudo, ids: pd.Index) -> None:
    """Test rows are of the data's hash; unlabelled ones are not."""
    rows = at.data.unknown[spec.rows].ids
    if spec.rows == "unlabeled" and len(rows.symmetric_difference(ids)):
        found, where = examples(rows.symmetric_difference(ids)), str(_folder(at.run, at.data, at.table))
        what, risk = "the unlabelled rows changed since this run began", "its folds would learn from different rows"
        mend = f"restore `unlabeled:`, or train anew under another name (AS=) or without {at.folder}"
        raise DataFault(Finding("RUN-DATA", what, where, found, mend, risk=risk))


def check(at: Opened) -> None:
    """Raises what `keep` would raise, and keeps nothing."""
    spec = at.run.pseudo
    assert spec is not None
    if kept(at):
        _same_rows(
            at, spec, artifacts.read_table(_folder(at.run, at.data, at.table) / f"{Split(ALL).name}.parquet").index
        )
        return
    refuse(at)
    predictions.usable(at, [spec.run], at.table.splits, [spec.rows])


def refuse(at: Opened) -> None:
    """Raises ConfigFault CFG-VALUE, PSEUDO-LEAK where no labels of the parent would do."""
    spec = at.run.pseudo
    problems = [*_impossible(at, spec), *_leaking(at, spec)] if spec else []
    if problems:
        raise ConfigFault(*problems)


def _impossible(at: Opened, spec: Pseudo) -> list[Finding]:
    where, what = artifacts.run_yaml(at.run.name), "the configuration has a mistake"
    problems = []
    if spec.cut is not None and at.data.config.kind == "regression":
        found, mend = f"cut: {spec.cut} of values, which have no confidence", "leave `cut` out"
        problems.append(Finding("CFG-VALUE", what, f"{where}, key pseudo.cut", found, mend))
    if spec.rows not in at.data.unknown:
        found = "rows: unlabeled, and competition.yaml names none"
        mend = "unlabeled: <file> there, or `rows: test` here"
        problems.append(Finding("CFG-VALUE", what, f"{where}, key pseudo.rows", found, mend))
    if spec.rows == "unlabeled" and getattr(at.run.task, "recalls", False):
        found, mend = "rows: unlabeled, which lack the run's columns of other models", "rows: test"
        problems.append(Finding("CFG-VALUE", what, f"{where}, key pseudo.rows", found, mend))
    return problems


def _leaking(at: Opened, spec: Pseudo) -> list[Finding]:
    """Where the parent can't say what it knows without a fold."""
    parent = runs.resolve(spec.run)
    below = [run for leaf in runs.leaves(parent) for run in (leaf, *_stacked(leaf))]
    imported = [run.name for run in below if isinstance(run.task, ImportedTask)]
    reasons = [f"{name} is imported: one prediction a row, of all folds" for name in imported]
    if parent.members is not None and at.table.table.shape[1] > 1:
        reasons.append("a blend has weights without fold k for the first repeat only")
    where, what = f"{artifacts.run_yaml(at.run.name)}, key pseudo.run", "pseudo-labels that have seen the scored fold"
    risk, mend = "the score would rise by what the labels know of it", "name a run that is trained here, fold by fold"
    return [Finding("PSEUDO-LEAK", what, where, reason, mend, risk=risk) for reason in reasons]


def _stacked(run: Run) -> list[Run]:
    """The runs with a task whose predictions are columns of this one, at any depth."""
    inner = [leaf for name in getattr(run.task, "runs", ()) for leaf in runs.leaves(runs.resolve(name))]
    return [one for leaf in inner for one in (leaf, *_stacked(leaf))]
