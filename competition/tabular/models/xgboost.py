"""XGBoost. Of classes, pytabkit's defaults, tuned over 118 data sets (Holzmueller et al., NeurIPS 2024), with shorter
patience; of values, the library's own depth with half the columns a tree: pytabkit's depth of 9 did worse on few rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from xgboost.callback import EarlyStopping, TrainingCallback

from competition import artifacts
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "native", True, "rounds", False, ".ubj"
GPU = bool(xgb.build_info().get("USE_CUDA"))  # xgboost-cpu has none
WEIGHS = True
OBJECTIVES = {
    "softmax": "multi:softprob", "sigmoid": "binary:logistic", "squared": "reg:squarederror",
    "absolute": "reg:absoluteerror", "pinball": "reg:quantileerror",
}  # fmt: skip
ALL = {"rounds": 1000, "patience": 50, "tree_method": "hist", "max_bin": 256, "reg_lambda": 0.0}
CLASSES = {
    "learning_rate": 0.08, "max_depth": 6, "min_child_weight": 5e-6, "colsample_bylevel": 0.9, "subsample": 0.65,
}  # fmt: skip
VALUES = {"learning_rate": 0.05, "max_depth": 6, "min_child_weight": 2.0, "colsample_bytree": 0.5, "subsample": 0.7}
ALIASES = {
    "n_estimators": "rounds", "num_boost_round": "rounds", "early_stopping_rounds": "patience", "eta": "learning_rate",
    "lambda": "reg_lambda", "alpha": "reg_alpha", "n_jobs": "nthread", "random_state": "seed",
}  # fmt: skip
WRAPPERS = {"callbacks", "enable_categorical", "feature_types", "feature_weights", "importance_type", "missing"}


class _Rounds(TrainingCallback):
    def __init__(self, job: Job, total: int):
        self.job, self.total = job, total

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self.job.round(epoch, self.total)
        return False


def fit(job: Job) -> tuple[xgb.Booster, int]:
    known = {*ALL, *xgb.XGBModel().get_params()} - WRAPPERS
    params = _defaults(job) | checked(job.params, known, "XGBoost", ALIASES)
    total, patience = params.pop("rounds"), params.pop("patience")
    train, rounds = _matrix(job.x, job.y, job.weight), _Rounds(job, total)
    if job.valid is None:
        return xgb.train(params, train, total, callbacks=[rounds]), total
    stop = EarlyStopping(rounds=patience, save_best=True)
    held = [(_matrix(*job.valid), "inner")]
    model = xgb.train(params, train, total, evals=held, callbacks=[rounds, stop], verbose_eval=False)
    return model, model.num_boosted_rounds()


def _defaults(job: Job) -> dict[str, Any]:
    more = {"softmax": {"num_class": job.classes}, "pinball": {"quantile_alpha": job.alpha}}.get(job.loss, {})
    return ALL | (CLASSES if job.loss in ("softmax", "sigmoid") else VALUES) | more | {
        "objective": OBJECTIVES[job.loss], "seed": job.seed, "nthread": job.threads, "device": job.device,
    }  # fmt: skip


def _matrix(x: Matrix, y: np.ndarray | None = None, weight: np.ndarray | None = None) -> xgb.DMatrix:
    kinds = np.full(x.values.shape[1], "float", dtype=object)
    kinds[list(x.categorical)] = "c"
    return xgb.DMatrix(x.values, label=y, weight=weight, feature_types=kinds.tolist(), enable_categorical=True)


def predict(model: xgb.Booster, x: Matrix) -> np.ndarray:
    return model.predict(_matrix(x))


def contributions(model: xgb.Booster, x: Matrix) -> np.ndarray:
    return model.predict(_matrix(x), pred_contribs=True).reshape(len(x), -1, x.values.shape[1] + 1)


def save(model: xgb.Booster, path: Path) -> None:
    artifacts.write_bytes(path, bytes(model.save_raw("ubj")))


def load(path: Path, device: str) -> xgb.Booster:
    model = xgb.Booster({"device": device})
    model.load_model(bytearray(path.read_bytes()))
    return model
