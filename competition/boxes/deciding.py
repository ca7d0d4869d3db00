"""Which fusion of views or of a blend's members scores best on out-of-fold boxes, and from which score on boxes count.

`Chooser` answers for any of the pictures: a candidate is fused and matched once for all of them, and the score of some
is accumulated from their matches. What it says of some pictures never depends on the truth of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from competition.boxes.fusion import OWN, Method, fuse, number_of_models
from competition.boxes.matching import Matches
from competition.boxes.table import take
from competition.metrics import Metric
from competition.task import Problem, Progress

Search = Literal["views", "blend"]
Stack = Mapping[str, pd.DataFrame]

METHODS: tuple[tuple[Method, float], ...] = (
    *(("wbf", iou) for iou in (0.5, 0.55, 0.6, 0.65, 0.7)),
    *(("nms", iou) for iou in (0.4, 0.5, 0.6, 0.7)),
    *(("soft_nms", sigma) for sigma in (0.3, 0.5)),
)
SKIPS = (0.0, 0.02, 0.05, 0.1)
FACTORS = (0.0, 0.5, 1.0, 2.0)  # of a member's weight in a blend; the others stay
PASSES = 2  # over the members
DROP = 0.0005  # a view goes if the score without it is better by more than this share of it
PICTURES = 1000  # that candidates are tried on; with more of them a drawn 1,000 are
THRESHOLDS = (20, 10, 8)  # ranks of the surest boxes that are tried: of all, then twice around the best, to about 1%


@dataclass(frozen=True)
class Fusion:
    """How boxes of a stack become one table. weights: by name, sum to 1; those left out have none. iou: of soft_nms its
    sigma. skip: boxes of a lower score are left out.
    """

    weights: dict[str, float]
    method: Method
    iou: float
    skip: float = 0.0

    def combine(self, stack: Stack) -> pd.DataFrame:
        return fuse(stack, self.weights, self.method, self.iou, self.skip)

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `read` is the way back."""
        return asdict(self)

    def __str__(self) -> str:
        how = f"soft-nms of sigma {self.iou:g}" if self.method == "soft_nms" else f"{self.method} at IoU {self.iou:g}"
        return how + (f", boxes below {self.skip:g} left out" if self.skip else "")


def read(record: dict[str, Any]) -> Fusion:
    """The fusion of a score.json."""
    return Fusion(**record)


def default(stack: Stack) -> Fusion:
    """wbf at 0.55 of equal weights; of one model alone nms at 0.5."""
    weights = dict.fromkeys(stack, 1 / len(stack))
    return Fusion(weights, "wbf", 0.55) if _models(stack) > 1 else Fusion(weights, "nms", 0.5)


def _models(stack: Stack) -> int:
    return number_of_models(stack.values()) * len(stack)


class Chooser:
    """Finds the fusion of any of the pictures `ids`.

    stack: tables of out-of-fold boxes by view or member, which may be pools of repeats. truth: the true boxes. search:
    views are dropped, members of a blend get weights. progress: told each candidate, for it may take seconds.
    """

    def __init__(
        self,
        stack: Stack,
        truth: pd.DataFrame,
        problem: Problem,
        ids: pd.Index,
        search: Search,
        progress: Progress = lambda done, total, text: None,
    ):
        self.ids = drawn(ids)
        self.stack = {name: take(table, self.ids) for name, table in stack.items()}
        self.truth = take(truth, self.ids)
        self.metric, self.search, self.progress = problem.metric, search, progress
        self.matched: dict[str, _Matched] = {}
        self.default = default(stack)
        alone = _models(stack) == 1  # wbf from OWN on is then nms at OWN
        self.methods = [(how, iou) for how, iou in METHODS if not (alone and how == "wbf" and iou >= OWN)]

    def choose(self, ids: pd.Index) -> Fusion:
        """The best of the candidates on these pictures: first of methods, then of skips, then of weights.

        The default, where nothing gains.
        """
        search = _Search(self, self.ids[self.ids.isin(ids)])
        search.step(replace(self.default, method=method, iou=iou) for method, iou in self.methods)
        search.step(replace(search.best, skip=skip) for skip in SKIPS)
        if self.search == "views":
            search.drop_views()
        else:
            search.weigh()
        return search.best

    def score(self, fusion: Fusion, ids: pd.Index) -> float:
        """The fusion's score of these pictures, of a metric that counts boxes at the best threshold; -inf without one."""
        key = repr(fusion)
        if key not in self.matched:
            self.matched[key] = _matched(self.metric, self.truth, fusion.combine(self.stack))
        matched = self.matched[key].take(ids)
        return _best(self.metric, matched)[0] if self.metric.cuts else _score(self.metric, matched)

    @property
    def most(self) -> int:
        """Candidates that one search may try."""
        n = len(self.stack)
        weights = n * (n + 1) // 2 - 1 if self.search == "views" else PASSES * n * (len(FACTORS) - 1) * (n > 1)
        return len(self.methods) + len(SKIPS) + weights


