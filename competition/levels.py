"""Named levels of augmentation: what a level does to a picture, drawn for a whole batch at once.

A draw is a function of (seed, epoch, sample) alone, by a generator that counts instead of remembering (Philox), so on no
batch, worker or resume; to the bit, so it holds no matrix product, which BLAS rounds by the number of rows. `warp` carries
it out: on a core by cv2, on a GPU by torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Name = Literal["none", "light", "medium", "heavy"]
BLOCKS = 8  # of four numbers each, that a sample draws
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green, blue (ITU-R BT.601)
GREY = np.tile(LUMA, (3, 1))  # a colour -> its grey
YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
QUARTER = (
    np.linalg.inv(YIQ) @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ YIQ
)  # of a hue's circle; its grey goes to 0

WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
FACTORS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)


@dataclass(frozen=True, kw_only=True)
class Level:
    """crop: smallest share of the area, largest ratio of the sides. turn: degrees, odds; sheared by a third of them.
    jitter: strength, odds. blur, holes: odds."""

    crop: tuple[float, float] = (1.0, 1.0)
    turn: tuple[float, float] = (0.0, 0.0)
    jitter: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.0
    holes: float = 0.0
    flips: bool = True  # those of the run's symmetry


LEVELS: dict[Name, Level] = {
    "none": Level(flips=False),
    "light": Level(crop=(0.7, 1.15)),
    "medium": Level(turn=(12, 0.4), crop=(0.5, 1.25), jitter=(0.25, 0.5)),
    "heavy": Level(turn=(20, 0.6), crop=(0.3, 1.33), jitter=(0.4, 0.8), blur=0.1, holes=0.4),
}


@dataclass(frozen=True)
class Draws:
    """What is done to b square pictures, in this order. All arrays of numpy.

    turned: [b] bool, and turns: [b, 2, 2], from a turned picture's places to those of the picture, around its middle.
    boxes: [b, 4] int x_min y_min x_max y_max, what is cut out, in the picture's pixels.
    flips: [b] 0..7: transposed (4), then upside down (2), then mirrored (1).
    coloured: [b] bool; colours: [b, 3, 3]; pivots: [b]: a colour c becomes colours @ c + pivots * grey, with `grey` the mean
    of what was cut out.
    sigmas: [b] of a Gaussian blur, pixels, 0: none.
    holes: [b, 2, 4] as boxes, in pixels of what is given, empty where there is none; fills: [b, 2, 3] their colours 0..255.
    """

    turned: np.ndarray
    turns: np.ndarray
    boxes: np.ndarray
    flips: np.ndarray
    coloured: np.ndarray
    colours: np.ndarray
    pivots: np.ndarray
    sigmas: np.ndarray
    holes: np.ndarray
    fills: np.ndarray

    def __len__(self) -> int:
        return len(self.flips)

    def maps(self, side: int) -> np.ndarray:
        """[b, 2, 3]: from places of what is given to those of the picture of this side, both -1..1 from edge to edge (as
        torch's affine_grid takes them, align_corners=False)."""
        low, high = self.boxes[:, :2] / side, self.boxes[:, 2:] / side
        flips = np.stack([1 - 2 * (self.flips & 1), 1 - (self.flips & 2)], axis=1)[:, None] * np.eye(2)
        flips = np.where((self.flips & 4).astype(bool)[:, None, None], flips[:, ::-1], flips)
        shift = (low + high - 1)[:, :, None]
        cut = np.concatenate([(high - low)[:, :, None] * flips, shift], axis=2)
        return self.turns[:, :, :1] * cut[:, :1] + self.turns[:, :, 1:] * cut[:, 1:]


def draw(level: Level, symmetry: str, side: int, size: int, seed: int, epoch: int, samples: np.ndarray) -> Draws:
    """side: of the pictures; size: of what is given. symmetry: none; horizontal; all eight flips and quarter turns.

    samples: [b] numbers that tell an epoch's samples apart, below 2^64.
    """
    drawn = uniforms(seed, epoch, samples)
    crop, flip, turn, colour, hole, blur = np.split(drawn, np.cumsum([4, 1, 4, 5, 16]), axis=1)
    kinds = {"none": 1, "horizontal": 2, "all": 8}[symmetry] if level.flips else 1
    coloured, colours, pivots = _colours(level, colour)
    turned, turns = _turns(level, turn)
    holes, fills = _holes(level, hole, size)
    sigmas = np.where(blur[:, 0] < level.blur, 0.5 + 2.5 * blur[:, 1], 0.0)
    boxes, flips = _boxes(level, crop, side), (flip[:, 0] * kinds).astype(int)
    return Draws(turned, turns, boxes, flips, coloured, colours, pivots, sigmas, holes, fills)


def _turns(level: Level, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of a shear of both axes after a rotation, each either way alike."""
    degrees, odds = level.turn
    turned = drawn[:, 0] < odds
    angle, *shears = np.radians(degrees * np.array([1, 1 / 3, 1 / 3])[:, None] * (2 * drawn.T[1:] - 1)) * turned
    (x, y), sine, cosine = np.tan(shears), np.sin(angle), np.cos(angle)
    turns = np.array([[cosine + sine * y, cosine * x + sine], [cosine * y - sine, cosine - sine * x]]) / (1 - x * y)
    return turned, turns.transpose(2, 0, 1)


def _boxes(level: Level, drawn: np.ndarray, side: int) -> np.ndarray:
    """Area and logarithm of the ratio drawn evenly among those that fit into the picture, then the place."""
    smallest, ratio = level.crop
    area = np.interp(drawn[:, 0], *_areas(smallest, ratio))
    most = np.minimum(np.log(ratio), -np.log(area))
    stretch = np.exp((2 * drawn[:, 1] - 1) * most / 2)
    edges = np.stack([np.sqrt(area) * stretch, np.sqrt(area) / stretch], axis=1)
    edges = np.rint(edges * side).astype(int).clip(1, side)
    starts = ((side - edges + 1) * drawn[:, 2:]).astype(int)
    return np.concatenate([starts, starts + edges], axis=1)


@lru_cache
def _areas(smallest: float, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """(distribution function, area): of areas drawn evenly, and again where the ratio drawn with them does not fit."""
    areas = np.linspace(smallest, 1, 1025)
    fits = np.minimum(np.log(ratio), -np.log(areas)) + 1e-9
    distribution = np.concatenate([[0], np.cumsum((fits[1:] + fits[:-1]) / 2)])
    return distribution / distribution[-1], areas


def _colours(level: Level, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brightness, contrast around the picture's mean grey, saturation and hue: all linear, and in YIQ they commute."""
    strength, odds = level.jitter
    coloured = drawn[:, 0] < odds
    brightness, contrast, saturation, hue = strength * (2 * drawn.T[1:] - 1) * coloured
    saturation, angle = 1 + saturation, 2 * np.pi * hue / 8
    across, along = ((saturation * wave(angle))[:, None, None] for wave in (np.cos, np.sin))
    mixed = GREY + across * (np.eye(3) - GREY) + along * QUARTER
    return coloured, ((1 + brightness) * (1 + contrast))[:, None, None] * mixed, -(1 + brightness) * contrast


def _holes(level: Level, drawn: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One or two, each 0.1 to 0.3 of the sides, of one colour."""
    there = (drawn[:, :1] < level.holes) & np.stack([np.ones(len(drawn), bool), drawn[:, 1] < 0.5], axis=1)
    each = drawn[:, 2:].reshape(-1, 2, 7)
    edges = (size * (0.1 + 0.2 * each[:, :, :2])).astype(int)
    starts = ((size - edges + 1) * each[:, :, 2:4]).astype(int)
    holes = np.concatenate([starts, starts + edges], axis=2) * there[:, :, None]
    return holes, (256 * each[:, :, 4:]).astype(np.uint8)


def uniforms(seed: int, epoch: int, samples: np.ndarray) -> np.ndarray:
    """[b, 4 * BLOCKS] float64 in 0..1, 1 excluded."""
    samples, block = np.asarray(samples, np.uint64)[:, None], np.arange(BLOCKS, dtype=np.uint64)
    counter = np.stack(np.broadcast_arrays(samples & WORD, samples >> HALF, np.uint64(epoch), block))
    words = philox(counter, np.array([seed, seed >> 32], np.uint64) & WORD)
    return words.transpose(1, 2, 0).reshape(len(samples), -1) * 2.0**-32


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Philox4x32-10 (Salmon et al. 2011): [4, ...] words of 32 bits, as uint64, for a counter of that form; key: [2]."""
    even, odd = counter[::2], counter[1::2]
    ones = (1,) * (counter.ndim - 1)
    keys = (key + np.arange(10, dtype=np.uint64)[:, None] * WEYL & WORD).reshape(10, 2, *ones)
    for number in range(10):
        product = FACTORS.reshape(2, *ones) * even
        even, odd = (product >> HALF)[::-1] ^ odd ^ keys[number], (product & WORD)[::-1]
    return np.stack([even[0], odd[0], even[1], odd[1]])
