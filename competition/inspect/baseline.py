"""A first run on pictures, with a label each, that ends in half an hour on this machine: a few training steps are timed,
and size and epochs follow. `detect_baseline.py` does the same for boxes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from competition import board, devices
from competition.backbone import check_weights
from competition.data import Data
from competition.decoding import FORMATS, BadPicture, opened
from competition.detection.task import DetectionTask
from competition.engine import cores
from competition.errors import Fault
from competition.image import model
from competition.image.task import ImageTask

BUDGET = 30 * 60
OVERHEAD = (
    1.35  # feed, validation, prediction and start-up over the bare steps; a loop keeps at least 0.8 of their rate
)
SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
PROBE_SIDE, PROBE_BATCH, PROBE_STEPS = 64, 32, 3


@dataclass(frozen=True)
class Plan:
    """rate: training pictures a second of `side` pixels. hub: why pretrained weights can't be had."""

    task: ImageTask | DetectionTask
    minutes: float
    rate: float
    side: int
    hub: Fault | None


def plan(data: Data) -> Plan:
    """Backbone by machine, then the largest size at which enough epochs fit, not above the pictures' own."""
    device = devices.device_of("auto")
    gpu = device.type == "cuda"
    backbone = "convnext_tiny" if gpu else "mobilenetv4_conv_small"
    first = ImageTask(backbone=backbone, pretrained=True)
    hub = no_hub(first)
    if hub:
        first = ImageTask(backbone="resnet34" if gpu else "resnet18", pretrained=False)
    enough, most = (15, 40) if hub else (5, 12)
    network = model.build(first, len(data.problem.columns)).to(device=device).to(memory_format=torch.channels_last)
    rate = images_per_second(
        network, model.optimizer(network, first), noise(PROBE_BATCH, (PROBE_SIDE, PROBE_SIDE), device)
    )
    sizes = [s for s in SIZES if s <= _upto(picture_side(data))]

    def fits(size: int) -> float:
        return BUDGET * rate * (PROBE_SIDE / size) ** 2 / (OVERHEAD * seen(data))

    size = next((s for s in reversed(sizes) if fits(s) >= enough), sizes[0])
    epochs = max(1, min(most, math.floor(fits(size))))
    task = first.model_copy(update={"size": size, "epochs": epochs} | recipe(hub is not None, epochs))
    return Plan(task, max(1.0, epochs / fits(size) * BUDGET / 60), rate, PROBE_SIDE, hub)


def no_hub(task: ImageTask | DetectionTask) -> Fault | None:
    """Why the pretrained weights can't be had, None where they can."""
    try:
        check_weights(task)
    except Fault as fault:
        return fault
    return None


def seen(data: Data) -> int:
    """How many training pictures one epoch of every fold looks at."""
    return len(data.train) * (data.config.folds.n - 1) * data.config.folds.repeats


def recipe(scratch: bool, epochs: int) -> dict[str, float | str | int]:
    """Rates that suit weights from the hub and new ones; mixing only where there is time to profit from it."""
    if scratch:
        return {"lr": 2e-3, "augment": "light" if epochs < 30 else "medium", "smoothing": 0.05}
    return {"lr": 5e-4, "head_lr": 5.0, "augment": "medium", "smoothing": 0.05, "mixup": 0.2 if epochs >= 8 else 0.0}


def images_per_second(
    network: Callable[[torch.Tensor], torch.Tensor], optimizer: torch.optim.Optimizer, pictures: torch.Tensor
) -> float:
    """Training pictures such as these, [b, 3, h, w], a second over the whole machine, from a few bare steps."""
    threads, device = torch.get_num_threads(), pictures.device
    if device.type == "cpu":
        torch.set_num_threads(1)
    times = []
    for _ in range(1 + PROBE_STEPS):
        began = time.perf_counter()
        network(pictures).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    at_once = max(1, torch.cuda.device_count()) if device.type == "cuda" else cores()
    return len(pictures) / float(np.median(times[1:])) * at_once


def noise(batch: int, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """[batch, 3, *shape], channels_last."""
    return torch.randn(batch, 3, *shape, device=device).to(memory_format=torch.channels_last)


def picture_side(data: Data, most: int = 50) -> int:
    """The median of the smaller side of some pictures, pixels. Unreadable ones are left to the checks of training."""
    assert data.train.pictures is not None
    sides = []
    for path in data.train.pictures.iloc[:: max(1, len(data.train) // most)]:
        try:
            with opened(path) as file, Image.open(file, formats=FORMATS) as picture:
                sides.append(min(picture.size))
        except (BadPicture, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
    return int(np.median(sides)) if sides else SIZES[-1]


def text(plan: Plan, name: str, task_name: str = "image", command: str = "submission") -> str:
    """The YAML of the plan, with its estimate. command: the target of make that runs it."""
    task = plan.task
    board.say(f"timed {plan.rate:.0f} training pictures/s at {plan.side} px ({task.backbone}): "
              f"{task.size} px, {task.epochs} epochs and all folds take about {plan.minutes:.0f} minutes here")  # fmt: skip
    why = ""
    if plan.hub:
        board.say(f"warning: pretrained: false, because weights can't be had here: {plan.hub.findings[0].found}")
        why = "   # the hub can't be reached; true, or a local weights file, scores much better"
    chosen = {
        k: v for k, v in task.model_dump(mode="json", exclude_defaults=True).items() if k not in ("views", "pretrained")
    }
    chosen = {"backbone": task.backbone, "size": task.size, "epochs": task.epochs, "symmetry": task.symmetry} | chosen
    lines = [
        f"# The first run of {name}: about {plan.minutes:.0f} minutes on the machine that wrote it.",
        f"# make {command} RUN={name}/baseline",
        f"task: {task_name}",
        f"pretrained: {str(task.pretrained).lower()}{why}",
        *(f"{k}: {v}{HINTS.get(k, '')}" for k, v in chosen.items()),
    ]
    return "\n".join(lines) + "\n"


HINTS = {"symmetry": "   # flips that keep a label: none (text, digits), horizontal (photos), all (from above)"}


def _upto(side: int) -> int:
    return next((s for s in SIZES if s >= side), SIZES[-1])
