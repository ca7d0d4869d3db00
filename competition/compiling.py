"""A network's training pass as torch.compile makes it: one graph for all folds of a process, eager where that fails.

The module's `forward` is another one for as long as a training step runs, and its own again after it: averages, validation
and files see the network as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import nn

from competition import board
from competition.knobs import Training

PAYS = 5e9  # pixels of a fold's training: 100,000 pictures of 224, minutes of a GPU, of which compiling takes about one
BACKEND: str | Callable = "inductor"
_failed: list[str] = []  # why this process compiles nothing any more


def wanted(knobs: Training, pictures: int, device: torch.device) -> bool:
    """Whether a fold of so many pictures (all epochs) is compiled. auto: on a CUDA GPU where that is long; on a CPU it is
    1.04 times as fast for 2 minutes of compiling. By settings alone, no clock: the same run is the same computation."""
    if knobs.compile == "auto":
        return device.type == "cuda" and pictures * knobs.size**2 >= PAYS
    return knobs.compile == "on"


class Compiled:
    """What takes the place of `module.forward` within `instead`. on: whether it does, False once it has failed."""

    def __init__(self, module: nn.Module, on: bool):
        self.module, self.on = module, on and not _failed
        if self.on:
            # A batch's pieces may be of two sizes: the second one compiles a graph for any size, and there is no third.
            self.forward = torch.compile(module.forward, backend=BACKEND)

    @contextmanager
    def instead(self) -> Generator[None]:
        if not self.on:
            yield
            return
        self.module.forward = self.forward
        try:
            yield
        finally:
            del self.module.forward

    def give_up(self, error: Exception) -> None:
        """The rest of this process is eager, which is said once."""
        self.on = False
        if not _failed:
            _failed.append(f"{type(error).__name__}: {' '.join(str(error).splitlines()[:2])[:200]}")
            board.say(f"compile: the network can't be compiled here and is run as it is ({_failed[0]})")
