"""A metric's scores of many predictions at once, equal to `Metric.score` of each.

A metric looks at less than the predictions themselves: log loss at what they gave the truth, a squared error at the triangle
of a QR decomposition. What it looks at is linear in them (a mix's look is the mix of its members'), so whoever scores mix
after mix, as greedy selection does, prepares the members once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from competition.blending import ranks
from competition.formulas import EPSILON, METRICS
from competition.keys import Kind
from competition.kinds import CLASSES, hard
from competition.metrics import Metric, labels
from competition.task import Problem

Judge = Callable[[np.ndarray], np.ndarray]  # looks [candidates, ...] -> the competition's figures [candidates]
Form = Callable[[Sequence[np.ndarray], np.ndarray, Metric], tuple[np.ndarray, Judge]]

CELLS = 2**16  # of looks that are judged at once: half a MB, so that what is made of them stays in a core's cache


@dataclass(frozen=True)
class Look:
    """x: [candidates, ...], what the metric looks at. judge: of such, or of mixes of them by weights of sum 1."""

    x: np.ndarray
    judge: Judge
    sign: int

    def score(self, x: np.ndarray) -> np.ndarray:
        """[candidates], greater is better; nan where the metric is undefined."""
        step = self._step()
        return self.sign * np.concatenate([self.judge(x[i : i + step]) for i in range(0, len(x), step)])

    def score_added(self, total: np.ndarray, members: np.ndarray, count: int) -> np.ndarray:
        """[members]: of the mean of `count` looks of the sum `total` and one member of x more."""
        step, scores = self._step(), []
        room = np.empty(
            (min(step, len(members)), *total.shape)
        )  # one for all blocks: new memory costs more than the sums
        for start in range(0, len(members), step):
            some = members[start : start + step]
            mixes = room[: len(some)]
            for mix, member in zip(mixes, some, strict=True):
                np.add(total, self.x[member], out=mix)
            mixes /= count + 1
            scores.append(self.judge(mixes))
        return self.sign * np.concatenate(scores)

    def _step(self) -> int:
        return max(CELLS // max(self.x[0].size, 1), 1)


def look(p: Sequence[np.ndarray], t: np.ndarray, problem: Problem) -> Look:
    """p: [rows, columns] of each candidate. t: [rows, columns], at least one row. A user's own metric is called for each."""
    metric = problem.metric
    soft = metric.name not in METRICS or METRICS[metric.name].soft
    return Look(*_form(problem)(p, t if soft else _certain(t, problem.kind), metric), metric.sign)


def score(p: Sequence[np.ndarray], t: np.ndarray, problem: Problem) -> np.ndarray:
    """[candidates], greater is better: `problem.metric.score` of each."""
    seen = look(p, t, problem)
    return seen.score(seen.x)


def _certain(t: np.ndarray, kind: Kind) -> np.ndarray:
    """The nearest truth of 0 and 1."""
    if kind == "regression":
        return t
    return np.eye(t.shape[1])[hard(kind, t)] if kind in CLASSES else (t >= 0.5).astype(float)


def one_at_a_time(problem: Problem) -> bool:
    """Whether the metric is called for each candidate, as a user's own is: no faster than that."""
    return problem.metric.name not in METRICS or _form(problem) is one_by_one


def _form(problem: Problem) -> Form:
    metric, kind = problem.metric, problem.kind
    if metric.needs == "label":
        return partial(decided, problem)
    forms = VALUES if kind == "regression" else CLASS if kind in CLASSES else COLUMN
    return forms.get(metric.name, one_by_one)


def one_by_one(p: Sequence[np.ndarray], t: np.ndarray, metric: Metric) -> tuple[np.ndarray, Judge]:
    return np.stack(p), lambda x: np.array([float(metric.function(t, one)) for one in x])


# Decisions ----------------------------------------------------------------------------------------------------------


def decided(problem: Problem, p: Sequence[np.ndarray], t: np.ndarray, metric: Metric) -> tuple[np.ndarray, Judge]:
    """Decisions, then the metric's own counts. Of a metric of distance a row's look is its expected level."""
    true, levels = hard(problem.kind, t), np.array(metric.levels or ())
    if len(levels):
        return np.stack([one @ levels for one in p]), _told(true, metric, lambda x: _nearest(x, levels))
    if problem.kind in CLASSES:
        return np.stack(p), _told(true, metric, lambda x: x.argmax(axis=2))
    said = partial(labels, metric, problem.kind)
    return np.stack(p), _told(true, metric, lambda x: np.stack([said(one) for one in x]))


def _told(true: np.ndarray, metric: Metric, decide: Judge) -> Judge:
    def judge(x: np.ndarray) -> np.ndarray:
        return np.array([metric.sign * metric.score_labels(true, said) for said in decide(x)])

    return judge


