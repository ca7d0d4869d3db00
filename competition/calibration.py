"""Calibrations: how probabilities are mended where a metric punishes those that are too sure, or not sure enough.

Each is fitted by log loss on out-of-fold predictions, whatever the metric, and chosen by the metric (adjustment.py).
`exclusive`: whether the columns are classes that exclude each other, so that rows sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from competition.formulas import EPSILON
from competition.kinds import CLASSES
from competition.task import Problem

ORDERED = {"auc", "mean_column_auc", "average_precision", "lwlrap", "spearman", "gini"}  # of the order of rows alone
HOTTEST = 20.0  # a temperature lies within 1 / HOTTEST..HOTTEST
EDGES = (0.0, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1)  # lowest probabilities that are tried
RARE = 20  # rows of the rarer answer under which a label has no temperature of its own
CELLS = 100_000  # of rows that are drawn from larger tables, for one or two numbers; for isotonic steps ten times that


@dataclass(frozen=True)
class Temperature:
    """Logits over a temperature (Guo et al. 2017), above 1 where a model is too sure. values: by column, or one of `all`."""

    values: dict[str, float]
    exclusive: bool

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        shared = self.values.get("all")
        values = [self.values[name] for name in prediction.columns] if shared is None else shared
        return _like(prediction, _heated(_logits(prediction.to_numpy(float), self.exclusive), values, self.exclusive))

    def plain(self) -> dict[str, Any]:
        return {"rule": "temperature", **asdict(self)}

    def __str__(self) -> str:
        low, high = min(self.values.values()), max(self.values.values())
        return f"temperature {low:.4g}" if len(self.values) == 1 else f"temperatures {low:.4g} to {high:.4g} by label"


@dataclass(frozen=True)
class Clip:
    """No probability below `low`, none above `high`: a sure mistake costs no more than their logarithms."""

    low: float
    high: float
    exclusive: bool

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        clipped = prediction.to_numpy(float).clip(self.low, self.high)
        return _like(prediction, _summed(clipped) if self.exclusive else clipped)

    def plain(self) -> dict[str, Any]:
        return {"rule": "clip", **asdict(self)}

    def __str__(self) -> str:
        return f"probabilities clipped to {self.low:.4g}..{self.high:.4g}"


@dataclass(frozen=True)
class Isotonic:
    """By column the rising steps nearest to the truth (Zadrozny, Elkan 2002), straight between them; then divided by
    the row's sum. steps: by column [probabilities, rising], [what each becomes].
    """

    steps: dict[str, list[list[float]]]
    exclusive: bool

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        p = prediction.to_numpy(float, copy=True)
        for j, (x, y) in enumerate(self.steps[name] for name in prediction.columns):
            p[:, j] = np.interp(p[:, j], x, y)
        return _like(prediction, _summed(p) if self.exclusive else p)

    def plain(self) -> dict[str, Any]:
        return {"rule": "isotonic", **asdict(self)}

    def __str__(self) -> str:
        return f"isotonic calibration, {sum(len(x) for x, _ in self.steps.values())} steps"


Calibration = Temperature | Clip | Isotonic
Way = Callable[[pd.DataFrame, pd.DataFrame, Problem], Calibration]
RULES: dict[str, type[Calibration]] = {"temperature": Temperature, "clip": Clip, "isotonic": Isotonic}


def read(record: dict[str, Any]) -> Calibration:
    return RULES[record["rule"]](**{name: value for name, value in record.items() if name != "rule"})


def ways(problem: Problem) -> list[Way]:
    """Those that may serve the metric, the simplest first; none where it looks at the order of rows alone."""
    if problem.metric.needs != "probability" or problem.metric.name in ORDERED or problem.kind == "regression":
        return []
    by_label = [label_temperatures] * (problem.kind == "multilabel" and len(problem.columns) > 1)
    return [temperature, clip, *by_label, isotonic]


def temperature(prediction: pd.DataFrame, truth: pd.DataFrame, problem: Problem) -> Temperature:
    """One of all columns."""
    exclusive = problem.kind in CLASSES
    return Temperature({"all": _hottest(*_drawn(prediction, truth), exclusive)}, exclusive)


def label_temperatures(prediction: pd.DataFrame, truth: pd.DataFrame, problem: Problem) -> Temperature:
    """One a label; those of RARE rows and less have that of all."""
    p, t = _drawn(prediction, truth)
    shared, rarer = _hottest(p, t, False), np.minimum(t.sum(axis=0), (1 - t).sum(axis=0))
    own = [_hottest(p[:, [j]], t[:, [j]], False) if n > RARE else shared for j, n in enumerate(rarer)]
    return Temperature(dict(zip(prediction.columns, own, strict=True)), False)


def clip(prediction: pd.DataFrame, truth: pd.DataFrame, problem: Problem) -> Clip:
    """First the lowest probability, then the highest, of EDGES."""
    p, t = _drawn(prediction, truth)
    exclusive = problem.kind in CLASSES

    def loss(low: float, high: float) -> float:
        clipped = p.clip(low, high)
        return _log_loss(_summed(clipped) if exclusive else clipped, t, exclusive)

    low = min(EDGES, key=lambda edge: loss(edge, 1))
    return Clip(low, 1 - min(EDGES, key=lambda edge: loss(low, 1 - edge)), exclusive)


def isotonic(prediction: pd.DataFrame, truth: pd.DataFrame, problem: Problem) -> Isotonic:
    """Within 1 / (n + 2) of 0 and 1, as a share of none or all of n rows is estimated (Laplace): a 0 may cost it all."""
    from sklearn.isotonic import IsotonicRegression

    p, t = _drawn(prediction, truth, 10 * CELLS)
    steps, edge = {}, 1 / (len(p) + 2)
    for j, name in enumerate(prediction.columns):
        model = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(p[:, j], t[:, j])
        steps[name] = [model.X_thresholds_.tolist(), model.y_thresholds_.tolist()]
    return Isotonic(steps, problem.kind in CLASSES)


def _hottest(p: np.ndarray, t: np.ndarray, exclusive: bool) -> float:
    """The temperature of least log loss: where its slope, which rises with 1 / temperature, is 0."""
    from scipy.optimize import brentq

    logits = _logits(p, exclusive)

    def slope(power: float) -> float:
        return float(((_heated(logits, 1 / power, exclusive) - t) * logits).sum())

    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    return 1 / brentq(slope, 1 / HOTTEST, HOTTEST, xtol=1e-6) if slope(HOTTEST) > 0 else 1 / HOTTEST


def _drawn(prediction: pd.DataFrame, truth: pd.DataFrame, cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    p, t = prediction.to_numpy(float), truth[list(prediction.columns)].to_numpy(float)
    most = max(1, cells // p.shape[1])
    some = np.random.default_rng(0).permutation(len(p))[:most] if len(p) > most else slice(None)
    return p[some], t[some]


def _logits(p: np.ndarray, exclusive: bool) -> np.ndarray:
    p = p.clip(EPSILON, 1 - EPSILON)
    return np.log(p) if exclusive else np.log(p) - np.log1p(-p)


def _heated(logits: np.ndarray, temperature: float | list[float], exclusive: bool) -> np.ndarray:
    from scipy.special import expit, softmax

    cooled = logits / np.asarray(temperature)
    return softmax(cooled, axis=1) if exclusive else expit(cooled)


def _log_loss(p: np.ndarray, t: np.ndarray, exclusive: bool) -> float:
    p = p.clip(EPSILON, 1 - EPSILON)
    return -float((t * np.log(p) + (0 if exclusive else (1 - t) * np.log1p(-p))).sum())


def _summed(p: np.ndarray) -> np.ndarray:
    """Rows divided by their sums."""
    return p / p.sum(axis=1, keepdims=True)


def _like(prediction: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, prediction.index, prediction.columns)
