"""Boxes that mark one object several times: found by their overlap, and merged into their mean."""

from __future__ import annotations

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, 4], [m, 4] corners -> [n, m] intersection over union, 0..1; 0 where both are empty."""
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    both = sides.clip(0).prod(axis=2)
    either = _area(a)[:, None] + _area(b) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def clusters(truth: pd.DataFrame, above: float) -> np.ndarray:
    """[boxes] numbers from 0: boxes of one picture and class share one if they overlap its first box by IoU >= above.

    The first box is, of those that are left, the one that stands first. A crowd region is always alone.
    """
    number = np.arange(len(truth))
    edges, crowd = truth[list(EDGES)].to_numpy(), truth["crowd"].to_numpy()
    of_object = truth.index[~crowd], truth["label"].to_numpy()[~crowd]
    for places in pd.Series(number[~crowd]).groupby([*of_object]).indices.values():
        places = number[~crowd][places]
        if len(places) > 1:
            number[places] = places[_first_of(iou(edges[places], edges[places]) >= above)]
    return np.unique(number, return_inverse=True)[1]


def _first_of(near: np.ndarray) -> np.ndarray:
    """[n] the place of each box's first box. near: [n, n] bool, each near itself."""
    first = np.full(len(near), -1)
    for i, row in enumerate(near):
        if first[i] < 0:
            first[row & (first < 0)] = i
    return first


def merged(truth: pd.DataFrame, above: float) -> pd.DataFrame:
    """Each cluster as one box, the mean of its edges, in place of its first."""
    number = clusters(truth, above)
    first = truth[~pd.Series(number).duplicated().to_numpy()].copy()
    means = truth[list(EDGES)].groupby(number, sort=False).mean()
    first[list(EDGES)] = means.to_numpy()
    return first
