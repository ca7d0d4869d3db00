"""torchvision's detectors on our trunk: RetinaNet, FCOS, Faster R-CNN.

Pictures come scaled and normalised, so the transform is left out. Below autocast the heads' outputs become float32, and
with them the anchors, losses and boxes: bfloat16 has no odd pixels above 256. Heads have group norms, because batches
are small; 8 channels a group, as 32 groups of 256 have (Wu, He 2018).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from competition.detection.anchors import Anchors
from competition.detection.trunk import DEEPEST, Trunk

NMS = 0.65  # more overlap than usual survives, because the fusion of views and folds decides later, on OOF
CANDIDATES = 1000  # boxes of a level that go into NMS
HIDDEN = 1024  # neurons of the second stage
PROPOSALS, SAMPLED = 500, 128  # of a picture, in training; torchvision's 2000 and 512 are for hundreds of objects


class AsItIs(nn.Module):
    """In place of torchvision's transform, which would scale and normalise."""

    def forward(self, images: Tensor, targets: Any) -> tuple[ImageList, Any]:
        height, width = images.shape[-2:]
        return ImageList(images, [(height, width)] * len(images)), targets

    def postprocess(self, found: list[dict[str, Tensor]], *sizes: Any) -> list[dict[str, Tensor]]:
        return found


class Grid(AnchorGenerator):
    """Our anchors at the trunk's strides: torchvision's rounds their sides, and takes for a stride the picture's side
    by the map's, which is 30 for 32 at 240 pixels."""

    def __init__(self, anchors: Anchors):
        super().__init__(anchors.sizes, (anchors.ratios,) * len(anchors.strides))
        self.strides = [[stride, stride] for stride in anchors.strides]

    def generate_anchors(
        self, scales: Any, aspect_ratios: Any, dtype: Any = torch.float32, device: Any = "cpu"
    ) -> Tensor:
        sizes = torch.as_tensor(scales, dtype=dtype, device=device)[None]
        ratios = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()[:, None]
        width, height = (sizes / ratios).flatten(), (sizes * ratios).flatten()
        return torch.stack([-width, -height, width, height], dim=1) / 2

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        self.set_cell_anchors(torch.float32, feature_maps[0].device)
        levels = self.grid_anchors([list(x.shape[-2:]) for x in feature_maps], self.strides)  # ty: ignore
        return [torch.cat(levels)] * len(image_list.image_sizes)


def float32(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.float()
    return {k: v.float() for k, v in values.items()} if isinstance(values, dict) else tuple(map(float32, values))


class RetinaHead(RetinaNetHead):
    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        return float32(super().forward(x))


class CenterHead(FCOSHead):
    """FCOS's, whose own constructor fixes the number of groups."""

    def __init__(self, channels: int, classes: int, norm: Callable[[int], nn.Module]):
        super().__init__(32, 1, classes, num_convs=0)
        self.classification_head = FCOSClassificationHead(channels, 1, classes, norm_layer=norm)
        self.regression_head = FCOSRegressionHead(channels, 1, norm_layer=norm)

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        return float32(super().forward(x))


class ProposalHead(RPNHead):
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, offsets = super().forward(x)
        return [v.float() for v in logits], [v.float() for v in offsets]


class BoxPredictor(FastRCNNPredictor):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return float32(super().forward(x))


def group_norm(channels: int) -> Callable[[int], nn.Module]:
    return functools.partial(nn.GroupNorm, channels // 8)


def retinanet(trunk: Trunk, classes: int, anchors: Anchors) -> nn.Module:
    grid, channels = Grid(anchors), trunk.out_channels
    head = RetinaHead(channels, grid.num_anchors_per_location()[0], classes, norm_layer=group_norm(channels))
    return RetinaNet(trunk, classes, anchor_generator=grid, head=head, nms_thresh=NMS)


def fcos(trunk: Trunk, classes: int, anchors: Anchors) -> nn.Module:
    points = Anchors(anchors.strides, tuple((float(stride),) for stride in anchors.strides), (1.0,))
    head = CenterHead(trunk.out_channels, classes, group_norm(trunk.out_channels))
    return FCOS(trunk, classes, anchor_generator=Grid(points), head=head, nms_thresh=NMS)


def fasterrcnn(trunk: Trunk, classes: int, anchors: Anchors) -> nn.Module:
    grid, channels = Grid(anchors), trunk.out_channels
    pool = MultiScaleRoIAlign([str(s) for s in trunk.strides if s <= DEEPEST], output_size=7, sampling_ratio=2)
    return FasterRCNN(
        trunk,
        rpn_anchor_generator=grid,
        rpn_head=ProposalHead(channels, grid.num_anchors_per_location()[0]),
        rpn_post_nms_top_n_train=PROPOSALS,
        box_batch_size_per_image=SAMPLED,
        box_roi_pool=pool,
        box_head=TwoMLPHead(channels * 49, HIDDEN),
        box_predictor=BoxPredictor(HIDDEN, classes + 1),  # 0 is no object
        box_nms_thresh=NMS,
    )


DETECTORS: dict[str, Callable[[Trunk, int, Anchors], nn.Module]] = {
    "retinanet": retinanet,
    "fcos": fcos,
    "fasterrcnn": fasterrcnn,
}


def make(name: str, trunk: Trunk, classes: int, anchors: Anchors) -> nn.Module:
    net = DETECTORS[name](trunk, classes, anchors)
    net.transform = AsItIs()
    return net
