"""Fits one fold of a detection run: canvas, feed, anchors, detector, and what of them the saved weights must remember."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from competition import artifacts, backbone, cache, devices, loop
from competition.augment import check_with_boxes
from competition.detection import anchors, model, views
from competition.detection.anchors import Anchors
from competition.detection.canvas import canvas_of, extents, kept, targets
from competition.detection.feed import DetectionBatch, Feed, draw, odds_of
from competition.detection.predicting import Eye, find, pictures_of
from competition.detection.task import DetectionTask
from competition.knobs import check_views
from competition.pixels import normalise, pixel_rows
from competition.prefetch import feeders
from competition.shaped import Shape
from competition.task import Fold, Problem, Progress, Rows


def prepare(task: DetectionTask, problem: Problem, rows: Rows, progress: Progress) -> str:
    """Checks detector, augmentation and views, decodes the pictures for the canvas; the hash of all pictures."""
    devices.device_of(task.device)
    rows = rows.shown
    assert rows.pictures is not None and rows.sizes is not None
    canvas = canvas_of(rows.sizes, task.size)
    check_views(task.views, views.NAMES)
    model.check(task, len(problem.classes), canvas)
    check_with_boxes(task.augment, canvas)
    artifacts.write_json(canvas_file(task, problem), canvas)
    folder = pictures_of(problem, canvas)
    paths, on_disk = list(rows.pictures), task.cache == "disk"
    return cache.build(paths, folder, "corner", kept(canvas), progress, problem.reading, on_disk).digest


def canvas_file(task: DetectionTask, problem: Problem) -> Path:
    """The canvas of all pictures, of which a fold sees only some."""
    return artifacts.cache_folder(problem.competition) / f"canvas-{task.size}.json"


def fit(task: DetectionTask, fold: Fold) -> dict[str, Any]:
    """Trains the fold and leaves `model.safetensors`; returns the record. Raises Stopped and the loop's faults."""
    made = job(task, fold)
    draw(next(made.batches(0, 0)), fold.folder / "batch.png")
    record = loop.fit(made, task, fold)
    coverage = Anchors.from_json(made.notes["anchors"]).coverage
    return record | {"canvas": json.loads(made.notes["canvas"]), "anchor_coverage": coverage}


def job(task: DetectionTask, fold: Fold) -> loop.Job:
    """The fold's detector, batches, loss and validation; seeds torch and writes nothing."""
    torch.manual_seed(fold.seed)
    device = devices.device_of(task.device)
    height, width = artifacts.read_json(canvas_file(task, fold.problem))
    canvas = height, width
    feed, fitted = make_feed(task, fold, canvas, device)
    network = model.create(task, len(fold.problem.classes), canvas, fitted, fold.origin, fold.name)
    mean, std = backbone.data_config(network)
    backbone.freeze(network, task.freeze)
    network = network.to(device=device).to(memory_format=torch.channels_last)
    rows = pixel_rows(mean, std, canvas[1], device)

    def mean_loss(run: nn.Module, batch: DetectionBatch) -> Tensor:
        return run(normalise(batch.images, *rows), batch.boxes, batch.labels)

    def validate(run: nn.Module, epoch: int) -> float:
        assert fold.valid is not None
        was = run.training
        eye = Eye(run.eval(), canvas, mean, std, device, devices.amp_dtype(task.amp, device))
        found = find(eye, fold.valid, fold.problem, "plain", task, fold.check)
        run.train(was)
        return fold.report(epoch, found)

    return loop.Job(
        model=network,
        optimizer=model.optimizer(network, task),
        steps=feed.steps,
        rows=feed.batch,
        batches=feed.batches,
        loss=mean_loss,
        validate=validate if fold.valid is not None else None,
        notes={"backbone": task.backbone, "mean": json.dumps(mean), "std": json.dumps(std),
               "canvas": json.dumps(canvas), "anchors": fitted.to_json()},
        trunk=model.trunk_of(network),
    )  # fmt: skip


def make_feed(task: DetectionTask, fold: Fold, canvas: Shape, device: torch.device) -> tuple[Feed, Anchors]:
    """The training pictures with their boxes, and the anchors that fit these."""
    assert fold.train.pictures is not None and fold.train.sizes is not None
    pictures = cache.load(pictures_of(fold.problem, canvas))
    boxes, labels = targets(fold.train, fold.problem.classes, canvas)
    odds = odds_of(labels, fold.train.weight, task.balance == "sampling")
    rows, shown = pictures.rows(fold.train.pictures), extents(fold.train.sizes, canvas)
    workers = feeders(task.workers, device.type)
    feed = Feed(task, pictures, rows, boxes, labels, shown, canvas, fold.seed, workers, odds, fold.ranks)
    every = np.concatenate([*boxes, np.empty((0, 4), np.float32)])
    return feed, anchors.fit(every[:, 2:] - every[:, :2])
