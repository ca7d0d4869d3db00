"""All that changes while a fold trains, on disk: what a checkpoint holds and when the next one is due."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from competition import artifacts
from competition.errors import EnvironmentFault, Finding

if TYPE_CHECKING:
    from competition.loop import Job

SAVE_SHARE, LONGEST = 0.02, 300.0  # of the time may go into checkpoints; the most seconds between two
DISK = 200e6  # bytes a second, until the first checkpoint has shown the real rate


@dataclass
class State:
    """All that changes while a fold trains, and so all that a checkpoint holds."""

    job: Job
    ema: ModelEmaV3 | None
    scaler: torch.amp.GradScaler
    swa: AveragedModel | None = None
    step: int = 0  # optimizer steps done, over all epochs
    loss: Tensor | float = 0.0  # sum over the epoch's steps so far
    accumulate: int = 1
    seconds: float = 0.0  # of processes before this one
    since: float = field(default_factory=time.monotonic)
    due: float = 0.0  # when the next checkpoint is

    def __post_init__(self) -> None:
        weights = sum(p.numel() * p.element_size() for p in self.job.model.parameters())
        self.plan_save(4 * weights / DISK)  # weights, their average, two moments

    def plan_save(self, seconds: float) -> None:
        """The next checkpoint is due when one of `seconds` is a small share of the time since this."""
        self.due = time.monotonic() + min(LONGEST, seconds / SAVE_SHARE)

    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.since

    def save(self, path: Path, identity: str) -> None:
        began = time.monotonic()
        state = {
            "identity": identity,
            "model": self.job.model.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "swa": self.swa.state_dict() if self.swa else None,  # how many it has averaged, too
            "optimizer": self.job.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "step": self.step,
            "loss": float(self.loss),
            "accumulate": self.accumulate,
            "threads": torch.get_num_threads(),  # another number adds in another order
            "seconds": self.elapsed(),
        }
        artifacts.write_sealed(path, lambda file: torch.save(state, file))
        self.plan_save(time.monotonic() - began)

    def load(self, path: Path, identity: str, device: torch.device) -> None:
        state = torch.load(artifacts.read_sealed(path), map_location=device, weights_only=True)
        if state["identity"] != identity:
            raise EnvironmentFault(
                Finding(
                    code="CKPT-MISMATCH",
                    what="the checkpoint is of another configuration, data or fold table",
                    where=str(path),
                    found=f"{state['identity']}, now {identity}",
                    risk="the run would be half of each",
                    mend=f"delete {path.parent} to train the fold anew, or give AS=<name>/<run>",
                )
            )
        self.job.model.load_state_dict(state["model"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        if self.swa:
            self.swa.load_state_dict(state["swa"])
        self.job.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"].cpu())
        if state["cuda_random"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_random"].cpu())
        self.step, self.loss = state["step"], state["loss"]
        self.accumulate, self.seconds = state["accumulate"], state["seconds"]
        torch.set_num_threads(state["threads"])
