"""Kinds of target, in the groups that metrics take, and what a table of each says: its decisions, its ranking."""

from __future__ import annotations

import numpy as np

from competition.keys import Kind

CLASSES: tuple[Kind, ...] = ("multiclass", "ordinal")  # one probability a class, rows sum to 1
COLUMNS: tuple[Kind, ...] = ("binary", "multilabel")  # each column is a yes or no of its own
VALUES: tuple[Kind, ...] = ("regression",)
BOXES: tuple[Kind, ...] = ("boxes",)
ANY_CLASS = CLASSES + COLUMNS
ONE_LABEL: tuple[Kind, ...] = (*CLASSES, "binary")
RANKED: tuple[Kind, ...] = (*CLASSES, "multilabel")


def hard(kind: Kind, table: np.ndarray) -> np.ndarray:
    """The nearest decisions of truth [n, c] that may be soft, in the form that `labels` returns."""
    if kind in CLASSES:
        return table.argmax(axis=1)
    return (table[:, 0] >= 0.5).astype(int) if kind == "binary" else (table >= 0.5).astype(int)


def ranking(prediction: np.ndarray, k: int) -> np.ndarray:
    """Column indices [n, min(k, c)], the most probable first, equal ones in column order; score and file use it."""
    return np.argsort(-prediction, axis=1, kind="stable")[:, :k]
