"""Test-time views of kept pictures, as a table: how a picture is shown, and how boxes found in it come back.

`tiles` is no change of a kept picture: it reads the original (tiles.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from competition.detection.canvas import STRIDE
from competition.shaped import Shape

TILES = "tiles"


@dataclass(frozen=True)
class View:
    """A scale, then perhaps height and width exchanged, then perhaps mirrored."""

    scale: float = 1.0
    turn: bool = False
    hflip: bool = False
    vflip: bool = False

    def shape(self, canvas: Shape) -> Shape:
        """Height and width of what is seen, multiples of 32."""
        height, width = (STRIDE * max(1, int(side * self.scale / STRIDE + 0.5)) for side in canvas)
        return (width, height) if self.turn else (height, width)

    def see(self, images: Tensor, canvas: Shape) -> Tensor:
        """[b, 3, h, w] float, as kept or as the canvas -> [b, 3, *shape], channels_last."""
        seen = images.transpose(-2, -1) if self.turn else images
        if seen.shape[-2:] != self.shape(canvas):
            seen = functional.interpolate(
                seen, self.shape(canvas), mode="bilinear", antialias=True, align_corners=False
            )
        mirrored = [axis for axis, on in ((-1, self.hflip), (-2, self.vflip)) if on]
        return (seen.flip(mirrored) if mirrored else seen).contiguous(memory_format=torch.channels_last)

    def back(self, boxes: Tensor, canvas: Shape) -> Tensor:
        """[n, 4] pixels of what was seen -> [n, 4] canvas pixels."""
        height, width = self.shape(canvas)
        x0, y0, x1, y1 = boxes.unbind(-1)
        if self.hflip:
            x0, x1 = width - x1, width - x0
        if self.vflip:
            y0, y1 = height - y1, height - y0
        if self.turn:
            x0, y0, x1, y1, height, width = y0, x0, y1, x1, width, height
        by_x, by_y = canvas[1] / width, canvas[0] / height  # not always equal: both sides are multiples of 32
        return torch.stack([x0 * by_x, y0 * by_y, x1 * by_x, y1 * by_y], dim=-1)


VIEWS = {
    "plain": View(),
    "hflip": View(hflip=True),
    "vflip": View(vflip=True),
    "rot180": View(hflip=True, vflip=True),
    "rot90": View(turn=True, vflip=True),
    "large": View(1.25),
    "small": View(0.8),
    "large_hflip": View(1.25, hflip=True),
}
NAMES = (*VIEWS, TILES)
