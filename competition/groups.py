"""Columns whose equal values belong together, so that a fold should not part them: patients, sites, videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from competition import dates

NAMES = (
    "patient", "subject", "person", "user", "customer", "speaker", "author", "animal", "household", "hotel", "site",
    "study", "series", "session", "video", "scene", "location", "group",
)  # fmt: skip
REPEATED = 0.5  # of the rows, whose value must stand in another row too


def named(columns: Sequence[str]) -> list[str]:
    """Those whose name says so, the plainest first."""
    return list(dict.fromkeys(c for name in NAMES for c in columns if name in c.lower()))


def repeats(cells: pd.Series, n: int) -> bool:
    """Whether most rows share their value with another, there are n values or more (more than a flag has), none empty."""
    shared = cells.duplicated(keep=False).mean() > REPEATED
    return bool(shared and cells.nunique() >= max(n, 3) and (cells.str.strip() != "").all())


def in_both(train: pd.DataFrame, test: pd.DataFrame, column: str) -> bool:
    """Whether most rows of test are of train's groups, so that a random split is what test is."""
    return column in test.columns and bool(test[column].isin(train[column]).mean() > REPEATED)


def parted(train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[str]) -> Iterator[str]:
    """Columns by which the host itself has parted test from train: they repeat in both, but share no value, and it is not
    the order of time that divides them."""
    times = {order.column for order in dates.orders(train, test, columns)}
    for column in columns:
        if column not in times and test[column].duplicated(keep=False).mean() > REPEATED:
            apart = set(train[column]).isdisjoint(test[column])
            if apart and pd.to_numeric(train[column], errors="coerce").isna().any():
                yield column
