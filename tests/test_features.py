"""Encodings of a target that holds nothing: what a training row is given must not come from its own answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeRegressor

from competition.tabular.columns import Columns, resolve
from competition.tabular.encoders import Scaling, TargetMeans
from competition.tabular.features import Features, Form

ROWS = 300
FORMS = get_args(Form)


def table() -> pd.DataFrame:
    """A category of a level a row, one of about three rows a level, one of few, a number with gaps, a date, a text."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "own": [f"name {n:03d}" for n in range(ROWS)],
            "place": [f"place {n}" for n in rng.integers(0, ROWS // 3, ROWS)],
            "colour": rng.choice(["red", "green", "blue"], ROWS),
            "size": [f"{v:.3f}" if rng.random() < 0.9 else "" for v in rng.normal(0, 1, ROWS)],
            "day": [f"20{rng.integers(10, 24)}-0{rng.integers(1, 9)}-11" for _ in range(ROWS)],
            "note": [f"it has {' '.join(rng.choice(['hood', 'lid', 'rim', 'foot'], 3))} {n}" for n in range(ROWS)],
        },
        dtype=object,
    )


def encoded(form: Form, answer: np.ndarray) -> np.ndarray:
    rows = table()
    columns = resolve(rows, Columns(category=("own", "place", "colour"), text=("note",)))
    values = Features(columns, form, max_levels=32, text_dims=4).fit_transform(rows, answer[:, None], 0).values
    return np.nan_to_num(values, nan=-9.0)


def assert_tells_nothing(form: Form) -> None:
    """A tree and a slope, fitted on the encodings of some rows, are at chance on those of others (3 standard errors)."""
    answer = np.random.default_rng(1).permutation(np.arange(ROWS) % 2).astype(float)
    x = encoded(form, answer)
    error = np.sqrt((ROWS + 1) / (12 * (ROWS / 2) ** 2))
    for model in (Ridge(10.0), DecisionTreeRegressor(max_depth=3, random_state=0)):
        scaled = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
        guess = cross_val_predict(model, scaled, answer, cv=5)
        auc = roc_auc_score(answer, guess)
        assert abs(auc - 0.5) < 3 * error, f"{type(model).__name__} on {form}: AUC {auc:.3f}"


@pytest.mark.parametrize("form", FORMS)
def test_encodings_of_a_permuted_target_tell_nothing_of_it(form: Form):
    assert_tells_nothing(form)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "codes"])
def test_means_that_are_not_cross_fitted_are_seen_by_the_same_check(form: Form, monkeypatch: pytest.MonkeyPatch):
    """CatBoost's form has no target means: it makes its own."""
    honest: Callable = TargetMeans.fit_transform

    def leaky(self: TargetMeans, codes: pd.DataFrame, y: np.ndarray) -> pd.DataFrame:
        honest(self, codes, y)
        return self.transform(codes)

    monkeypatch.setattr(TargetMeans, "fit_transform", leaky)
    with pytest.raises(AssertionError, match="AUC"):
        assert_tells_nothing(form)


@pytest.mark.parametrize("form", FORMS)
def test_same_seed_same_features_and_finite_where_they_must_be(form: Form):
    answer = (np.arange(ROWS) % 2).astype(float)
    first, again = encoded(form, answer), encoded(form, answer)
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()


def test_scaling_is_bounded_for_any_finite_value():
    values = np.exp(np.random.default_rng(0).normal(0, 2, (100, 2))) * [1, 0] + np.linspace(0, 1, 100)[:, None] * [0, 1]
    scaling = Scaling().fit(values)
    scaled, _ = scaling.transform(np.array([[1e38, -1e38], [1e300, -1e300], [np.nan, 0.0]]))
    assert np.isfinite(scaled).all() and np.abs(scaled).max() <= 3
    assert scaled[1, 1] < -2.9
