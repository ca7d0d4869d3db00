"""LightGBM. Of classes, pytabkit's defaults, tuned over 118 data sets (Holzmueller et al., NeurIPS 2024), with shorter
patience. Of values, the library's own with half the columns a tree: pytabkit's leaves of 3 rows did worse on few rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from lightgbm.basic import _ConfigAliases

from competition import artifacts
from competition.tabular.features import Matrix
from competition.tabular.models import Job, checked

FORM, STOPS, ROUNDS, JOINT, SUFFIX = "native", True, "num_iterations", False, ".txt"
GPU = False  # its wheels have OpenCL, which few machines do
WEIGHS = True
OBJECTIVES = {
    "softmax": "multiclass", "sigmoid": "cross_entropy", "squared": "l2", "absolute": "l1", "pinball": "quantile",
}  # fmt: skip
ALL = {"num_iterations": 1000, "early_stopping_round": 50, "bagging_freq": 1, "min_sum_hessian_in_leaf": 1e-7}
CLASSES = {"learning_rate": 0.04, "num_leaves": 50, "bagging_fraction": 0.75, "min_data_in_leaf": 40}
VALUES = {
    "learning_rate": 0.05, "num_leaves": 31, "bagging_fraction": 0.7, "feature_fraction": 0.5, "min_data_in_leaf": 20,
}  # fmt: skip
LEAVES = 20  # that there are rows for at least: with leaves of 40 rows, a table of 100 is never split


def fit(job: Job) -> tuple[lgb.Booster, int]:
    aliases = _ConfigAliases._get_all_param_aliases()
    params = _defaults(job) | checked(
        job.params, aliases, "LightGBM", {a: k for k, names in aliases.items() for a in names}
    )
    total, patience = params.pop("num_iterations"), params.pop("early_stopping_round")
    options: dict[str, Any] = {"categorical_feature": list(job.x.categorical), "free_raw_data": True}
    train = lgb.Dataset(job.x.values, job.y, weight=job.weight, **options)
    callbacks: list[Any] = [lambda env: job.round(env.iteration, total)]
    if job.valid is None:
        booster = lgb.train(params, train, total, callbacks=callbacks)
        return booster, total
    held = train.create_valid(job.valid[0].values, job.valid[1])
    callbacks.append(lgb.early_stopping(patience, verbose=False))
    booster = lgb.train(params, train, total, valid_sets=[held], callbacks=callbacks)
    return booster, booster.best_iteration


def _defaults(job: Job) -> dict[str, Any]:
    more = {"softmax": {"num_class": job.classes}, "pinball": {"alpha": job.alpha}}.get(job.loss, {})
    common = CLASSES if job.loss in ("softmax", "sigmoid") else VALUES
    leaf = min(common["min_data_in_leaf"], max(3, len(job.x) // LEAVES))
    return ALL | common | {"min_data_in_leaf": leaf} | more | {
        "objective": OBJECTIVES[job.loss], "seed": job.seed, "num_threads": job.threads, "verbosity": -1,
        "deterministic": True, "force_row_wise": True,  # which the GPU's sums are not
    }  # fmt: skip


def predict(model: lgb.Booster, x: Matrix) -> np.ndarray:
    return np.asarray(model.predict(x.values))


def contributions(model: lgb.Booster, x: Matrix) -> np.ndarray:
    return np.asarray(model.predict(x.values, pred_contrib=True)).reshape(len(x), -1, x.values.shape[1] + 1)


def save(model: lgb.Booster, path: Path) -> None:
    artifacts.write_text(path, model.model_to_string(num_iteration=model.best_iteration))


def load(path: Path, device: str) -> lgb.Booster:
    return lgb.Booster(model_str=path.read_text(encoding="utf-8"))
