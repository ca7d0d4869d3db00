"""Rows whose label every run doubts: what models of other folds and other kinds agree on against a label is often right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from competition import metrics
from competition.mistakes import MISTAKE, RIGHT, UNSURE, described, found, judged
from competition.task import Problem, pick

Said = tuple[pd.DataFrame, pd.DataFrame]  # of a run: its prediction, and the same as it is decided


def doubted(problem: Problem, truth: pd.DataFrame, runs: Sequence[Said], fold: pd.Series, most: int) -> pd.DataFrame:
    """At most `most` rows by id that all runs get wrong in the same sense, the likeliest label errors first.

    In the same sense: another class than the label's, whichever; the same label; the same target, too low or too high; of
    boxes missed or false ones. Columns truth and predicted (text; of classes what most runs say, of values the mean, of
    boxes the first run's), votes (runs that say it), given (mean probability of the label that is given; nan of values and
    boxes), loss (mean, as of `judged`), fold, kind, about. The least probable label is first, or the greatest loss.
    """
    tables = [judged(problem, truth, prediction, fold, decided) for prediction, decided in runs]
    claims = np.stack([_claims(problem, table) for table in tables])
    agreed = np.flatnonzero((claims == claims[0]).all(axis=0) & (claims[0] != ""))
    parts = [table.iloc[agreed] for table in tables]
    table = parts[0].assign(
        loss=np.mean([part["loss"] for part in parts], axis=0),
        given=np.mean([_given(problem, part) for part in parts], axis=0),
        kind=_least([part["kind"].to_numpy() for part in parts]),
    )
    order = np.lexsort((-table["loss"], table["given"]))[:most]  # nan are equal
    table = table.iloc[order].drop(columns="confidence")
    texts, votes = _texts(problem, table, truth, runs)
    return pd.concat([texts, table], axis=1).assign(votes=votes)


def _claims(problem: Problem, table: pd.DataFrame) -> np.ndarray:
    """What a run says against each label, as text; empty where it says nothing."""
    kind, about = table["kind"].astype(str), table["about"].astype(str)
    claim = {"multilabel": about, "regression": about + kind, "boxes": kind}.get(problem.kind, "another class")
    return np.where(kind.isin([RIGHT, UNSURE]), "", claim).astype(object)


def _least(kinds: Sequence[np.ndarray]) -> np.ndarray:
    """The kind that all runs tell; a mistake where only some are confident."""
    return np.where((np.stack(kinds) == kinds[0]).all(axis=0), kinds[0], MISTAKE)


def _given(problem: Problem, table: pd.DataFrame) -> np.ndarray:
    if problem.kind in ("regression", "boxes"):
        return np.full(len(table), np.nan)
    return 1 - table["confidence"].to_numpy() if problem.kind == "multilabel" else np.exp(-table["loss"].to_numpy())


def _texts(
    problem: Problem, table: pd.DataFrame, truth: pd.DataFrame, runs: Sequence[Said]
) -> tuple[pd.DataFrame, np.ndarray]:
    """The texts of `described`, and how many runs say what is told."""
    ids, all_runs = table.index, np.full(len(table), len(runs))
    if problem.kind == "boxes":
        matched = found(truth, runs[0][0])
        return described(problem, table, pick(matched.truth, ids), pick(matched.prediction, ids)), all_runs
    said = np.stack([run[1].loc[ids, list(problem.columns)].to_numpy(float) for run in runs])
    mean = pd.DataFrame(said.mean(axis=0), ids, list(problem.columns))
    texts = described(problem, table, truth.loc[ids], mean)
    if problem.kind in ("regression", "multilabel"):
        return texts, all_runs
    chosen = np.stack([metrics.labels(problem.metric, problem.kind, part) for part in said])
    votes = (chosen[:, :, None] == np.arange(len(problem.classes))).sum(axis=0)
    names = np.array(problem.classes, dtype=object)
    return texts.assign(predicted=names[votes.argmax(axis=1)]), votes.max(axis=1)
