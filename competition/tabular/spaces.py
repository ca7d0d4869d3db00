"""What `make tune` tries of each model where the run has no `search:`, and which parameters are whole numbers.

The ranges hold our defaults and the libraries'. What only trades time for score (trees, rounds under early stopping) is
left out.
"""

from __future__ import annotations

from typing import Any


def _log(low: float, high: float) -> dict[str, Any]:
    return {"low": low, "high": high, "log": True}


def _even(low: float, high: float) -> dict[str, Any]:
    return {"low": low, "high": high}


FOREST = {"min_samples_leaf": _log(1, 20), "max_features": _even(0.1, 1)}
SPACES: dict[str, dict[str, Any]] = {
    "lightgbm": {
        "learning_rate": _log(0.01, 0.2), "num_leaves": _log(8, 128), "min_data_in_leaf": _log(3, 100),
        "feature_fraction": _even(0.3, 1), "bagging_fraction": _even(0.5, 1), "lambda_l2": _log(1e-3, 10),
    },
    "xgboost": {
        "learning_rate": _log(0.01, 0.2), "max_depth": _even(3, 10), "min_child_weight": _log(1e-3, 20),
        "subsample": _even(0.5, 1), "colsample_bytree": _even(0.3, 1), "reg_lambda": _log(1e-3, 10),
    },
    "catboost": {"learning_rate": _log(0.02, 0.2), "depth": _even(4, 9), "l2_leaf_reg": _log(1, 20)},
    "histgb": {
        "learning_rate": _log(0.01, 0.2), "max_leaf_nodes": _log(8, 128), "min_samples_leaf": _log(3, 100),
        "max_features": _even(0.3, 1), "l2_regularization": _log(1e-3, 10),
    },
    "extratrees": FOREST,
    "randomforest": FOREST,
    "knn": {"n_neighbors": _log(2, 100)},
    "tabm": {
        "lr": _log(5e-4, 8e-3), "weight_decay": _log(1e-5, 1e-2), "n_blocks": _even(1, 4), "dropout": _even(0, 0.4),
    },
    "linear": {},  # chooses its strength within the fold
}  # fmt: skip
BOOSTED = {"lambda_l2": 1e-3, "reg_lambda": 1e-3, "l2_regularization": 1e-3}  # for 0, which a log range lacks
STARTS: dict[str, tuple[dict[str, Any], ...]] = {  # our defaults or the libraries', of classes and of values
    "lightgbm": (
        {"learning_rate": 0.04, "num_leaves": 50, "min_data_in_leaf": 40, "feature_fraction": 1, "bagging_fraction": 0.75},
        {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.5, "bagging_fraction": 0.7},
    ),
    "xgboost": (
        {"learning_rate": 0.08, "max_depth": 6, "min_child_weight": 1e-3, "subsample": 0.65, "colsample_bytree": 1},
        {"learning_rate": 0.05, "max_depth": 6, "min_child_weight": 2, "subsample": 0.7, "colsample_bytree": 0.5},
    ),
    "catboost": ({"learning_rate": 0.08, "depth": 6, "l2_leaf_reg": 3},) * 2,
    "histgb": ({"learning_rate": 0.05, "max_leaf_nodes": 31, "min_samples_leaf": 20, "max_features": 1},) * 2,
    "extratrees": ({"min_samples_leaf": 2, "max_features": 0.33}, {"min_samples_leaf": 1, "max_features": 0.33}),
    "randomforest": ({"min_samples_leaf": 2, "max_features": 0.33}, {"min_samples_leaf": 1, "max_features": 0.33}),
    "tabm": ({"lr": 2e-3, "weight_decay": 3e-4, "n_blocks": 2, "dropout": 0.1},) * 2,
}  # fmt: skip
WHOLE = {
    "num_leaves", "max_leaves", "max_leaf_nodes", "max_depth", "depth", "min_data_in_leaf", "min_child_samples",
    "min_samples_leaf", "min_samples_split", "num_iterations", "num_boost_round", "n_estimators", "iterations", "rounds",
    "max_iter", "epochs", "early_stopping_round", "early_stopping_rounds", "patience", "od_wait", "n_iter_no_change",
    "bagging_freq", "max_bin", "max_bins", "border_count", "max_ctr_complexity", "n_neighbors", "k", "n_blocks",
    "d_block", "batch",
}  # fmt: skip
