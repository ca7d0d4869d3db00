"""What is decided on out-of-fold predictions, and the honest score of a decision: fitted without the fold it is scored on.

A stack is a dict of prediction tables that share index and columns: the views of a run, or the members of a blend. The
first decision gives each of them a weight; weights sum to 1. The second is the cut of the weighted sum (cuts.py).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition import cuts, losses
from competition.cuts import Cut
from competition.metrics import Metric
from competition.task import Problem

Stack = Mapping[str, pd.DataFrame]
Weights = dict[str, float]
Choose = Callable[[Stack, pd.DataFrame, pd.Series, Problem], Weights]
NOISE = 0.05  # one-sided p of a paired t-test over folds, under which a difference counts as more than noise
DRAWN = (np.inf, 10.0, 1.0, 0.1)  # how strongly blend weights are drawn to equal ones, over the number of rows
VERSION = "2"  # of these decisions, for scores of an older one are made anew; 2: cuts, blend weights by metric


@dataclass(frozen=True)
class Nested:
    """prediction: every row by the weights fitted on the other folds, as probabilities or values. decided: the same with
    the cuts of the other folds. by_fold, cuts_by_fold: those weights and cuts. final, cut: fitted on all folds.
    """

    prediction: pd.DataFrame
    decided: pd.DataFrame
    by_fold: dict[int, Weights]
    final: Weights
    cuts_by_fold: dict[int, Cut | None]
    cut: Cut | None


def combine(stack: Stack, weights: Weights) -> pd.DataFrame:
    """The weighted sum of the stack's tables; those without a weight are not looked at."""
    weighted = [stack[name] * w for name, w in weights.items() if w]
    return functools.reduce(operator.add, weighted)


def mean(stack: Stack) -> Weights:
    return dict.fromkeys(stack, 1 / len(stack))


def nested(choose: Choose, stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Nested:
    """Weights and cut, refitted once per held-out fold. fold: fold number by id, the index of truth and of the stack.

    A cut that no fold's refit has kept is none in the end either: the score would be of another decision.
    """
    by_fold, cuts_by_fold, plain, decided = {}, {}, [], []
    for k in map(int, sorted(fold.unique())):
        rest, held = fold.index[fold != k], fold.index[fold == k]
        by_fold[k], cuts_by_fold[k] = _decisions(choose, part(stack, rest), truth.loc[rest], fold.loc[rest], problem)
        plain.append(combine(part(stack, held), by_fold[k]))
        decided.append(cuts.apply(cuts_by_fold[k], plain[-1]))
    final, cut = _decisions(choose, stack, truth, fold, problem)
    return Nested(
        prediction=pd.concat(plain).loc[truth.index],
        decided=pd.concat(decided).loc[truth.index],
        by_fold=by_fold,
        final=final,
        cuts_by_fold=cuts_by_fold,
        cut=cut if any(cuts_by_fold.values()) else None,
    )


def _decisions(
    choose: Choose, stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem
) -> tuple[Weights, Cut | None]:
    weights = choose(stack, truth, fold, problem)
    return weights, cuts.fit(combine(stack, weights), truth, fold, problem)


def part(stack: Stack, ids: pd.Index) -> Stack:
    return {name: table.loc[ids] for name, table in stack.items()}


def fold_scores(metric: Metric, truth: pd.DataFrame, prediction: pd.DataFrame, fold: pd.Series) -> pd.Series:
    """Score of each fold, by fold number; greater is better."""
    scores = {k: metric.score(truth.loc[ids], prediction.loc[ids]) for k, ids in fold.groupby(fold).groups.items()}
    return pd.Series(scores, dtype=float).sort_index()


def beyond_noise(better: pd.Series, worse: pd.Series) -> bool:
    """Whether the first scores beat the second, fold by fold, by more than noise (paired t-test, one-sided)."""
    from scipy.stats import ttest_1samp

    gain = (better - worse).dropna()
    if len(gain) < 3 or gain.mean() <= 0:
        return False
    return bool(gain.std() == 0 or ttest_1samp(gain, 0.0, alternative="greater").pvalue < NOISE)


def choose_views(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Weights:
    """The mean of all views, less those without which the score is better beyond noise, the worst first."""
    kept = dict(stack)
    while len(kept) > 1:
        now = fold_scores(problem.metric, truth, combine(kept, mean(kept)), fold)
        without = {}
        for name in kept:
            rest = {n: t for n, t in kept.items() if n != name}
            without[name] = fold_scores(problem.metric, truth, combine(rest, mean(rest)), fold)
        worst = max(without, key=lambda name: without[name].mean())
        if not beyond_noise(without[worst], now):
            break
        del kept[worst]
    return mean(kept)


def blend_weights(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Weights:
    """The weights of least loss (losses.py), drawn to equal ones as strongly as held-out rows allow.

    That is the strongest of DRAWN whose loss on folds held out in turn is within one standard error of the least
    (Breiman et al. 1984); equal weights, where there is one fold. Ten members of equal worth on 100 rows: fitted
    plainly the nested error is 4.0% above the plain mean's, so it is 0.3%; where one of the ten is much better it is
    55% below, by a fixed strength of 1 only 34%.
    """
    columns = list(problem.columns)
    p = np.stack([table.loc[truth.index, columns].to_numpy() for table in stack.values()], axis=2)
    t, equal = truth[columns].to_numpy(), np.full(len(stack), 1 / len(stack))

    def held_out(k: int) -> list[float]:
        rest, held = (fold != k).to_numpy(), (fold == k).to_numpy()
        loss, judge = losses.of(problem, p[rest], t[rest]), losses.of(problem, p[held], t[held])
        return [judge(_drawn(loss, equal, s / rest.sum()))[0] / max(judge(equal)[0], losses.TINY) for s in DRAWN]

    strength = _strongest(np.array([held_out(k) for k in fold.unique()])) if fold.nunique() > 1 else DRAWN[0]
    weights = _drawn(losses.of(problem, p, t), equal, strength / len(t))
    weights = np.where(weights < 1e-4, 0, weights)
    return dict(zip(stack, (weights / weights.sum()).tolist(), strict=True))


def _strongest(loss: np.ndarray) -> float:
    """Of losses [folds, strengths], the first strength within one standard error of the best."""
    above = loss - loss[:, [loss.mean(axis=0).argmin()]]
    return DRAWN[int(np.argmax(above.mean(axis=0) <= above.std(axis=0, ddof=1) / len(above) ** 0.5))]


def _drawn(loss: losses.Loss, equal: np.ndarray, strength: float) -> np.ndarray:
    """Least loss, relative to equal weights', plus strength x squared distance from them, both of members x weights.

    Over the rows' number that is the prior of weights drawn evenly from the simplex, of variance 1 / members**2. SLSQP.
    """
    from scipy.optimize import minimize

    if np.isinf(strength):
        return equal
    unit, ridge = max(loss(equal)[0], losses.TINY), strength * len(equal) ** 2

    def shrunk(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(w)
        return value / unit + ridge * ((w - equal) ** 2).sum(), slope / unit + 2 * ridge * (w - equal)

    one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    bounds = [(0, 1)] * len(equal)
    return minimize(shrunk, equal, jac=True, method="SLSQP", bounds=bounds, constraints=[one]).x
