"""Augmentation of training pictures: a named level (levels.py), or the user's own list by albumentations, pinned to here.

albumentations draws from generators that its transforms share. Reseeding these two in place for every sample makes a
crop depend on (seed, epoch, sample) alone, so on no worker and no resume; it costs 10 us where `set_random_seed` costs
75 to 400 us (measured). It is imported where a list is given: it takes 5 s.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from competition import levels, warp
from competition.errors import ConfigFault, Finding, nearest
from competition.levels import LEVELS, Draws

if TYPE_CHECKING:
    import albumentations

TOGETHER = 64  # samples whose colours are drawn at once
VISIBLE = 0.3  # share of a box's area that must be left of it where a picture is cut
UserList = tuple[dict[str, dict[str, Any] | None], ...]
Spec = levels.Name | UserList


def listed(spec: UserList) -> list[Any]:
    """The transforms of the user's list. Raises ConfigFault with every unknown name and argument."""
    import albumentations as A

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


def check(spec: Spec, size: int, side: int) -> None:
    """Tries the user's transforms on an empty picture of `side`. Raises ConfigFault where they fail or change its type."""
    if not isinstance(spec, str):
        picture = np.zeros((side, side, 3), np.uint8)
        _try(spec, lambda: Listed(spec, size, seed=0).one(picture, 0, 0), picture.shape, (size, size, 3))


def check_with_boxes(spec: Spec, shape: tuple[int, int]) -> None:
    """Tries them on an empty picture of height and width `shape` with a box in its middle. Raises as `check`."""
    if isinstance(spec, str):
        return
    picture, (height, width) = np.zeros((*shape, 3), np.uint8), shape
    box = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]], np.float32)
    augment = BoxListed(spec, shape, 0)
    _try(spec, lambda: augment(picture, box, np.zeros(1, int), 0, 0)[0], picture.shape, picture.shape)


def _try(spec: UserList, run: Callable[[], np.ndarray], seen: tuple[int, ...], given: tuple[int, ...]) -> None:
    where = f"key augment: {[next(iter(item)) for item in spec]}"
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


class Levelled:
    """A named level: [b, side, side, 3] uint8 -> [b, size, size, 3] uint8."""

    def __init__(self, name: levels.Name, size: int, symmetry: str, seed: int):
        self.level, self.size, self.symmetry, self.seed = LEVELS[name], size, symmetry, seed

    def __call__(self, pictures: Sequence[np.ndarray], epoch: int, samples: np.ndarray, out: np.ndarray) -> None:
        """out: written."""
        warp.on_core(pictures, self.draws(pictures[0].shape[0], epoch, samples), out)

    def draws(self, side: int, epoch: int, samples: np.ndarray) -> Draws:
        return levels.draw(self.level, self.symmetry, side, self.size, self.seed, epoch, samples)


class Listed:
    """The user's list: as Levelled; one object serves several threads."""

    def __init__(self, spec: UserList, size: int, seed: int):
        def make() -> albumentations.Compose:
            import albumentations as A

            return A.Compose([*listed(spec), A.Resize(size, size, interpolation=cv2.INTER_AREA)])

        self._seeded = Seeded(make, seed)

    def __call__(self, pictures: Sequence[np.ndarray], epoch: int, samples: np.ndarray, out: np.ndarray) -> None:
        for n, (picture, sample) in enumerate(zip(pictures, samples.tolist(), strict=True)):
            out[n] = self.one(picture, epoch, sample)

    def one(self, picture: np.ndarray, epoch: int, sample: int) -> np.ndarray:
        return self._seeded.at(epoch, sample)(image=picture)["image"]


def augmentation(spec: Spec, size: int, symmetry: str, seed: int) -> Levelled | Listed:
    return Levelled(spec, size, symmetry, seed) if isinstance(spec, str) else Listed(spec, size, seed)


class BoxLevelled:
    """A named level's colours; its geometry is detection/mixing.py's. Called as BoxListed; writes into the picture."""

    def __init__(self, name: levels.Name, seed: int):
        self.level, self.seed = LEVELS[name], seed
        self._drawn = lru_cache(maxsize=8)(self._draw)

    def __call__(
        self, picture: np.ndarray, boxes: np.ndarray, labels: np.ndarray, epoch: int, sample: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.level.jitter[1] or self.level.blur:
            warp.recolour(picture, self._drawn(epoch, sample // TOGETHER), sample % TOGETHER)
        return picture, boxes, labels

    def _draw(self, epoch: int, part: int) -> Draws:
        """Of TOGETHER samples: a draw takes as long for one as for many."""
        samples = np.arange(part * TOGETHER, (part + 1) * TOGETHER)
        return levels.draw(self.level, "none", 1, 1, self.seed, epoch, samples)


class BoxListed:
    """The user's list with boxes.

    picture: [h, w, 3] uint8 of height and width `shape`, which stays; boxes: [n, 4] float32 in its pixels; labels: [n]
    int64. Boxes that a transform cuts are clipped, and dropped where less than VISIBLE of their area is left.
    """

    def __init__(self, spec: UserList, shape: tuple[int, int], seed: int):
        def make() -> albumentations.Compose:
            import albumentations as A

            boxes = A.BboxParams(
                "pascal_voc", label_fields=["labels"], clip=True, filter_invalid_bboxes=True, min_visibility=VISIBLE
            )
            return A.Compose([*listed(spec), A.Resize(*shape, interpolation=cv2.INTER_AREA)], bbox_params=boxes)

        self._seeded = Seeded(make, seed)

    def __call__(
        self, picture: np.ndarray, boxes: np.ndarray, labels: np.ndarray, epoch: int, sample: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = self._seeded.at(epoch, sample)(image=picture, bboxes=boxes, labels=labels)
        moved = np.asarray(made["bboxes"], np.float32).reshape(-1, 4)
        return made["image"], moved, np.asarray(made["labels"], np.int64)  # labels come back as floats


def box_augmentation(spec: Spec, shape: tuple[int, int], seed: int) -> BoxLevelled | BoxListed:
    return BoxLevelled(spec, seed) if isinstance(spec, str) else BoxListed(spec, shape, seed)


class Seeded:
    """A pipeline whose draws are a function of (seed, epoch, sample) alone; each thread has one of its own."""

    def __init__(self, make: Callable[[], albumentations.Compose], seed: int):
        self._make, self._seed = make, seed
        self._local = threading.local()

    def at(self, epoch: int, sample: int) -> albumentations.Compose:
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

    def _thread(self) -> tuple[albumentations.Compose, np.random.Philox, random.Random]:
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
