"""The training loop that image and detection call: schedule, mixed precision, averages, checkpoint, exact resume, memory.

A batch is a function of (epoch, step) alone, so a checkpoint needs no state of the feed: weights, their average,
optimizer, scaler, the step and torch's own random state (dropout) are all of it, and a killed run continues to the same
weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from competition import artifacts, devices, versions
from competition.averages import SWA_RATE, figures, measure_norms, norms, synchronise
from competition.checkpoint import State, beginning, go_back, resume, save
from competition.divergence import Diverged, fault, finite, share
from competition.errors import Stopped
from competition.knobs import Training
from competition.meter import Meter
from competition.ranks import ALONE, Ranks, seed_apart
from competition.step import pieces, stepper
from competition.task import Fold

VALIDATIONS = 10


@dataclass(frozen=True)
class Job:
    """What a task hands to the loop.

    steps: optimizer steps of an epoch. batches(epoch, first): the epoch's batches from step `first` on. loss(model,
    batch): mean over the rows. validate(model): the score to show, or None; must not draw random numbers. notes: what
    the saved weights remember of how they are used. beside: further files of the model, by name. trunk: the part of
    the model that can be compiled, None: all of it. rows: of a step, over all ranks; None: as its batch has.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    batches: Callable[[int, int], Iterator[Any]]
    loss: Callable[[nn.Module, Any], Tensor]
    validate: Callable[[nn.Module, int], float] | None
    notes: dict[str, str] = field(default_factory=dict)
    beside: dict[str, bytes] = field(default_factory=dict)
    trunk: nn.Module | None = None
    rows: int | None = None


def learning_rate(step: int, steps: int, warmup: int, peak: float, low: float) -> float:
    """Linear warmup from 0 over `warmup` steps, then a half cosine from `peak` to `low` (Loshchilov, Hutter 2017), which
    is reached after `steps` and stays.

    Equal to timm's CosineLRScheduler(t_initial=steps - warmup, warmup_t=warmup, warmup_prefix=True, lr_min=low).
    """
    if step < warmup:
        return peak * step / warmup
    span = max(1, steps - warmup)
    return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * min(step - warmup, span) / span))


def fit(job: Job, knobs: Training, fold: Fold) -> dict[str, Any]:
    """Trains the fold and leaves `model.safetensors`; returns the record. Raises Stopped and the faults of `train`."""
    final, record = train(job, knobs, fold, devices.device_of(knobs.device))
    keep(final, job, fold)
    return record | {"parameters": sum(p.numel() for p in job.model.parameters())}


def keep(model: nn.Module, job: Job, fold: Fold) -> None:
    """Writes the weights into the fold's folder, with where they come from and what they must remember, and what lies
    beside them."""
    for name, content in job.beside.items():
        artifacts.write_bytes(fold.folder / name, content)
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    notes = fold.origin | job.notes | {versions.NOTE: versions.note()}
    artifacts.write_bytes(fold.folder / "model.safetensors", to_bytes(weights, metadata=notes))


def begin(job: Job, knobs: Training, device: torch.device, ranks: Ranks = ALONE) -> State:
    """Before the first step. With `swa` there is no moving average."""
    if device.type == "cpu":
        devices.keep_freed_memory()
    scaler = torch.amp.GradScaler(device.type, enabled=devices.amp_dtype(knobs.amp, device) is torch.float16)
    swa = AveragedModel(job.model) if knobs.swa else None
    ema = ModelEmaV3(job.model, decay=knobs.ema, use_warmup=True) if knobs.ema and not knobs.swa else None
    return State(job, ema, scaler, swa, accumulate=knobs.accumulate, ranks=ranks)


