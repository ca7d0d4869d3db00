"""Whether two scores differ by more than chance: over folds, over rows, over seeds.

Differences are B's score less A's, greater is better: above 0 B is better. What a test says is 1 (B is better), -1 (A is
better) or 0 (within noise).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from competition.task import Problem, Progress

LEVEL = 0.05  # two-sided
FEWEST = 3  # folds: two differences that happen to be equal would have no variance, and p = 0
DRAWS, LEAST = 2_000, 200  # resamples that are wanted; that an interval of 95% needs, however slow the metric is
SECONDS = 20.0  # that the others may take
DEVIATIONS = 2.0  # of what seeds alone make of two runs, beyond which they are not what made the difference

Score = Callable[[np.ndarray], float]  # of rows that count `times` [rows] each; greater is better


@dataclass(frozen=True)
class OverFolds:
    """differences: by fold number, nan where a score is undefined. mean, error: of the others. p: two-sided."""

    differences: pd.Series
    mean: float
    error: float
    p: float

    @property
    def won(self) -> int:
        """Folds on which B is better."""
        return int((self.differences > 0).sum())

    @property
    def count(self) -> int:
        """Folds that have a difference, FEWEST or more."""
        return int(self.differences.notna().sum())

    @property
    def says(self) -> int:
        return int(np.sign(self.mean)) if self.p < LEVEL else 0


@dataclass(frozen=True)
class OverRows:
    """draws: differences of the score over resampled rows. undefined: resamples without a score, which are left out."""

    draws: np.ndarray
    undefined: int

    @property
    def error(self) -> float:
        return float(self.draws.std(ddof=1))

    @property
    def interval(self) -> tuple[float, float]:
        """That holds 95% of the draws, evenly at both ends."""
        low, high = np.quantile(self.draws, [LEVEL / 2, 1 - LEVEL / 2])
        return float(low), float(high)

    @property
    def says(self) -> int:
        low, high = self.interval
        return int(low > 0) - int(high < 0)


@dataclass(frozen=True)
class OverSeeds:
    """difference: of the two scores. error: the standard deviation that seeds alone give to it."""

    difference: float
    error: float

    @property
    def least(self) -> float:
        """The difference from which on it is more than seeds."""
        return DEVIATIONS * self.error

    @property
    def says(self) -> int:
        return int(np.sign(self.difference)) if abs(self.difference) > self.least else 0


def over_folds(a: pd.Series, b: pd.Series, share: float) -> OverFolds | None:
    """Paired t-test of fold scores by `error_of_mean`; None with fewer than FEWEST folds.

    a, b: scores by fold number. share: held-out rows over training rows of a fold.
    """
    from scipy.stats import t

    differences = (b - a).where(lambda d: np.isfinite(d))
    known = differences.dropna().to_numpy()
    error = error_of_mean(known, share)
    if error is None:
        return None
    mean = float(known.mean())
    p = float(2 * t.sf(abs(mean) / error, len(known) - 1)) if error > 0 else float(mean == 0)
    return OverFolds(differences, mean, error, p)


def error_of_mean(differences: Sequence[float] | np.ndarray, share: float) -> float | None:
    """Standard error of the mean of paired differences over folds that share training rows; None with fewer than FEWEST.

    share: held-out rows over training rows of a fold. The variance of the mean is s² (1/n + share) in place of s² / n
    (Nadeau and Bengio 2003, corrected resampled t-test).
    """
    if len(differences) < FEWEST:
        return None
    return math.sqrt(float(np.var(differences, ddof=1)) * (1 / len(differences) + share))


def over_rows(a: Score, b: Score, unit: np.ndarray, progress: Progress) -> OverRows | None:
    """Paired bootstrap of the difference of two scores; None where hardly any resample has one.

    unit: [rows] number of what is drawn whole, from 0: the row itself or its group. As many units are drawn with
    replacement as there are, DRAWS times, fewer where SECONDS are over (Efron and Tibshirani 1993, percentile interval).
    """
    rng, units, until = np.random.default_rng(0), int(unit.max()) + 1, time.monotonic() + SECONDS
    found: list[float] = []
    while len(found) < DRAWS and (len(found) < LEAST or time.monotonic() < until):
        times = np.bincount(rng.integers(units, size=units), minlength=units)[unit]
        found.append(b(times) - a(times))
        progress(len(found), DRAWS, "resamples")
    draws = np.array(found)
    draws, undefined = draws[np.isfinite(draws)], int((~np.isfinite(draws)).sum())
    return OverRows(draws, undefined) if len(draws) >= LEAST // 2 else None


def score_of(problem: Problem, truth: pd.DataFrame, prediction: pd.DataFrame, ids: pd.Index) -> Score:
    """The competition's score of a prediction by how often each of `ids` counts. Boxes are matched once."""
    if problem.kind == "boxes":
        return _of_boxes(problem, truth, prediction, ids)
    metric, true, said = problem.metric, truth.to_numpy(float), prediction.to_numpy(float)

    def score(times: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(times)), times)
        return metric.sign * float(metric.function(true[rows], said[rows]))

    return score


def _of_boxes(problem: Problem, truth: pd.DataFrame, prediction: pd.DataFrame, ids: pd.Index) -> Score:
    metric = problem.metric
    if metric.of_matches is None:
        return lambda times: metric.score(copies(truth, ids, times), copies(prediction, ids, times))
    matches = metric.match(truth, prediction)
    place = ids.get_indexer(matches.pictures)  # pictures without any box are in none
    return lambda times: metric.score_matches(matches.drawn(times[place]))


def copies(table: pd.DataFrame, ids: pd.Index, times: np.ndarray) -> pd.DataFrame:
    """A table of boxes with each picture of `ids` as often as `times` says, `7` as `7~0`, `7~1`, ..."""
    import pandas as pd

    place = ids.get_indexer(table.index)
    rows = np.repeat(np.arange(len(table)), times[place])
    copy = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return table.iloc[rows].set_axis(table.index[rows] + "~" + pd.Index(copy).astype(str))


def noise(scores: Sequence[Sequence[float]]) -> float:
    """Standard deviation between the seeds of a run, pooled over runs of two or more seeds each."""
    squares = sum(np.var(some, ddof=1) * (len(some) - 1) for some in scores)
    return math.sqrt(squares / sum(len(some) - 1 for some in scores))


def verdict(difference: float, *tests: OverFolds | OverRows | OverSeeds | None) -> int:
    """1 or -1 where every test says so, and so does the difference itself; 0 otherwise. None: a test that can't tell."""
    said = {0 if test is None else test.says for test in tests} | {int(np.sign(difference))}
    return said.pop() if len(said) == 1 else 0


def digits(value: float, error: float) -> str:
    """As many decimals as two digits of the error need; 4 where it is 0 or unknown."""
    return f"{value:.{decimals(error)}f}"


def decimals(error: float) -> int:
    return min(max(1 - math.floor(math.log10(error)), 0), 12) if error > 0 else 4
