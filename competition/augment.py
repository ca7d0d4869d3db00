"""Albumentations, pinned to one module: named levels or the user's own list, the same picture for the same numbers.

albumentations draws from generators that its transforms share. Reseeding these two in place for every sample makes a
crop depend on (seed, epoch, sample) alone, so on no worker and no resume; it costs 10 us where `set_random_seed` costs
75 to 400 us (measured).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or the import opens a connection

import albumentations as A
import cv2

from competition.errors import ConfigFault, Finding, nearest

cv2.setNumThreads(0)  # threads are ours to give: one process a core, or prefetch threads
REFLECT = cv2.BORDER_REFLECT_101


def level(name: str, size: int, symmetry: str) -> list[Any]:
    """The transforms of a named level, each a superset of the one before in strength."""
    flips = {"none": [], "horizontal": [A.HorizontalFlip(p=0.5)], "all": [A.D4(p=1.0)]}[symmetry]

    def crop(smallest: float, ratio: float) -> A.RandomResizedCrop:
        return A.RandomResizedCrop(size=(size, size), scale=(smallest, 1.0), ratio=(1 / ratio, ratio), p=1.0)

    def turn(degrees: float, p: float) -> A.Affine:
        return A.Affine(rotate=(-degrees, degrees), shear=(-degrees / 3, degrees / 3), border_mode=REFLECT, p=p)

    def colour(strength: float, p: float) -> A.ColorJitter:
        spread = (1 - strength, 1 + strength)
        return A.ColorJitter(
            brightness=spread, contrast=spread, saturation=spread, hue=(-strength / 8, strength / 8), p=p
        )

    return {
        "none": [],
        "light": [crop(0.7, 1.15), *flips],
        "medium": [turn(12, 0.4), crop(0.5, 1.25), *flips, colour(0.25, 0.5)],
        "heavy": [
            turn(20, 0.6),
            crop(0.3, 1.33),
            *flips,
            colour(0.4, 0.8),
            A.GaussianBlur(p=0.1),
            A.CoarseDropout(hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), fill="random_uniform", p=0.4),
        ],
    }[name]


def transforms(spec: str | Sequence[dict[str, dict[str, Any] | None]], size: int, symmetry: str) -> list[Any]:
    """The transforms of a level or of the user's list. Raises ConfigFault with every unknown name and argument."""
    if isinstance(spec, str):
        return level(spec, size, symmetry)
    known = [n for n in dir(A) if isinstance(getattr(A, n), type) and issubclass(getattr(A, n), A.BasicTransform)]
    made, problems = [], []
    for number, item in enumerate(spec):
        ((name, arguments),) = item.items()
        if name not in known:
            problems.append(_finding(number, name, "no such transform", nearest(name, known)))
            continue
        try:
            made.append(getattr(A, name)(**_tuples(arguments or {}), strict=True))
        except (ValueError, TypeError) as e:
            problems.append(_finding(number, name, str(e), f"see albumentations' page of {name}"))
    if problems:
        raise ConfigFault(*problems)
    return made


def check(spec: str | Sequence[dict[str, dict[str, Any] | None]], size: int, symmetry: str, side: int) -> None:
    """Tries the transforms on an empty picture of `side`. Raises ConfigFault where they fail or change its type."""
    where = f"key augment: {[next(iter(item)) for item in spec] if not isinstance(spec, str) else spec}"
    try:
        made = Augment(spec, size, symmetry, seed=0)(np.zeros((side, side, 3), np.uint8), 0, 0)
    except ConfigFault:
        raise
    except Exception as e:  # whatever a transform raises for arguments that don't suit the picture
        found = f"{type(e).__name__}: {str(e).splitlines()[0][:200]}"
        mend = f"transforms see {side} x {side} pixels; what they give is scaled to {size} x {size}"
        raise ConfigFault(Finding("CFG-VALUE", "an augmentation fails", where, found, mend)) from None
    if made.dtype != np.uint8 or made.shape != (size, size, 3):
        found = f"{made.dtype} {made.shape}"
        mend = "remove Normalize, ToFloat and ToTensor: pictures stay uint8, the loop normalises them"
        raise ConfigFault(Finding("CFG-VALUE", "augmentations change what a picture is", where, found, mend))


class Augment:
    """uint8 [h, w, 3] -> uint8 [size, size, 3]; one object serves several threads."""

    def __init__(self, spec: str | Sequence[dict[str, dict[str, Any] | None]], size: int, symmetry: str, seed: int):
        self._make = lambda: A.Compose(
            [*transforms(spec, size, symmetry), A.Resize(size, size, interpolation=cv2.INTER_AREA)]
        )
        self._seed = seed
        self._local = threading.local()

    def __call__(self, picture: np.ndarray, epoch: int, sample: int) -> np.ndarray:
        compose, philox, python = self._thread()
        key = np.array([self._seed, (epoch << 40) | sample], dtype=np.uint64)
        zeros = np.zeros(4, dtype=np.uint64)
        philox.state = {
            "bit_generator": "Philox",
            "state": {"counter": zeros, "key": key},
            "buffer": zeros,
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        python.seed((self._seed << 80) | (epoch << 40) | sample)
        return compose(image=picture)["image"]

    def _thread(self) -> tuple[A.Compose, np.random.Philox, random.Random]:
        if not hasattr(self._local, "parts"):
            compose, philox, python = self._make(), np.random.Philox(), random.Random()
            compose.set_random_state(np.random.Generator(philox), python)
            self._local.parts = compose, philox, python
        return self._local.parts


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}


def _finding(number: int, name: str, found: str, mend: str) -> Finding:
    return Finding(
        code="CFG-UNKNOWN",
        what="an augmentation can't be made",
        where=f"key augment, item {number + 1}, {name}",
        found=found,
        risk="albumentations would only warn, and train with its defaults",
        mend=mend,
    )
