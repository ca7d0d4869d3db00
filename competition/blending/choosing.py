"""Which way of blending scores best on held-out rows, chosen without the fold that it is then scored on.

`METHODS` lists the ways in order of simplicity. The score of one is that of each fold in turn, fitted on the other folds at
hand; taken is the simplest within one standard error of the best. To choose without fold k only the others are at hand, so
that with n folds each way is fitted n (n - 1) / 2 times without two of them, n times without one, and once on all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from competition.blending import batched, convex, means, stacking
from competition.blending.greedy import greedy_weights
from competition.blending.means import Decision, Mean
from competition.blending.stack import Stack
from competition.engine import stopping
from competition.errors import Stopped
from competition.kinds import CLASSES
from competition.task import Problem, Progress

Name = Literal["mean", "convex", "greedy", "rank", "geometric", "power", "per_class", "ridge", "logistic", "lightgbm"]
Fit = Callable[[Stack, pd.DataFrame, pd.Series, Problem], Decision]

DEFAULT: Name = "convex"  # where nothing can be compared
RANKS = ("auc", "mean_column_auc", "average_precision", "gini", "spearman")  # each column's order is all they look at
EXPONENTS = (0.5, 2.0, 0.25, 4.0, -1.0)  # of power means; the first of equal scores
EACH = 10  # rows of training for each number that a way fits, at least
GROWN = 1000  # rows for trees
DRAWN = 2e6  # cells of the members that an exponent is chosen on, at most
MOST = {
    "greedy": 4e7,
    "per_class": 2e7,
    "logistic": 8.1e7,
    "lightgbm": 2.4e7,
}  # `work` of all fits of a way that `auto` tries


def power(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Decision:
    """The exponent of the best mean score over these folds, on DRAWN cells; it is the only number that is fitted."""
    most = int(DRAWN / len(stack) / len(problem.columns))
    rows = np.sort(np.random.default_rng(0).permutation(len(truth))[:most])
    some, true, part = {name: table.iloc[rows] for name, table in stack.items()}, truth.iloc[rows], fold.iloc[rows]

    def score(exponent: float) -> float:
        mixed = means.power(some, exponent, problem.kind).combine(some)
        found = pd.Series([problem.metric.score(true[part == k], mixed[part == k]) for k in part.unique()]).mean()
        return found if np.isfinite(found) else -np.inf

    return means.power(stack, max(EXPONENTS, key=score), problem.kind)


def per_class(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Decision:
    """Convex weights of each column by itself, of a class against the rest."""

    def column(name: str) -> dict[str, float]:
        kind = "multilabel" if problem.kind in CLASSES else problem.kind
        alone = {member: table[[name]] for member, table in stack.items()}
        one = replace(problem, kind=kind, columns=(name,))
        return convex.fit(alone, truth[[name]], fold, one)

    return means.PerColumn({name: column(name) for name in problem.columns}, problem.kind)


METHODS: dict[Name, Fit] = {
    "mean": lambda stack, truth, fold, problem: means.mean(stack),
    "convex": lambda stack, truth, fold, problem: Mean(convex.fit(stack, truth, fold, problem)),
    "greedy": lambda stack, truth, fold, problem: Mean(greedy_weights(stack, truth, fold, problem)),
    "rank": lambda stack, truth, fold, problem: means.ranked(stack),
    "geometric": lambda stack, truth, fold, problem: means.power(stack, 0.0, problem.kind),
    "power": power,
    "per_class": per_class,
    "ridge": stacking.linear,
    "logistic": stacking.linear,
    "lightgbm": stacking.boosted,
}
assert tuple(METHODS) == get_args(Name)


def unsuited(name: str, problem: Problem, stack: Stack | None = None) -> str:
    """Why a way can't be used for what is predicted, of the stack's values too; empty where it can."""
    kind, metric = problem.kind, problem.metric.name
    if kind == "boxes":
        return "boxes are fused, by what `auto` finds best"
    if name == "rank" and (kind in CLASSES or metric not in RANKS):
        return (
            f"for {', '.join(RANKS)}, which see each column's order alone, and not of classes that exclude each other"
        )
    if name in ("power", "geometric") and kind == "regression":
        low = min((float(table.to_numpy().min()) for table in (stack or {}).values()), default=1.0)
        return "for values above 0 only" if low <= 0 else ""
    if name == "per_class" and len(problem.columns) == 1:
        return "there is one column, whose weights are those of convex"
    if name in ("ridge", "logistic") and (name == "ridge") != (kind == "regression"):
        return "for values" if name == "ridge" else "for classes and labels"
    return ""


def unwise(name: str, stack: Stack, problem: Problem, fits: int = 1) -> str:
    """Why `auto` leaves a way out, by the size of the stack and how often it would be fitted; empty where it does not."""
    rows, columns = len(next(iter(stack.values()))), len(problem.columns)
    inputs = len(stack) * columns
    if len(stack) == 1 and name != "mean":
        return "there is one member"
    least = {"lightgbm": GROWN, **dict.fromkeys(("per_class", "ridge", "logistic"), EACH * inputs)}.get(name, 0)
    if rows < least:
        return f"{rows:,} rows, it wants {least:,}"
    outputs = 1 if name in ("greedy", "per_class") else columns
    work = rows * inputs * outputs * fits
    most = np.inf if name == "greedy" and not batched.one_at_a_time(problem) else MOST.get(name, np.inf)
    return f"rows x inputs x outputs x fits are {work:.1e}, above {most:.1e} it takes too long" if work > most else ""


class Chooser:
    """Finds the decision of any of the folds of a stack; each fit is made once.

    stack, truth: tables by id. fold: fold number by id, of every id. method: a name of METHODS, which must suit the
    problem, or `auto`. progress: told each fit. Raises Stopped.
    """

    def __init__(
        self,
        stack: Stack,
        truth: pd.DataFrame,
        fold: pd.Series,
        problem: Problem,
        method: str = "auto",
        progress: Progress = lambda done, total, text: None,
    ):
        self.fold, self.problem, self.progress = fold, problem, progress
        self.stack, self.truth = {n: table.loc[fold.index] for n, table in stack.items()}, truth.loc[fold.index]
        self.folds = frozenset(map(int, fold.unique()))
        self.held = {k: self._rows([k]) for k in self.folds}
        self.left_out = self._left_out() if method == "auto" else {}
        self.methods = [name for name in METHODS if not self.left_out.get(name) and method in ("auto", name)]
        self.fits: dict[tuple[Name, frozenset[int]], Decision] = {}
        self.found: dict[tuple[Name, frozenset[int], int], float] = {}
        self.chosen: dict[frozenset[int], Name] = {}

    def choose(self, ids: pd.Index) -> Decision:
        """The decision fitted on these rows, which are whole folds, in a way that is chosen on them."""
        folds = frozenset(map(int, self.fold.loc[ids].unique()))
        name = simplest(self.scores(folds)) if len(self.methods) > 1 else self.methods[0]
        self.chosen[folds] = name
        self._fit(folds, [name])
        return self.fits[name, folds]

    def held_out(self, ids: pd.Index) -> pd.DataFrame:
        """What is chosen on these rows says of each of their folds, fitted on the others: what a second fit may learn from.

        A stacked model fits its own rows too well; of one fold alone there is no other.
        """
        folds = frozenset(map(int, self.fold.loc[ids].unique()))
        name, parts = self.chosen[folds], []
        for k in sorted(folds):
            rest = folds - {k} or folds
            self._fit(rest, [name])
            parts.append(self.fits[name, rest].combine(self.held[k][0]))
        return pd.concat(parts).loc[ids]

    def scores(self, folds: frozenset[int]) -> pd.DataFrame:
        """[folds, methods] score of each fold by what is fitted on the others of these, uncut."""
        for k in sorted(folds):
            self._fit(folds - {k}, self.methods)
        return pd.DataFrame(
            {name: {k: self._score(name, folds - {k}, k) for k in sorted(folds)} for name in self.methods}
        )

    def table(self) -> dict[str, dict[str, Any]]:
        """Of each way: nested and in_sample score, uncut, greater is better; the folds whose decision is made that way;
        whether it is the final one; or why it is left out.
        """
        score = partial(self.problem.metric.score, self.truth)
        for folds in (*(self.folds - {k} for k in sorted(self.folds)), self.folds):
            self._fit(folds, self.methods)

        def row(name: Name) -> dict[str, Any]:
            held = [self.fits[name, self.folds - {k}].combine(stack) for k, (stack, _, _) in self.held.items()]
            return {
                "nested": score(pd.concat(held).loc[self.fold.index]) if len(self.folds) > 1 else None,
                "in_sample": score(self.fits[name, self.folds].combine(self.stack)),
                "folds": [f"fold{k}" for k in sorted(self.folds) if self.chosen.get(self.folds - {k}) == name],
                "final": self.chosen[self.folds] == name,
            }

        left_out = {name: {"left_out": why} for name, why in self.left_out.items() if why}
        return {n: row(n) if n in self.methods else left_out[n] for n in METHODS if n in self.methods or n in left_out}

    @property
    def each(self) -> int:
        """How many fits of a way there are, as the module says."""
        n = len(self.folds)
        return n * (n - 1) // 2 + n + 1

    @property
    def most(self) -> int:
        """How many fits there are."""
        return len(self.methods) * self.each

    def _left_out(self) -> dict[str, str]:
        if len(self.folds) < 3 and len(self.stack) > 1:
            return {name: "two folds: a choice could not be scored" for name in METHODS if name != DEFAULT}
        return {
            n: unsuited(n, self.problem, self.stack) or unwise(n, self.stack, self.problem, self.each) for n in METHODS
        }

    def _fit(self, folds: frozenset[int], names: list[Name]) -> None:
        """Fits these ways on the rows of these folds, once; the rows are cut out of the stack once for all of them."""
        missing = [name for name in names if (name, folds) not in self.fits]
        stack, truth, fold = self._rows(folds) if missing else ({}, self.truth, self.fold)
        for name in missing:
            if stopping():
                raise Stopped("stopped while ways of blending were compared")
            # of one fold alone, there is no row to fit the decision on that it is scored with
            some = len(fold) > 0
            self.fits[name, folds] = METHODS[name](stack, truth, fold, self.problem) if some else means.mean(stack)
            self.progress(len(self.fits), self.most, name)

    def _rows(self, folds: Iterable[int]) -> tuple[Stack, pd.DataFrame, pd.Series]:
        """Stack, truth and fold numbers of these folds."""
        rows = self.fold.isin(folds).to_numpy()
        return {name: table[rows] for name, table in self.stack.items()}, self.truth[rows], self.fold[rows]

    def _score(self, name: Name, folds: frozenset[int], k: int) -> float:
        """Of fold k, by what is fitted on the others."""
        if (name, folds, k) not in self.found:
            stack, truth, _ = self.held[k]
            self.found[name, folds, k] = self.problem.metric.score(truth, self.fits[name, folds].combine(stack))
        return self.found[name, folds, k]


def simplest(scores: pd.DataFrame) -> Name:
    """Of scores [folds, methods], simplest first: the first within one standard error of the best, by paired differences.

    A fold on which the metric is undefined counts for none; a method that has no score where another has one is not taken.
    """
    known = scores.notna().sum()
    scores = scores.loc[:, known == known.max()].dropna()
    if not len(scores):
        return DEFAULT if DEFAULT in scores else scores.columns[0]
    behind = -scores.sub(scores[scores.mean().idxmax()], axis=0)
    error = behind.std().fillna(0) / len(scores) ** 0.5
    return (behind.mean() <= error).idxmax()
