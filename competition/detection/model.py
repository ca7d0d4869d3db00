"""A detector: made from a task's knobs, started from weights, trained by one loss, asked for boxes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from competition import backbone
from competition.detection import heads, rtdetr
from competition.detection.anchors import Anchors
from competition.detection.task import DetectionTask
from competition.detection.trunk import WORKING, Body, Trunk, make_body
from competition.detection.views import VIEWS
from competition.errors import ConfigFault, Finding

INPUT_FAULTS = (AssertionError, RuntimeError, ValueError, TypeError)  # of timm's networks at a shape they can't take
BODY = ".body.net."  # in the names of a detector's weights, those of timm's network


class Detector(nn.Module):
    """One interface to all detectors; `net` is torchvision's or transformers', `net.backbone` the trunk."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        self.first = 1 if isinstance(net, FasterRCNN) else 0  # its label 0 is no object
        self.pretrained_cfg = net.backbone.body.net.pretrained_cfg

    def forward(
        self, images: Tensor, boxes: tuple[Tensor, ...] | None = None, labels: tuple[Tensor, ...] | None = None
    ) -> Tensor | list[tuple[Tensor, Tensor, Tensor]]:
        """images: [b, 3, h, w], normalised. boxes: [n, 4] of each picture, x_min y_min x_max y_max in pixels of these
        pictures, with width and height above 0. labels: [n] of each picture, from 0.

        In training the sum of the detector's losses, a float32 scalar; in eval of each picture boxes [n, 4], within the
        picture, scores [n] in 0..1, descending, and labels [n] from 0.
        """
        if not self.training:
            return [(d["boxes"], d["scores"], d["labels"] - self.first) for d in self.net(images)]
        assert boxes is not None and labels is not None
        targets = [{"boxes": b.float(), "labels": n.long() + self.first} for b, n in zip(boxes, labels, strict=True)]
        return torch.stack([loss.float() for loss in self.net(images, targets).values()]).sum()

    def keep(self, max_boxes: int, min_score: float) -> None:
        """Which boxes eval returns; no weight depends on it."""
        part = self.net.roi_heads if isinstance(self.net, FasterRCNN) else self.net
        part.score_thresh, part.detections_per_img = min_score, max_boxes
        if isinstance(self.net, FasterRCNN):
            self.net.rpn._post_nms_top_n["testing"] = max(heads.PROPOSALS, 3 * max_boxes)
        else:
            part.topk_candidates = max(heads.CANDIDATES, 3 * max_boxes)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """timm's question after layer groups, for layer_decay and freeze: the backbone's stages, then all the rest."""
        layers = self.net.backbone.body.layers()
        last = max(layers.values()) + 1
        return lambda name: layers.get(name.partition(BODY)[2], last)


def create(task: DetectionTask, classes: int, canvas: tuple[int, int], anchors: Anchors | None,
           origin: dict[str, str], fold: str) -> Detector:  # fmt: skip
    """A detector of `classes` classes, its weights as `pretrained` says: of the backbone from the hub, a file or an image
    run's same fold; of all that fits from a detection run's; or new.

    canvas: height and width of what it sees, pixels. anchors: None: the default ones. Raises ConfigFault MODEL-LEAK,
    MODEL-WEIGHTS, CKPT-MISMATCH, MODEL-FEATURES, MODEL-EXTRA and EnvironmentFault MODEL-HUB.
    """
    path = task.begins_with(fold, origin)
    if path is not None and _is_detector(path):
        return _load(build(task, classes, canvas, anchors), task, path)
    anchors = anchors or Anchors.default()
    make = functools.partial(make_body, task, canvas, _finest(task, anchors))
    return _assemble(task, classes, canvas, anchors, Body(backbone.create(make, task, path)))


def build(task: DetectionTask, classes: int, canvas: tuple[int, int], anchors: Anchors | None) -> Detector:
    """The same without weights."""
    anchors = anchors or Anchors.default()
    return _assemble(task, classes, canvas, anchors, Body(make_body(task, canvas, _finest(task, anchors))))


