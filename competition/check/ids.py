"""Notes on ids: whether one tells the target, or train from test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from competition.check.leaks import telling
from competition.check.notes import Note
from competition.data import Data
from competition.likeness import FEW
from competition.tabular.columns import Column

MORE, SPREADS = 0.1, 4.0  # above 0.5, and standard deviations of a random AUC, from which on ids tell something
APART = 0.99  # AUC of ids of train against test


def notes(data: Data) -> Iterator[Note]:
    yield from telling_ids(data)
    yield from ordered_ids(data)


def numbers(ids: pd.Index) -> pd.Series:
    """The last number in each id, by id; nan where it has none."""
    return pd.to_numeric(ids.to_series().str.extract(r"(\d+)(?!.*\d)")[0], errors="coerce").set_axis(ids)


def telling_ids(data: Data) -> Iterator[Note]:
    """ID-LEAK where the number in the id ranks the target."""
    value = numbers(data.train.ids)
    if value.nunique() < FEW:
        return
    strength = telling(value.to_frame("id"), [Column("id", "number", "")], data)["id"]
    least = 0.5 + MORE + SPREADS * np.sqrt(1 / 12 / _rarest(data))
    if data.problem.kind == "regression":
        least = MORE + SPREADS / np.sqrt(len(value))
    if strength > least:
        of = "rank correlation" if data.problem.kind == "regression" else "AUC"
        what = f"the id tells the target ({of} {strength:.3f}): rows were numbered in an order that knows it"
        mend = "never a feature unless test ids go on in the same order; neighbours may be of one group (folds.group)"
        yield Note("warn", "ID-LEAK", what, len(value), tuple(value.index[:3]), mend)


def _rarest(data: Data) -> int:
    """Rows of the rarer side of the classes that are looked at."""
    from competition.split import labels_of

    if data.problem.kind == "regression":
        return len(data.train)
    sums = labels_of(data.train, data.problem.kind).sum().nlargest(10)
    return max(1, int(np.median(np.minimum(sums, len(data.train) - sums))))


def ordered_ids(data: Data) -> Iterator[Note]:
    """ID-ORDER where all ids of test come after those of train, or before."""
    from sklearn.metrics import roc_auc_score

    train, test = numbers(data.train.ids).dropna(), numbers(data.test.ids).dropna()
    if min(len(train), len(test)) < FEW:
        return
    auc = roc_auc_score(np.repeat([0, 1], [len(train), len(test)]), pd.concat([train, test]))
    if max(auc, 1 - auc) > APART:
        where = "after" if auc > 0.5 else "before"
        mend = "if ids follow time or place, so does test: look at drift, and at folds.scheme: time or test_like"
        yield Note(
            "info", "ID-ORDER", f"the ids of test come {where} those of train", len(test), tuple(test.index[:3]), mend
        )
