"""The canvas: what the network sees of a picture, and the one factor between its pixels and the picture's.

original pixels --factor--> canvas [H, W] --ROOM--> kept [1.25 H, 1.25 W]

A picture is scaled evenly to fit and lies in the canvas' left upper corner, so a factor is all there is to a box's way.
The cache keeps pictures ROOM times larger: the view `large` and scale jitter up to 0.25 then show pixels that are there.
Feed and views take kept pictures and give canvas pixels; nothing else knows of ROOM. It is exact on multiples of 32.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES
from competition.shaped import Shape, extent, factor
from competition.task import Rows

ROOM = 1.25
STRIDE = 32  # of the deepest feature map
SHARE = 0.95  # of the pictures are shown at full size; one odd picture doesn't make all canvases square


def canvas_of(sizes: pd.DataFrame, size: int) -> Shape:
    """Height and width of the canvas, multiples of 32, for pictures of these sizes (columns width, height).

    The longer side is `size`, the other what the pictures' shapes need: 3/4 of it if all are 4:3 and landscape, the same
    if some stand upright. Pictures of a rarer shape are scaled smaller.
    """
    known, longer = sizes.dropna(), up(size)
    if known.empty:
        return longer, longer
    shapes = known["height"] / known["width"]
    tallest, widest = (np.quantile(s, SHARE, method="nearest") for s in (shapes, 1 / shapes))
    return min(longer, up(longer * tallest)), min(longer, up(longer * widest))


def up(pixels: float) -> int:
    """The next multiple of 32."""
    return STRIDE * max(1, int(np.ceil(pixels / STRIDE - 1e-6)))


def kept(canvas: Shape) -> Shape:
    """Height and width of the pictures in the cache (fit `corner`) of a canvas."""
    return int(canvas[0] * ROOM), int(canvas[1] * ROOM)


def factors(sizes: pd.DataFrame, canvas: Shape) -> np.ndarray:
    """[rows] canvas pixels a pixel of the original; nan where the size is not known.

    The cache rounds a scaled picture's shorter side to whole pixels, so its content is up to 0.4 canvas pixels off.
    """
    return factor(sizes["height"].to_numpy(), sizes["width"].to_numpy(), canvas)


def extents(sizes: pd.DataFrame, canvas: Shape) -> np.ndarray:
    """[rows, 2] int height and width of what a kept picture shows; grey is beyond. sizes: of pictures that can be read."""
    sides = sizes[["height", "width"]].to_numpy()
    return np.array([extent(height, width, kept(canvas)) for height, width in sides], int).reshape(-1, 2)


def original(boxes: np.ndarray, scale: np.ndarray | float, width: float, height: float) -> np.ndarray:
    """[n, 4] canvas pixels -> pixels of the original of that size, cut at its borders. scale: its factor."""
    return np.clip(boxes / scale, 0, [width, height, width, height])


def targets(rows: Rows, classes: tuple[str, ...], canvas: Shape) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each row the boxes that are to be found, [n, 4] float32 in canvas pixels, and their places in `classes`, [n].

    Crowds are no targets. Pictures without boxes have empty ones.
    """
    assert rows.truth is not None and rows.sizes is not None
    truth = rows.truth[~rows.truth["crowd"].astype(bool)]
    place = rows.ids.get_indexer(truth.index)
    order = np.argsort(place, kind="stable")
    edges = truth[list(EDGES)].to_numpy() * factors(rows.sizes, canvas)[place, None]
    labels = pd.Index(classes).get_indexer(pd.Index(truth["label"]))
    assert (place >= 0).all() and (labels >= 0).all(), "boxes of unknown pictures or classes"
    ends = np.bincount(place, minlength=len(rows)).cumsum()[:-1]
    return np.split(edges[order].astype(np.float32), ends), np.split(labels[order].astype(np.int64), ends)
