"""What blend weights minimise: a smooth loss of the mix that stands for the metric, with its gradient.

A loss is made of p [rows, columns, members] and t [rows, columns], and takes the members' weights. Decisions and ranks
have no gradient, so metrics of classes are fitted by log loss, and rank metrics of values by squared error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from competition.metrics import CLASSES, Metric
from competition.task import Problem

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]  # weights [members] -> value, gradient [members]
Make = Callable[[np.ndarray, np.ndarray, Metric], Loss]

WIDTH = 0.1  # an absolute error is rounded within this share of the plain mean's median error
FLOOR = 1e-3  # a relative error is of no less than this share of the mean size of the truth
LOWEST = -1 + 1e-6  # of a mix, before log(1 + mix)
TINY = 1e-12


def of(problem: Problem, p: np.ndarray, t: np.ndarray) -> Loss:
    """The loss that stands for the problem's metric."""
    metric = problem.metric
    if problem.kind == "regression":
        return VALUES.get(metric.name, standardised)(p, t, metric)
    if metric.name == "brier":
        return squared(p, t, metric)
    return (shared_log if problem.kind in CLASSES else column_log)(p, t, metric)


def squared(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    """A quadratic form of the members' errors, so that rows are looked at once."""
    errors = (p - t[:, :, None]).reshape(-1, p.shape[2])
    gram = errors.T @ errors / len(errors)
    return lambda w: (float(w @ gram @ w), 2 * gram @ w)


def standardised(p: np.ndarray, t: np.ndarray, metric: Metric) -> Loss:
    """Squared error of targets in units of their standard deviation."""
    scale = t.std(axis=0).clip(TINY)
    return squared(p / scale[:, None], t / scale, metric)


def shared_log(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    """Log loss of classes that exclude each other, of what each member gave the truth [rows, members]."""
    return _log((t[:, :, None] * p).sum(axis=1))


def column_log(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    t = t[:, :, None]
    return _log((t * p + (1 - t) * (1 - p)).reshape(-1, p.shape[2]))


def _log(given: np.ndarray) -> Loss:
    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.clip(given @ w, TINY, None)
        return float(-np.log(mixed).mean()), -(given / mixed[:, None]).mean(axis=0)

    return loss


def squared_log(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    """Squared difference of log(1 + value)."""
    flat, true = p.reshape(-1, p.shape[2]), np.log1p(t.ravel().clip(LOWEST))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = flat @ w
        error = np.log1p(mixed.clip(LOWEST)) - true
        slope = np.where(mixed > LOWEST, 2 * error / (1 + mixed.clip(LOWEST)), 0)
        return float((error**2).mean()), flat.T @ slope / len(true)

    return loss


def absolute(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    return _absolute(p, t, np.ones_like(t))


def relative(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    """Absolute error over |truth|."""
    return _absolute(p, t, 1 / np.abs(t).clip(_floor(t)))


def symmetric(p: np.ndarray, t: np.ndarray, _: Metric) -> Loss:
    """Absolute error over |truth| + |prediction|, with the plain mean's prediction, so that it stays convex."""
    return _absolute(p, t, 1 / (np.abs(t) + np.abs(p.mean(axis=2))).clip(_floor(t)))


def pinball(p: np.ndarray, t: np.ndarray, metric: Metric) -> Loss:
    """Twice the pinball loss: |error| leant to one side."""
    return _absolute(p, t, np.ones_like(t), tilt=1 - 2 * metric.params["alpha"])


def _absolute(p: np.ndarray, t: np.ndarray, weight: np.ndarray, tilt: float = 0.0) -> Loss:
    """Mean of |u| + tilt u with u = weight (mix - t), its corner rounded (Charbonnier 1997); above 0 whatever the tilt."""
    flat = (weight[:, :, None] * p).reshape(-1, p.shape[2])
    true = (weight * t).ravel()
    width = max(WIDTH * float(np.median(np.abs(flat.mean(axis=1) - true))), TINY)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        error = flat @ w - true
        root = np.sqrt(error**2 + width**2)
        return float((root + tilt * error).mean()), flat.T @ (error / root + tilt) / len(true)

    return loss


def _floor(t: np.ndarray) -> float:
    return max(FLOOR * float(np.abs(t).mean()), TINY)


VALUES: dict[str, Make] = {  # by metric; the others of values: `standardised`
    "rmsle": squared_log,
    "mean_column_rmsle": squared_log,
    "mae": absolute,
    "mape": relative,
    "smape": symmetric,
    "quantile": pinball,
}
