"""All that changes while a fold trains, on disk: what a checkpoint holds, when the next one is due, and going on from it.

The one before the last is kept, for a disk may damage the last; and one from before the epoch's start, for a fold that
diverges goes back to there. What is written is finite, so each of them is one to go on from.
"""

from __future__ import annotations

import copy
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

from competition import artifacts, disk, divergence, versions
from competition.errors import EnvironmentFault, Finding, SafetyFault
from competition.ranks import ALONE, Ranks, seed_apart
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
    first: Tensor | float | None = None  # the loss of the first step
    bad: Tensor | int = 0  # steps whose loss was no number, under fp16 those in a row: its scaler skips single ones
    rollbacks: list[int] = field(default_factory=list)  # steps from which on the rate is halved (divergence.py)
    makers: list[dict[str, str]] = field(default_factory=list)  # versions and device of the processes that trained it
    saved: int | None = None  # the step of last.ckpt
    before: int | None = None  # that of previous.ckpt
    open: bool = False  # the epoch that ended with the last step is not validated yet
    accumulate: int = 1
    ranks: Ranks = ALONE
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

    def start(self) -> int:
        """The first step of the epoch that the last step was of."""
        return max(0, self.step - 1) // self.job.steps * self.job.steps

    def most(self) -> int:
        """Steps without a finite loss that are too many."""
        return divergence.SKIPPED if self.scaler.is_enabled() else 1

    def good(self) -> bool:
        """Whether all of it is finite: what is not, is not worth going on from."""
        if int(self.bad) >= self.most():
            return False
        averages = [part.state_dict() for part in (self.ema, self.swa) if part]
        moments = [moment.values() for moment in self.job.optimizer.state.values()]
        states = self.job.model.state_dict(), *averages
        return divergence.finite([t for part in (*(s.values() for s in states), *moments) for t in part])

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
            "first": None if self.first is None else float(self.first),
            "bad": int(self.bad),
            "rollbacks": list(self.rollbacks),
            "makers": list(self.makers),
            "open": self.open,
            "accumulate": self.accumulate,
            "threads": torch.get_num_threads(),  # another number adds in another order
            "seconds": self.elapsed(),
        } | ({"others": self._random_of_others()} if self.ranks.size > 1 else {})

    def _random_of_others(self) -> list[list[Tensor | None]]:
        """torch's random states of the ranks after the first, as `random` and `cuda_random` are the first one's."""
        cpu = self.ranks.gathered(torch.get_rng_state())
        cuda = self.ranks.gathered(torch.cuda.get_rng_state()) if torch.cuda.is_available() else [None] * len(cpu)
        return [list(pair) for pair in zip(cpu, cuda, strict=True)][1:]

    def _take_random(self, values: dict[str, Any]) -> None:
        """This rank's; one that was not there when they were saved draws its own."""
        there = [(values["random"], values["cuda_random"]), *values.get("others", [])]
        if self.ranks.rank >= len(there):
            seed_apart(self.ranks, values["step"])
            return
        cpu, cuda = there[self.ranks.rank]
        torch.set_rng_state(cpu.cpu())
        if cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(cuda.cpu())

    def take(self, values: dict[str, Any]) -> None:
        """An older version had no lines of steps, was not stopped in a validation, and did not go back."""
        self.job.model.load_state_dict(values["model"])
        if self.ema:
            self.ema.module.load_state_dict(values["ema"])
        if self.swa:
            self.swa.load_state_dict(values["swa"])
        self.job.optimizer.load_state_dict(values["optimizer"])
        if values["scaler"]:  # empty where it was off: on another device
            self.scaler.load_state_dict(values["scaler"])
        self._take_random(values)
        self.step, self.loss = values["step"], values["loss"]
        self.recent, self.first = values.get("recent", 0.0), values.get("first")
        self.bad, self.rollbacks = values.get("bad", 0), list(values.get("rollbacks", []))
        self.makers = list(values.get("makers", []))
        self.accumulate, self.seconds, self.since = values["accumulate"], values["seconds"], time.monotonic()
        self.open = values.get("open", False)
        torch.set_num_threads(values["threads"])


def beginning(state: State) -> dict[str, Any]:
    """`values` before the first step, in memory. An average is still the weights themselves, which are copied once: 45 MB
    and 40 ms of a resnet18, where writing all took 90 MB and 140 ms."""
    values = state.values()
    weights = {name: value.to("cpu", copy=True) for name, value in values["model"].items()}
    values |= {"model": weights, "optimizer": copy.deepcopy(values["optimizer"])}
    if state.ema:
        values["ema"] = weights
    if state.swa:
        averaged = {f"module.{name}": value for name, value in weights.items()}
        values["swa"] = averaged | {"n_averaged": values["swa"]["n_averaged"].to("cpu", copy=True)}
    return values


