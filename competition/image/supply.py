"""Where a fold's training pictures are augmented: here by cv2, or on a GPU, whose memory may hold them all."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from competition import warp
from competition.augment import Levelled, Listed, augmentation
from competition.cache import Decoded
from competition.image.task import ImageTask
from competition.prefetch import feeders

SHARE = 0.4  # of the GPU's free memory that pictures may take: the rest is the step's
PART = 1024  # pictures that are copied there at a time


class Supply(Protocol):
    """Augmented pictures of rows `positions` of a fold, [b, size, size, 3] uint8: what a thread may do ahead, and the
    rest. workers: threads that begin ahead of the reader, 0: none."""

    workers: int

    def begin(self, positions: np.ndarray, epoch: int, samples: np.ndarray) -> Tensor: ...
    def finish(self, begun: Tensor, epoch: int, samples: np.ndarray) -> Tensor: ...


def supply_of(
    task: ImageTask, pictures: np.ndarray | Decoded, rows: np.ndarray, seed: int, device: torch.device
) -> Supply:
    """pictures: [n, side, side, 3] uint8 of the cache; rows: those of the fold.

    A level is augmented on a GPU whether or not its memory holds all pictures, so what trains does not depend on how much
    of it is free.
    """
    augment, workers = augmentation(task.augment, task.size, task.symmetry, seed), feeders(task.workers, device.type)
    if device.type != "cuda" or isinstance(augment, Listed):
        return OnCore(augment, task.size, pictures, rows, workers, device)
    if len(rows) * pictures[0].nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return Resident(augment, resident(pictures, rows, device))
    return Uploaded(augment, pictures, rows, workers, device)


class OnCore:
    """By cv2 or albumentations into the batch's own memory, which is pinned where a GPU takes it."""

    def __init__(self, augment: Levelled | Listed, size: int, pictures: np.ndarray | Decoded, rows: np.ndarray, workers: int,
                 device: torch.device):  # fmt: skip
        self.augment, self.size, self.pictures, self.rows, self.workers = augment, size, pictures, rows, workers
        self.device = device

    def begin(self, positions: np.ndarray, epoch: int, samples: np.ndarray) -> Tensor:
        shape = len(positions), self.size, self.size, 3
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        self.augment([self.pictures[row] for row in self.rows[positions]], epoch, samples, batch.numpy())
        return batch

    def finish(self, begun: Tensor, epoch: int, samples: np.ndarray) -> Tensor:
        return begun.to(self.device, non_blocking=self.device.type == "cuda")


class Resident:
    """All pictures of the fold on the device, augmented there. pictures: [rows, side, side, 3] uint8."""

    def __init__(self, augment: Levelled, pictures: Tensor):
        self.augment, self.pictures, self.workers = augment, pictures, 0

    def begin(self, positions: np.ndarray, epoch: int, samples: np.ndarray) -> Tensor:
        return torch.from_numpy(positions)

    def finish(self, begun: Tensor, epoch: int, samples: np.ndarray) -> Tensor:
        return augmented(self.augment, self.pictures[begun.to(self.pictures.device)], epoch, samples)


class Uploaded:
    """A batch's pictures copied to the device and augmented there, from pinned memory while the step before runs: torch
    gives a buffer out again only when its copy is over."""

    def __init__(
        self, augment: Levelled, pictures: np.ndarray | Decoded, rows: np.ndarray, workers: int, device: torch.device
    ):
        self.augment, self.pictures, self.rows, self.workers, self.device = augment, pictures, rows, workers, device

    def begin(self, positions: np.ndarray, epoch: int, samples: np.ndarray) -> Tensor:
        shape = len(positions), *self.pictures.shape[1:]
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        batch.numpy()[:] = self.pictures[self.rows[positions]]
        return batch

    def finish(self, begun: Tensor, epoch: int, samples: np.ndarray) -> Tensor:
        return augmented(self.augment, begun.to(self.device, non_blocking=True), epoch, samples)


def resident(pictures: np.ndarray | Decoded, rows: np.ndarray, device: torch.device) -> Tensor:
    """[rows, side, side, 3] uint8 on the device."""
    there = torch.empty((len(rows), *pictures.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        there[start : start + len(part)] = torch.from_numpy(pictures[part]).to(device)
    return there


def augmented(augment: Levelled, pictures: Tensor, epoch: int, samples: np.ndarray) -> Tensor:
    """[b, side, side, 3] uint8 -> [b, size, size, 3] uint8, on the pictures' device."""
    return warp.on_device(pictures, augment.draws(pictures.shape[1], epoch, samples), augment.size)
