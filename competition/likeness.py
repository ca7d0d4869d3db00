"""How much a training row looks like a test row, told by a model from the columns that both have: drift, and the hold-out
of `folds: {scheme: test_like}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.data import Data
from competition.errors import DataFault, Finding, examples
from competition.tabular import columns as typed
from competition.tabular.columns import Column

FOLDS = 3
FEW = 50  # rows of train or of test, below which nothing is told
APART, WHOLLY = (
    0.6,
    0.99,
)  # AUC, below which no row looks more like test than another, and above which none looks like it


@dataclass(frozen=True)
class Told:
    """likeness: probability of each training row to be a test row, by id, out of fold. auc: of train against test, 0.5
    is chance. by: the columns that tell, the most useful first."""

    likeness: pd.Series
    auc: float
    by: tuple[str, ...]


def tell(train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[Column], seed: int = 0) -> Told | None:
    """train, test: typed rows by id. None where rows are too few, or every column has values of its own in each row."""
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    both, is_test = pd.concat([train, test]), np.repeat([0, 1], [len(train), len(test)])
    codes = {c.name: values(both[c.name]) for c in columns if not _is_own(both[c.name], c)}
    if not codes or min(len(train), len(test)) < FEW:
        return None
    table, gain, told = np.column_stack(list(codes.values())), np.zeros(len(codes)), np.zeros(len(both))
    seed %= 2**31
    for fitted, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(table, is_test):
        model = LGBMClassifier(
            n_estimators=60, num_leaves=15, importance_type="gain", random_state=seed, verbose=-1, n_jobs=2,
            deterministic=True, force_col_wise=True,
        )  # fmt: skip
        model.fit(table[fitted], is_test[fitted])
        told[held] = np.asarray(model.predict_proba(table[held]))[:, 1]
        gain += model.feature_importances_
    by = tuple(list(codes)[i] for i in np.argsort(-gain, kind="stable") if gain[i] > 0)
    likeness = pd.Series(told[: len(train)], index=train.index)
    return Told(likeness, float(roc_auc_score(is_test, told)), by)


def least_like_test(data: Data) -> tuple[pd.Index, list[str]]:
    """Ids of the half of the training rows that looks least like test, whole groups, and what a user should see.

    Labels play no part, nor does the column of groups. Raises DataFault FOLD-LIKE where nothing can be told.
    """
    folds = data.config.folds
    names = [name for name in data.problem.inputs if name != folds.group]
    columns = [c for c in typed.infer(data.train.table[names]) if c.type != "ignore"]
    train, test = (typed.read(rows.table.sort_index(), columns) for rows in (data.train, data.test))
    told = tell(train, test, columns, folds.seed)
    if told is None:
        found = f"{len(train)} training and {len(test)} test rows, {len(columns)} columns to tell them by: "
        raise DataFault(
            Finding(
                code="FOLD-LIKE",
                what="training rows can't be compared with test rows",
                where="competition.yaml, folds: scheme: test_like",
                found=found + (examples(c.name for c in columns) or "none that both tables have"),
                mend=f"folds: {{scheme: stratified}}; test_like needs shared columns and {FEW} rows of each",
            )
        )
    unit = data.train.table[folds.group].loc[train.index] if folds.group else train.index.to_series()
    by_unit = told.likeness.groupby(unit.to_numpy())
    size = by_unit.size().loc[by_unit.mean().sort_values(ascending=False, kind="stable").index]
    scored = size.index[size.cumsum() - size < len(unit) / 2]
    always = unit.index[~unit.isin(scored)]
    return always, _notes(told, len(always))


def values(column: pd.Series) -> np.ndarray:
    """[rows] float64, NaN where missing: numbers and dates by value, names by rank in the order of text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return np.where(column.isna(), np.nan, column.to_numpy().astype("datetime64[us]").astype("float64"))
    if pd.api.types.is_float_dtype(column):
        return column.to_numpy(dtype="float64")
    codes = pd.factorize(column, sort=True)[0]
    return np.where(column == "", np.nan, codes)


def _is_own(column: pd.Series, kind: Column) -> bool:
    """Names of which nearly every row has its own: an id in all but name, by which any row is told from any other."""
    return kind.type in ("category", "text") and column.nunique() > typed.OWN * len(column)


def _notes(told: Told, always: int) -> list[str]:
    scored = len(told.likeness) - always
    notes = [
        f"FOLD-LIKE: a model tells test from train with AUC {told.auc:.3f} (0.5 is none), mostly by "
        f"{examples(told.by[:3]) or 'nothing'}; the {scored} training rows most like test are scored, {always} are "
        "always in training"
    ]
    if told.auc < APART:
        notes.append(
            "FOLD-LIKE: WARNING: test looks like train, so scheme test_like brings nothing and scores half the rows; "
            "set folds: {scheme: stratified} and make the fold table anew"
        )
    if told.auc > WHOLLY:
        notes.append(
            f"FOLD-LIKE: WARNING: no training row looks like test by {told.by[0]!r}, so the scored half is little more like "
            "it than the other; if that column tells the time, set folds: {scheme: time}"
        )
    return notes
