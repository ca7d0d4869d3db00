"""A table of boxes: one row a box, by the id of its picture; a picture without boxes has no row.

Columns: label, a class name (text); score, 0..1 (of predictions only); x_min, y_min, x_max, y_max, in pixels of the
original picture as floats, its left upper corner 0, 0; crowd (of truth only), True for a region that scoring and training
pass over (COCO's iscrowd, VOC's difficult).
"""

from __future__ import annotations

import pandas as pd

EDGES = ("x_min", "y_min", "x_max", "y_max")
PREDICTED = ("label", "score", *EDGES)
TRUTH = ("label", *EDGES, "crowd")


def empty(columns: tuple[str, ...] = PREDICTED) -> pd.DataFrame:
    """A table without boxes."""
    types = {"label": "str", "crowd": "bool"}
    return pd.DataFrame(
        {name: pd.Series(dtype=types.get(name, "float64")) for name in columns},
        index=pd.Index([], name="id", dtype="str"),
    )


def holds_boxes(table: pd.DataFrame) -> bool:
    """Whether this is a table of boxes, and not one with a row an id."""
    return set(EDGES) <= set(table.columns)


def take(table: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """The boxes of these pictures, in that order of pictures; those of one picture stay in their order."""
    place = ids.get_indexer(table.index)
    kept = table[place >= 0]
    return kept.iloc[place[place >= 0].argsort(kind="stable")]
