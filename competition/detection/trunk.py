"""The trunk of a detector: a timm backbone's feature maps, and the feature pyramid (Lin et al. 2017) over them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

from competition import backbone
from competition.errors import ConfigFault
from competition.knobs import Training

DEEPEST = 32  # the stride that backbones end with; deeper levels are made of that one
MAPS = (8, 16, DEEPEST)
ANY_SIZE = {"strict_img_size": False}  # Swin's word for a network that is shown other sizes than its own
WORKING = "resnet18, mobilenetv4_conv_small, efficientnet_b0, convnext_atto, swin_tiny_patch4_window7_224"


class Body(nn.Module):
    """timm's `features_only` model: [b, 3, h, w] -> [b, channels, h / stride, w / stride] of each of `strides`."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        self.strides: list[int] = net.feature_info.reduction()
        self.channels: list[int] = net.feature_info.channels()
        self.channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")  # Swin

    def forward(self, images: Tensor) -> list[Tensor]:
        return [x.permute(0, 3, 1, 2) if self.channels_last else x for x in self.net(images)]

    def layers(self) -> dict[str, int]:
        """The layer group of each parameter: 0 up to the backbone's first feature map, 1 up to the next, ..."""
        ends = [info["module"].replace(".", "_") + "_" for info in self.net.feature_info.info]
        layers, group, inside = {}, 0, -1
        for name, _ in self.net.named_parameters():
            at = next((n for n, end in enumerate(ends) if name.replace(".", "_").startswith(end)), None)
            if at is not None:
                group = inside = at
            elif inside == group:  # left the stage that ends with this map
                group += 1
            layers[name] = group
        return layers


class Trunk(nn.Module):
    """[b, 3, h, w] -> name: [b, out_channels, h / stride, w / stride], of each of `strides`, the finest first."""

    def __init__(self, body: Body, strides: Sequence[int], channels: int):
        super().__init__()
        self.body, self.strides, self.out_channels = body, tuple(strides), channels
        self.pyramid = FeaturePyramidNetwork(body.channels, channels)
        for n, stride in enumerate(body.strides):
            if stride not in strides and max(strides) <= DEEPEST:  # gives its part to the finer maps only
                self.pyramid.layer_blocks[n] = nn.Identity()
        deeper = [nn.Conv2d(channels, channels, 3, 2, 1) for stride in strides if stride > DEEPEST]
        for conv in deeper:
            nn.init.kaiming_uniform_(conv.weight, a=1)
        self.deeper = nn.ModuleList(deeper)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = OrderedDict(zip(self.body.strides, self.body(images), strict=True))
        maps = self.pyramid(maps)
        for n, conv in enumerate(self.deeper):
            last = maps[DEEPEST * 2**n]
            maps[DEEPEST * 2 ** (n + 1)] = conv(functional.relu(last) if n else last)
        return OrderedDict((str(stride), maps[stride]) for stride in self.strides)


def make_body(knobs: Training, canvas: tuple[int, int], first: int, **more: Any) -> nn.Module:
    """timm's `features_only` model, its maps from stride `first` on.

    canvas: height and width of what it sees, pixels; views have other ones. more: arguments of timm.create_model. Raises
    ConfigFault MODEL-FEATURES where the backbone has no maps of strides 8, 16 and 32.
    """
    arguments: dict[str, Any] = backbone.arguments(knobs, canvas) | {"features_only": True}
    if "img_size" in arguments and _takes(knobs.backbone, arguments | ANY_SIZE):
        arguments |= ANY_SIZE
    try:
        with torch.device("meta"):
            meta: Any = timm.create_model(knobs.backbone, **arguments)
        strides = meta.feature_info.reduction()
    except (RuntimeError, AttributeError) as e:
        raise _flat(knobs, str(e).splitlines()[0][:200]) from None
    if not set(MAPS) <= set(strides):
        raise _flat(knobs, f"its feature maps have strides {', '.join(map(str, strides))}")
    indices = [strides.index(stride) for stride in MAPS if stride >= min(first, DEEPEST)]
    return timm.create_model(knobs.backbone, out_indices=indices, **arguments, **more)


def _takes(name: str, arguments: dict[str, Any]) -> bool:
    """Whether a backbone's constructor knows these arguments."""
    try:
        with torch.device("meta"):
            timm.create_model(name, **arguments)
    except TypeError:
        return False
    except (RuntimeError, AttributeError):  # another fault, which the caller tells
        return True
    return True


def _flat(knobs: Training, found: str) -> ConfigFault:
    found = f"{found}; a detector needs those of strides {', '.join(map(str, MAPS))}"
    return ConfigFault(backbone.finding("MODEL-FEATURES", "backbone", knobs.backbone, found, f"such as {WORKING}"))
