"""Columns become the numbers that models take; what looks at a target is fitted on the rows given, cross-fitted.

features = Features(columns, form="dense", max_levels=32, text_dims=16)
train = features.fit_transform(table, y, seed)     # a row's target encoding comes from other rows
test = features.transform(other)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from competition.tabular.columns import Column, read
from competition.tabular.derive import derived
from competition.tabular.encoders import Levels, Scaling, TargetMeans, Text

LARGEST = float(np.finfo(np.float32).max)  # libraries refuse what is infinite

WHOLE = 2**24  # the largest whole number up to which float32 has all
Form = Literal["native", "codes", "forest", "dense"]
Encoding = Literal["code", "onehot", "target", "count"]

# form -> encodings of a category with few levels, with many
ENCODINGS: dict[Form, tuple[tuple[Encoding, ...], tuple[Encoding, ...]]] = {
    "native": (("code",), ("target", "count")),  # LightGBM, XGBoost, HistGB: they overfit codes of many levels
    "codes": (("code",), ("code", "count")),  # CatBoost has target statistics of its own
    "forest": (("onehot",), ("target", "count")),
    "dense": (("onehot",), ("target", "count")),  # linear models, neighbours, networks
}


@dataclass(frozen=True)
class Matrix:
    """What a model is given.

    values: [rows, features] float32, NaN where missing; never in the form dense. categorical: positions of features that
    hold codes 0, 1, ... (NaN: unseen). numeric: how many leading features are quantities, not 0/1 columns or codes.
    """

    values: np.ndarray
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    numeric: int

    def __len__(self) -> int:
        return len(self.values)


def source(name: str, columns: Sequence[str]) -> str:
    """The column that a feature is made of: `Cabin: letters = C` -> `Cabin`. Of several that fit, the longest name."""
    return max((c for c in columns if name == c or name.startswith((f"{c}: ", f"{c} = "))), key=len)


class Features:
    """All that turns a table's text into a `Matrix`. Its attributes are what skops can store."""

    def __init__(self, columns: Sequence[Column], form: Form, max_levels: int, text_dims: int):
        self.columns = list(columns)
        self.form, self.max_levels, self.text_dims = form, max_levels, text_dims

    def fit_transform(self, table: pd.DataFrame, y: np.ndarray, seed: int) -> Matrix:
        """table: training rows as text. y: [rows, outputs], in the rows' order."""
        numbers, dates, categories, texts = self._typed(table)
        self.derived = derived(dates, categories)
        numbers, categories = self._derive(numbers, dates, categories, texts)
        self.levels = {str(c): Levels().fit(categories[c].to_numpy()) for c in categories}
        self.texts = {str(c): Text(self.text_dims, seed).fit(texts[c]) for c in texts}
        self.means = TargetMeans(seed)
        means = self.means.fit_transform(self._codes(categories, "target"), y)
        quantities = self._quantities(numbers, categories, texts, means)
        self.kept = [str(c) for c in quantities if quantities[c].notna().any()]
        self.origin = {c: float(quantities[c].min()) for c in self.kept if quantities[c].abs().max() > WHOLE}
        quantities = self._exact(quantities)
        self.scaling = Scaling().fit(_finite(quantities)) if self.form == "dense" else None
        return self._matrix(quantities, categories)

    def transform(self, table: pd.DataFrame) -> Matrix:
        numbers, dates, categories, texts = self._typed(table)
        numbers, categories = self._derive(numbers, dates, categories, texts)
        means = self.means.transform(self._codes(categories, "target"))
        return self._matrix(self._exact(self._quantities(numbers, categories, texts, means)), categories)

    def _exact(self, quantities: pd.DataFrame) -> pd.DataFrame:
        """Those with a value in training; large ones from their least on, since float32 can't count beyond `WHOLE`."""
        return quantities[self.kept].sub(pd.Series(self.origin, dtype=float).reindex(self.kept, fill_value=0.0))

    def _typed(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        frame = read(table, self.columns)
        number, date, category, text = (
            frame[[c.name for c in self.columns if c.type == type]] for type in ("number", "date", "category", "text")
        )
        return number, date, category, text

    def _derive(self, numbers, dates, categories, texts) -> tuple[pd.DataFrame, pd.DataFrame]:
        return (
            pd.concat([numbers, self.derived.numbers(dates, categories, texts)], axis=1),
            pd.concat([categories, self.derived.categories(categories)], axis=1),
        )

    def _encoded(self, by: Encoding) -> list[str]:
        """The categories that are encoded so."""
        return [c for c, levels in self.levels.items() if by in ENCODINGS[self.form][len(levels) > self.max_levels]]

    def _codes(self, categories: pd.DataFrame, by: Encoding) -> pd.DataFrame:
        codes = {c: self.levels[c].all_codes(categories[c].to_numpy()) for c in self._encoded(by)}
        return pd.DataFrame(codes, index=categories.index)

    def _quantities(self, numbers, categories, texts, means) -> pd.DataFrame:
        counts = {f"{c}: count": self.levels[c].log_counts(categories[c].to_numpy()) for c in self._encoded("count")}
        directions = [encoder.transform(texts[c]).add_prefix(f"{c}: ") for c, encoder in self.texts.items()]
        return pd.concat([numbers, means, pd.DataFrame(counts, index=numbers.index), *directions], axis=1)

    def _matrix(self, quantities: pd.DataFrame, categories: pd.DataFrame) -> Matrix:
        values, names = _finite(quantities), [str(c) for c in quantities]
        if self.scaling is not None:
            values, missing = self.scaling.transform(values)
        numeric = len(names)
        blocks = [values]
        if self.scaling is not None:
            blocks.append(missing)
            names += [f"{names[j]}: missing" for j in self.scaling.gaps]
        for c in self._encoded("onehot"):
            blocks.append(self.levels[c].one_hot(categories[c].to_numpy()))
            names += [f"{c} = {level}" for level in self.levels[c].names]
        coded = self._encoded("code")
        blocks += [self.levels[c].codes(categories[c].to_numpy())[:, None] for c in coded]
        names += coded
        return Matrix(
            np.hstack(blocks).astype(np.float32),
            tuple(names),
            tuple(range(len(names) - len(coded), len(names))),
            numeric,
        )


def _finite(quantities: pd.DataFrame) -> np.ndarray:
    """[rows, quantities] float64 within the range of float32; NaN stays."""
    return quantities.to_numpy(float).clip(-LARGEST, LARGEST)
