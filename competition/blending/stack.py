"""A stack: prediction tables by name, such as a blend's members; and what they hold, as arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

Stack = Mapping[str, pd.DataFrame]


def arrays(stack: Stack, truth: pd.DataFrame) -> list[np.ndarray]:
    """[rows, columns] of each table, in the truth's order; not copied where a table has that order already."""
    return [_ordered(table, truth).to_numpy(float) for table in stack.values()]


def _ordered(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    table = table if table.columns.equals(truth.columns) else table[list(truth.columns)]
    return table if table.index.equals(truth.index) else table.loc[truth.index]