def _nearest(x: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """[candidates, rows] -> index of the nearest level, of two the first."""
    said, least = np.zeros(x.shape, int), np.abs(x - levels[0])
    for j in range(1, len(levels)):
        distance = np.abs(x - levels[j])
        said[distance < least] = j
        np.minimum(least, distance, out=least)
    return said


# Logarithms ---------------------------------------------------------------------------------------------------------


def class_log(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    """Of the cells that are true. Rows of the candidates are made to sum to 1, as those of their mixes then do."""
    row, column = np.nonzero(t)
    x, true = np.stack([one[row, column] / (one @ np.ones(t.shape[1]))[row] for one in p]), t[row, column]
    return x, lambda x: -_log_sums(x.clip(EPSILON, 1 - EPSILON), true) / len(t)


def divergence(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    true = t[t > 0]
    own = _log_sums(true[None], true)
    return np.stack([one[t > 0] for one in p]), lambda x: (own - _log_sums(x.clip(EPSILON, 1 - EPSILON), true)) / len(t)


def column_log(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    """Of the cells that are true, then of those that are not; a soft one is both."""
    yes, no = t > 0, t < 1
    some, true = int(yes.sum()), np.concatenate([t[yes], 1 - t[no]])

    def judge(x: np.ndarray) -> np.ndarray:
        given = x.clip(EPSILON, 1 - EPSILON)
        given[:, some:] = 1 - given[:, some:]
        return -_log_sums(given, true) / t.size

    return np.stack([np.concatenate([one[yes], one[no]]) for one in p]), judge


def _log_sums(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[candidates] sum over cells of weight log x. Where weights are 1, logarithms of products of eight, as they cost most:
    0.12 ms for 50,000 cells where one of each takes 0.40. EPSILON ** 8 is far above the least number.
    """
    if (weight < 1).any():
        return np.log(x) @ weight
    even = x.shape[1] // 8 * 8
    eights = x[:, :even].reshape(len(x), 8, -1).prod(axis=1)
    return np.log(eights).sum(axis=1) + np.log(x[:, even:]).sum(axis=1)


# Errors -------------------------------------------------------------------------------------------------------------


def _triangle(errors: Sequence[np.ndarray]) -> np.ndarray:
    """[candidates, up to candidates]: R of the errors' QR decomposition, whose mixes have the norms of the errors' mixes."""
    rest, step = np.empty((0, len(errors))), max(CELLS // len(errors), 4 * len(errors))
    for start in range(0, len(errors[0]), step):
        block = np.stack([one[start : start + step] for one in errors], axis=1)
        rest = np.asarray(np.linalg.qr(np.concatenate([rest, block]), mode="r"))
    return np.ascontiguousarray(rest.T)


def class_brier(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    return _triangle([(one - t).ravel() for one in p]), lambda x: np.square(x).sum(axis=1) / len(t)


def column_brier(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    return _triangle([(one - t).ravel() for one in p]), lambda x: np.square(x).sum(axis=1) / t.size


def rmse(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    return _by_column(p, t), lambda x: np.sqrt(np.square(x).sum(axis=2) / len(t)).mean(axis=1)


def r2(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    """As scikit-learn has it: of a constant truth 1 where all is right, else 0; nan of one row."""
    whole = np.square(t - t.mean(axis=0)).sum(axis=0)

    def judge(x: np.ndarray) -> np.ndarray:
        squares = np.square(x).sum(axis=2)
        share = np.divide(squares, whole, out=(squares > 0).astype(float), where=whole > 0)
        return 1 - share.mean(axis=1) if len(t) > 1 else np.full(len(x), np.nan)

    return _by_column(p, t), judge


def _by_column(p: Sequence[np.ndarray], t: np.ndarray) -> np.ndarray:
    """[candidates, columns, up to candidates]"""
    return np.stack([_triangle([one[:, j] - t[:, j] for one in p]) for j in range(t.shape[1])], axis=1)


def rmsle(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    def judge(x: np.ndarray) -> np.ndarray:
        defined = np.minimum(x.min(axis=(1, 2)), t.min()) > -1
        error = np.log1p(x[defined]) - np.log1p(t)
        figures = np.full(len(x), np.nan)
        figures[defined] = np.sqrt(np.square(error).mean(axis=1)).mean(axis=1)
        return figures

    return np.stack(p), judge


def mae(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    return np.stack(p), lambda x: np.abs(x - t).mean(axis=(1, 2))


def mape(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    size = np.maximum(np.abs(t), np.finfo(float).eps)
    return np.stack(p), lambda x: (np.abs(x - t) / size).mean(axis=(1, 2))


def smape(p: Sequence[np.ndarray], t: np.ndarray, _: Metric) -> tuple[np.ndarray, Judge]:
    def judge(x: np.ndarray) -> np.ndarray:
        size = np.abs(t) + np.abs(x)
        return 200 * np.divide(np.abs(x - t), size, out=np.zeros_like(size), where=size > 0).mean(axis=(1, 2))

    return np.stack(p), judge


def quantile(p: Sequence[np.ndarray], t: np.ndarray, metric: Metric) -> tuple[np.ndarray, Judge]:
    alpha = metric.params["alpha"]

    def judge(x: np.ndarray) -> np.ndarray:
        short = t - x
        return np.maximum(alpha * short, (alpha - 1) * short).mean(axis=(1, 2))

    return np.stack(p), judge


CLASS: dict[str, Form] = {
    "logloss": class_log,
    "kl": divergence,
    "brier": class_brier,
    "mapk": ranks.class_mapk,
    "top_error": ranks.top_error,
    **ranks.ORDERED,
}
COLUMN: dict[str, Form] = {"logloss": column_log, "brier": column_brier, **ranks.ORDERED}
VALUES: dict[str, Form] = {
    "rmse": rmse,
    "r2": r2,
    "rmsle": rmsle,
    "mean_column_rmsle": rmsle,
    "mae": mae,
    "mape": mape,
    "smape": smape,
    "quantile": quantile,
    **ranks.ORDERED,
}
