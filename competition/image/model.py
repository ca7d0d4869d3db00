"""timm classifiers of pictures: made, checked before any data is read, and divided into parameter groups."""

from __future__ import annotations

import functools
from typing import Any

import timm
import torch
from torch import nn

from competition import backbone
from competition.errors import ConfigFault
from competition.knobs import Training


def create(knobs: Training, outputs: int, origin: dict[str, str], fold: str) -> nn.Module:
    """A backbone with a head of `outputs`, its weights from the hub, a file, a run's same fold, or new.

    Raises ConfigFault MODEL-LEAK, MODEL-WEIGHTS, CKPT-MISMATCH and EnvironmentFault MODEL-HUB.
    """
    path = knobs.begins_with(fold, origin)
    return backbone.create(functools.partial(build, knobs, outputs), knobs, path, head_parameters)


def check(knobs: Training, outputs: int) -> None:
    """Refuses an unknown backbone or optimizer, a size that it can't take, and weights that can't be had.

    The forward pass runs on torch's meta device: shapes only, no memory and no time.
    """
    backbone.check(knobs)
    _takes_size(knobs, outputs)
    backbone.check_weights(knobs)


def build(knobs: Training, outputs: int, **more: Any) -> nn.Module:
    return timm.create_model(knobs.backbone, num_classes=outputs, **backbone.arguments(knobs, knobs.size), **more)


def optimizer(model: nn.Module, knobs: Training) -> torch.optim.Optimizer:
    return backbone.optimizer(model, knobs, head_parameters(model))


def head_parameters(model: nn.Module) -> set[int]:
    """`id` of each parameter of the classifier, of both where a network is distilled."""
    head = model.get_classifier()  # ty: ignore[not-callable]
    return {id(p) for module in (head if isinstance(head, tuple) else (head,)) for p in module.parameters()}


def _takes_size(knobs: Training, outputs: int) -> None:
    """Raises ConfigFault MODEL-INPUT where the network fails at this size, or would not look at the last pixels.

    timm's patch embedding cuts a rest of the side off without a word, so the patch size is asked for here.
    """
    patch = 32
    try:
        with torch.device("meta"):
            model = build(knobs, outputs).eval()
            side = getattr(getattr(model, "patch_embed", None), "patch_size", None)
            patch = side[0] if isinstance(side, tuple) else side or 32
            if side is not None and knobs.size % patch:
                raise ValueError(f"{knobs.size} is not a multiple of its patch size {patch}")
            model(torch.zeros(1, 3, knobs.size, knobs.size))
            backbone.check_freeze(backbone.layer_groups(model), knobs)
    except (AssertionError, RuntimeError, ValueError, TypeError) as e:
        below, above = max(patch, knobs.size // patch * patch), -(-knobs.size // patch) * patch
        sizes = f"size: {below} or {above}" if below != above else f"another multiple of {patch}, or another backbone"
        found = f"{knobs.backbone}: {str(e).splitlines()[0][:200]}"
        raise ConfigFault(backbone.finding("MODEL-INPUT", "size", str(knobs.size), found, sizes)) from None
