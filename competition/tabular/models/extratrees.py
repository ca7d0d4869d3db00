"""scikit-learn's ExtraTrees: deep random trees, averaged."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from competition.tabular import skopsfile
from competition.tabular.models import Job
from competition.tabular.models.randomforest import grow, predict

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "forest", False, "n_estimators", False, ".skops"
GPU = False
WEIGHS = True


def fit(job: Job) -> tuple[Any, int]:
    return grow(job, ExtraTreesClassifier, ExtraTreesRegressor)


save, load = skopsfile.save, skopsfile.load
__all__ = ["FORM", "GPU", "JOINT", "ROUNDS", "STOPS", "SUFFIX", "WEIGHS", "fit", "load", "predict", "save"]
