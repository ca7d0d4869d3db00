"""Blend weights by greedy selection with replacement, for any metric (Caruana et al. 2004).

The best members begin, as many as score best together, and their mean counts as one; then the member is added, again and
again, with which the mean scores best.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from competition.blending import batched
from competition.blending.batched import Look
from competition.blending.stack import Stack, arrays
from competition.task import Problem

ROUNDS = 100  # of adding one member
PATIENCE = 25  # rounds without a gain after which no more are tried


def greedy_weights(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> dict[str, float]:
    """The weights on the rows of truth, by name, of sum 1; whichever fold they are of."""
    columns = list(problem.columns)
    p, t = arrays(stack, truth[columns]), truth[columns].to_numpy(float)
    return dict(zip(stack, fit(p, t, problem).tolist(), strict=True))


def fit(p: Sequence[np.ndarray], t: np.ndarray, problem: Problem, rounds: int = ROUNDS) -> np.ndarray:
    """[members] of sum 1. p: [rows, columns] of each member. t: [rows, columns]."""
    look, n = batched.look(p, t, problem), len(p)
    alone = look.score(look.x)
    if np.isnan(alone).all():  # the rows leave the metric undefined
        return np.full(n, 1 / n)
    order = np.argsort(-_known(alone), kind="stable")  # of equal gains the better member's is taken
    counts, total, best = _start(look, order)
    weights, idle = counts, 0
    for n in range(1, rounds + 1):
        scores = _known(look.score_added(total, order, n))
        added = order[scores.argmax()]
        counts = counts + (np.arange(len(counts)) == added)
        total = total + look.x[added]
        idle += 1
        if scores.max() > best:
            weights, best, idle = counts / (n + 1), scores.max(), 0
        if idle == PATIENCE:
            break
    return weights


def _start(look: Look, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The mean of as many of the best members as score best together: weights [members], its look, its score."""
    sums = itertools.accumulate(look.x[m] for m in order)
    scores = _known(np.array([look.score(total[None] / n)[0] for n, total in enumerate(sums, start=1)]))
    some = order[: int(scores.argmax()) + 1]
    return np.bincount(some, minlength=len(look.x)) / len(some), look.x[some].mean(axis=0), float(scores.max())


def _known(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores), -np.inf, scores)
