"""One step of the optimizer over a batch: in pieces where memory is short, and as one with the fold's other ranks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Protocol

import torch
from timm.utils.clip_grad import dispatch_clip_grad
from torch import Tensor

from competition import devices
from competition.averages import figures, following, norms, synchronised
from competition.checkpoint import State
from competition.compiling import Compiled, wanted
from competition.errors import EnvironmentFault
from competition.knobs import Training


class Batch(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice) -> Batch: ...
    def to(self, device: torch.device) -> Batch: ...


def stepper(state: State, knobs: Training, device: torch.device) -> Callable[[Any, float], Tensor]:
    """(batch, rate) -> loss: one step of the optimizer, and of the moving average."""
    job, amp = state.job, devices.autocast(knobs, device)
    pictures = knobs.epochs * job.steps * knobs.batch
    compiled = Compiled(job.trunk or job.model, wanted(knobs, pictures, device))
    average = following(state.ema, job.model) if state.ema else None
    shared = [figure for norm in norms(job.model) for figure in figures(norm)] if state.ranks.size > 1 else []

    def step(batch: Any, rate: float) -> Tensor:
        for group in job.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        loss = _gradients(state, compiled, batch, amp, device)
        if state.ranks.size > 1:
            _add_up(state, loss, shared)
        update(state, knobs.clip)
        state.step += 1
        if average:
            average(state.step)
        return loss

    return step


def _gradients(state: State, compiled: Compiled, batch: Batch, amp: Any, device: torch.device) -> Tensor:
    """Backward over a batch. On out-of-memory its pieces are halved and it is done again, so its size stays; so it is, as
    the network stands, where compiling fails, by whatever error the compiler has."""
    while True:
        try:
            with compiled.instead():
                return backward(state, batch, amp, device)
        except Exception as e:
            if not devices.is_out_of_memory(e) and not compiled.on:
                raise
            state.job.optimizer.zero_grad(set_to_none=True)
            if not devices.is_out_of_memory(e):
                compiled.give_up(e)
                continue
            if state.ranks.size > 1 and synchronised(state.job.model):  # other ranks wait within the network
                raise EnvironmentFault(devices.out_of_memory(e, f"`accumulate: {2 * state.accumulate}`, ")) from None
            if len(batch) < 4 * state.accumulate:  # batch norm needs two rows in a piece
                raise EnvironmentFault(devices.out_of_memory(e)) from None
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        state.accumulate *= 2


def backward(state: State, batch: Batch, amp: Any, device: torch.device) -> Tensor:
    """The gradient of the mean over the batch, piece by piece; returns the loss. Of several ranks, this one's part."""
    total, rows = torch.zeros((), device=device), state.job.rows or len(batch)
    for piece in pieces(state, batch):
        part = piece.to(device)
        with amp:
            loss = state.job.loss(state.job.model, part) * (len(part) / rows)
        state.scaler.scale(loss).backward()
        total += loss.detach()
    return total


def pieces(state: State, batch: Batch) -> Iterator[Batch]:
    """As many in each rank, since synchronised batch norms wait for one another in each of them."""
    least = (state.job.rows or len(batch)) // state.ranks.size
    pieces = max(1, min(state.accumulate, least // 2))
    yield from (batch[start:end] for start, end in pairwise(len(batch) * n // pieces for n in range(pieces + 1)))


def _add_up(state: State, loss: Tensor, shared: list[Tensor]) -> None:
    """Makes gradients, loss and batch norms' figures those of all ranks. A parameter that a batch does not reach (a head of
    boxes, where there are none) has a gradient as soon as any rank has one."""
    parameters = [p for p in _parameters(state.job.optimizer) if p.requires_grad]
    state.accumulate, *reached = state.ranks.most([state.accumulate, *(p.grad is not None for p in parameters)])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p, on in zip(parameters, reached) if on]
    for p, gradient in zip((p for p, on in zip(parameters, reached) if on), gradients, strict=True):
        p.grad = gradient
    state.ranks.add([loss, *gradients])
    state.ranks.mean(shared)


def update(state: State, clip: float) -> None:
    optimizer, scaler = state.job.optimizer, state.scaler
    try:
        if clip:
            scaler.unscale_(optimizer)
            dispatch_clip_grad(_parameters(optimizer), clip)
        scaler.step(optimizer)
    except RuntimeError as e:
        if devices.is_out_of_memory(e):
            raise EnvironmentFault(devices.out_of_memory(e)) from None
        raise
    scaler.update()
    optimizer.zero_grad(set_to_none=True)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
