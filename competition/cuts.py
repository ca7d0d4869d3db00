"""Cuts: how probabilities are decided where 0.5, the most probable class or the nearest level is not what a metric wants.

A cut adjusts them so that `metrics.labels` decides as it says (adjustment.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from competition import kinds, metrics
from competition.boxes import deciding
from competition.kinds import CLASSES, ONE_LABEL
from competition.metrics import Metric
from competition.task import Problem, pick

Rule = Literal["threshold", "factor", "level", "score"]
Score = Callable[[np.ndarray], float]
Move = Callable[[np.ndarray, int, float], np.ndarray]

NOUNS: dict[Rule, str] = {
    "threshold": "decision threshold",
    "factor": "class factor",
    "level": "cut point",
    "score": "score threshold",
}
SETTLED = {"accuracy": ONE_LABEL, "f1_micro": ONE_LABEL}  # of calibrated probabilities the most probable class is best
STEPS = (-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8)  # moves of log odds: of a class, or of the share above a threshold
SHARED = (0.5, 0.4, 0.3, 0.2, 0.1)  # one threshold for all labels, to start from
PRIOR = (
    0.0,
    0.5,
    1.0,
)  # classes over prior ** this, to start from: 1 is best for balanced accuracy (Menon et al. 2021)
PASSES = 4  # over the values; two steps of 0.8 each way take a threshold from any start to its place
WORK = 1e8  # cells that one fit may look at, about a second; with more columns only the starts are tried
EDGE = 1e-6  # a threshold lies within EDGE..1 - EDGE: at 0 and 1 the odds can't be shifted


@dataclass(frozen=True)
class Cut:
    """rule threshold (binary, multilabel): yes from `values[column]` up. factor (multiclass, ordinal): the class of the
    greatest `values[column]` x probability. level (ordinal metrics of distance): the last class whose `values[class]` the
    expected level exceeds; the first class has none. levels: where the classes stand. score (boxes): boxes of
    `values["all"]` up count.
    """

    rule: Rule
    values: dict[str, float]
    levels: tuple[float, ...] = ()

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        """The prediction adjusted so that `metrics.labels` decides by the cut.

        threshold: odds shifted by a constant, the threshold becomes 0.5. factor: probabilities times the factors, rows
        sum to 1. level: 1 for the class that is said. score: boxes of a lower score are left out.
        """
        if self.rule == "score":
            return prediction[prediction["score"] >= self.values["all"]]
        names = list(prediction.columns)[self.rule == "level" :]
        assert names == list(self.values), f"a cut of {[*self.values]} is not one of {names}"
        values, levels = np.array([self.values[name] for name in names]), np.array(self.levels)
        adjusted = ADJUST[self.rule](prediction.to_numpy(float), values, levels)
        return pd.DataFrame(adjusted, prediction.index, prediction.columns)

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"levels": list(self.levels)}

    def __str__(self) -> str:
        noun = NOUNS[self.rule]
        if len(self.values) == 1:
            return f"{noun} {next(iter(self.values.values())):.4g}"
        some = ", ".join(f"{name} {value:.4g}" for name, value in list(self.values.items())[:5])
        return f"{noun}s {some}" + (f", ... ({len(self.values)} in all)" if len(self.values) > 5 else "")


def read(record: dict[str, Any]) -> Cut:
    return Cut(record["rule"], record["values"], tuple(record["levels"]))


def ways(problem: Problem) -> list[Callable[[pd.DataFrame, pd.DataFrame, Problem], Cut]]:
    """The cuts that the metric may have; none where the default decision is the best."""
    levels = problem.metric.levels
    ascending = levels is None or bool((np.diff(levels) > 0).all())
    settled = problem.kind in SETTLED.get(problem.metric.name, ())
    return [search] if problem.metric.needs == "label" and ascending and not settled else []


def of_boxes(prediction: pd.DataFrame, truth: pd.DataFrame, ids: pd.Index, problem: Problem) -> Cut | None:
    """The score below which boxes are left out; None where the metric goes by their order, or where there is no row."""
    if not (problem.metric.cuts and len(ids)):
        return None
    some = deciding.drawn(ids)
    _, threshold = deciding.best(problem.metric, pick(truth, some), pick(prediction, some))
    return Cut("score", {"all": threshold}) if threshold else None


def search(prediction: pd.DataFrame, truth: pd.DataFrame, problem: Problem) -> Cut:
    """The best cut of these rows, found from a few starts by moving one value at a time."""
    metric, names = problem.metric, list(prediction.columns)
    rule: Rule = "level" if metric.levels is not None else "factor" if problem.kind in CLASSES else "threshold"
    p, t, levels = prediction.to_numpy(float), truth[names].to_numpy(float), np.array(metric.levels or ())
    true = kinds.hard(problem.kind, t)

    def score(values: np.ndarray) -> float:
        found = metric.score_labels(true, _decide(metric, rule, p, values).reshape(true.shape))
        return found if np.isfinite(found) else -np.inf

    starts, move = {"threshold": _thresholds, "factor": _factors, "level": _levels}[rule](p, t, levels)
    passes = min(PASSES, int(WORK / (p.size * len(starts[0]) * len(STEPS))))
    values = _descend(score, starts, move, passes)
    return Cut(rule, dict(zip(names[rule == "level" :], values.tolist(), strict=True)), tuple(levels.tolist()))


def _decide(metric: Metric, rule: Rule, p: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What `metrics.labels` says of the adjusted prediction, in a third of the time or (20 labels) a tenth."""
    if rule == "level":
        return np.searchsorted(values, p @ np.array(metric.levels))
    if rule == "factor":
        return (p * values).argmax(axis=1)
    if metric.name == "f1_samples":  # an empty row gets a label
        return metrics.labels(metric, "multilabel", _shift(p, values, values))
    return (p >= values).astype(int)


