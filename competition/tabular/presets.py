"""Portfolios: members by preset, the most valuable first. A member's values stand over those of the run that names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """time: how long the models may train, unless TIME= says otherwise. members: name -> knobs of the task."""

    time: str
    members: dict[str, dict[str, Any]]


FAST = {"learning_rate": 0.1}
PRESETS = {
    "quick": Preset(
        "2m",
        {
            "lightgbm": {"model": "lightgbm", "params": FAST | {"num_iterations": 300, "early_stopping_round": 20}},
            "linear": {"model": "linear"},
            "catboost": {"model": "catboost", "params": FAST | {"iterations": 500, "od_wait": 20}},
            "extratrees": {"model": "extratrees", "params": {"n_estimators": 100}},
        },
    ),
    "good": Preset(
        "30m",
        {
            "lightgbm": {"model": "lightgbm"},
            "linear": {"model": "linear"},
            "catboost": {"model": "catboost"},
            "extratrees": {"model": "extratrees"},
            "xgboost": {"model": "xgboost"},
            "lightgbm-random": {"model": "lightgbm", "params": {"extra_trees": True}},
            "randomforest": {"model": "randomforest"},
            "knn": {"model": "knn"},
            "tabm": {"model": "tabm", "bag": 4},
        },
    ),
    "best": Preset(
        "4h",
        {
            "lightgbm": {"model": "lightgbm", "bag": 10},
            "linear": {"model": "linear"},
            "catboost": {"model": "catboost", "bag": 10},
            "extratrees": {"model": "extratrees", "params": {"n_estimators": 1000}},
            "xgboost": {"model": "xgboost", "bag": 10},
            "lightgbm-random": {"model": "lightgbm", "bag": 10, "params": {"extra_trees": True}},
            "tabm": {"model": "tabm", "bag": 8},
            "catboost-deep": {"model": "catboost", "bag": 10, "params": {"depth": 8, "max_ctr_complexity": 4}},
            "lightgbm-slow": {
                "model": "lightgbm",
                "bag": 10,
                "params": {"learning_rate": 0.015, "num_iterations": 4000},
            },
            "tabm-piecewise": {"model": "tabm", "bag": 8, "params": {"embeddings": "piecewise"}},
            "histgb": {"model": "histgb", "bag": 5},
            "randomforest": {"model": "randomforest", "params": {"n_estimators": 1000}},
            "knn": {"model": "knn"},
        },
    ),
}
