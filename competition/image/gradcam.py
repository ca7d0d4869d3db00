"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) on any timm backbone that keeps places apart.

A stage's channels are weighted by the mean gradient of what the network says, summed, and cut at 0. Tokens of a ViT are
such a map too, once those without a place (class, registers) are left out. Where a token is what the head reads, the
last block's output has no gradient at the places, so the map is of what goes into that block. By then tokens have told each
other what they hold, so the map of a ViT shows what stands out rather than what decides: of two patches alike, of which one
is what the label says, a trained test_resnet gives them 0.90 and 0.05 of the mass, a test_vit 0.33 and 0.43.

The stage is the deepest of at least FEWEST x FEWEST places: 7 x 7 at 224 pixels of most, 4 x 4 at 64. Not attention
rollout (Abnar and Zuidema 2020): it knows no class, and convolutions have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEWEST = 4  # places a side


@dataclass(frozen=True)
class Stage:
    """A module of a timm network whose output, or input, is a map. channels: of its features."""

    name: str
    module: nn.Module
    channels: int
    prefix: int  # tokens without a place, the first ones
    before: bool = False  # the module's input

    def places(self, x: Any) -> Tensor | None:
        """What the module gave or took as [b, channels, h, w]; None where places can't be told."""
        if not isinstance(x, Tensor):
            return None
        if x.dim() == 4:
            by_axis = [x.shape[1] == self.channels, x.shape[3] == self.channels]
            return x if by_axis[0] else x.permute(0, 3, 1, 2) if by_axis[1] else None
        if x.dim() != 3 or x.shape[2] != self.channels:
            return None
        for prefix in (self.prefix, 0):  # the class token of some networks joins after the blocks
            side = math.isqrt(x.shape[1] - prefix)
            if side * side == x.shape[1] - prefix:
                return x[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
        return None


def stages(network: nn.Module) -> list[Stage]:
    """Those that timm tells of its network, from the finest on."""
    modules, prefix = dict(network.named_modules()), int(getattr(network, "num_prefix_tokens", 0) or 0)
    told: Any = getattr(network, "feature_info", None) or []
    found = [(str(info["module"]), int(info["num_chs"])) for info in told if info["module"] in modules]
    return [Stage(name, modules[name], channels, prefix) for name, channels in found]


@contextmanager
def watched(some: Sequence[Stage]) -> Generator[dict[str, Any]]:
    """name -> what its module gives, or takes, in the calls within."""
    seen: dict[str, Any] = {}

    def keep(name: str, value: Any) -> None:
        seen[name] = value  # nothing is returned, which would take the place of the value

    handles = [
        stage.module.register_forward_pre_hook(lambda m, args, name=stage.name: keep(name, args[0]))
        if stage.before
        else stage.module.register_forward_hook(lambda m, args, output, name=stage.name: keep(name, output))
        for stage in some
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def choose(network: nn.Module, timm_part: nn.Module, inputs: Sequence[Tensor]) -> Stage | None:
    """The stage that the map is of; None where there is none of 2 x 2 places or more."""
    known = stages(timm_part)
    with watched(known) as seen:
        network(*(part[:1] for part in inputs))
    maps = [(stage, stage.places(seen.get(stage.name))) for stage in known]
    sides = [(stage, min(x.shape[2:]), seen[stage.name].dim()) for stage, x in maps if x is not None]
    large = [s for s in sides if s[1] >= FEWEST] or [s for s in sides if s[1] >= 2]
    if not large:
        return None
    stage, _, dims = large[-1]
    tokens = dims == 3 and stage.prefix > 0
    return Stage(stage.name, stage.module, stage.channels, stage.prefix, before=tokens)


def maps(network: nn.Module, stage: Stage, inputs: Sequence[Tensor], score: Callable[[Tensor], Tensor]) -> Tensor:
    """[b, h, w] in 0..1, each map's greatest value 1 unless all are 0.

    network: as it stands, in eval. inputs: pictures [b, 3, side, side], normalised, and what else the network takes.
    score(outputs [b, columns]) -> [b]: what is explained, of each row by itself. Leaves no gradients behind.
    """
    assert not network.training, "dropout and batch statistics would be in the map"
    images = inputs[0].detach().requires_grad_()  # so that a frozen network has gradients too
    with watched([stage]) as seen, torch.enable_grad():
        said = score(network(images, *inputs[1:]))
        (slope,) = torch.autograd.grad(said.sum(), [seen[stage.name]])
    values, slopes = stage.places(seen[stage.name].detach()), stage.places(slope)
    assert values is not None and slopes is not None
    weighted = (values * slopes.mean(dim=(2, 3), keepdim=True)).sum(dim=1).relu()
    return weighted / weighted.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
