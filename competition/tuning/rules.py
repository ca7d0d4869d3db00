"""When a search stops spending folds on a trial, and which trial is best where it is not scored: pure functions of scores.

Scores are by fold, greater is better; nan where a fold has none (no true box, one class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def mean(scores: Sequence[float]) -> float:
    """Of the folds that have a score; -inf where none has."""
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else -np.inf


def forgiving(done: Sequence[float], best: Sequence[float]) -> bool:
    """Whether to stop: the mean over the folds done is worse than the worst fold of the best trial that is complete.

    Bergman, Purucker, Hutter 2024 (arXiv 2405.03389): stopping this late is twice as fast as not at all and loses nothing,
    where an eager rule stops trials that would have been best.
    """
    known = [score for score in best if not np.isnan(score)]
    return bool(done) and bool(known) and mean(done) < min(known)


def best_without(scores: Mapping[int, Sequence[float]], fold: int) -> int:
    """The key of the trial whose mean over all folds but this one (a position) is the greatest; the first of equals."""
    return max(scores, key=lambda key: (mean([s for k, s in enumerate(scores[key]) if k != fold]), -key))
