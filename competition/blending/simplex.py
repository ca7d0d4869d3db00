"""The exact minimum of a convex loss over the simplex: weights of no less than 0 that sum to 1.

Newton's method: each step minimises the loss's quadratic model over the whole simplex by an active set. A convex loss lies
above its tangents, so that the value is above the optimum by `gap` at most; that is what is stopped by, and what is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from competition.blending.losses import TINY, Loss

PRECISION = 1e-10  # of the value at the start, what the gap is to be at most
STEPS = 100  # of Newton; log loss of 20 members takes 4 to 8
HALVINGS = 40
ENOUGH = 1e-4  # of the fall that the slope promises (Armijo)
ROUNDING = 1e-14  # of the value, how much of a fall sums of many rows may hide
JITTER = 1e-12  # of the Hessian's mean eigenvalue, so that two equal members don't make it singular


@dataclass(frozen=True)
class Solution:
    """weights: [members]. value: the loss there. gap: how far it is above the optimum at most. steps: of Newton."""

    weights: np.ndarray
    value: float
    gap: float
    steps: int


@dataclass(frozen=True)
class Drawn:
    """A loss over `unit`, plus `ridge` times the squared distance of the weights from `centre` [members]."""

    loss: Loss
    unit: float
    ridge: float
    centre: np.ndarray

    def __call__(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = self.loss(w)
        off = w - self.centre
        return value / self.unit + self.ridge * float(off @ off), slope / self.unit + 2 * self.ridge * off

    def hessian(self, w: np.ndarray) -> np.ndarray:
        return self.loss.hessian(w) / self.unit + 2 * self.ridge * np.eye(len(w))


def solve(loss: Loss, start: np.ndarray) -> Solution:
    """start: [members] on the simplex. Where a loss is not convex the point is stationary, and the gap says only that."""
    w, (value, slope) = start, loss(start)
    enough = PRECISION * max(abs(value), TINY)
    steps = 0
    while steps < STEPS and _gap(w, slope) > enough:
        found = _lower(loss, w, minimum(loss.hessian(w), slope, w), value, slope)
        if found is None:
            break
        w, value, slope = found
        steps += 1
    return Solution(w, float(value), _gap(w, slope), steps)


def _gap(w: np.ndarray, slope: np.ndarray) -> float:
    return float(slope @ w - slope.min())


def _lower(
    loss: Loss, w: np.ndarray, target: np.ndarray, value: float, slope: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The first point on the halved way to the target where the loss is lower by enough; None where rounding hides any."""
    fall = float(slope @ (target - w))
    for share in 0.5 ** np.arange(HALVINGS):
        there = w + share * (target - w)
        lower, steepness = loss(there)
        if lower <= value + ENOUGH * share * fall + ROUNDING * abs(value):
            return there, lower, steepness
    return None


def minimum(hessian: np.ndarray, slope: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x on the simplex of least slope (x - w) + (x - w)' hessian (x - w) / 2.

    An active set, from w on: the best of the weights that are free, or the way to it up to the first weight that gets 0;
    then the one is freed by which most is gained (Nocedal and Wright 2006, algorithm 16.3).
    """
    h = hessian + np.eye(len(w)) * max(JITTER * np.trace(hessian) / len(w), TINY**2)
    x, free = w.copy(), w > 0
    for _ in range(20 * len(w)):
        slopes = slope + h @ (x - w)
        move = _best(h, slopes, free)
        falls = np.flatnonzero(x + move < 0)
        if len(falls):
            shares = x[falls] / -move[falls]
            first = falls[shares.argmin()]
            x = x + shares.min() * move
            x[first], free[first] = 0, False
            continue
        x = x + move
        slopes = slope + h @ (x - w)
        gain = np.where(free, 0, slopes[free].mean() - slopes)
        if gain.max() <= TINY * np.abs(slopes).max():
            break
        free[gain.argmax()] = True
    return x.clip(0) / x.clip(0).sum()


def _best(h: np.ndarray, slopes: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The move of the free weights, of sum 0, to where the quadratic is least."""
    some = np.flatnonzero(free)
    n = len(some)
    system = np.ones((n + 1, n + 1))
    system[:n, :n], system[n, n] = h[np.ix_(some, some)], 0
    move = np.zeros(len(free))
    move[some] = np.linalg.solve(system, np.append(-slopes[some], 0))[:n]
    return move
