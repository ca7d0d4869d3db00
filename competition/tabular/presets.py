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
            "catboost": {"model": "catboost"},
            "linear": {"model": "linear"},
            "extratrees": {"model": "extratrees"},
            "xgboost": {"model": "xgboost"},
            "tabm": {"model": "tabm"},
            "lightgbm-extra": {"model": "lightgbm", "params": {"extra_trees": True}},
            "randomforest": {"model": "randomforest"},
            "knn": {"model": "knn"},
        },
    ),
    "best": Preset(
        "4h",
        {
            "lightgbm": {"model": "lightgbm", "bag": 8},
            "catboost": {"model": "catboost", "bag": 8},
            "tabm": {"model": "tabm", "bag": 8},
            "linear": {"model": "linear"},
            "extratrees": {"model": "extratrees", "params": {"n_estimators": 1000}},
            "xgboost": {"model": "xgboost", "bag": 8},
            "lightgbm-extra": {"model": "lightgbm", "bag": 8, "params": {"extra_trees": True}},
            "catboost-deep": {"model": "catboost", "bag": 8, "params": {"depth": 8, "learning_rate": 0.03}},
            "lightgbm-slow": {
                "model": "lightgbm",
                "bag": 8,
                "params": {"learning_rate": 0.015, "num_iterations": 4000},
            },
            "histgb": {"model": "histgb", "bag": 5},
            "randomforest": {"model": "randomforest", "params": {"n_estimators": 1000}},
            "knn": {"model": "knn"},
        },
    ),
}
