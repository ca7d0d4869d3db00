"""Albumentations, pinned to one module: named levels or the user's own list, the same picture for the same numbers.

albumentations draws from generators that its transforms share. Reseeding these two in place for every sample makes a
crop depend on (seed, epoch, sample) alone, so on no worker and no resume; it costs 10 us where `set_random_seed` costs
75 to 400 us (measured).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or the import opens a connection

import albumentations as A
import cv2

from competition.errors import ConfigFault, Finding, nearest

cv2.setNumThreads(0)  # threads are ours to give: one process a core, or prefetch threads
REFLECT = cv2.BORDER_REFLECT_101
VISIBLE = 0.3  # share of a box's area that must be left of it where a picture is cut
Spec = str | Sequence[dict[str, dict[str, Any] | None]]


def level(name: str, size: int, symmetry: str) -> list[Any]:
    """The transforms of a named level, each a superset of the one before in strength."""
    flips = {"none": [], "horizontal": [A.HorizontalFlip(p=0.5)], "all": [A.D4(p=1.0)]}[symmetry]

    def crop(smallest: float, ratio: float) -> A.RandomResizedCrop:
        return A.RandomResizedCrop(size=(size, size), scale=(smallest, 1.0), ratio=(1 / ratio, ratio), p=1.0)

    def turn(degrees: float, p: float) -> A.Affine:
        return A.Affine(rotate=(-degrees, degrees), shear=(-degrees / 3, degrees / 3), border_mode=REFLECT, p=p)

    return {
        "none": [],
        "light": [crop(0.7, 1.15), *flips],
        "medium": [turn(12, 0.4), crop(0.5, 1.25), *flips, *colours(name)],
        "heavy": [
            turn(20, 0.6),
            crop(0.3, 1.33),
            *flips,
            *colours(name),
            A.CoarseDropout(hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), fill="random_uniform", p=0.4),
        ],
    }[name]


def colours(name: str) -> list[Any]:
    """Those transforms of a level that move nothing."""

    def jitter(strength: float, p: float) -> A.ColorJitter:
        spread = (1 - strength, 1 + strength)
        return A.ColorJitter(
            brightness=spread, contrast=spread, saturation=spread, hue=(-strength / 8, strength / 8), p=p
        )

    return {
        "none": [],
        "light": [],
        "medium": [jitter(0.25, 0.5)],
        "heavy": [jitter(0.4, 0.8), A.GaussianBlur(p=0.1)],
    }[name]


def listed(spec: Sequence[dict[str, dict[str, Any] | None]]) -> list[Any]:
    """The transforms of the user's list. Raises ConfigFault with every unknown name and argument."""
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


def check(spec: Spec, size: int, symmetry: str, side: int) -> None:
    """Tries the transforms on an empty picture of `side`. Raises ConfigFault where they fail or change its type."""
    picture = np.zeros((side, side, 3), np.uint8)
    _try(spec, lambda: Augment(spec, size, symmetry, seed=0)(picture, 0, 0), picture.shape, (size, size, 3))


def check_with_boxes(spec: Spec, shape: tuple[int, int]) -> None:
    """Tries the transforms on an empty picture of height and width `shape` with a box in its middle. Raises as `check`."""
    picture, (height, width) = np.zeros((*shape, 3), np.uint8), shape
    box = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]], np.float32)
    _try(spec, lambda: BoxAugment(spec, shape, 0)(picture, box, np.zeros(1, int), 0, 0)[0], picture.shape, picture.shape)


def _try(spec: Spec, run: Callable[[], np.ndarray], seen: tuple[int, ...], given: tuple[int, ...]) -> None:
    where = f"key augment: {[next(iter(item)) for item in spec] if not isinstance(spec, str) else spec}"
    try:
        made = run()
    except ConfigFault:
        raise
    except Exception as e:  # whatever a transform raises for arguments that don't suit the picture
        found = f"{type(e).__name__}: {str(e).splitlines()[0][:200]}"
        mend = f"transforms see {seen[0]} x {seen[1]} pixels; what they give is scaled to {given[0]} x {given[1]}"
        raise ConfigFault(Finding("CFG-VALUE", "an augmentation fails", where, found, mend)) from None
    if made.dtype != np.uint8 or made.shape != given:
        found = f"{made.dtype} {made.shape}"
        mend = "remove Normalize, ToFloat and ToTensor: pictures stay uint8, the loop normalises them"
        raise ConfigFault(Finding("CFG-VALUE", "augmentations change what a picture is", where, found, mend))


class Augment:
    """uint8 [h, w, 3] -> uint8 [size, size, 3]; one object serves several threads."""

    def __init__(self, spec: Spec, size: int, symmetry: str, seed: int):
        def make() -> A.Compose:
            made = level(spec, size, symmetry) if isinstance(spec, str) else listed(spec)
            return A.Compose([*made, A.Resize(size, size, interpolation=cv2.INTER_AREA)])

        self._seeded = Seeded(make, seed)

    def __call__(self, picture: np.ndarray, epoch: int, sample: int) -> np.ndarray:
        return self._seeded.at(epoch, sample)(image=picture)["image"]


class BoxAugment:
    """A level's colours, or the user's list with boxes; the geometry of levels is detection/mixing.py's.

    picture: [h, w, 3] uint8 of height and width `shape`, which stays; boxes: [n, 4] float32 in its pixels; labels: [n]
    int64. Boxes that a transform cuts are clipped, and dropped where less than VISIBLE of their area is left.
    """

    def __init__(self, spec: Spec, shape: tuple[int, int], seed: int):
        self._moves = not isinstance(spec, str)

        def make() -> A.Compose:
            if isinstance(spec, str):
                return A.Compose(colours(spec))
            boxes = A.BboxParams(
                "pascal_voc", label_fields=["labels"], clip=True, filter_invalid_bboxes=True, min_visibility=VISIBLE
            )
            return A.Compose([*listed(spec), A.Resize(*shape, interpolation=cv2.INTER_AREA)], bbox_params=boxes)

        self._seeded = Seeded(make, seed)

    def __call__(
        self, picture: np.ndarray, boxes: np.ndarray, labels: np.ndarray, epoch: int, sample: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        compose = self._seeded.at(epoch, sample)
        if not self._moves:
            return compose(image=picture)["image"], boxes, labels
        made = compose(image=picture, bboxes=boxes, labels=labels)
        moved = np.asarray(made["bboxes"], np.float32).reshape(-1, 4)
        return made["image"], moved, np.asarray(made["labels"], np.int64)  # labels come back as floats


class Seeded:
    """A pipeline whose draws are a function of (seed, epoch, sample) alone; each thread has one of its own."""

    def __init__(self, make: Callable[[], A.Compose], seed: int):
        self._make, self._seed = make, seed
        self._local = threading.local()

    def at(self, epoch: int, sample: int) -> A.Compose:
        """The thread's pipeline, about to draw what belongs to this sample."""
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
        return compose

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
