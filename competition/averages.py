"""Averages of a network's weights over training, and the batch norms of such an average, measured on its own batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SWA_RATE = 0.5  # of the peak, while weights are averaged: 0.05 of 0.1 in the paper (Izmailov et al. 2018)


def norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that train; the model is left in training mode."""
    return [m for m in model.train().modules() if isinstance(m, _BatchNorm) and m.training]


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
