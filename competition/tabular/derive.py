"""Numbers and categories that lie in other columns: parts of dates, letters and digits of codes, sizes of texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

DATE_PARTS = ("year", "month", "day", "day_of_week", "day_of_year", "hour")
CODE_LEVELS = 32  # a category of more levels is taken apart, if
CODE_SHARE = 0.5  # so large a share of them has digits: `C85`, `PC 17599`


@dataclass
class Derived:
    """Decided on training rows, applied to any. date_parts: those that vary, by column. codes: categories taken apart."""

    date_parts: dict[str, list[str]]
    codes: list[str]

    def numbers(self, dates: pd.DataFrame, categories: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
        new: dict[str, pd.Series] = {}
        for column, parts in self.date_parts.items():
            new[f"{column}: days"] = (dates[column] - pd.Timestamp(0)).dt.total_seconds() / 86_400
            new |= {f"{column}: {part}": getattr(dates[column].dt, part).astype(float) for part in parts}
        for column in self.codes:
            new[f"{column}: digits"] = _by_level(categories[column], _digits).astype(float)
            new[f"{column}: words"] = _by_level(categories[column], _words).astype(float)
        for column in texts:
            new[f"{column}: words"] = _words(texts[column]).astype(float)
            new[f"{column}: characters"] = texts[column].str.len().astype(float)
        return pd.DataFrame(new, index=categories.index)

    def categories(self, categories: pd.DataFrame) -> pd.DataFrame:
        letters = {f"{column}: letters": _by_level(categories[column], _letters) for column in self.codes}
        return pd.DataFrame(letters, index=categories.index, dtype=object)


def _by_level(cells: pd.Series, function: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """The function of each cell, computed once a level."""
    codes, levels = pd.factorize(cells)
    return pd.Series(function(pd.Series(levels, dtype=object)).to_numpy()[codes], index=cells.index)


def _letters(cells: pd.Series) -> pd.Series:
    return cells.str.extract(r"^\s*([^\d\s]+)")[0].fillna("").astype(object)


def _digits(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(cells.str.extract(r"(\d+)\D*$")[0], errors="coerce")


def _words(cells: pd.Series) -> pd.Series:
    return cells.str.count(r"\S+")


def derived(dates: pd.DataFrame, categories: pd.DataFrame) -> Derived:
    """What these training rows offer."""
    parts = {str(c): [p for p in DATE_PARTS if getattr(dates[c].dt, p).nunique() > 1] for c in dates}
    return Derived(parts, [str(c) for c in categories if _is_code(categories[c])])


def _is_code(cells: pd.Series) -> bool:
    known = pd.Series(cells[cells != ""].unique(), dtype=object)
    return len(known) > CODE_LEVELS and known.str.contains(r"\d", regex=True).mean() >= CODE_SHARE