def train(job: Job, knobs: Training, fold: Fold, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """Trains for `knobs.epochs`, from the checkpoint in `fold.folder` where there is one.

    Returns the model to keep (the mean of the last `swa` epochs' weights or the moving average, if on; else the last
    weights, never the best epoch on the held-out fold) and what is worth recording. Where it diverges it goes back and on
    at half the rate (divergence.py). Raises Stopped (state saved), EnvironmentFault RUN-NAN, RUN-OOM, CKPT-*.
    """
    dtype = devices.amp_dtype(knobs.amp, device)
    _meet(job, knobs, fold, device)
    state = begin(job, knobs, device, fold.ranks)
    begun = beginning(state)
    resume(state, fold, device)
    step = stepper(state, knobs, device)
    meter = Meter(state, fold, knobs.epochs, _rate(state, knobs, state.step))
    while state.step < knobs.epochs * job.steps:
        try:
            _epoch(state, step, meter, knobs, fold)
        except Diverged as e:
            go_back(state, fold, begun, str(e), meter.rate, device)
    if state.swa:
        _measure_norms(state, knobs, fold, device)
    final = next((average.module for average in (state.swa, state.ema) if average), job.model)
    _close(state, final, meter, knobs, fold)
    if not finite(final.parameters()):
        raise fault(fold, state.step, meter.rate, "weights are no numbers", len(state.rollbacks))
    fold.ranks.leave()
    return final, {
        "steps": state.step,
        "seconds": round(state.elapsed(), 1),
        "accumulate": state.accumulate,
        "ranks": state.ranks.size,
        "amp": str(dtype).removeprefix("torch.") if dtype else "off",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "rollbacks": len(state.rollbacks),
    } | ({"made_by": state.makers} if len(state.makers) > 1 else {})


def _meet(job: Job, knobs: Training, fold: Fold, device: torch.device) -> None:
    """The fold's ranks begin with the same weights, and draw within the network each for itself."""
    if fold.ranks.size == 1:
        return
    fold.ranks.join(device, fold.origin | {"seed": str(fold.seed)} | versions.now())
    fold.ranks.spread(list(job.model.state_dict().values()))
    seed_apart(fold.ranks, fold.seed)
    if knobs.sync_bn:
        synchronise(job.model)


def _epoch(state: State, step: Callable[[Any, float], Tensor], meter: Meter, knobs: Training, fold: Fold) -> None:
    """The rest of an epoch, with all that comes at its end; what follows the last one is left to `train`. Raises Stopped,
    Diverged."""
    job = state.job
    epoch, first = (state.step // job.steps - 1, job.steps) if state.open else divmod(state.step, job.steps)
    meter.begin(epoch)
    job.model.train()
    for batch in job.batches(epoch, first):
        rate, before = _rate(state, knobs, state.step + 1), state.accumulate
        loss = step(batch, rate)
        if state.accumulate != before:
            note = f"out of memory: each batch of {len(batch)} is now computed in {state.accumulate} pieces"
            fold.log(state.step, {"note": note, "accumulate": state.accumulate})
        meter.add(loss, rate, len(batch))
        if state.step % job.steps:  # an epoch's end is saved below, with its line of history written
            _save_if_due(state, fold)
    if not finite(job.model.state_dict().values()):
        raise Diverged("weights are no numbers")
    if state.swa and epoch >= knobs.epochs - knobs.swa and not state.open:
        state.swa.update_parameters(job.model)
    if epoch + 1 < knobs.epochs:
        state.open = True
        _close(state, state.ema.module if state.ema else job.model, meter, knobs, fold)
        state.open = False
        _save_if_due(state, fold)
    elif state.swa:
        save(state, fold)  # all is trained; the norms may take minutes


def _rate(state: State, knobs: Training, step: int) -> float:
    """Of the step that is the `step`-th, from 1."""
    total, warmup, constant = (round(epochs * state.job.steps) for epochs in (knobs.epochs, knobs.warmup, knobs.swa))
    low = knobs.lr * (SWA_RATE if knobs.swa else knobs.lr_min)
    return learning_rate(step, total - constant, warmup, knobs.lr, low) * share(state.rollbacks, step - 1)


def _close(state: State, final: nn.Module, meter: Meter, knobs: Training, fold: Fold) -> None:
    """Validates the epoch that has ended and writes its line. Stopped before, it is validated when it is gone on with."""
    shown = state.job.validate is not None and state.ranks.rank == 0 and _shows(meter.epoch, knobs.epochs)
    score, stopped = None, False
    try:
        score = state.job.validate(final, meter.epoch) if shown else None
    except Stopped:
        stopped = True
    if state.ranks.any(stopped):
        save(state, fold)
        raise Stopped(f"{fold.name} stopped in a validation")
    meter.close(score)


def _measure_norms(state: State, knobs: Training, fold: Fold, device: torch.device) -> None:
    """Those of the even mean, on the last epoch's batches."""
    assert state.swa is not None

    def parts() -> Iterator[Any]:
        for batch in state.job.batches(knobs.epochs - 1, 0):
            yield from (part.to(device) for part in pieces(state, batch))
            if state.ranks.any(fold.stop()):
                raise Stopped(f"{fold.name} stopped while batch norms were measured; its training is saved")

    with devices.autocast(knobs, device):
        measure_norms(state.swa.module, parts(), state.job.loss)
    state.ranks.mean([figure for norm in norms(state.swa.module) for figure in figures(norm)])


def _save_if_due(state: State, fold: Fold) -> None:
    stop, due = state.ranks.most([fold.stop(), state.ranks.rank == 0 and time.monotonic() > state.due])
    saved = (stop or due) and save(state, fold)
    if stop:
        lost = f"{fold.name} stopped at step {state.step}, where it diverges; the checkpoint before is kept"
        raise Stopped(f"{fold.name} stopped and saved at step {state.step}" if saved else lost)


def validations(epochs: int) -> int:
    """How many of them there are in so many epochs."""
    return sum(_shows(epoch, epochs) for epoch in range(epochs))


def _shows(epoch: int, epochs: int) -> bool:
    """About ten validations a run: they are drawn and pruned by, and choose nothing."""
    return epoch + 1 == epochs or (epoch + 1) % math.ceil(epochs / VALIDATIONS) == 0
