"""What models learn of a problem: numbers that suit the metric; their predictions become the problem's again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from competition.task import Problem

Loss = Literal["softmax", "sigmoid", "squared", "absolute", "pinball"]

# The loss whose optimum is the metric's. Percentage errors are absolute errors of the logarithm, nearly.
LOSSES: dict[str, Loss] = {"mae": "absolute", "mape": "absolute", "smape": "absolute", "quantile": "pinball"}
LOG_METRICS = ("rmsle", "mean_column_rmsle", "mape", "smape")
BEYOND = 0.25  # of the range of training values, by which a prediction may leave it (linear models extrapolate)


@dataclass(frozen=True)
class Target:
    """One problem's targets as models see them.

    loss: softmax: one-hot or soft classes; sigmoid: columns of 0..1; else values, standardised, of log(1 + value) where
    `log`. alpha: the quantile of the pinball loss. centre, scale, low, high: [columns], of values only.
    """

    loss: Loss
    outputs: int
    alpha: float = 0.5
    log: bool = False
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def encode(self, truth: pd.DataFrame) -> np.ndarray:
        """[rows, outputs] float64."""
        y = truth.to_numpy(float, copy=True)
        if self.centre:
            y = (np.log1p(y) if self.log else y) - np.array(self.centre)
            y /= np.array(self.scale)
        return y

    def decode(self, y: np.ndarray) -> np.ndarray:
        """[rows, outputs] probabilities or values, from what models predict."""
        if not self.centre:
            return y / y.sum(axis=1, keepdims=True) if self.loss == "softmax" else y
        y = y * np.array(self.scale) + np.array(self.centre)
        y = np.clip(y, self.low, self.high)
        return np.expm1(y) if self.log else y


def of(problem: Problem, truth: pd.DataFrame) -> Target:
    """The target of a problem, its scale taken from these training rows.

    The logarithm is taken for metrics of ratios, where every value is above -1 (Kaggle's RMSLE asks for that).
    """
    outputs = len(problem.columns)
    if problem.kind in ("multiclass", "ordinal"):
        return Target("softmax", outputs)
    if problem.kind != "regression":
        return Target("sigmoid", outputs)
    metric = problem.metric
    values = truth.to_numpy(float)
    log = metric.name in LOG_METRICS and bool(values.min() > -1)
    values = np.log1p(values) if log else values
    room = BEYOND * np.ptp(values, axis=0)
    low = values.min(axis=0) - room
    if log:  # counts and prices stay so: hosts refuse what is negative
        low = np.where(values.min(axis=0) >= 0, low.clip(0), low)
    return Target(
        LOSSES.get(metric.name, "squared"),
        outputs,
        float(metric.params.get("alpha", 0.5)),
        log,
        tuple(values.mean(axis=0).tolist()),
        tuple(np.maximum(values.std(axis=0), 1e-12).tolist()),
        tuple(low.tolist()),
        tuple((values.max(axis=0) + room).tolist()),
    )
