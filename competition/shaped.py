"""A picture of any size becomes one of a given shape: squashed, padded, cropped, or in the corner of its canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from competition.decoding import PLAIN, Reading, decode

GREY = 128
Fit = Literal["squash", "pad", "crop", "corner"]
Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class How:
    """How a file becomes a kept picture."""

    fit_to: Fit
    shape: Shape
    reading: Reading = PLAIN

    def __call__(self, data: bytes) -> np.ndarray:
        """[*shape, 3] uint8. Raises BadPicture."""
        picture = decode(data, min(self.shape), self.reading, exact=self.fit_to == "corner")
        return fitted(picture, self.shape, self.fit_to)

    @classmethod
    def of(cls, values: dict[str, Any]) -> How:
        """As `asdict` gave it, of a file."""
        reading, depth = values["reading"], values["reading"]["depth"]
        depth = tuple(depth) if isinstance(depth, list) else depth
        return cls(values["fit_to"], tuple(values["shape"]), Reading(**reading | {"depth": depth}))


def fitted(picture: np.ndarray, shape: Shape, fit_to: Fit) -> np.ndarray:
    """[h, w, 3] -> [*shape, 3]: squash: scaled unevenly; crop: the middle part of that form; pad: scaled evenly, grey
    bars around; corner: scaled evenly, in the left upper corner, so that one factor takes its pixels there."""
    height, width = picture.shape[:2]
    if fit_to == "crop":
        share = min(height / shape[0], width / shape[1])
        h, w = round(shape[0] * share), round(shape[1] * share)
        top, left = (height - h) // 2, (width - w) // 2
        picture = picture[top : top + h, left : left + w]
    if fit_to in ("squash", "crop"):
        return _resize(picture, shape[1], shape[0])
    height, width = extent(height, width, shape)
    small = _resize(picture, width, height)
    free = (0, 0) if fit_to == "corner" else (shape[0] - small.shape[0], shape[1] - small.shape[1])
    top, left = free[0] // 2, free[1] // 2
    out = np.full((*shape, 3), GREY, np.uint8)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def factor(height: Any, width: Any, shape: Shape) -> Any:
    """By how much pictures of these sides (numbers or arrays) are scaled to fit evenly into `shape`."""
    return np.minimum(shape[0] / height, shape[1] / width)


def extent(height: float, width: float, shape: Shape) -> Shape:
    """Height and width of a picture of these sides once it is scaled by `factor`, at most half a pixel off."""
    scale = factor(height, width, shape)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinks = picture.shape[0] * picture.shape[1] > width * height
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
