"""Portfolios: members by preset, the most valuable first, the slowest last.

A name stands for the same knobs in every preset, so that `best` goes on from what `good` has trained. They stand over the
knobs of the run that names the preset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """time: how long the models may train. members: name -> knobs of the task."""

    time: str
    members: dict[str, dict[str, Any]]


KNOBS: dict[str, dict[str, Any]] = {
    "lightgbm": {"model": "lightgbm"},
    "lightgbm-fast": {
        "model": "lightgbm",
        "params": {"learning_rate": 0.1, "num_iterations": 300, "early_stopping_round": 20},
    },
    "lightgbm-random": {"model": "lightgbm", "params": {"extra_trees": True}},
    "lightgbm-slow": {"model": "lightgbm", "bag": 10, "params": {"learning_rate": 0.015, "num_iterations": 4000}},
    "xgboost": {"model": "xgboost"},
    "catboost": {"model": "catboost"},
    "catboost-fast": {"model": "catboost", "params": {"learning_rate": 0.1, "iterations": 500, "od_wait": 20}},
    "catboost-deep": {"model": "catboost", "bag": 10, "params": {"depth": 8, "max_ctr_complexity": 4}},
    "histgb": {"model": "histgb", "bag": 5},
    "extratrees": {"model": "extratrees"},
    "extratrees-fast": {"model": "extratrees", "params": {"n_estimators": 100}},
    "extratrees-large": {"model": "extratrees", "params": {"n_estimators": 1000}},
    "randomforest": {"model": "randomforest"},
    "linear": {"model": "linear"},
    "knn": {"model": "knn"},
    "tabm": {"model": "tabm", "bag": 4},
    "tabm-piecewise": {"model": "tabm", "bag": 8, "params": {"embeddings": "piecewise"}},
}


def _preset(time: str, *names: str) -> Preset:
    return Preset(time, {name: KNOBS[name] for name in names})


GOOD = (
    "lightgbm", "linear", "catboost", "extratrees", "xgboost", "lightgbm-random", "randomforest", "knn", "tabm",
)  # fmt: skip
PRESETS = {
    "quick": _preset("2m", "lightgbm-fast", "linear", "catboost-fast", "extratrees-fast"),
    "good": _preset("30m", *GOOD),
    "best": _preset("4h", *GOOD, "catboost-deep", "lightgbm-slow", "tabm-piecewise", "histgb", "extratrees-large"),
}