def _descend(score: Score, starts: Sequence[np.ndarray], move: Move, passes: int) -> np.ndarray:
    """Coordinate descent from the best start; of equal candidates the first, which is the default decision."""
    scores = [score(start) for start in starts]
    best, values = max(scores), starts[int(np.argmax(scores))]
    for _ in range(passes):
        before = best
        for j in range(len(values)):
            tries = [move(values, j, step) for step in STEPS]
            scores = [score(tried) for tried in tries]
            if max(scores) > best:
                best, values = max(scores), tries[int(np.argmax(scores))]
        if best == before:
            break
    return values


# The three rules: (starts, the default decision first; a move of one value) of p and t [n, c] --------------------------


def _thresholds(p: np.ndarray, t: np.ndarray, _: np.ndarray) -> tuple[list[np.ndarray], Move]:
    """From shared ones, from the share of each label, and from where as many rows are above as are true."""
    share, ordered = t.mean(axis=0), np.sort(p, axis=0)
    matched = np.array([_at_share(ordered[:, j], s) for j, s in enumerate(share)])
    starts = [np.full(p.shape[1], s) for s in SHARED] + [share.clip(EDGE, 1 - EDGE), matched.clip(EDGE, 1 - EDGE)]

    def move(values: np.ndarray, j: int, step: float) -> np.ndarray:
        moved = values.copy()
        moved[j] = np.clip(_moved(ordered[:, j], values[j], step), EDGE, 1 - EDGE)
        return moved

    return starts, move


def _factors(_: np.ndarray, t: np.ndarray, __: np.ndarray) -> tuple[list[np.ndarray], Move]:
    """From powers of the inverse prior; a class without a row counts as one of one row."""
    prior = t.mean(axis=0).clip(1 / len(t))

    def move(values: np.ndarray, j: int, step: float) -> np.ndarray:
        moved = values.copy()
        moved[j] *= np.exp(step)
        return moved

    return [prior**-power for power in PRIOR], move


def _levels(p: np.ndarray, t: np.ndarray, levels: np.ndarray) -> tuple[list[np.ndarray], Move]:
    """From the middles between levels, and from where as many rows are above as are true."""
    ordered = np.sort(p @ levels)
    above = t.mean(axis=0)[::-1].cumsum()[::-1][1:]
    starts = [(levels[1:] + levels[:-1]) / 2, np.array([_at_share(ordered, s) for s in above])]

    def move(values: np.ndarray, j: int, step: float) -> np.ndarray:
        moved = values.copy()
        moved[j] = _moved(ordered, values[j], step)
        return np.sort(moved)

    return starts, move


def _at_share(ordered: np.ndarray, share: float) -> float:
    """The place in ascending values above which that share of them lies, in the middle between two."""
    if len(ordered) < 2:
        return float(ordered[0])
    below = int(np.clip(round((1 - share) * len(ordered)), 1, len(ordered) - 1))
    return float(ordered[below - 1 : below + 1].mean())


def _moved(ordered: np.ndarray, value: float, step: float) -> float:
    """The threshold with exp(step) times the odds of a row to lie above it."""
    n = len(ordered)
    share = np.clip(1 - np.searchsorted(ordered, value) / n, 0.5 / n, 1 - 0.5 / n)
    return _at_share(ordered, 1 / (1 + (1 - share) / share * np.exp(-step)))


def _shift(p: np.ndarray, thresholds: np.ndarray, _: np.ndarray) -> np.ndarray:
    yes, no = p * (1 - thresholds), (1 - p) * thresholds
    return yes / (yes + no)


def _weigh(p: np.ndarray, factors: np.ndarray, _: np.ndarray) -> np.ndarray:
    weighed = p * factors
    return weighed / weighed.sum(axis=1, keepdims=True)


def _divide(p: np.ndarray, cuts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.eye(len(levels))[np.searchsorted(cuts, p @ levels)]


ADJUST = {"threshold": _shift, "factor": _weigh, "level": _divide}
