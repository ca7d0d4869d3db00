"""Shares of the classes in test, where they are not train's: `prior:` in competition.yaml, stated or estimated.

Probabilities are corrected by the ratio of the shares and normalised (Saerens et al. 2002, eq. 2.4) when a submission is
written. Out-of-fold scores are of the training shares. The estimate looks at test predictions, so it is never made unless
it is asked for, and no run is ever chosen by it (DESIGN 8.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from competition import adjustment
from competition.adjustment import Adjustment
from competition.decide import Nested
from competition.errors import ConfigFault, Finding, examples, nearest
from competition.formulas import EPSILON
from competition.kinds import CLASSES
from competition.metrics import Metric
from competition.task import Problem

Prior = Mapping[str, float] | Literal["estimate"] | None

ROUNDED = 0.005  # how far stated shares may be from a sum of 1
DRAWS = 20  # of the scored rows at the stated shares
REACHED = 0.01  # how far such draws may be from them on average
ROUNDS, SETTLED = 2_000, 1e-7  # of the estimate, which ends where no share moves by more


@dataclass(frozen=True)
class Shift:
    """From the shares of train to those of test, both [columns]. exclusive: whether the columns are classes, whose
    probabilities sum to 1; otherwise each is a yes or no of its own.
    """

    columns: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    exclusive: bool

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        assert tuple(prediction.columns) == self.columns, f"{[*prediction.columns]} is not {[*self.columns]}"
        return pd.DataFrame(self.of(prediction.to_numpy(float)), prediction.index, prediction.columns)

    def of(self, p: np.ndarray) -> np.ndarray:
        """p: [rows, columns]."""
        p = p.clip(EPSILON, 1 - EPSILON)
        yes, no = p * self.test / self.train, (1 - p) * (1 - self.test) / (1 - self.train)
        return yes / (yes.sum(axis=1, keepdims=True) if self.exclusive else yes + no)

    def __str__(self) -> str:
        some = [f"{c} {b:.4g} ({a:.4g})" for c, a, b in zip(self.columns, self.train, self.test, strict=True)]
        return ", ".join(some[:5]) + (f", ... ({len(some)} in all)" if len(some) > 5 else "")


def check(prior: Prior, problem: Problem, home: Path) -> None:
    """home: where competition.yaml lies. Raises ConfigFault CFG-VALUE."""
    if prior is None:
        return
    if problem.kind in ("regression", "boxes"):
        raise ConfigFault(_finding(home, "", f"kind: {problem.kind} has no shares of classes", "remove `prior:`"))
    if prior == "estimate":
        return
    unknown = [name for name in prior if name not in problem.classes]
    if unknown:
        faults = [_finding(home, f".{n}", f"{n!r} is no class", nearest(n, problem.classes)) for n in unknown]
        raise ConfigFault(*faults)
    lacking, total = [name for name in problem.classes if name not in prior], sum(prior.values())
    if lacking:
        raise ConfigFault(_finding(home, "", f"no share of {examples(lacking)}", f"add `{lacking[0]}: ...`"))
    if problem.kind != "multilabel" and abs(total - 1) > ROUNDED:
        raise ConfigFault(_finding(home, "", f"the shares sum to {total:.6g}", "mend them so that they sum to 1"))


def stated(prior: Mapping[str, float], problem: Problem, truth: pd.DataFrame) -> Shift:
    """truth: of all training rows."""
    test = np.array([prior[name] for name in problem.columns])
    return _shift(problem, truth, test if problem.kind == "multilabel" else test / sum(prior.values()))


def estimated(prediction: pd.DataFrame, problem: Problem, truth: pd.DataFrame) -> Shift:
    """The shares that make the predictions of test likeliest, by expectation and maximisation (Saerens et al. 2002, 2.2)."""
    shift = _shift(problem, truth)
    p = prediction.to_numpy(float)
    for _ in range(ROUNDS):
        share = shift.of(p).mean(axis=0)
        moved = np.abs(share - shift.test).max()
        shift = _shift(problem, truth, share)
        if moved < SETTLED:
            break
    return shift


def _shift(problem: Problem, truth: pd.DataFrame, test: np.ndarray | None = None) -> Shift:
    """A class without a row, or with all of them, counts as if one row were otherwise."""
    train = truth[list(problem.columns)].mean().to_numpy().clip(1 / len(truth), 1 - 1 / len(truth))
    return Shift(problem.columns, train, train if test is None else test, problem.kind in CLASSES)


def around(adjusted: Adjustment | None, metric: Metric) -> tuple[Adjustment | None, Adjustment | None]:
    """What comes before a correction, and what after: it takes calibrated probabilities, and decisions are made of its."""
    return (None, adjusted) if metric.needs == "label" else (adjusted, None)


def submitted(
    prior: Prior, problem: Problem, truth: pd.DataFrame, test: pd.DataFrame, adjusted: Adjustment | None
) -> tuple[pd.DataFrame, list[str]]:
    """Test predictions adjusted and, where `prior:` says so, corrected; and what a user should know of it."""
    if prior is None:
        return adjustment.apply(adjusted, test), []
    before, after = around(adjusted, problem.metric)
    table = adjustment.apply(before, test)
    shift = estimated(table, problem, truth) if prior == "estimate" else stated(prior, problem, truth)
    note = f"corrected to the {'estimated' if prior == 'estimate' else 'stated'} shares of test (of train): {shift}"
    return adjustment.apply(after, shift.apply(table)), [note]


def scores(
    prior: Prior, problem: Problem, truth: pd.DataFrame, fold: pd.Series, result: Nested
) -> dict[str, float | None] | None:
    """The score at the stated shares, corrected and not, mean of DRAWS draws of the scored rows with replacement.

    truth: of all training rows; fold: of the scored ones. Each None where no draw has these shares; None without them.
    """
    if prior is None or prior == "estimate":
        return None
    shift, metric = stated(prior, problem, truth), problem.metric
    chance = weights(truth.loc[fold.index, list(problem.columns)].to_numpy(float), shift.test, shift.exclusive)
    if chance is None:
        return {"corrected": None, "uncorrected": None}

    def corrected(k: int) -> pd.DataFrame:
        before, after = around(result.adjustments_by_fold[k], metric)
        part = result.prediction.loc[fold.index[fold == k]]
        return adjustment.apply(after, shift.apply(adjustment.apply(before, part)))

    tables = pd.concat([corrected(k) for k in result.adjustments_by_fold]).loc[fold.index], result.decided
    rng = np.random.default_rng(0)
    draws = [fold.index[rng.choice(len(fold), len(fold), p=chance)] for _ in range(DRAWS)]
    means = [float(np.mean([metric.score(truth.loc[ids], table.loc[ids]) for ids in draws])) for table in tables]
    shown = [metric.shown(mean) if np.isfinite(mean) else None for mean in means]
    return dict(zip(("corrected", "uncorrected"), shown, strict=True))


def weights(t: np.ndarray, shares: np.ndarray, exclusive: bool) -> np.ndarray | None:
    """Chances of rows, sum 1, under which truth t [rows, columns] has these shares; None where it can't.

    Raking: each column's rows are given its share in turn (Deming, Stephan 1940).
    """
    sides = [t] if exclusive else [np.column_stack([1 - t[:, j], t[:, j]]) for j in range(t.shape[1])]
    wanted = [shares] if exclusive else [np.array([1 - share, share]) for share in shares]
    chance = np.full(len(t), 1 / len(t))
    for _ in range(100):
        for side, share in zip(sides, wanted, strict=True):
            chance = chance * (side @ (share / (chance @ side).clip(EPSILON)))
            chance = chance / max(chance.sum(), EPSILON)
    return chance if np.abs(chance @ t - shares).max() < REACHED else None


def beside(at_prior: dict[str, Any] | None) -> str:
    """The sentence beside a score where `prior:` is set; at_prior: of score.json."""
    whose = "the CV score is of train's shares of the classes"
    if at_prior is None:
        return f"{whose}; those of test are estimated when a submission is written"
    if None in at_prior.values():
        return f"{whose}; no draw of the scored rows has the stated ones, or none has a score"
    with_, without = (f"{at_prior[key]:.4f}" for key in ("corrected", "uncorrected"))
    return f"{whose}; at the stated prior: {with_} with the correction, {without} without ({DRAWS} draws)"


def _finding(home: Path, key: str, found: str, mend: str) -> Finding:
    where = f"{home / 'competition.yaml'}, key prior{key}"
    return Finding("CFG-VALUE", "the shares of the classes in test can't be used", where, found, mend)
