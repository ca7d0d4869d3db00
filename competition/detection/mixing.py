"""Training pictures with their boxes: placed at a scale, mirrored, put together of four, laid over and pasted.

The geometry of a level is ours and no call of albumentations: a picture is resized once, straight into its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from competition.augment import VISIBLE
from competition.boxes.geometry import areas, shared
from competition.shaped import GREY, Shape

THINNEST = 1.0  # canvas pixels: what is left of a box is no thinner
HIDDEN = 0.3  # share of a box's area that what is pasted may hide


@dataclass(frozen=True)
class Sample:
    """image: [h, w, 3] uint8; boxes: [n, 4] float32 in its pixels; labels: [n] int64."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray

    @property
    def shape(self) -> Shape:
        return self.image.shape[0], self.image.shape[1]


def cut(sample: Sample) -> Sample:
    """Its boxes clipped to the picture, without those of which less than VISIBLE of the area is left."""
    height, width = sample.shape
    boxes = np.clip(sample.boxes, 0, np.array([width, height, width, height], np.float32))
    thin = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) < THINNEST
    stay = ~thin & (areas(boxes) >= VISIBLE * areas(sample.boxes))
    return Sample(sample.image, boxes[stay], sample.labels[stay])


def place(sample: Sample, scale: float, shape: Shape, rng: np.random.Generator) -> Sample:
    """The picture scaled and put at random on a grey canvas of `shape`: wholly on it where it fits, else cut.

    Halved while it is over twice as large as wanted, then scaled linearly, which skips no pixel down to a half: 0.06 and
    0.35 ms for 400 x 320 pixels, where cv2's averaging takes 1.4.
    """
    height, width = (max(1, round(side * scale)) for side in sample.shape)
    image = sample.image
    while image.shape[0] > 2 * height and image.shape[1] > 2 * width:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (_offset(free, rng) for free in (shape[0] - height, shape[1] - width))
    shown = image[max(0, -top) : shape[0] - top, max(0, -left) : shape[1] - left]
    canvas = np.full((*shape, 3), GREY, np.uint8)
    canvas[max(0, top) : top + height, max(0, left) : left + width] = shown
    by = np.array([width / sample.shape[1], height / sample.shape[0]] * 2, np.float32)
    return cut(Sample(canvas, sample.boxes * by + np.array([left, top] * 2, np.float32), sample.labels))


def _offset(free: int, rng: np.random.Generator) -> int:
    """Between 0 and `free`, which is below 0 for a picture larger than its place."""
    return int(rng.integers(min(0, free), max(0, free) + 1))


def mirror(sample: Sample, symmetry: str, rng: np.random.Generator) -> Sample:
    """Flips at random: none; horizontal; all: both, and height and width exchanged where they are equal."""
    (height, width), image, boxes = sample.shape, sample.image, sample.boxes
    across, down, turned = rng.random(3) < 0.5
    if across and symmetry != "none":
        image, boxes = (
            cv2.flip(image, 1),
            np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1),
        )
    if down and symmetry == "all":
        image, boxes = (
            cv2.flip(image, 0),
            np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1),
        )
    if turned and symmetry == "all" and height == width:
        image, boxes = cv2.transpose(image), boxes[:, [1, 0, 3, 2]]
    return Sample(image, boxes, sample.labels)


def center_of(shape: Shape, rng: np.random.Generator) -> tuple[int, int]:
    """x, y where a mosaic's four pictures meet: in the canvas' middle, 0.3 to 0.7 of its sides."""
    return int(shape[1] * rng.uniform(0.3, 0.7)), int(shape[0] * rng.uniform(0.3, 0.7))


def quarters(center: tuple[int, int], shape: Shape) -> list[tuple[int, int, int, int]]:
    """x_min y_min x_max y_max of a mosaic's four pictures."""
    (x, y), (height, width) = center, shape
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def join(parts: list[Sample], center: tuple[int, int], shape: Shape) -> Sample:
    """Mosaic (Bochkovskiy et al. 2020): four pictures, each as large as its quarter, around a point."""
    canvas, boxes = np.empty((*shape, 3), np.uint8), []
    for part, (x0, y0, x1, y1) in zip(parts, quarters(center, shape), strict=True):
        canvas[y0:y1, x0:x1] = part.image
        boxes.append(part.boxes + np.array([x0, y0] * 2, np.float32))
    return Sample(canvas, np.concatenate(boxes), np.concatenate([p.labels for p in parts]))


def lay_over(sample: Sample, other: Sample, share: float) -> Sample:
    """Mixup of pictures of one size (Zhang et al. 2019, Bag of Freebies): `share` of this one, the boxes of both."""
    image = cv2.addWeighted(sample.image, share, other.image, 1 - share, 0)
    return Sample(image, np.concatenate([sample.boxes, other.boxes]), np.concatenate([sample.labels, other.labels]))


def paste(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Copy-paste (Ghiasi et al. 2021), of boxes: about half of the other picture's, to where they are in it.

    A box that would hide more than HIDDEN of one already there is left out.
    """
    image, boxes, labels = sample.image.copy(), sample.boxes, sample.labels
    for number in np.flatnonzero(rng.random(len(other.boxes)) < 0.5):
        box = other.boxes[number]
        if (shared(box, boxes) > HIDDEN * areas(boxes)).any():
            continue
        x0, y0, x1, y1 = box.round().astype(int)
        image[y0:y1, x0:x1] = other.image[y0:y1, x0:x1]
        boxes, labels = np.concatenate([boxes, box[None]]), np.append(labels, other.labels[number])
    return Sample(image, boxes, labels)