def check(task: DetectionTask, classes: int, canvas: tuple[int, int]) -> None:
    """Refuses an unknown backbone or optimizer, a size or view that it can't take, and weights that can't be had.

    The backbone's forward pass runs on torch's meta device: shapes only, no memory and no time.
    """
    backbone.check(task)
    if task.detector == "rtdetr":
        rtdetr.check()
    _takes_views(task, classes, canvas)
    backbone.check_weights(task)


def head_parameters(model: Detector) -> set[int]:
    """`id` of each parameter that is not the backbone's."""
    return {id(p) for name, p in model.named_parameters() if BODY not in name}


def optimizer(model: Detector, task: DetectionTask) -> torch.optim.Optimizer:
    return backbone.optimizer(model, task, head_parameters(model))


def trunk_of(model: Detector) -> nn.Module:
    """Backbone and pyramid, whose shapes stay; anchors are matched to another number of boxes each time."""
    return model.net.backbone


def _finest(task: DetectionTask, anchors: Anchors) -> int:
    return min(rtdetr.STRIDES if task.detector == "rtdetr" else anchors.strides)


def _assemble(task: DetectionTask, classes: int, canvas: tuple[int, int], anchors: Anchors, body: Body) -> Detector:
    if task.detector == "rtdetr":
        net = rtdetr.make(task, body, classes, canvas)
    else:
        net = heads.make(task.detector, Trunk(body, anchors.strides, task.fpn), classes, anchors)
    model = Detector(net)
    model.keep(task.max_boxes, task.min_score)
    return model


def _is_detector(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    with safe_open(path, "pt") as f:
        return any(BODY in name for name in f.keys())  # noqa: SIM118


def _load(model: Detector, task: DetectionTask, path: Path) -> Detector:
    """All weights whose shapes fit: another number of classes or anchors gets new last layers."""
    own, theirs = model.state_dict(), load_file(path)
    fits = {k: v for k, v in theirs.items() if k in own and v.shape == own[k].shape}
    body = [k for k in own if BODY in k]
    missing = sum(k not in fits for k in body)
    if missing > 0.1 * len(body):
        found = f"{missing} of {len(body)} tensors of {task.backbone} are not in the file"
        raise ConfigFault(backbone.other_network(path, found))
    model.load_state_dict(fits, strict=False)
    return model


def _takes_views(task: DetectionTask, classes: int, canvas: tuple[int, int]) -> None:
    """Raises ConfigFault MODEL-FEATURES, and MODEL-INPUT where the backbone fails at the shape of the canvas or of a view,
    or cuts a rest off."""
    plain = task.model_copy(update={"detector": "retinanet"})  # all have the same backbone
    try:
        with torch.device("meta"):
            model = build(plain, classes, canvas, None).eval()
        _look(model, canvas)
        backbone.check_freeze(backbone.layer_groups(model), task)
    except INPUT_FAULTS as e:
        mend = f"size: {-(-task.size // 32) * 32 + 32}, or another backbone, such as {WORKING}"
        raise ConfigFault(_not_taken(task, "size", str(task.size), canvas, e, mend)) from None
    faults = []
    for name in (n for n in task.views if n in VIEWS):
        shape = VIEWS[name].shape(canvas)
        try:
            _look(model, shape)
        except INPUT_FAULTS as e:
            mend = f"leave {name} out, or another backbone, such as {WORKING}"
            faults.append(_not_taken(task, "views", name, shape, e, mend))
    if faults:
        raise ConfigFault(*faults)


def _look(model: Detector, shape: tuple[int, int]) -> None:
    """The trunk's forward pass on the meta device; raises where it fails, ValueError where a map lacks places."""
    with torch.device("meta"):
        maps = model.net.backbone(torch.zeros(1, 3, *shape))
    for name, x in maps.items():
        places = tuple(-(-side // int(name)) for side in shape)
        if tuple(x.shape[2:]) != places:
            raise ValueError(f"its map of stride {name} has {tuple(x.shape[2:])} places, not {places}")


def _not_taken(
    task: DetectionTask, key: str, value: str, shape: tuple[int, int], error: Exception, mend: str
) -> Finding:
    found = f"{task.backbone} at {shape[1]} x {shape[0]} pixels: {str(error).splitlines()[0][:200]}"
    return backbone.finding("MODEL-INPUT", key, value, found, mend)
