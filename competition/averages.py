"""Averages of a network's weights over training, and the batch norms of such an average, measured on its own batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SWA_RATE = 0.5  # of the peak, while weights are averaged: 0.05 of 0.1 in the paper (Izmailov et al. 2018)


def following(ema: ModelEmaV3, model: nn.Module) -> Callable[[int], None]:
    """(step) -> None: what `ema.update(model, step)` does, bit for bit; its tensors are looked up once, not at every step:
    7.8 ms became 1.7 (mobilenetv4_conv_small, one thread).

    They must stay the same tensors: `load_state_dict` writes into them.
    """
    pairs = list(zip(ema.module.state_dict().values(), model.state_dict().values(), strict=True))
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    averages, values = [average for average, _ in moving], [value for _, value in moving]
    counters = [pair for pair in pairs if not pair[0].is_floating_point()]
    kept, counted = [kept for kept, _ in counters], [value for _, value in counters]

    @torch.no_grad()
    def follow(step: int) -> None:
        torch._foreach_lerp_(averages, values, weight=1.0 - ema.get_decay(step))
        if counters:
            torch._foreach_copy_(kept, counted)

    return follow


def norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that train; the model is left in training mode."""
    return [m for m in model.train().modules() if isinstance(m, _BatchNorm) and m.training]


def figures(norm: _BatchNorm) -> list[Tensor]:
    """What a batch norm has seen of its inputs: mean and variance; none of those that ranks tell each other anyway."""
    own = (norm.running_mean, norm.running_var)
    return [] if isinstance(norm, nn.SyncBatchNorm) else [figure for figure in own if figure is not None]


def synchronise(model: nn.Module) -> None:
    """Puts in the place of each batch norm that trains one over the rows of all ranks, of the same weights and names."""
    training = set(norms(model))
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in training:
                setattr(parent, name, convert_sync_batchnorm(child))


def synchronised(model: nn.Module) -> bool:
    return any(isinstance(norm, nn.SyncBatchNorm) for norm in norms(model))


@torch.no_grad()
def measure_norms(model: nn.Module, parts: Iterable[Any], loss: Callable[[nn.Module, Any], Tensor]) -> None:
    """Sets the running mean and variance of the batch norms that train to the plain mean over `parts` of a batch.

    torch's `update_bn`, but for two things: `loss` brings the batch to the network, and norms of frozen layers, which it
    would reset and never measure, keep what they have. The weights stay; the model is left in training mode.
    """
    momenta = {m: m.momentum for m in norms(model)}
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all, each with equal weight
    for part in parts if momenta else ():
        loss(model, part)
    for norm, momentum in momenta.items():
        norm.momentum = momentum
