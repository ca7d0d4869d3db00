"""The view `tiles`: a large picture in overlapping windows, each seen at the canvas' full size."""

from __future__ import annotations

from itertools import product

import numpy as np

from competition import shaped
from competition.shaped import Shape

OVERLAP = 0.2  # of a window's side
TOUCHES = 2.0  # pixels of the canvas: nearer to an edge than that, a box is taken as cut there


def windows(height: int, width: int, n: int) -> np.ndarray:
    """[n * n, 4] int, x_min y_min x_max y_max: windows of one size that cover the picture and overlap by OVERLAP."""
    rows, columns = _spans(height, n), _spans(width, n)
    return np.array([(x0, y0, x1, y1) for (y0, y1), (x0, x1) in product(rows, columns)])


def _spans(length: int, n: int) -> list[tuple[int, int]]:
    side = min(length, int(np.ceil(length / (n - OVERLAP * (n - 1)))))
    return [(int(start), int(start) + side) for start in np.linspace(0, length - side, n).round()]


def cut(picture: np.ndarray, window: np.ndarray, canvas: Shape) -> np.ndarray:
    """[h, w, 3] uint8, the whole original -> a window of it as a canvas [H, W, 3] uint8."""
    x0, y0, x1, y1 = window
    return shaped.fitted(picture[y0:y1, x0:x1], canvas, "corner")


def back(boxes: np.ndarray, number: int, spans: np.ndarray, canvas: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] of window `number`, in canvas pixels -> [n, 4] in pixels of the original, and [n] which of them stay.

    A box that ends at an edge inside the picture is a part of an object; it goes where the window beyond that edge sees
    the object's other end too. It stays where the object is longer than the overlap, for no window sees it whole. Doubles
    from the overlap are left to fusion.
    """
    window = spans[number]
    x0, y0, x1, y1 = window
    scale = shaped.factor(y1 - y0, x1 - x0, canvas)
    moved = np.clip(boxes / scale + [x0, y0, x0, y0], [x0, y0, x0, y0], [x1, y1, x1, y1])
    margin, stay = TOUCHES / scale, np.ones(len(boxes), bool)
    for axis in (0, 1):
        before, after = _neighbours(spans, window, axis)
        low, high = moved[:, axis], moved[:, axis + 2]
        if after is not None:
            stay &= ~((high > window[axis + 2] - margin) & (low > after + margin))
        if before is not None:
            stay &= ~((low < window[axis] + margin) & (high < before - margin))
    return moved, stay


def _neighbours(spans: np.ndarray, window: np.ndarray, axis: int) -> tuple[float | None, float | None]:
    """Along an axis: where the window before this one ends, and where the one after it begins."""
    starts, ends = spans[:, axis], spans[:, axis + 2]
    before, after = ends[starts < window[axis]], starts[starts > window[axis]]
    return (before.max() if len(before) else None), (after.min() if len(after) else None)
