"""What a run said of each row beside what is true, and the figures of it by class, as scikit-learn has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from competition import formulas, kinds, metrics
from competition.cuts import NOUNS
from competition.report.subject import Subject
from competition.standings import Standing

BINS = 15  # of a reliability diagram
DRAWN = 100  # points of a curve


@dataclass(frozen=True)
class Outcome:
    """classes: [c] names; of a binary competition both. exclusive: whether a row has one of them, else any number.

    truth, said: [n, c] 0 or 1, as the metric's decisions take them. probability: [n, c] as it is submitted, with each
    fold's calibration (fitted on the other folds) but without its cuts. raw: [n, c] without either, None where the same.
    """

    classes: tuple[str, ...]
    exclusive: bool
    truth: np.ndarray
    said: np.ndarray
    probability: np.ndarray
    raw: np.ndarray | None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def confusion(self) -> np.ndarray:
        """[true class, said class] rows, of classes that exclude each other."""
        return self.truth.T.astype(int) @ self.said.astype(int)


def of(subject: Subject, standing: Standing) -> Outcome:
    """Of any kind with classes."""
    problem, plain, final = subject.problem, subject.oof(standing), subject.decided(standing)
    kind, truth = problem.kind, subject.truth.to_numpy(float)
    raw, adjusted = (_both(table.to_numpy(float), kind) for table in (plain, final))
    adjustments = standing.scored["adjustments_by_fold"].values()
    calibrated = any(a is not None and a["rule"] not in NOUNS for a in adjustments)
    said = metrics.labels(problem.metric, kind, final.to_numpy(float))
    exclusive = kind != "multilabel"
    return Outcome(
        classes=tuple(map(str, problem.classes if exclusive else problem.columns)),
        exclusive=exclusive,
        truth=_indicators(kinds.hard(kind, truth), raw.shape[1]),
        said=_indicators(said, raw.shape[1]),
        probability=adjusted if calibrated else raw,
        raw=raw if calibrated else None,
    )


def _both(p: np.ndarray, kind: str) -> np.ndarray:
    return np.column_stack([1 - p[:, 0], p[:, 0]]) if kind == "binary" else p


def _indicators(decided: np.ndarray, classes: int) -> np.ndarray:
    """[n, c] of class indices [n], or of labels, which are such."""
    return decided if decided.ndim == 2 else np.eye(classes, dtype=int)[decided]


def by_class(outcome: Outcome) -> pd.DataFrame:
    """[classes] rows, said, precision, recall, f1, auc (one against the rest), logloss (of the rows of the class; of labels
    over all rows); nan where a class leaves it undefined.
    """
    truth, said, p = outcome.truth, outcome.said, outcome.probability.clip(formulas.EPSILON, 1 - formulas.EPSILON)
    rows, called, right = truth.sum(axis=0), said.sum(axis=0), (truth * said).sum(axis=0)
    loss = -np.log(p) * truth
    if not outcome.exclusive:
        loss, of = loss - np.log1p(-p) * (1 - truth), np.full(len(rows), len(truth))
    else:
        of = rows
    values = {
        "rows": rows,
        "said": called,
        "precision": _share(right, called),
        "recall": _share(right, rows),
        "f1": _share(2 * right, np.where(rows > 0, rows + called, 0)),
        "auc": auc(truth, outcome.probability),
        "logloss": _share(loss.sum(axis=0), of),
    }
    return pd.DataFrame(values, index=pd.Index(outcome.classes, name="class"))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def auc(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """[c] of each column, from ranks (Mann and Whitney 1947); nan where all rows are alike."""
    from scipy.stats import rankdata

    yes = truth.sum(axis=0).astype(float)
    no = len(truth) - yes
    above = (rankdata(p, axis=0) * truth).sum(axis=0) - yes * (yes + 1) / 2
    return _share(above, yes * no)


def reliability(true: np.ndarray, p: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """[at most `bins`] p (mean), true (share), rows, of bins with about as many rows each; equal p share a bin.

    true: [n] 0 or 1, p: [n].
    """
    place = np.searchsorted(np.percentile(p, np.linspace(0, 100, bins + 1))[1:-1], p)
    table = pd.DataFrame({"p": p, "true": true}).groupby(place)
    return table.mean().assign(rows=table.size()).reset_index(drop=True)


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error: mean distance of `p` from `true`, by rows (Naeini et al. 2015)."""
    return float((bins["rows"] * (bins["p"] - bins["true"]).abs()).sum() / bins["rows"].sum())


def confidence(outcome: Outcome, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What reliability is drawn of, (true, p): of two classes the positive's probability, of more the likeliest class's
    (Guo et al. 2017), of labels each cell.
    """
    if not outcome.exclusive:
        return outcome.truth.ravel(), p.ravel()
    if len(outcome.classes) == 2:
        return outcome.truth[:, 1], p[:, 1]
    top = p.argmax(axis=1)
    return outcome.truth[np.arange(len(p)), top], p.max(axis=1)


def ranked_curves(true: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """roc and pr as (x, y) of at most DRAWN points, auc and ap, of one class with rows of both answers."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    wrong, right, _ = roc_curve(true, p)
    precision, recall, _ = precision_recall_curve(true, p)
    return {
        "roc": along(wrong, right),
        "pr": along(recall, precision),
        "auc": float(np.trapezoid(right, wrong)),
        "ap": float(average_precision_score(true, p)),
    }


def along(x: np.ndarray, y: np.ndarray, most: int = DRAWN) -> tuple[np.ndarray, np.ndarray]:
    """At most so many of the points of a line, even along it, so that none is left out where it bends."""
    if len(x) <= most:
        return x, y
    way = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], most)))
    return x[kept], y[kept]
