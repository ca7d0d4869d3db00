"""scikit-learn's HistGradientBoosting, stopped early on the inner hold-out."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from competition.tabular import skopsfile
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked, of_classes

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "native", True, "max_iter", False, ".skops"
GPU = False
WEIGHS = True
LOSSES = {"squared": "squared_error", "absolute": "absolute_error", "pinball": "quantile"}
DEFAULTS = {"max_iter": 1000, "n_iter_no_change": 50, "learning_rate": 0.05, "max_leaf_nodes": 31, "tol": 0.0}
STEP = 20  # rounds between two looks at the clock


def fit(job: Job) -> tuple[Any, int]:
    classes = job.loss in ("softmax", "sigmoid")
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    params: dict[str, Any] = DEFAULTS | checked(job.params, kind().get_params(), "HistGradientBoosting")
    total = params.pop("max_iter")
    more = {} if classes else {"loss": LOSSES[job.loss], "quantile": job.alpha if job.loss == "pinball" else None}
    ours: dict[str, Any] = {
        "categorical_features": list(job.x.categorical) or None, "warm_start": True, "random_state": job.seed,
        "early_stopping": job.valid is not None,
    }  # fmt: skip
    model = kind(**(ours | more | params))
    x, y, weight = _rows(job, job.x.values, job.y, job.weight)
    held = {}
    if job.valid is not None:
        names = ("X_val", "y_val", "sample_weight_val")
        held = dict(zip(names, _rows(job, job.valid[0].values, job.valid[1], np.ones(len(job.valid[1]))), strict=True))
    for rounds in range(STEP, total + STEP, STEP):
        model.set_params(max_iter=min(rounds, total))
        model.fit(x, y, sample_weight=weight, **held)
        job.round(model.n_iter_, total)
        if model.n_iter_ < min(rounds, total):
            break
    return model, model.n_iter_


def _rows(job: Job, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return of_classes(x, y, weight) if job.loss == "sigmoid" else (x, y, weight)


def predict(model: Any, x: Matrix) -> np.ndarray:
    return skopsfile.predict(model, x.values)


save, load = skopsfile.save, skopsfile.load
