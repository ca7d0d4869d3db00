"""What each column adds to what the trees of a fold say of a row: SHAP values, those of its features summed up."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition import artifacts
from competition.tabular import fitting, models
from competition.tabular.features import source
from competition.task import Fold, Rows

if TYPE_CHECKING:
    from competition.tabular.task import TabularTask


def contributions(task: TabularTask, rows: Rows, fold: Fold) -> pd.DataFrame | None:
    """[rows, (prediction column, input column)] SHAP values, the bag's mean; None where the library has no exact ones.

    In the models' raw output: log odds, or values less their mean over their standard deviation. A column that the
    user's `features:` function makes stands for itself.
    """
    explain = getattr(models.library(task.model), "contributions", None)
    if explain is None:
        return None
    table = fitting.inputs(task, fold.problem, rows.table)
    bag = artifacts.read_json(fold.folder / "fit.json")["bag"]
    total: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(len(table)))
    for n, (features, fitted) in enumerate(fitting.fitted_bag(task, fold, bag)):
        x = features.transform(table)
        columns = [source(name, list(table)) for name in x.names]
        for j, (model, record) in enumerate(fitted):
            if model is not None:
                values = explain(model, x) / len(bag)
                for k, output in enumerate(record.get("classes", [j])):
                    for column, value in zip(columns, values[:, k].T, strict=False):  # the last is no feature's
                        total[fold.problem.columns[output], column] += value
        fold.progress(n + 1, len(bag), "SHAP values")
    return pd.DataFrame(total, index=rows.ids, columns=pd.MultiIndex.from_tuples(total, names=("output", "column")))
