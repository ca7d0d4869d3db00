"""What blend weights minimise: a smooth loss of the mix that stands for the metric, with gradient and Hessian.

A loss is a sum over cells of a function of the mix there: over those of all rows and columns or, for log loss, over those
that the truth says something of. Decisions and ranks have no gradient, so metrics of classes are fitted by log loss, and
rank metrics of values by squared error.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from competition.kinds import CLASSES
from competition.metrics import Metric
from competition.task import Problem

Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]  # mix [cells] -> value, slope, curvature

WIDTH = 0.1  # an absolute error is rounded within this share of the plain mean's median error
FLOOR = 1e-3  # a relative error is of no less than this share of the mean size of the truth
LOWEST = -1 + 1e-6  # of a mix, before log(1 + mix)
TINY = 1e-12  # a probability is no less, before its logarithm
BLOCK = 8192  # cells of a member that are looked at at once


class Loss(Protocol):
    """Of the members' weights [members], which sum to 1."""

    def __call__(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient [members]."""
        ...

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """[members, members], or a matrix near it that has no negative eigenvalue."""
        ...


@dataclass(frozen=True)
class Cells:
    """What a loss looks at. x: [members, cells]. y: [cells] the truth, or of log loss how much a cell counts. row: [cells]
    of which row.
    """

    x: np.ndarray
    y: np.ndarray
    row: np.ndarray

    def of_rows(self, rows: np.ndarray) -> Cells:
        """Those of some rows, of a mask [rows]."""
        kept = np.flatnonzero(rows[self.row])
        return self if len(kept) == len(self.row) else Cells(self.x.take(kept, axis=1), self.y[kept], self.row[kept])


@dataclass(frozen=True)
class Curved:
    """The sum of a function of each cell's mix, over `total`. x: [members, cells]."""

    x: np.ndarray
    curve: Curve
    total: float

    def __call__(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope, _ = self.curve(w @ self.x)
        return float(value.sum()) / self.total, self.x @ slope / self.total

    def hessian(self, w: np.ndarray) -> np.ndarray:
        root = np.sqrt(self.curve(w @ self.x)[2])
        return _products(self.x[:, some] * root[some] for some in _blocks(len(root))) / self.total


@dataclass(frozen=True)
class Squared:
    """Mean squared error, by the members' Gram matrix [members, members], so that rows are looked at once."""

    gram: np.ndarray

    def __call__(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        return float(w @ self.gram @ w), 2 * self.gram @ w

    def hessian(self, w: np.ndarray) -> np.ndarray:
        return 2 * self.gram


def of(problem: Problem, p: np.ndarray, t: np.ndarray) -> Loss:
    """The loss that stands for the problem's metric. p: [rows, columns, members]. t: [rows, columns]."""
    return by_part(problem, list(np.moveaxis(p, 2, 0)), t, np.zeros(len(t), int))(np.array([True]))


def by_part(problem: Problem, p: Sequence[np.ndarray], t: np.ndarray, part: np.ndarray) -> Callable[[np.ndarray], Loss]:
    """From a mask [parts] to the loss on the rows of those parts. p: [rows, columns] of each member; part: [rows], from 0.

    Of log loss only what each member gave the truth is copied, of squared error only its products.
    """
    metric = problem.metric
    if problem.kind == "regression" and metric.name not in VALUES:
        scale = t.std(axis=0).clip(TINY)
        return _by_gram([one / scale for one in p], t / scale, part)
    if problem.kind != "regression" and metric.name == "brier":
        return _by_gram(p, t, part)
    if problem.kind == "regression":
        every = Cells(np.stack([one.ravel() for one in p]), t.ravel(), np.arange(t.size) // t.shape[1])
        return lambda parts: VALUES[metric.name](every.of_rows(parts[part]), metric)
    some = _true(p, t) if problem.kind in CLASSES else _true_or_not(p, t)
    return lambda parts: log(some.of_rows(parts[part]))


def _by_gram(p: Sequence[np.ndarray], t: np.ndarray, part: np.ndarray) -> Callable[[np.ndarray], Loss]:
    def errors(rows: np.ndarray) -> Iterator[np.ndarray]:
        for some in _blocks(len(rows), t.shape[1]):
            true = t[rows[some]]
            yield np.stack([(one[rows[some]] - true).ravel() for one in p])

    cells = np.bincount(part) * t.shape[1]
    grams = np.stack([_products(errors(np.flatnonzero(part == k))) for k in range(len(cells))])
    return lambda parts: Squared(grams[parts].sum(axis=0) / cells[parts].sum())


def _products(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The Gram matrix of the rows of [members, cells], in blocks that a core's cache holds."""
    return functools.reduce(operator.add, (block @ block.T for block in blocks))


def _blocks(n: int, width: int = 1) -> list[slice]:
    step = max(BLOCK // width, 1)
    return [slice(start, start + step) for start in range(0, n, step)]


def _true(p: Sequence[np.ndarray], t: np.ndarray) -> Cells:
    """The cells of which the truth is above 0: of certain classes one a row."""
    row, column = np.nonzero(t)
    x = np.empty((len(p), len(row)))
    for m, one in enumerate(p):
        x[m] = one[row, column]
    return Cells(x, t[row, column], row)


def _true_or_not(p: Sequence[np.ndarray], t: np.ndarray) -> Cells:
    """Each cell as the probability of what is true there; a soft one is two cells."""
    yes, no = _true(p, t), _true(p, 1 - t)
    both = np.concatenate([yes.x, 1 - no.x], axis=1)
    return Cells(both, np.concatenate([yes.y, no.y]), np.concatenate([yes.row, no.row]))


def log(some: Cells) -> Loss:
    """-y log x; where truth is soft, the cross-entropy."""
    x, y = np.maximum(some.x, TINY), some.y

    def curve(mix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        slope = y / mix
        return -y * np.log(mix), -slope, slope / mix

    return Curved(x, curve, y.sum())


def squared_log(some: Cells, _: Metric) -> Loss:
    """Squared difference of log(1 + value). It is not convex; the Hessian is that of Gauss and Newton."""
    true = np.log1p(some.y.clip(LOWEST))

    def curve(mix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        steepness = (mix > LOWEST) / (1 + mix.clip(LOWEST))
        error = np.log1p(mix.clip(LOWEST)) - true
        return error**2, 2 * error * steepness, 2 * steepness**2

    return Curved(some.x, curve, len(true))


def absolute(some: Cells, _: Metric) -> Loss:
    return _absolute(some, np.ones_like(some.y))


def relative(some: Cells, _: Metric) -> Loss:
    """Absolute error over |truth|."""
    return _absolute(some, 1 / np.abs(some.y).clip(_floor(some)))


def symmetric(some: Cells, _: Metric) -> Loss:
    """Absolute error over |truth| + |prediction|, with the plain mean's prediction, so that it stays convex."""
    return _absolute(some, 1 / (np.abs(some.y) + np.abs(some.x.mean(axis=0))).clip(_floor(some)))


def pinball(some: Cells, metric: Metric) -> Loss:
    """Twice the pinball loss: |error| leant to one side."""
    return _absolute(some, np.ones_like(some.y), tilt=1 - 2 * metric.params["alpha"])


def _absolute(some: Cells, weight: np.ndarray, tilt: float = 0.0) -> Loss:
    """Mean of |u| + tilt u with u = weight (mix - t), its corner rounded (Charbonnier 1997); above 0 whatever the tilt."""
    x, true = some.x * weight, some.y * weight
    width = max(WIDTH * float(np.median(np.abs(x.mean(axis=0) - true))), TINY)

    def curve(mix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        error = mix - true
        root = np.sqrt(error**2 + width**2)
        return root + tilt * error, error / root + tilt, width**2 / root**3

    return Curved(x, curve, len(true))


def _floor(some: Cells) -> float:
    return max(FLOOR * float(np.abs(some.y).mean()), TINY)


VALUES: dict[
    str, Callable[[Cells, Metric], Loss]
] = {  # by metric; the others of values: squared, columns of equal spread
    "rmsle": squared_log,
    "mean_column_rmsle": squared_log,
    "mae": absolute,
    "mape": relative,
    "smape": symmetric,
    "quantile": pinball,
}
