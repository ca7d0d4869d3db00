"""A first run of a detector that ends in half an hour on this machine: a few steps are timed, size and epochs follow."""

from __future__ import annotations

import math

import numpy as np
import torch

from competition import devices
from competition.data import Data
from competition.detection import anchors, model
from competition.detection.canvas import canvas_of, targets
from competition.detection.task import DetectionTask
from competition.inspect.baseline import BUDGET, OVERHEAD, Plan, images_per_second, no_hub, noise, seen

PROBE_SIDE = 192
LARGEST = {"cpu": 320, "cuda": 640}
SMALLEST, STEP = 128, 32  # pixels; backbones halve a picture five times
RATE = 2e-3  # at a batch of 8; it goes with the root of the batch
BATCHES = ((1000, 4), (4000, 8))  # up to so many training pictures, more steps are worth more than larger ones
LARGE_BATCH = 16


def plan(data: Data) -> Plan:
    """Backbone by machine, then the largest size at which enough epochs fit, not above the pictures' own."""
    device = devices.device_of("auto")
    gpu = device.type == "cuda"
    first = DetectionTask(backbone="convnext_tiny" if gpu else "mobilenetv4_conv_small", fpn=128 if gpu else 64)
    hub = no_hub(first)
    if hub:
        first = DetectionTask(backbone="resnet50" if gpu else first.backbone, fpn=first.fpn, pretrained=False)
    enough, most = (15, 60) if hub else (8, 24)
    rate = images_of_canvas_per_second(data, first, device)

    def fits(size: int) -> float:
        return BUDGET * rate * PROBE_SIDE**2 / (OVERHEAD * seen(data) * size**2)

    longer = longer_side(data)
    largest = max(SMALLEST, min(LARGEST["cuda" if gpu else "cpu"], math.ceil(longer / STEP) * STEP))
    size = next((s for s in range(largest, SMALLEST, -STEP) if fits(s) >= enough), SMALLEST)
    epochs = max(1, min(most, math.floor(fits(size))))
    task = first.model_copy(update={"size": size, "epochs": epochs} | recipe(hub is not None, epochs, len(data.train)))
    return Plan(task, max(1.0, epochs / fits(size) * BUDGET / 60), rate, PROBE_SIDE, hub)


def images_of_canvas_per_second(data: Data, task: DetectionTask, device: torch.device) -> float:
    """Training pictures a second on a canvas of PROBE_SIDE, with the boxes and so the anchors of real ones."""
    assert data.train.sizes is not None
    canvas = canvas_of(data.train.sizes, PROBE_SIDE)
    boxes, labels = targets(data.train, data.problem.classes, canvas)
    every = np.concatenate([*boxes, np.empty((0, 4), np.float32)])
    fitted = anchors.fit(every[:, 2:] - every[:, :2])
    network = model.build(task, len(data.problem.classes), canvas, fitted).to(device=device)
    network = network.to(memory_format=torch.channels_last).train()
    some = np.linspace(0, len(boxes) - 1, batch_of(len(data.train))).round().astype(int)
    true = tuple(torch.from_numpy(boxes[i]).to(device) for i in some)
    names = tuple(torch.from_numpy(labels[i]).to(device) for i in some)
    pictures = noise(len(some), canvas, device)
    return images_per_second(lambda x: network(x, true, names), model.optimizer(network, task), pictures)


def recipe(scratch: bool, epochs: int, pictures: int) -> dict[str, float | int]:
    """Rates that suit weights from the hub and new ones; few pictures make small batches, few epochs little mosaic.

    bccd, 292 pictures, fold 0, 288 px: after 8 of 16 epochs 0.382 at a batch of 4, 0.336 at 8.
    """
    batch = batch_of(pictures)
    rates = {"lr": round(RATE * (batch / 8) ** 0.5, 4)} if scratch else {"lr": 5e-4, "head_lr": 4.0}
    return rates | {"batch": batch, "mosaic": 0.25 if epochs < 30 else 0.5}


def batch_of(pictures: int) -> int:
    return next((batch for most, batch in BATCHES if pictures <= most), LARGE_BATCH)


def longer_side(data: Data) -> float:
    """Median of the pictures' longer side, pixels; those that can't be read are passed over."""
    assert data.train.sizes is not None
    sides = data.train.sizes[["width", "height"]].dropna()
    return float(LARGEST["cpu"]) if sides.empty else float(sides.max(axis=1).median())
