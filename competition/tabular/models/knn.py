"""The mean of the nearest training rows, nearer ones counting more; how many is chosen by cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from competition.tabular import skopsfile
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "dense", False, "n_neighbors", False, ".skops"
GPU = False
WEIGHS = False
NEIGHBOURS = [5, 15, 45]
MOST, CHOOSING = 50_000, 5_000  # rows that are kept; rows that the number is chosen on


def fit(job: Job) -> tuple[Any, int]:
    y = job.y
    classes = job.loss == "softmax" or (
        job.loss == "sigmoid" and bool(np.isin(y, (0, 1)).all())
    )  # soft ones are values
    rows = np.random.default_rng(job.seed).permutation(len(job.x))[:MOST]
    x, y = job.x.values[rows], y[rows]
    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    given = {"weights": "distance", "algorithm": "brute"} | checked(job.params, kind().get_params(), kind.__name__)
    if "n_neighbors" not in given:
        few = [k for k in NEIGHBOURS if k < min(len(x), CHOOSING) // 2] or [1]
        # probabilities of neighbours hold zeros, of which a log loss would be infinite
        scoring = "accuracy" if classes else "neg_mean_squared_error"
        search = GridSearchCV(kind(**given), {"n_neighbors": few}, scoring=scoring, cv=KFold(3))  # of shuffled rows
        given["n_neighbors"] = search.fit(x[:CHOOSING], y[:CHOOSING]).best_params_["n_neighbors"]
    job.round(0, 1)
    return kind(**given).fit(x, y), 1


def predict(model: Any, x: Matrix) -> np.ndarray:
    """Of classes: one row more, that is of each class alike (Laplace), so that no probability is 0."""
    found = skopsfile.predict(model, x.values)
    if not hasattr(model, "predict_proba"):
        return found
    return (found * model.n_neighbors + 1 / found.shape[1]) / (model.n_neighbors + 1)


save, load = skopsfile.save, skopsfile.load
