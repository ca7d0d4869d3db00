"""Training batches as a function of (seed, epoch, step) alone, and their mixing, in uint8 and before any cast.

Nothing here depends on the number of workers, on what ran before or on a resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from competition.errors import examples
from competition.image.supply import Supply
from competition.image.task import ImageTask
from competition.prefetch import in_turn, order
from competition.ranks import ALONE, Ranks

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
        parts = (self.images, self.targets, self.weights, self.cells)
        return ImageBatch(*(part.to(device, non_blocking=device.type == "cuda") for part in parts))


class Feed:
    """Batches of the pictures of a supply. paths: [n], theirs, by which a step that hangs is told; targets: [n, columns];
    weights: [n]; odds: [n] or None (balanced); cells: [n, features] or None."""

    def __init__(self, task: ImageTask, supply: Supply, paths: Sequence[str], targets: np.ndarray, weights: np.ndarray,
                 odds: np.ndarray | None, seed: int, cells: np.ndarray | None = None,
                 ranks: Ranks = ALONE):  # fmt: skip
        self.task, self.supply, self.odds, self.seed, self.ranks = task, supply, odds, seed, ranks
        self.paths = np.array(paths, object)
        self.targets = torch.tensor(targets, dtype=torch.float32)
        self.weights = torch.tensor(weights, dtype=torch.float32)
        self.cells = torch.empty(len(targets), 0) if cells is None else torch.from_numpy(cells)
        self.batch = min(task.batch, len(targets))
        self.steps = max(1, len(targets) // self.batch)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of the epoch's rows, [steps, batch]."""
        return order(len(self.targets), self.steps, self.batch, self.odds, (self.seed, ORDER, epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[ImageBatch]:
        positions, steps = self.order(epoch), range(first, self.steps)

        def about(step: int) -> str:
            return f"epoch {epoch + 1}: {examples(self.paths[positions[step]])}"

        begun = in_turn(lambda step: self.begin(epoch, step, positions[step]), steps, self.supply.workers, about)
        for step, pictures in zip(steps, begun, strict=True):
            yield self.finish(epoch, step, positions[step], pictures)

    def make(self, epoch: int, step: int, positions: np.ndarray) -> ImageBatch:
        """The batch of these positions, of it this rank's rows: augmented, then mixed as (seed, epoch, step) says."""
        return self.finish(epoch, step, positions, self.begin(epoch, step, positions))

    def begin(self, epoch: int, step: int, positions: np.ndarray) -> Tensor:
        """What a thread may do ahead."""
        places, _ = self.share(epoch, step, len(positions))
        return self.supply.begin(positions[places], epoch, self.samples(step, positions)[places])

    def finish(self, epoch: int, step: int, positions: np.ndarray, begun: Tensor) -> ImageBatch:
        places, mixing = self.share(epoch, step, len(positions))
        images = self.supply.finish(begun, epoch, self.samples(step, positions)[places])
        needed = positions[places]
        rows = self.targets[needed], self.weights[needed], self.cells[needed]
        if mixing is not None:
            images, *rows = mixing.of(images, rows)
        batch = ImageBatch(images, *rows)
        return batch if self.ranks.size == 1 else batch[: len(self.own(len(positions)))]

    def own(self, rows: int) -> np.ndarray:
        """Places of this rank's rows in a batch of so many."""
        return np.arange(rows)[self.ranks.part(rows)]

    def share(self, epoch: int, step: int, rows: int) -> tuple[np.ndarray, Mixing | None]:
        """What of a batch this rank makes: its own rows, then those that are mixed into them; how these are mixed."""
        mixing, own = self.mixing(epoch, step, rows), self.own(rows)
        return (own, None) if mixing is None else mixing.within(own)

    def samples(self, step: int, positions: np.ndarray) -> np.ndarray:
        """[b] numbers by which the draws of one epoch differ: a row that is drawn twice is two of them."""
        if self.odds is None:
            return positions
        return positions + len(self.targets) * (step * self.batch + np.arange(len(positions)))

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

    def within(self, own: np.ndarray) -> tuple[np.ndarray, Mixing]:
        """Places in the batch of `own` and then of their partners, and the same mixing of these rows alone."""
        places = np.concatenate([own, np.setdiff1d(self.partner[own], own)])
        at = np.empty(len(self.partner), int)
        at[places] = np.arange(len(places))
        partner = np.arange(len(places))  # of rows that are partners only, themselves
        partner[: len(own)] = at[self.partner[own]]
        return places, replace(self, partner=partner)

    def of(self, images: Tensor, rows: Sequence[Tensor]) -> tuple[Any, ...]:
        """images: [b, h, w, 3] uint8, written or replaced. rows: targets, weights and cells of tables, [b, ...] each, mixed
        by the share of the pixels. Equal in its targets to timm's Mixup for the same share and partner."""
        mixed = (part * self.share + part[self.partner] * (1 - self.share) for part in rows)
        return self._pixels(images), *mixed

    def _pixels(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return self.on_device(images)
        here = images.numpy()
        if self.patch is not None:
            here[:, *self.patch] = here[self.partner, *self.patch]
            return images
        mixed = np.empty_like(here)
        for own, other, out in zip(here, self.partner, mixed, strict=True):
            cv2.addWeighted(own, self.share, here[other], 1 - self.share, 0, dst=out)
        return torch.from_numpy(mixed)

    def on_device(self, images: Tensor) -> Tensor:
        """The same by torch. images: [b, h, w, 3] uint8."""
        partner = torch.from_numpy(self.partner).to(images.device)
        if self.patch is None:
            return (images.float() * self.share).add_(images[partner], alpha=1 - self.share).round_().byte()
        images[:, *self.patch] = images[partner, *self.patch]
        return images


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
