"""What is done to a prediction after its weights: a cut where decisions are scored, a calibration where probabilities are.

It is fitted on out-of-fold predictions, kept only where it helps on folds that it has not seen, and refitted without each
fold that it is scored on. A run's files keep plain predictions; the adjustment stands in score.json and is applied when a
submission is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from competition import calibration, cuts
from competition.task import Problem


class Adjustment(Protocol):
    """Works row by row (of boxes box by box): what it makes of one depends on no other."""

    def apply(self, prediction: pd.DataFrame) -> pd.DataFrame:
        """Of the same index and columns; of boxes some are left out. Probabilities stay probabilities."""
        ...

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `read` is the way back."""
        ...

    def __str__(self) -> str:
        """What a user is told, such as `temperature 1.31`."""
        ...


def read(record: dict[str, Any] | None) -> Adjustment | None:
    """The adjustment of a score.json."""
    if record is None:
        return None
    return (cuts if record["rule"] in cuts.NOUNS else calibration).read(record)


def apply(adjustment: Adjustment | None, prediction: pd.DataFrame) -> pd.DataFrame:
    return prediction if adjustment is None else adjustment.apply(prediction)


def ways(problem: Problem) -> Sequence[Callable[[pd.DataFrame, pd.DataFrame, Problem], Adjustment]]:
    """What may be fitted for the metric, the simplest first; nothing where order alone counts, or of boxes."""
    return cuts.ways(problem) or calibration.ways(problem)


def fit(prediction: pd.DataFrame, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Adjustment | None:
    """The adjustment of these rows; None where the metric has none, or where none helps.

    One helps if, fitted on all folds but one and scored on that one, its mean gain is above 0 and most folds gain. Of
    several it is the simplest whose gain is within one standard error of the best (Breiman et al. 1984). Boxes need a cut
    whatever it gains, for without it each counts that a model holds possible.
    """
    if problem.kind == "boxes":
        return cuts.of_boxes(prediction, truth, fold.index, problem)
    tried = ways(problem)
    if not tried or fold.nunique() < 2:
        return None

    def gains(k: int) -> list[float]:
        rest, held = fold.index[fold != k], fold.index[fold == k]
        plain, scored = prediction.loc[held], truth.loc[held]
        fitted = [way(prediction.loc[rest], truth.loc[rest], problem) for way in tried]
        default = problem.metric.score(scored, plain)
        return [problem.metric.score(scored, adjustment.apply(plain)) - default for adjustment in fitted]

    best = simplest(np.array([gains(k) for k in fold.unique()]))
    return None if best is None else tried[best](prediction, truth, problem)


def simplest(gains: np.ndarray) -> int | None:
    """Of gains [folds, ways], the simplest way first, the one to take; None where none helps."""
    helps = (gains.mean(axis=0) > 0) & ((gains > 0).mean(axis=0) > 0.5)
    if not helps.any():
        return None
    best = int(np.where(helps, gains.mean(axis=0), -np.inf).argmax())
    short = gains[:, [best]] - gains
    near = short.mean(axis=0) <= short.std(axis=0, ddof=1) / len(gains) ** 0.5
    return int(np.argmax(helps & near))