def save(state: State, fold: Fold) -> bool:
    """Writes the checkpoint, unless its state is not finite; whether it did. The one before it is kept, and one that lies
    at or before the epoch's start."""
    if not state.good():
        return False
    began = time.monotonic()
    values = state.values() | {"origin": _origin(fold), "before": state.saved}
    if state.ranks.rank == 0:
        _write(state, values, fold)
    state.before, state.saved = state.saved, state.step
    state.plan_save(time.monotonic() - began)
    return True


def _write(state: State, values: dict[str, Any], fold: Fold) -> None:
    last, previous, earlier = (fold.folder / name for name in artifacts.CHECKPOINTS)
    start = state.step // state.job.steps * state.job.steps
    if (
        state.saved is not None
        and state.before is not None
        and state.before <= start < state.saved
        and previous.exists()
    ):
        with disk.faults(earlier):
            previous.replace(earlier)
    artifacts.write_sealed(last, lambda file: torch.save(values, file), previous)


def resume(state: State, fold: Fold, device: torch.device) -> None:
    """Goes on from the last checkpoint, from the one before it where the last is damaged, or from nothing where there is
    none. Raises EnvironmentFault CKPT-CORRUPT, CKPT-MISMATCH, SafetyFault SEC-PICKLE.
    """
    ranks = state.ranks
    if ranks.rank:
        if values := ranks.told(None, device):
            state.take(values)
        return
    here = versions.now() | {"device": device.type, "ranks": str(ranks.size)}
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
        state.makers = [here]
        ranks.told(None, device)
        return
    _refuse_other(path, values.get("origin", {}), _origin(fold))
    begun = versions.of_run(fold.folder.parent)  # an older checkpoint doesn't say
    maker = (values.get("makers") or [{name: text for name, text in begun.items() if name in here}])[-1]
    values = ranks.told(values, device)  # not below: a lost rank is no reason to delete a fold
    with versions.reading(
        path, maker, f"go on with those versions, or delete {path.parent}: that fold is trained anew"
    ):
        state.take(values)
    if path == there[0]:
        state.saved, state.before = state.step, values.get("before")
    else:
        note = f"{damage.code}: {damage.where}: {damage.found}; gone on from {path.name}, step {state.step}"
        fold.log(state.step + 1, {"note": note})  # the line of history of this step is whole
    _go_on_as(state, fold, maker, here)


def _go_on_as(state: State, fold: Fold, maker: dict[str, str], here: dict[str, str]) -> None:
    """Tells and remembers where another version or device goes on."""
    told = versions.differences(maker, here)
    state.makers = state.makers or [maker]
    if told:
        state.makers = [*state.makers, here]
        note = f"gone on from step {state.step} by other versions: {told}; bits may differ from those of one alone"
        fold.log(state.step + 1, {"note": note})


def go_back(state: State, fold: Fold, begun: dict[str, Any], why: str, rate: float, device: torch.device) -> None:
    """From a state that has diverged to the start of its epoch, or before it, with half the rate from that start on.

    begun: of `beginning`. Raises EnvironmentFault RUN-NAN where that was done often enough.
    """
    seen, start, before = state.step, state.start(), state.rollbacks
    if len(before) == divergence.ROLLBACKS:
        raise divergence.fault(fold, seen, rate, why, len(before))
    name, values = "its beginning", begun
    for path in (fold.folder / name for name in artifacts.CHECKPOINTS) if state.ranks.rank == 0 else ():
        found = _readable(path, device)
        if found and divergence.fits(found, before, start) and found["step"] > values["step"]:
            name, values = path.name, found
    values = state.ranks.told(values, device)
    seconds, makers = state.elapsed(), state.makers
    state.take(values)
    state.rollbacks, state.seconds, state.makers = [*before, start], seconds, makers
    share = divergence.share(state.rollbacks, start)
    note = (
        f"{why} at step {seen}: gone on from {name}, step {state.step}; from step {start} on at {share:g} of the rate "
        f"({len(state.rollbacks)} of {divergence.ROLLBACKS} times)"
    )
    fold.log(state.step + 1, {"note": note})
    save(state, fold)


def _readable(path: Path, device: torch.device) -> dict[str, Any] | None:
    try:
        return _read(path, device) if path.exists() else None
    except EnvironmentFault:  # a damaged one is none to go back to
        return None


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
