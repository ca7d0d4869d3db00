"""scikit-learn's RandomForest, grown some trees at a time, so that the clock is heard."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from competition.tabular import skopsfile
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked, of_classes

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "forest", False, "n_estimators", False, ".skops"
GPU = False
WEIGHS = True
TREES, STEP = 300, 10
LEAVES = 4_000_000  # of all trees together: a forest in memory and on disk takes some 100 bytes a leaf


def fit(job: Job) -> tuple[Any, int]:
    return grow(job, RandomForestClassifier, RandomForestRegressor)


def grow(job: Job, classifier: Any, regressor: Any) -> tuple[Any, int]:
    """Trees by `warm_start`. A value's trees see a third of the features at a split, a class's the square root."""
    classes = job.loss in ("softmax", "sigmoid")
    kind = classifier if classes else regressor
    leaf = max(2 if classes else 1, len(job.x) * TREES // LEAVES)
    defaults = {"n_estimators": TREES, "min_samples_leaf": leaf, "max_features": "sqrt" if classes else 0.33}
    params: dict[str, Any] = defaults | checked(job.params, kind().get_params(), kind.__name__)
    total = params.pop("n_estimators")
    model = kind(**({"warm_start": True, "n_jobs": job.threads, "random_state": job.seed} | params))
    x, y, weight = job.x.values, job.y, job.weight
    if job.loss == "sigmoid":
        x, y, weight = of_classes(x, y, weight)
    for trees in range(STEP, total + STEP, STEP):
        model.set_params(n_estimators=min(trees, total))
        model.fit(x, y, sample_weight=weight)
        job.round(min(trees, total), total)
    return model, total


def predict(model: Any, x: Matrix) -> np.ndarray:
    return skopsfile.predict(model, x.values)


save, load = skopsfile.save, skopsfile.load
