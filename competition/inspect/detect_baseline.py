"""A first run of a detector that ends in half an hour on this machine: backbone steps are timed, size and epochs follow."""

from __future__ import annotations

import math

import timm
from timm.optim import create_optimizer_v2

from competition import loop
from competition.data import Data
from competition.detection.task import DetectionTask
from competition.inspect.baseline import BUDGET, OVERHEAD, Plan, images_per_second, no_hub, seen

PROBE_SIDE, PROBE_BATCH = (
    192,
    8,
)  # a CPU does 20.4 pictures/s of mobilenet at 192 px, 10.5 at 320: small ones cost more a pixel
LARGEST = {"cpu": 320, "cuda": 640}
SMALLEST, STEP = 128, 32  # pixels; backbones halve a picture five times
# A step of torchvision's RetinaNet over one of its backbone alone: pyramid, head, anchors and loss. One thread of a CPU,
# batch 4, 320 px, 9 anchors on 3 levels, pyramid of 64 channels (mobilenet) and 128 (resnet50, taken for convnext too).
WHOLE = {"mobilenetv4_conv_small": 2.1, "resnet50": 1.3, "convnext_tiny": 1.3}
FEW = 2000  # training pictures below which small batches make enough steps


def plan(data: Data) -> Plan:
    """Backbone by machine, then the largest size at which enough epochs fit, not above the pictures' own."""
    device = loop.device_of("auto")
    gpu = device.type == "cuda"
    first = DetectionTask(backbone="convnext_tiny" if gpu else "mobilenetv4_conv_small", fpn=128 if gpu else 64)
    hub = no_hub(first)
    if hub:
        first = DetectionTask(backbone="resnet50" if gpu else first.backbone, fpn=first.fpn, pretrained=False)
    enough, most = (15, 60) if hub else (8, 24)
    network = timm.create_model(first.backbone, features_only=True)
    rate = images_per_second(
        network, create_optimizer_v2(network, opt=first.opt, lr=1e-4), device, PROBE_SIDE, PROBE_BATCH
    )
    longer, shorter = picture_sides(data)

    def fits(size: int) -> float:
        pixels = size * size * shorter / longer
        return BUDGET * rate * PROBE_SIDE**2 / (WHOLE[first.backbone] * OVERHEAD * seen(data) * pixels)

    largest = max(SMALLEST, min(LARGEST["cuda" if gpu else "cpu"], math.ceil(longer / STEP) * STEP))
    size = next((s for s in range(largest, SMALLEST, -STEP) if fits(s) >= enough), SMALLEST)
    epochs = max(1, min(most, math.floor(fits(size))))
    task = first.model_copy(update={"size": size, "epochs": epochs} | recipe(hub is not None, epochs, len(data.train)))
    return Plan(task, max(1.0, epochs / fits(size) * BUDGET / 60), rate, PROBE_SIDE, hub)


def recipe(scratch: bool, epochs: int, pictures: int) -> dict[str, float | int]:
    """Rates that suit weights from the hub and new ones; few pictures make small batches, few epochs little mosaic."""
    rates = {"lr": 2e-3} if scratch else {"lr": 5e-4, "head_lr": 4.0}
    return rates | {"batch": 8 if pictures < FEW else 16, "mosaic": 0.25 if epochs < 30 else 0.5}


def picture_sides(data: Data) -> tuple[float, float]:
    """Medians of the pictures' longer and shorter sides, pixels; those that can't be read are passed over."""
    assert data.train.sizes is not None
    sides = data.train.sizes[["width", "height"]].dropna()
    if sides.empty:
        return float(LARGEST["cpu"]), float(LARGEST["cpu"])
    return float(sides.max(axis=1).median()), float(sides.min(axis=1).median())
