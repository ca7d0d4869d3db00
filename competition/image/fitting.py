"""Fits one fold of an image run: feed, model, loss, and what of them the saved weights must remember."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from competition import artifacts, backbone, cache, devices, loop
from competition.augment import check as check_augment
from competition.errors import ConfigFault, Finding
from competition.image import beside, model
from competition.image.beside import Beside
from competition.image.feed import Feed, ImageBatch, smooth
from competition.image.predicting import forward, to_table
from competition.image.scale import Scale
from competition.image.supply import supply_of
from competition.image.task import ImageTask
from competition.image.views import VIEWS, kept
from competition.knobs import check_views
from competition.pixels import normalise, pixel_rows
from competition.task import Fold, Problem, Progress, Rows


def prepare(task: ImageTask, problem: Problem, rows: Rows, progress: Progress) -> str:
    """Checks model, augmentation and views, decodes the pictures; the hash of all pictures."""
    devices.device_of(task.device)
    model.check(task, len(problem.columns), columns=task.columns is not None)
    beside.check(task, problem, rows)
    check_augment(task.augment, task.size, kept(task.size)[0])
    check_views(task.views, VIEWS)
    folder, shape = folder_of(task, problem), kept(task.size)
    on_disk = task.cache == "disk"
    return cache.build(paths_of(rows), folder, task.fit_to, shape, progress, problem.reading, on_disk).digest


def paths_of(rows: Rows) -> list[str]:
    if rows.pictures is None:
        raise ConfigFault(
            Finding(
                code="IMG-TEMPLATE",
                what="the competition names no pictures",
                where="competition.yaml, key image",
                found="no `image:`",
                mend='say where a row\'s picture lies: `image: "images/{id}.jpg"`',
            )
        )
    return list(rows.pictures[rows.pictures != ""])


def folder_of(task: ImageTask, problem: Problem) -> Path:
    return cache.folder_of(problem.competition, task.fit_to, kept(task.size), problem.reading)


def fit(task: ImageTask, fold: Fold) -> dict[str, Any]:
    """Trains the fold and leaves `model.safetensors`; returns the record. Raises Stopped and the loop's faults."""
    made = job(task, fold)
    draw(next(made.batches(0, 0)), fold.folder / "batch.png")
    return loop.fit(made, task, fold)


def job(task: ImageTask, fold: Fold) -> loop.Job:
    """The fold's network, batches, loss and validation; seeds torch and writes nothing."""
    torch.manual_seed(fold.seed)
    device = devices.device_of(task.device)
    pictures = cache.load(folder_of(task, fold.problem))
    scale = Scale.of(fold.problem, fold.train)
    told = None if task.columns is None else beside.fit(task, fold)
    feed = make_feed(task, fold, pictures, scale, device, told)
    features = None if told is None else told.cells.shape[1]
    network = model.create(task, len(fold.problem.columns), fold.origin, fold.name, features)
    mean, std = backbone.data_config(model.timm_part(network))
    backbone.freeze(model.timm_part(network), task.freeze)
    network = network.to(device=device).to(memory_format=torch.channels_last)
    rows = pixel_rows(mean, std, task.size, device)
    loss = loss_of(fold.problem, task)

    def mean_loss(run: nn.Module, batch: ImageBatch) -> Tensor:
        seen = normalise(batch.images, *rows)
        outputs = run(seen) if told is None else run(seen, batch.cells)
        return loss(outputs, batch.targets, batch.weights)

    valid_cells = told.features.transform(fold.valid.table).values if told and fold.valid else None

    def validate(run: nn.Module, epoch: int) -> float:
        assert fold.valid is not None
        was = run.training
        outputs = forward(run.eval(), pictures, fold.valid, task, "plain", (mean, std), device, valid_cells, fold.check)
        run.train(was)
        return fold.report(epoch, to_table(outputs, fold.valid.ids, fold.problem, scale))

    return loop.Job(
        model=network,
        optimizer=model.optimizer(network, task),
        steps=feed.steps,
        rows=feed.batch,
        batches=feed.batches,
        loss=mean_loss,
        validate=validate if fold.valid is not None else None,
        notes={"backbone": task.backbone, "mean": json.dumps(mean), "std": json.dumps(std), "scale": scale.to_json()}
        | ({"columns": told.note} if told else {}),
        beside={beside.FILE: beside.to_bytes(told)} if told else {},
    )


def make_feed(
    task: ImageTask, fold: Fold, pictures: cache.Cache, scale: Scale, device: torch.device, told: Beside | None
) -> Feed:
    assert fold.train.truth is not None and fold.train.pictures is not None
    truth = fold.train.truth[list(fold.problem.columns)].to_numpy()
    weights = np.ones(len(truth)) if fold.train.weight is None else fold.train.weight.to_numpy()
    rarity = rarities(truth, fold.problem) if task.balance != "none" else None
    if task.balance == "weights" and rarity is not None:
        weights = weights * rarity / rarity.mean()
    odds = rarity / rarity.sum() if task.balance == "sampling" and rarity is not None else None
    paths, cells = fold.train.pictures, None if told is None else told.cells
    supply = supply_of(task, pictures.pictures, pictures.rows(paths), fold.seed, device)
    return Feed(task, supply, list(paths), scale.forward(truth), weights, odds, fold.seed, cells, fold.ranks)


def rarities(truth: np.ndarray, problem: Problem) -> np.ndarray:
    """[rows]: one over the share of the row's class; of its rarest label (multilabel); 1 for regression."""
    if problem.kind == "regression":
        return np.ones(len(truth))
    if problem.kind == "binary":
        truth = np.hstack([1 - truth, truth])
    share = truth.mean(axis=0).clip(1 / len(truth))
    if problem.kind == "multilabel":
        return np.where(truth > 0.5, 1 / share, 1.0).max(axis=1)
    return 1 / share[truth.argmax(axis=1)]


def loss_of(problem: Problem, task: ImageTask) -> Any:
    """(outputs [b, columns], targets [b, columns], weights [b]) -> mean loss, by the kind of what is predicted."""

    def weighted(rows: Tensor, weights: Tensor) -> Tensor:
        return (rows * weights).mean()

    def cross_entropy(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return weighted(
            functional.cross_entropy(outputs.float(), smooth(targets, task.smoothing), reduction="none"), weights
        )

    def binary(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        rows = functional.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="none")
        return weighted(rows.mean(dim=1), weights)

    def huber(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return weighted(functional.huber_loss(outputs.float(), targets, reduction="none").mean(dim=1), weights)

    return {
        "multiclass": cross_entropy,
        "ordinal": cross_entropy,
        "binary": binary,
        "multilabel": binary,
        "regression": huber,
    }[problem.kind]


def draw(batch: ImageBatch, path: Path) -> None:
    """The first batch as the network sees it, on one sheet: mistakes in augmentation are seen, not read."""
    images = batch.images[:32].cpu().numpy()
    columns = min(8, len(images))
    blank = np.zeros((-len(images) % columns, *images.shape[1:]), np.uint8)
    grid = np.concatenate([images, blank]).reshape(-1, columns, *images.shape[1:])
    sheet = np.vstack([np.hstack(list(row)) for row in grid])
    done, data = cv2.imencode(".png", sheet[:, :, ::-1])
    assert done
    artifacts.write_bytes(path, data.tobytes())
