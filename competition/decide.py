"""What is decided on out-of-fold predictions, and the honest score of a decision: fitted without the fold it is scored on.

A stack is a dict of prediction tables: the views of a run, or the members of a blend. The first decision makes one table of
them: of views a mean, of members what is chosen among the ways of blending (blending/choosing.py), and of boxes how they
are fused (boxes/deciding.py). The second adjusts that (adjustment.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from competition import adjustment
from competition.adjustment import Adjustment
from competition.blending import means, stacking
from competition.blending.choosing import Chooser
from competition.blending.means import Decision, Mean, mean
from competition.blending.stack import Stack
from competition.boxes import deciding
from competition.errors import DataFault, Finding, examples
from competition.metrics import Metric
from competition.task import Problem, Progress, pick

Search = Literal["views", "blend"]
NOISE = 0.05  # one-sided p of a paired t-test over folds, under which a difference counts as more than noise
ROUNDED = 1e-6  # how far the sum of weights may be from 1
VERSION = "4"  # of these decisions: scores of an older one are made anew; 3: calibration, prior; 4: ways of blending


def read(record: dict[str, Any], problem: Problem) -> Decision:
    """The decision of a score.json. Raises DataFault ENS-WEIGHT where its weights are none."""
    decision = _read(record, problem)
    weights = pd.Series(decision.weights, dtype=float)
    if not ((weights >= -ROUNDED).all() and abs(weights.sum() - 1) <= ROUNDED):  # nor where one is nan
        what, mend = (
            "weights of a mean are negative, no numbers, or don't sum to 1",
            "delete that score.json: it is made anew",
        )
        found, risk = (
            examples(f"{name}: {weight:g}" for name, weight in weights.items()),
            "the blend would be of another size",
        )
        raise DataFault(Finding("ENS-WEIGHT", what, "score.json of a run", found, mend, risk))
    return decision


def _read(record: dict[str, Any], problem: Problem) -> Decision:
    """Of a mean the record holds the weights by name, of the others the method and what it needs."""
    if problem.kind == "boxes":
        return deciding.read(record)
    method = record.get("method")
    if not isinstance(method, str):
        return Mean(record)
    return (stacking if method in ("ridge", "logistic", "lightgbm") else means).read(record)


def equal(stack: Stack, problem: Problem) -> Decision:
    """The decision without any fitting: all tables count the same."""
    return deciding.default(stack) if problem.kind == "boxes" else mean(stack)


@dataclass(frozen=True)
class Nested:
    """prediction: every id by the decision fitted on the other folds. decided: the same with the adjustments of the other
    folds. by_fold, adjustments_by_fold: those decisions and adjustments. final, adjustment: fitted on all folds.
    """

    prediction: pd.DataFrame
    decided: pd.DataFrame
    by_fold: dict[int, Decision]
    final: Decision
    adjustments_by_fold: dict[int, Adjustment | None]
    adjustment: Adjustment | None
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)

    def decide(self, stack: Stack, fold: pd.Series) -> pd.DataFrame:
        """Another stack of the same rows, each fold's decided as this one's is: by what was fitted on the other folds."""
        parts = []
        for k, decision in self.by_fold.items():
            table = decision.combine(part(stack, fold.index[fold == k]))
            parts.append(adjustment.apply(self.adjustments_by_fold[k], table))
        return pick(pd.concat(parts), fold.index)


def nested(
    search: Search,
    stack: Stack,
    truth: pd.DataFrame,
    fold: pd.Series,
    problem: Problem,
    progress: Progress = lambda done, total, text: None,
    method: str = "auto",
) -> Nested:
    """Decision and adjustment, refitted once per held-out fold. fold: by id, of every id of truth and of the stack.
    method: of a blend of rows, how its members become one; auto: chosen without the held-out fold, too.

    An adjustment that no fold's refit has kept is none in the end either, for the score would be of another one; but a cut
    of boxes stays, since none of them can be submitted without.
    """
    chooser = _chooser(search, stack, truth, fold, problem, progress, method)
    combined: dict[str, pd.DataFrame] = {}

    def decide(ids: pd.Index) -> tuple[Decision, pd.DataFrame, Adjustment | None]:
        decision = chooser.choose(ids)
        key = json.dumps(decision.plain())
        if key not in combined:
            combined[key] = decision.combine(stack)
        table = combined[key]
        crossed = isinstance(chooser, Chooser) and adjustment.ways(problem)
        learnt = chooser.held_out(ids) if crossed else pick(table, ids)
        return decision, table, adjustment.fit(learnt, pick(truth, ids), fold.loc[ids], problem)

    by_fold, adjustments, plain, decided = {}, {}, [], []
    for k in map(int, sorted(fold.unique())):
        by_fold[k], table, adjustments[k] = decide(fold.index[fold != k])
        plain.append(pick(table, fold.index[fold == k]))
        decided.append(adjustment.apply(adjustments[k], plain[-1]))
    final, _, last = decide(fold.index)
    return Nested(
        prediction=pick(pd.concat(plain), fold.index),
        decided=pick(pd.concat(decided), fold.index),
        by_fold=by_fold,
        final=final,
        adjustments_by_fold=adjustments,
        adjustment=last if problem.kind == "boxes" or any(adjustments.values()) else None,
        methods=chooser.table() if isinstance(chooser, Chooser) else {},
    )


def _chooser(
    search: Search,
    stack: Stack,
    truth: pd.DataFrame,
    fold: pd.Series,
    problem: Problem,
    progress: Progress,
    method: str,
) -> deciding.Chooser | Views | Chooser:
    """What finds the decision fitted on some rows: `choose(ids)`."""
    if problem.kind == "boxes":
        return deciding.Chooser(stack, truth, problem, fold.index, search, progress)
    if search == "views":
        return Views(stack, truth, fold, problem)
    return Chooser(stack, truth, fold, problem, method, progress)


@dataclass(frozen=True)
class Views:
    """Which views of one run count; tables as `nested` takes them."""

    stack: Stack
    truth: pd.DataFrame
    fold: pd.Series
    problem: Problem

    def choose(self, ids: pd.Index) -> Decision:
        return choose_views(part(self.stack, ids), self.truth.loc[ids], self.fold.loc[ids], self.problem)


def part(stack: Stack, ids: pd.Index) -> Stack:
    return {name: pick(table, ids) for name, table in stack.items()}


def fold_scores(metric: Metric, truth: pd.DataFrame, prediction: pd.DataFrame, fold: pd.Series) -> pd.Series:
    """Score of each fold, by fold number; greater is better."""
    scores = {k: metric.score(pick(truth, ids), pick(prediction, ids)) for k, ids in fold.groupby(fold).groups.items()}
    return pd.Series(scores, dtype=float).sort_index()


def beyond_noise(better: pd.Series, worse: pd.Series) -> bool:
    """Whether the first scores beat the second, fold by fold, by more than noise (paired t-test, one-sided)."""
    from scipy.stats import ttest_1samp

    gain = (better - worse).dropna()
    if len(gain) < 3 or gain.mean() <= 0:
        return False
    return bool(gain.std() == 0 or ttest_1samp(gain, 0.0, alternative="greater").pvalue < NOISE)


def choose_views(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Mean:
    """The mean of all views, less those without which the score is better beyond noise, the worst first."""
    kept = dict(stack)
    while len(kept) > 1:
        now = fold_scores(problem.metric, truth, mean(kept).combine(kept), fold)
        without = {}
        for name in kept:
            rest = {n: t for n, t in kept.items() if n != name}
            without[name] = fold_scores(problem.metric, truth, mean(rest).combine(rest), fold)
        worst = max(without, key=lambda name: without[name].mean())
        if not beyond_noise(without[worst], now):
            break
        del kept[worst]
    return mean(kept)
