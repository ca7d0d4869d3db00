"""The submission of one who has learnt nothing: one prediction for all rows, from the training labels alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from competition.boxes.form import BoxForm
from competition.boxes.table import EDGES, PREDICTED, empty
from competition.data import Data
from competition.form import infer

MEDIANS = ("mae", "mape", "smape")  # of values, metrics that a median suits better than the mean
UNSURE = 0.01  # the score of a box where there must be one


def prediction(data: Data) -> pd.DataFrame:
    """[test rows, problem.columns] by id: shares of the classes, or of values their mean, median or quantile, as the metric
    has it. No boxes; where a submission must have one, the middle one of the commonest class on the first picture."""
    truth, ids = data.train.truth, data.test.ids
    assert truth is not None
    if data.problem.kind == "boxes":
        form = infer(data)
        assert isinstance(form, BoxForm)
        return _one_box(data, truth) if form.columns and not form.nothing else empty()
    said = truth[list(data.problem.columns)].mean() if data.problem.kind != "regression" else _value(data, truth)
    return pd.DataFrame(np.tile(said.to_numpy(float), (len(ids), 1)), ids, list(data.problem.columns))


def _value(data: Data, truth: pd.DataFrame) -> pd.Series:
    """By target, the constant that the metric likes best."""
    metric = data.problem.metric
    if metric.name in MEDIANS:
        return truth.median()
    if metric.name == "quantile":
        return truth.quantile(metric.params["alpha"])
    return np.expm1(np.log1p(truth.clip(lower=0)).mean()) if "rmsle" in metric.name else truth.mean()


def _one_box(data: Data, truth: pd.DataFrame) -> pd.DataFrame:
    label = truth["label"].mode()[0] if len(truth) else data.problem.classes[0]
    middle = truth.loc[truth["label"] == label, list(EDGES)].median()
    sizes = data.test.sizes
    assert sizes is not None
    first = sizes.dropna().index[:1]
    edges = np.minimum(middle.fillna(0).to_numpy(float), np.tile(sizes.loc[first].to_numpy(float), 2))
    if not len(truth) or (edges[:, :2] >= edges[:, 2:]).any():
        edges = np.hstack([np.zeros((len(first), 2)), sizes.loc[first].to_numpy(float)])
    table = pd.DataFrame(edges, first, list(EDGES)).assign(label=label, score=UNSURE)
    return table[list(PREDICTED)]
