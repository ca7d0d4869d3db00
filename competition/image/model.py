"""timm classifiers of pictures, alone or with table columns: made, checked before data is read, in parameter groups."""

from __future__ import annotations

import functools
from typing import Any

import timm
import torch
from torch import Tensor, nn

from competition import backbone
from competition.errors import ConfigFault
from competition.knobs import Training

HIDDEN, DROP = 64, 0.3  # of the branch of table columns


class WithColumns(nn.Module):
    """A timm classifier, and what table columns add to its outputs: by themselves and with what it sees in the picture.

    The branch has one hidden layer with dropout; a second one takes it together with the pooled features, and adds
    nothing at first, so that the network starts as the one without columns.
    """

    def __init__(self, network: nn.Module, features: int, outputs: int):
        super().__init__()
        self.network = network
        width = int(network.head_hidden_size)  # ty: ignore[invalid-argument-type]
        self.norm = nn.LayerNorm(width)
        self.branch = nn.Sequential(nn.Linear(features, HIDDEN), nn.GELU(), nn.Dropout(DROP))
        self.both = nn.Sequential(nn.Linear(width + HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(DROP))
        self.head = nn.Linear(2 * HIDDEN, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, cells: Tensor) -> Tensor:
        """[b, 3, side, side] and [b, features] -> [b, outputs]."""
        seen = self.network.forward_head(self.network.forward_features(images), pre_logits=True)  # ty: ignore[not-callable]
        told = self.branch(cells)
        both = self.both(torch.cat([self.norm(seen), told], dim=1))
        return self._classified(seen) + self.head(torch.cat([told, both], dim=1))

    def _classified(self, seen: Tensor) -> Tensor:
        """By timm's own classifier; of a distilled network the mean of its two."""
        heads = self.network.get_classifier()  # ty: ignore[not-callable]
        heads = heads if isinstance(heads, tuple) else (heads,)
        return torch.stack([head(seen) for head in heads]).mean(dim=0)

    def added(self) -> list[nn.Module]:
        """The parts that are not timm's."""
        return [part for name, part in self.named_children() if name != "network"]


def create(knobs: Training, outputs: int, origin: dict[str, str], fold: str, features: int | None = None) -> nn.Module:
    """A backbone with a head of `outputs`, its weights from the hub, a file, a run's same fold, or new.

    features: how many there are of table columns, which a branch beside it takes; None: no branch.

    Raises ConfigFault MODEL-LEAK, MODEL-WEIGHTS, CKPT-MISMATCH and EnvironmentFault MODEL-HUB.
    """
    path = knobs.begins_with(fold, origin)
    network = backbone.create(functools.partial(build, knobs, outputs), knobs, path, head_parameters)
    return network if features is None else WithColumns(network, features, outputs)


def check(knobs: Training, outputs: int, columns: bool = False) -> None:
    """Refuses an unknown backbone or optimizer, a size that it can't take, and weights that can't be had.

    The forward pass runs on torch's meta device: shapes only, no memory and no time.
    """
    backbone.check(knobs)
    _takes_size(knobs, outputs, columns)
    backbone.check_weights(knobs)


def build(knobs: Training, outputs: int, **more: Any) -> nn.Module:
    return timm.create_model(knobs.backbone, num_classes=outputs, **backbone.arguments(knobs, knobs.size), **more)


def optimizer(model: nn.Module, knobs: Training) -> torch.optim.Optimizer:
    added = model.added() if isinstance(model, WithColumns) else []
    return backbone.optimizer(timm_part(model), knobs, head_parameters(timm_part(model)), added)


def timm_part(model: nn.Module) -> nn.Module:
    return model.network if isinstance(model, WithColumns) else model


def head_parameters(model: nn.Module) -> set[int]:
    """`id` of each parameter of the classifier, of both where a network is distilled."""
    head = model.get_classifier()  # ty: ignore[not-callable]
    return {id(p) for module in (head if isinstance(head, tuple) else (head,)) for p in module.parameters()}


def _takes_size(knobs: Training, outputs: int, columns: bool) -> None:
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
            images = torch.zeros(1, 3, knobs.size, knobs.size)
            model(images)
            if columns:
                WithColumns(model, 1, outputs).eval()(images, torch.zeros(1, 1))
            backbone.check_freeze(backbone.layer_groups(model), knobs)
    except (AssertionError, RuntimeError, ValueError, TypeError) as e:
        below, above = max(patch, knobs.size // patch * patch), -(-knobs.size // patch) * patch
        sizes = f"size: {below} or {above}" if below != above else f"another multiple of {patch}, or another backbone"
        found = f"{knobs.backbone}: {str(e).splitlines()[0][:200]}"
        raise ConfigFault(backbone.finding("MODEL-INPUT", "size", str(knobs.size), found, sizes)) from None
