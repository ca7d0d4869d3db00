"""All that changes while a fold trains, on disk: what a checkpoint holds, when the next one is due, and going on from it.

The one before the last is kept, for a disk may damage the last.
"""

from __future__ import annotations

import pickle
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from competition import artifacts
from competition.errors import EnvironmentFault, Finding, SafetyFault
from competition.task import Fold

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
    recent: Tensor | float = 0.0  # the same since the last line of history
    open: bool = False  # the epoch that ended with the last step is not validated yet
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

    def values(self) -> dict[str, Any]:
        """Tensors, numbers and text, as `torch.load` takes them without running code."""
        return {
            "model": self.job.model.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "swa": self.swa.state_dict() if self.swa else None,  # how many it has averaged, too
            "optimizer": self.job.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "step": self.step,
            "loss": float(self.loss),
            "recent": float(self.recent),
            "open": self.open,
            "accumulate": self.accumulate,
            "threads": torch.get_num_threads(),  # another number adds in another order
            "seconds": self.elapsed(),
        }

    def take(self, values: dict[str, Any]) -> None:
        self.job.model.load_state_dict(values["model"])
        if self.ema:
            self.ema.module.load_state_dict(values["ema"])
        if self.swa:
            self.swa.load_state_dict(values["swa"])
        self.job.optimizer.load_state_dict(values["optimizer"])
        self.scaler.load_state_dict(values["scaler"])
        torch.set_rng_state(values["random"].cpu())
        if values["cuda_random"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(values["cuda_random"].cpu())
        self.step, self.loss = values["step"], values["loss"]
        self.recent = values.get("recent", 0.0)  # an older version had no lines of steps
        self.open = values.get("open", False)  # and was not stopped in a validation
        self.accumulate, self.seconds = values["accumulate"], values["seconds"]
        torch.set_num_threads(values["threads"])


def save(state: State, fold: Fold) -> None:
    """Writes the checkpoint; the one before it is kept."""
    began = time.monotonic()
    values = state.values() | {"origin": _origin(fold)}
    last, previous = (fold.folder / name for name in artifacts.CHECKPOINTS)
    artifacts.write_sealed(last, lambda file: torch.save(values, file), previous)
    state.plan_save(time.monotonic() - began)


def resume(state: State, fold: Fold, device: torch.device) -> None:
    """Goes on from the last checkpoint, from the one before it where the last is damaged, or from nothing where there is
    none. Raises EnvironmentFault CKPT-CORRUPT, CKPT-MISMATCH, SafetyFault SEC-PICKLE.
    """
    there = [path for name in artifacts.CHECKPOINTS if (path := fold.folder / name).exists()]
    for path in there:
        try:
            values = _read(path, device)
            break
        except EnvironmentFault as fault:
            damage = fault.findings[0]
            if path == there[-1]:
                raise
    else:
        return
    _refuse_other(path, values.get("origin", {}), _origin(fold))
    state.take(values)
    if path != there[0]:
        note = f"{damage.code}: {damage.where}: {damage.found}; gone on from {path.name}, step {state.step}"
        fold.log(state.step + 1, {"note": note})  # the line of history of this step is whole


def _origin(fold: Fold) -> dict[str, str]:
    return fold.origin | {"seed": str(fold.seed)}


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        return torch.load(artifacts.read_sealed(path), map_location=device, weights_only=True)
    except pickle.UnpicklingError as e:
        raise SafetyFault(foreign(path, str(e))) from None


def foreign(path: Path, found: str) -> Finding:
    """Of a file whose reading could run code."""
    return Finding(
        code="SEC-PICKLE",
        what="a file of weights holds more than tensors, numbers and text",
        where=str(path),
        found=", ".join(re.findall(r"(?:GLOBAL|globals:) ([\w.]+\w)", found)) or "a pickle",
        risk="reading it could run foreign code; nothing of it was run",
        mend=f"delete {path}; of weights take the maker's .safetensors file",
    )


def _refuse_other(path: Path, there: dict[str, str], now: dict[str, str]) -> None:
    differing = [key for key in now if there.get(key) != now[key]]
    if differing:
        raise EnvironmentFault(
            Finding(
                code="CKPT-MISMATCH",
                what="the checkpoint is of another run, data or fold table",
                where=str(path),
                found="; ".join(f"{key}: {there.get(key)} there, {now[key]} now" for key in differing),
                risk="the run would be half of each",
                mend=f"delete {path.parent} to train the fold anew, or give AS=<name>/<run>",
            )
        )
