"""Test-time views, as a table of functions on [n, 3, side, side] pictures; each gives squares of any side."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

ROOM = 1.14  # pictures are kept that much larger than the network sees them, so that crops have room


def kept(size: int) -> tuple[int, int]:
    """Height and width of the pictures that are kept for a network that sees size x size."""
    return math.ceil(ROOM * size), math.ceil(ROOM * size)


def _middle(x: Tensor) -> Tensor:
    side = x.shape[-1]
    margin = round((side - side / ROOM) / 2)
    return x[..., margin : side - margin, margin : side - margin]


def _corner(x: Tensor, bottom: bool, right: bool) -> Tensor:
    side = x.shape[-1]
    small = round(side / ROOM)
    y, x0 = (side - small) * bottom, (side - small) * right
    return x[..., y : y + small, x0 : x0 + small]


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "hflip": lambda x: x.flip(-1),
    "vflip": lambda x: x.flip(-2),
    "rot90": lambda x: x.rot90(1, (-2, -1)),
    "rot180": lambda x: x.rot90(2, (-2, -1)),
    "rot270": lambda x: x.rot90(3, (-2, -1)),
    "transpose": lambda x: x.transpose(-2, -1),
    "antitranspose": lambda x: x.rot90(2, (-2, -1)).transpose(-2, -1),
    "zoom": _middle,
    "zoom_hflip": lambda x: _middle(x).flip(-1),
    "top_left": lambda x: _corner(x, bottom=False, right=False),
    "top_right": lambda x: _corner(x, bottom=False, right=True),
    "bottom_left": lambda x: _corner(x, bottom=True, right=False),
    "bottom_right": lambda x: _corner(x, bottom=True, right=True),
}
