"""RT-DETRv2 (Lv et al. 2024) of transformers on our backbone, behind the interface of torchvision's detectors.

Weights: the backbone's (hub, local file, image run) or a whole detector's of a run of ours. Files of transformers' own
detectors, trained on COCO, are not loaded: their backbones are others than timm's.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from competition.detection.task import DetectionTask
from competition.detection.trunk import Body
from competition.detection.views import VIEWS
from competition.errors import ConfigFault, Finding

STRIDES = (8, 16, 32)
QUERIES = 300
INSTALL = ".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra detr"
SHARED = ("class_embed.", "bbox_embed.")  # the decoder has them by a second name, which safetensors refuses


def check() -> None:
    """Raises ConfigFault MODEL-EXTRA where transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigFault(
            Finding(
                code="MODEL-EXTRA",
                what="the detector can't be made here",
                where="key detector: rtdetr",
                found="transformers is not installed",
                mend=f"{INSTALL}, or detector: retinanet",
            )
        )


class Encoder(nn.Module):
    """In place of transformers' backbone: maps and masks, whose places all count."""

    def __init__(self, body: Body):
        super().__init__()
        self.body = body

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        return [(x, x.new_ones(x[:, 0].shape, dtype=torch.bool)) for x in self.body(pixel_values)]


class RTDETR(nn.Module):
    score_thresh, detections_per_img = 0.0, QUERIES

    def __init__(self, network: Any, body: Body):
        super().__init__()
        network.model.backbone = Encoder(body)
        self.network = network
        self.register_state_dict_post_hook(_drop_second_names)
        self.register_load_state_dict_pre_hook(_add_second_names)

    @property
    def backbone(self) -> nn.Module:
        return self.network.model.backbone

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        height, width = images.shape[-2:]
        sides = torch.tensor([width, height, width, height], device=images.device)
        if targets is not None:
            centers = [box_convert(t["boxes"], "xyxy", "cxcywh") / sides for t in targets]
            labels = [{"class_labels": t["labels"], "boxes": c} for t, c in zip(targets, centers, strict=True)]
            return {"loss": self.network(pixel_values=images, labels=labels).loss}
        out = self.network(pixel_values=images)
        boxes = box_convert(out.pred_boxes.float(), "cxcywh", "xyxy") * sides
        boxes = clip_boxes_to_image(boxes, (height, width))
        return [self._surest(n, b) for n, b in zip(out.logits.float().sigmoid(), boxes, strict=True)]

    def _surest(self, scores: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """scores: [queries, classes]; boxes: [queries, 4]."""
        best, place = scores.flatten().topk(min(self.detections_per_img, scores.numel()))
        place = place[best > self.score_thresh]
        query, label = place // scores.shape[1], place % scores.shape[1]
        return {"boxes": boxes[query], "scores": best[: len(place)], "labels": label}


def make(task: DetectionTask, body: Body, classes: int, canvas: tuple[int, int]) -> RTDETR:
    """transformers makes a backbone of its own from the configuration, which ours then takes the place of."""
    check()
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection, TimmBackboneConfig  # ty: ignore

    indices = list(body.net.feature_info.out_indices)
    theirs = TimmBackboneConfig(backbone=task.backbone, out_indices=indices, use_pretrained_backbone=False)
    height, width = VIEWS["small"].shape(canvas)  # no view has fewer places, and each query starts from one
    places = sum(-(-height // stride) * -(-width // stride) for stride in STRIDES)
    config = RTDetrV2Config(
        backbone_config=theirs,
        freeze_backbone_batch_norms=False,
        num_labels=classes,
        num_queries=min(QUERIES, places),
        d_model=task.fpn,
        encoder_hidden_dim=task.fpn,
        encoder_in_channels=list(body.channels),
        encoder_ffn_dim=4 * task.fpn,
        decoder_in_channels=[task.fpn] * len(STRIDES),
        decoder_ffn_dim=4 * task.fpn,
        feat_strides=list(STRIDES),
    )
    return RTDETR(RTDetrV2ForObjectDetection(config), body)


def _drop_second_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in SHARED:
        for key in [k for k in state if k.startswith(f"{prefix}network.model.decoder.{name}")]:
            del state[key]


def _add_second_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in SHARED:
        for key in [k for k in state if k.startswith(f"{prefix}network.{name}")]:
            rest = key.removeprefix(f"{prefix}network.{name}")
            state[f"{prefix}network.model.decoder.{name}{rest}"] = state[key]
