"""Training batches as a function of (seed, epoch, step) alone, and their mixing, in uint8 and before any cast.

Nothing here depends on the number of workers, on what ran before or on a resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from competition.augment import Augment
from competition.cache import Cache
from competition.errors import examples
from competition.image.task import ImageTask
from competition.prefetch import in_turn, order

ORDER, MIX = 1, 2  # purposes of random draws, so that no two streams are the same


@dataclass(frozen=True)
class ImageBatch:
    """images: [b, size, size, 3] uint8; targets: [b, columns] float; weights: [b] float, mean 1 over the training rows;
    cells: [b, features] float of table columns, none of them where the run reads none.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    cells: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> ImageBatch:
        return ImageBatch(self.images[rows], self.targets[rows], self.weights[rows], self.cells[rows])

    def to(self, device: torch.device) -> ImageBatch:
        if device.type == "cpu":
            return self
        parts = (self.images, self.targets, self.weights, self.cells)
        return ImageBatch(
            *(p.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else p.to(device) for p in parts)
        )


class Feed:
    """Batches of the rows `picture_rows` of a cache. targets: [n, columns]; weights: [n]; odds: [n] or None (balanced);
    cells: [n, features] or None."""

    def __init__(self, task: ImageTask, cache: Cache, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray,
                 odds: np.ndarray | None, seed: int, workers: int, cells: np.ndarray | None = None):  # fmt: skip
        self.task, self.cache, self.rows, self.odds, self.seed, self.workers = task, cache, rows, odds, seed, workers
        self.targets = torch.tensor(targets, dtype=torch.float32)
        self.weights = torch.tensor(weights, dtype=torch.float32)
        self.cells = torch.empty(len(rows), 0) if cells is None else torch.from_numpy(cells)
        self.augment = Augment(task.augment, task.size, task.symmetry, seed)
        self.batch = min(task.batch, len(rows))
        self.steps = max(1, len(rows) // self.batch)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of the epoch's rows, [steps, batch]."""
        return order(len(self.rows), self.steps, self.batch, self.odds, (self.seed, ORDER, epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[ImageBatch]:
        positions = self.order(epoch)

        def about(step: int) -> str:
            return f"epoch {epoch + 1}: {examples(self.cache.paths(self.rows[positions[step]]))}"

        steps = range(first, self.steps)
        yield from in_turn(lambda step: self.make(epoch, step, positions[step]), steps, self.workers, about)

    def make(self, epoch: int, step: int, positions: np.ndarray) -> ImageBatch:
        """The batch of these positions: augmented, then mixed as (seed, epoch, step) says."""
        size = self.task.size
        images = np.empty((len(positions), size, size, 3), np.uint8)
        for i, position in enumerate(positions):
            sample = int(position) if self.odds is None else int(position) + len(self.rows) * (step * self.batch + i)
            images[i] = self.augment(self.cache.pictures[self.rows[position]], epoch, sample)
        rows = self.targets[positions], self.weights[positions], self.cells[positions]
        mixing = self.mixing(epoch, step, len(positions))
        if mixing is not None:
            images, *rows = mixing.of(images, rows)
        return ImageBatch(torch.from_numpy(images), *rows)

    def mixing(self, epoch: int, step: int, rows: int) -> Mixing | None:
        """How this batch is mixed, None where it is not."""
        if epoch >= self.task.epochs - self.task.mix_off:
            return None
        return Mixing.drawn(self.task, rows, np.random.default_rng([self.seed, MIX, epoch, step]))


@dataclass(frozen=True)
class Mixing:
    """A batch with a shuffle of itself. partner: [b] positions within it. share: of the own picture and its target, 0..1.
    patch: rows and columns that are the partner's (cutmix), None where all pixels are both's (mixup)."""

    partner: np.ndarray
    share: float
    patch: tuple[slice, slice] | None

    @classmethod
    def drawn(cls, task: ImageTask, rows: int, rng: np.random.Generator) -> Mixing | None:
        """Mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019), one share a batch; None where it stays as it is."""
        if not (task.mixup or task.cutmix) or rng.random() >= task.mix_prob:
            return None
        use_cutmix = bool(task.cutmix) and (not task.mixup or rng.random() < 0.5)
        alpha = task.cutmix if use_cutmix else task.mixup
        share = float(rng.beta(alpha, alpha))
        partner = rng.permutation(rows)
        if not use_cutmix:
            return cls(partner, share, None)
        y0, y1, x0, x1, share = cut_box(task.size, task.size, share, rng)
        return cls(partner, share, (slice(y0, y1), slice(x0, x1)))

    def of(self, images: np.ndarray, rows: Sequence[Tensor]) -> tuple[Any, ...]:
        """images: [b, h, w, 3] uint8. rows: targets, weights and cells of tables, [b, ...] each, mixed by the share of the
        pixels. Equal in its targets to timm's Mixup for the same share and partner."""
        if self.patch is not None:
            images[:, *self.patch] = images[self.partner, *self.patch]
        else:
            flat, other = images.reshape(len(images), -1), images[self.partner].reshape(len(images), -1)
            images = cv2.addWeighted(flat, self.share, other, 1 - self.share, 0).reshape(images.shape)
        return images, *(part * self.share + part[self.partner] * (1 - self.share) for part in rows)


def cut_box(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int, float]:
    """A box of about (1 - share) of the area, cut at the border, and the share that is left outside it."""
    cut = (1 - share) ** 0.5
    y, x = int(rng.integers(height)), int(rng.integers(width))
    h, w = int(height * cut) // 2, int(width * cut) // 2
    y0, y1, x0, x1 = max(0, y - h), min(height, y + h), max(0, x - w), min(width, x + w)
    return y0, y1, x0, x1, 1 - (y1 - y0) * (x1 - x0) / (height * width)


def smooth(targets: Tensor, smoothing: float) -> Tensor:
    """Label smoothing (Szegedy et al. 2016) of one-hot or mixed rows: (1 - s) t + s / classes. Equal to timm's."""
    return targets * (1 - smoothing) + smoothing / targets.shape[1] if smoothing else targets