class _Search:
    """The best fusion so far of some pictures."""

    def __init__(self, chooser: Chooser, ids: pd.Index):
        self.chooser, self.ids, self.tried = chooser, ids, 0
        self.best = chooser.default
        self.score = chooser.score(self.best, ids)

    def step(self, candidates: Iterable[Fusion], gain: float = 0.0) -> bool:
        """Takes the best of the candidates, of equal ones the first, if it is better by more than `gain`."""
        scores = [(self._try(fusion), fusion) for fusion in candidates]
        score, best = max(scores, key=lambda pair: pair[0])
        better = score > self.score + gain
        if better:
            self.score, self.best = score, best
        return better

    def drop_views(self) -> None:
        """Drops the view without which the score is best, while that gains more than DROP."""
        while len(self.best.weights) > 1:
            rest = [[name for name in self.best.weights if name != dropped] for dropped in self.best.weights]
            fewer = (replace(self.best, weights=dict.fromkeys(names, 1 / len(names))) for names in rest)
            if not self.step(fewer, DROP * abs(self.score)):
                return

    def weigh(self) -> None:
        """Moves one member's weight at a time over FACTORS."""
        factors = dict.fromkeys(self.chooser.stack, 1.0)
        for _ in range(PASSES if len(factors) > 1 else 0):
            before = self.best
            for name in factors:
                others = [factors | {name: factor} for factor in FACTORS if factor != factors[name]]
                moved = [other for other in others if any(other.values())]
                weighed = [replace(self.best, weights=_normal(other)) for other in moved]
                if self.step(weighed):
                    factors = moved[weighed.index(self.best)]
            if self.best == before:
                return

    def _try(self, fusion: Fusion) -> float:
        self.tried += 1
        self.chooser.progress(self.tried, self.chooser.most, str(fusion))
        return self.chooser.score(fusion, self.ids)


def drawn(ids: pd.Index) -> pd.Index:
    """The pictures that something is chosen on: all, or PICTURES of them, the same each time."""
    if len(ids) <= PICTURES:
        return ids
    return ids[np.sort(np.random.default_rng(0).choice(len(ids), PICTURES, replace=False))]


def _normal(weights: dict[str, float]) -> dict[str, float]:
    """Those above 0, so that they sum to 1."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight}


# The score above which boxes count ---------------------------------------------------------------------------------


def best(metric: Metric, truth: pd.DataFrame, prediction: pd.DataFrame) -> tuple[float, float]:
    """The metric's score at the threshold that is best for these pictures, and that: 0, all boxes, if nothing is better."""
    return _best(metric, _matched(metric, truth, prediction))


def best_score(metric: Metric, truth: pd.DataFrame, prediction: pd.DataFrame) -> float:
    """`metric.score`, where a threshold of boxes decides at the best one, in sample."""
    return best(metric, truth, prediction)[0] if metric.cuts else metric.score(truth, prediction)


@dataclass(frozen=True)
class _Tables:
    """Truth and prediction of a user's own metric, cut down as Matches are."""

    truth: pd.DataFrame
    prediction: pd.DataFrame

    @property
    def score(self) -> np.ndarray:
        return self.prediction["score"].to_numpy(float)

    def take(self, ids: pd.Index) -> _Tables:
        return _Tables(take(self.truth, ids), take(self.prediction, ids))

    def above(self, score: float) -> _Tables:
        return replace(self, prediction=self.prediction[self.score >= score])


_Matched = Matches | _Tables


def _matched(metric: Metric, truth: pd.DataFrame, prediction: pd.DataFrame) -> _Matched:
    return _Tables(truth, prediction) if metric.of_matches is None else metric.match(truth, prediction)


def _score(metric: Metric, matched: _Matched) -> float:
    is_table = isinstance(matched, _Tables)
    score = metric.score(matched.truth, matched.prediction) if is_table else metric.score_matches(matched)
    return score if np.isfinite(score) else -np.inf


def _best(metric: Metric, matched: _Matched) -> tuple[float, float]:
    """(score, threshold) of the best threshold, in the middle between the scores of two boxes.

    Ranks are tried in even ratios, for the best one lies where there are about as many boxes as true ones, which may be
    every second or every hundredth box.
    """
    scores = {0.0: _score(metric, matched)}
    surest = np.sort(matched.score)[::-1]
    between = (surest + np.append(surest, 0)[1:]) / 2
    low, high = 1, len(surest)
    for number in THRESHOLDS if len(surest) else ():
        ranks = np.unique(np.geomspace(low, high, number).round().astype(int))
        tried = between[ranks - 1].tolist()
        scores |= {t: _score(metric, matched.above(t)) for t in tried if t not in scores}
        best = int(np.argmax([scores[t] for t in tried]))
        low, high = ranks[max(best - 1, 0)], ranks[min(best + 1, len(ranks) - 1)]
    threshold = max(scores, key=lambda t: scores[t])
    return scores[threshold], threshold
