"""Metrics of decisions, from counts of what was true and what was said.

Fitting a threshold scores hundreds of candidates. On 16,000 rows these take 0.1 ms, or 1 ms for 20 labels, where
scikit-learn's F1, MCC and kappa took 3 to 10 ms and its multi-label F1 70 ms (one CPU core, scikit-learn 1.9); the tests
hold them equal. Decisions are as `metrics.labels` returns them: class indices [n], or 0/1 [n, labels]; of metrics of
distance the values of the levels.
"""

from __future__ import annotations

import numpy as np

Hits = tuple[np.ndarray, np.ndarray, np.ndarray]  # of each class or label: right, true and said rows


def accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """Share of rows that are right; of multi-label those with every label right."""
    right = truth == said
    return float((right if right.ndim == 1 else right.all(axis=1)).mean())


def counts(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """[c, c] rows of each true and said class, up to the greatest class that occurs."""
    c = int(max(truth.max(), said.max())) + 1
    return np.bincount(truth * c + said, minlength=c * c).reshape(c, c)


def balanced_accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean recall of the classes that are true somewhere."""
    table = counts(truth, said)
    true = table.sum(axis=1)
    return float((table.diagonal()[true > 0] / true[true > 0]).mean())


def mcc(truth: np.ndarray, said: np.ndarray) -> float:
    """Matthews correlation, -1..1 (Gorodkin 2004 for many classes); 0 where one side is constant."""
    table = counts(truth, said).astype(float)
    n, true, guess = table.sum(), table.sum(axis=1), table.sum(axis=0)
    spread = (n * n - true @ true) * (n * n - guess @ guess)
    return float((n * table.trace() - true @ guess) / np.sqrt(spread)) if spread > 0 else 0.0


def qwk(truth: np.ndarray, said: np.ndarray) -> float:
    """Quadratic weighted kappa of levels 0, 1, ...; absent ones keep their place. nan where all rows are of one level."""
    table = counts(truth, said).astype(float)
    step = np.arange(len(table))
    distance = (step[:, None] - step) ** 2
    chance = table.sum(axis=1) @ distance @ table.sum(axis=0) / table.sum()
    return float(1 - (distance * table).sum() / chance) if chance > 0 else float("nan")


def rmse(truth: np.ndarray, said: np.ndarray) -> float:
    """Root mean squared distance of the values of levels [n]."""
    return float(np.sqrt(((truth - said) ** 2).mean()))


def mae(truth: np.ndarray, said: np.ndarray) -> float:
    return float(np.abs(truth - said).mean())


def f1(truth: np.ndarray, said: np.ndarray) -> float:
    """F1 of class 1; 0 where it is neither true nor said."""
    return float(_f1((truth * said).sum(), truth.sum(), said.sum()))


def f1_macro(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean F1 of the classes that are true or said somewhere, or of all labels."""
    return float(_f1(*_hits(truth, said)).mean())


def f1_micro(truth: np.ndarray, said: np.ndarray) -> float:
    """F1 of all classes' or labels' rows together; of classes that exclude each other it is the accuracy."""
    return float(_f1(*(count.sum() for count in _hits(truth, said))))


def f1_samples(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean F1 of the rows [n, labels]; 0 for a row without a label on either side."""
    return float(_f1((truth * said).sum(axis=1), truth.sum(axis=1), said.sum(axis=1)).mean())


def _hits(truth: np.ndarray, said: np.ndarray) -> Hits:
    if truth.ndim == 2:
        return (truth * said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0)
    table = counts(truth, said)
    true, guess = table.sum(axis=1), table.sum(axis=0)
    occurs = true + guess > 0
    return table.diagonal()[occurs], true[occurs], guess[occurs]


def _f1(right: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The harmonic mean of precision and recall; 0 where there is neither."""
    return 2 * right / np.maximum(true + said, 1)
