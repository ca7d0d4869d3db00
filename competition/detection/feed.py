"""Detection's training batches as a function of (seed, epoch, step) alone, on no worker and no resume, in uint8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from competition import artifacts
from competition.augment import box_augmentation
from competition.cache import Cache
from competition.detection import mixing
from competition.detection.canvas import ROOM
from competition.detection.mixing import Sample
from competition.detection.task import DetectionTask
from competition.errors import examples
from competition.prefetch import in_turn, order
from competition.ranks import ALONE, Ranks
from competition.shaped import Shape

ORDER, PICTURE = 1, 2  # purposes of random draws, so that no two streams are the same
SMALLEST = 0.5  # of a mosaic's pictures, before jitter
COLOURS = ((230, 60, 60), (60, 200, 60), (70, 110, 255), (240, 200, 40), (220, 80, 220), (60, 210, 220))


@dataclass(frozen=True)
class DetectionBatch:
    """images: [b, H, W, 3] uint8; boxes: b times [n, 4] float32 in canvas pixels; labels: b times [n] int64 from 0."""

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> DetectionBatch:
        return DetectionBatch(self.images[rows], self.boxes[rows], self.labels[rows])

    def to(self, device: torch.device) -> DetectionBatch:
        if device.type == "cpu":
            return self
        counts = [len(labels) for labels in self.labels]

        def moved(part: Tensor) -> Tensor:
            return part.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else part.to(device)

        boxes, labels = moved(torch.cat(self.boxes)).split(counts), moved(torch.cat(self.labels)).split(counts)
        return DetectionBatch(moved(self.images), boxes, labels)


class Feed:
    """Batches of the pictures `rows` of a cache that keeps them as `canvas.kept` says.

    boxes: for each row [n, 4] in canvas pixels; labels: [n] from 0; extents: [rows, 2], as `canvas.extents` gives them.
    odds: [rows], sum 1, or None (each row once an epoch).

    A level's flips are those of `symmetry`; `none` and the user's own list have only their own. Jitter is apart from both.
    """

    def __init__(self, task: DetectionTask, cache: Cache, rows: np.ndarray, boxes: Sequence[np.ndarray],
                 labels: Sequence[np.ndarray], extents: np.ndarray, canvas: Shape, seed: int, workers: int,
                 odds: np.ndarray | None, ranks: Ranks = ALONE):  # fmt: skip
        self.task, self.cache, self.rows, self.canvas, self.seed = task, cache, rows, canvas, seed
        self.boxes, self.labels, self.extents, self.workers, self.odds = boxes, labels, extents, workers, odds
        self.augment = box_augmentation(task.augment, canvas, seed)
        self.symmetry = task.symmetry if task.augment in ("light", "medium", "heavy") else "none"
        self.batch = min(task.batch, len(rows))
        self.ranks = ranks
        self.steps = max(1, len(rows) // self.batch)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of the epoch's rows, [steps, batch]."""
        return order(len(self.rows), self.steps, self.batch, self.odds, (self.seed, ORDER, epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[DetectionBatch]:
        positions = self.order(epoch)

        def about(step: int) -> str:
            return f"epoch {epoch + 1}: {examples(self.cache.paths(self.rows[positions[step]]))}"

        steps = range(first, self.steps)
        yield from in_turn(lambda step: self.make(epoch, step, positions[step]), steps, self.workers, about)

    def make(self, epoch: int, step: int, positions: np.ndarray) -> DetectionBatch:
        """The batch of these positions, of it this rank's rows: mixed and augmented as (seed, epoch, step) says."""
        mixes = epoch < self.task.epochs - self.task.mix_off
        own = range(len(positions))[self.ranks.part(len(positions))]
        images, boxes, labels = np.empty((len(own), *self.canvas, 3), np.uint8), [], []
        for i, place in enumerate(own):
            made = self.one(epoch, step * self.batch + place, int(positions[place]), mixes)
            images[i] = made.image
            boxes.append(torch.from_numpy(np.ascontiguousarray(made.boxes, np.float32)))
            labels.append(torch.from_numpy(made.labels))
        return DetectionBatch(torch.from_numpy(images), tuple(boxes), tuple(labels))

    def one(self, epoch: int, number: int, position: int, mixes: bool) -> Sample:
        """The picture at `position` as the epoch's `number`-th; mixes: perhaps with others."""
        rng = np.random.default_rng([self.seed, PICTURE, epoch, number])
        sample = self.mixed(position, rng) if mixes else self.single(position, rng)
        return Sample(*self.augment(sample.image, sample.boxes, sample.labels, epoch, number))

    def mixed(self, position: int, rng: np.random.Generator) -> Sample:
        """The picture, or a mosaic of it and others; then perhaps laid over another, then perhaps pasted into."""
        mosaic, mixup, pasted = rng.random(3) < (self.task.mosaic, self.task.mixup, self.task.copy_paste)
        sample = self.mosaic(position, rng) if mosaic else self.single(position, rng)
        if mixup:
            share = rng.uniform(0.3, 0.7)  # as wide as beta(8, 8), without its tails, in which objects can't be seen
            sample = mixing.lay_over(sample, self.single(self.other(rng), rng), share)
        if pasted:
            sample = mixing.paste(sample, self.single(self.other(rng), rng), rng)
        return sample

    def single(self, position: int, rng: np.random.Generator) -> Sample:
        """The picture at a jittered scale, somewhere on the canvas, perhaps mirrored."""
        placed = mixing.place(self.kept(position), self.jitter(rng) / ROOM, self.canvas, rng)
        return mixing.mirror(placed, self.symmetry, rng)

    def mosaic(self, position: int, rng: np.random.Generator) -> Sample:
        """This picture and three others, at half to full size before jitter, and large enough to fill their quarters."""
        center = mixing.center_of(self.canvas, rng)
        positions = rng.permutation([position, *(self.other(rng) for _ in range(3))])
        parts = []
        for number, (x0, y0, x1, y1) in zip(positions, mixing.quarters(center, self.canvas), strict=True):
            part, shape = self.kept(number), (y1 - y0, x1 - x0)
            fills = max(shape[0] / part.shape[0], shape[1] / part.shape[1])
            scale = max(fills, self.jitter(rng) * SMALLEST ** rng.random() / ROOM)
            placed = mixing.place(part, scale, shape, rng)
            parts.append(mixing.mirror(placed, self.symmetry, rng))
        return mixing.join(parts, center, self.canvas)

    def kept(self, position: int) -> Sample:
        """The picture as the cache has it, without the grey around it; its boxes in its pixels."""
        height, width = self.extents[position]
        boxes = self.boxes[position].astype(np.float32) * ROOM
        return Sample(self.cache.pictures[self.rows[position], :height, :width], boxes, self.labels[position])

    def jitter(self, rng: np.random.Generator) -> float:
        """A scale of 1 / (1 + jitter) to 1 + jitter, as often above as below 1."""
        return float((1 + self.task.jitter) ** rng.uniform(-1, 1))

    def other(self, rng: np.random.Generator) -> int:
        """Another picture to mix in, by the same odds."""
        return int(rng.integers(len(self.rows)) if self.odds is None else rng.choice(len(self.rows), p=self.odds))


def odds_of(labels: Sequence[np.ndarray], weight: pd.Series | None, rarity: bool) -> np.ndarray | None:
    """[rows], sum 1: how often a picture is drawn: as much as it weighs, for losses are means over a batch's boxes and
    have no weight of a picture; times its `repeats` where `rarity` says so. None where all are drawn alike.

    labels: of each row its boxes' classes from 0. weight: of the rows, 0 or more.
    """
    if weight is None and not rarity:
        return None
    odds = repeats(labels) if rarity else np.ones(len(labels))
    if weight is not None:
        odds = odds * weight.to_numpy(float)
    return odds / odds.sum()


def repeats(labels: Sequence[np.ndarray]) -> np.ndarray:
    """[rows], 1 or more: a picture's factor by its rarest class (the repeat factor of Gupta et al. 2019, LVIS).

    sqrt(share of the pictures that hold the commonest class / share that hold the picture's rarest). A picture without
    boxes counts as one of the commonest class.
    """
    held = [np.unique(names) for names in labels]
    pictures = np.bincount(np.concatenate([*held, np.empty(0, np.int64)]), minlength=1)
    factor = np.sqrt(pictures.max() / pictures.clip(1))
    return np.array([factor[names].max(initial=1.0) for names in held])


def draw(batch: DetectionBatch, path: Path) -> None:
    """The first batch as the network sees it with its boxes, a colour a class, on one sheet."""
    images = [image.copy() for image in batch.images[:16].numpy()]
    for image, boxes, labels in zip(images, batch.boxes, batch.labels):
        for (x0, y0, x1, y1), label in zip(boxes.numpy().round().astype(int).tolist(), labels.tolist(), strict=True):
            cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), COLOURS[label % len(COLOURS)], 1)
    columns = min(4, len(images))
    images += [np.zeros_like(images[0])] * (-len(images) % columns)
    sheet = np.vstack([np.hstack(images[i : i + columns]) for i in range(0, len(images), columns)])
    done, data = cv2.imencode(".png", sheet[:, :, ::-1])
    assert done
    artifacts.write_bytes(path, data.tobytes())
