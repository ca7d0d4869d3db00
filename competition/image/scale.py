"""Regression targets as the network sees them: centred, scaled, in logs where the metric is; and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from competition.task import Problem, Rows

LOG_METRICS = ("rmsle", "mean_column_rmsle")


@dataclass(frozen=True)
class Scale:
    """Fitted on a fold's training rows; the identity for every kind but regression."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    log: bool = False

    @classmethod
    def of(cls, problem: Problem, train: Rows) -> Scale:
        if problem.kind != "regression":
            return cls()
        assert train.truth is not None
        truth = train.truth[list(problem.columns)].to_numpy()
        log = problem.metric.name in LOG_METRICS
        truth = np.log1p(truth) if log else truth
        return cls(tuple(truth.mean(axis=0)), tuple(np.maximum(truth.std(axis=0), 1e-12)), log)

    def forward(self, values: np.ndarray) -> np.ndarray:
        return ((np.log1p(values) if self.log else values) - np.array(self.mean)) / np.array(self.std)

    def back(self, values: np.ndarray) -> np.ndarray:
        values = values * np.array(self.std) + np.array(self.mean)
        return np.expm1(values) if self.log else values

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Scale:
        return cls(**json.loads(text))
