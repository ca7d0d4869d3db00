"""Areas of boxes and how far they overlap; corners x_min, y_min, x_max, y_max stand in the last axis."""

from __future__ import annotations

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """[..., 4] -> [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The area that boxes have in common: [..., 4], [..., 4] -> [...], as numpy broadcasts them."""
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    return sides[..., 0] * sides[..., 1]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union, 0..1; 0 where both are empty. Shapes as of `shared`."""
    both = shared(a, b)
    either = areas(a) + areas(b) - both
    return np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
