"""Regularised linear models: ridge and logistic regression, their strength chosen by cross-validation of training rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, QuantileRegressor, RidgeCV
from sklearn.model_selection import GridSearchCV

from competition.tabular import skopsfile
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked, of_classes

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "dense", False, "max_iter", False, ".skops"
GPU = False
WEIGHS = True
CS = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
ALPHAS = [0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
CHOOSING = 20_000  # rows that are enough to choose the strength of a logistic regression
LEAST = 1e-15
QUANTILE_ROWS = 5_000  # a linear programme grows too slow with more


def fit(job: Job) -> tuple[Any, int]:
    x, y, weight = job.x.values, job.y, job.weight
    if job.loss == "pinball":
        rows = _some(job, len(x), QUANTILE_ROWS)
        model: Any = QuantileRegressor(quantile=job.alpha, **_given(job, QuantileRegressor(), {"alpha": 0.001}))
        return model.fit(x[rows], y[rows], sample_weight=weight[rows]), 1
    if job.loss not in ("softmax", "sigmoid"):
        return RidgeCV(**_given(job, RidgeCV(), {"alphas": ALPHAS})).fit(x, y, sample_weight=weight), 1
    if job.loss == "sigmoid":
        x, y, weight = of_classes(x, y, weight)
    given = _given(job, LogisticRegression(), {"max_iter": 300})
    job.round(0, 2)
    if "C" not in given:
        rows = _some(job, len(x), CHOOSING)
        given["C"] = _strength(given, x[rows], y[rows], weight[rows], lambda: job.round(0, 2))
    job.round(1, 2)
    return LogisticRegression(**given).fit(x, y, sample_weight=weight), 1


def _given(job: Job, model: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    return defaults | checked(job.params, model.get_params(), type(model).__name__)


def _some(job: Job, rows: int, most: int) -> np.ndarray:
    """Positions of at most so many rows, drawn by the seed."""
    return np.random.default_rng(job.seed).permutation(rows)[:most]


def _strength(
    given: dict[str, Any], x: np.ndarray, y: np.ndarray, weight: np.ndarray, heard: Callable[[], object]
) -> float:
    """The best of CS by 3 folds; the middle one where every class is too rare to be split. heard: called after each fit."""

    def likelihood(
        model: LogisticRegression, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        heard()
        return _likelihood(model, x, y, sample_weight)

    if np.sort(np.unique(y, return_counts=True)[1])[-2] < 3:
        return CS[len(CS) // 2]
    with warnings.catch_warnings():
        for known in (
            "The least populated class",
            "The scoring",
        ):  # rare classes and weights are _likelihood's to see to
            warnings.filterwarnings("ignore", message=known, category=UserWarning)
        search = GridSearchCV(LogisticRegression(**given), {"C": CS}, scoring=likelihood, cv=3, error_score="raise")
        return search.fit(x, y, sample_weight=weight).best_params_["C"]


def _likelihood(
    model: LogisticRegression, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Mean log likelihood. A class that the model's rows lacked costs the same at any strength (sklearn's log loss: NaN)."""
    at = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    given = np.where(model.classes_[at] == y, model.predict_proba(x)[np.arange(len(y)), at], 0.0)
    return float(np.average(np.log(given.clip(LEAST)), weights=sample_weight))


def predict(model: Any, x: Matrix) -> np.ndarray:
    return skopsfile.predict(model, x.values)


save, load = skopsfile.save, skopsfile.load
