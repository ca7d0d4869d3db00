"""Predicts rows with a fold's saved weights, one test-time view at a time."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from competition import cache, devices, versions
from competition.image import beside, model
from competition.image.scale import Scale
from competition.image.task import ImageTask
from competition.image.views import VIEWS, kept
from competition.knobs import Training
from competition.pixels import normalise, pixel_rows
from competition.task import Fold, Problem, Rows

PIXELS = 2**25  # of a batch on a GPU: 2,048 pictures of 128, 668 of 224
CACHED = 2**19  # of one on a CPU: 128 pictures of 64, 32 of 128


def predict(task: ImageTask, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
    """[rows, problem.columns] by id, from `model.safetensors` in the fold's folder; the mean of the fold's training
    labels where there is no picture."""
    device = devices.device_of(task.device)
    network, notes = trained(task, fold, device)
    folder = cache.folder_of(fold.problem.competition, task.fit_to, kept(task.size), fold.problem.reading)
    pictures, shown = cache.load(folder), rows.shown
    pixels = json.loads(notes["mean"]), json.loads(notes["std"])

    def progress(done: int) -> None:
        fold.progress(done, len(rows), f"view {view}")

    columns = list(fold.problem.columns)
    assert fold.train.truth is not None
    mean = fold.train.truth[columns].mean().to_numpy()
    table = pd.DataFrame(np.tile(mean, (len(rows), 1)), rows.ids, columns)
    if len(shown):
        cells = beside.cells_of(fold.folder, shown) if "columns" in notes else None
        outputs = forward(network, pictures, shown, task, view, pixels, device, cells, progress)
        table.loc[shown.ids] = to_table(outputs, shown.ids, fold.problem, Scale.from_json(notes["scale"]))
    return table


def trained(task: ImageTask, fold: Fold, device: torch.device) -> tuple[nn.Module, dict[str, str]]:
    """The fold's network in eval, and what its weights remember."""
    path, outputs = fold.folder / "model.safetensors", len(fold.problem.columns)
    return _network(path, path.stat().st_mtime_ns, task.backbone, task.size, outputs, device)


@torch.inference_mode()
def forward(network: nn.Module, pictures: cache.Cache, rows: Rows, task: ImageTask, view: str,
            pixels: tuple[Sequence[float], Sequence[float]], device: torch.device, cells: np.ndarray | None = None,
            progress: Callable[[int], None] = lambda done: None) -> Tensor:  # fmt: skip
    """[rows, columns] raw outputs on the CPU, float32. Halves its batch when memory runs out.

    cells: [rows, features] of table columns, for a network that takes them.
    """
    assert rows.pictures is not None
    positions, batch, start, parts = pictures.rows(rows.pictures), largest(task, device), 0, []
    mean, std = pixel_rows(*pixels, pictures.pictures.shape[2], device)
    dtype = devices.amp_dtype(task.amp, device)
    while start < len(positions):
        try:
            some = slice(start, start + batch)
            images = torch.from_numpy(pictures.pictures[positions[some]]).to(device)
            told = () if cells is None else (torch.from_numpy(cells[some]).to(device),)
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                parts.append(network(see(normalise(images, mean, std), view, task.size), *told).float().cpu())
        except RuntimeError as e:
            if not devices.is_out_of_memory(e) or batch == 1:
                raise
            batch = max(1, batch // 2)
            continue
        start += batch
        progress(min(start, len(positions)))
    return torch.cat(parts)


def largest(task: ImageTask, device: torch.device) -> int:
    """Rows that are looked at together before memory has said anything: on a GPU enough to fill it, 4 times the batch of
    training at least. On a CPU more are no faster: mobilenetv4_conv_small takes 1.66 ms a picture of 64 px by 32, 1.49 by
    128, 1.53 by 256."""
    return (
        max(4 * task.batch, PIXELS // task.size**2)
        if device.type == "cuda"
        else max(task.batch, CACHED // task.size**2)
    )


def see(images: Tensor, view: str, size: int) -> Tensor:
    """[b, 3, side, side] -> [b, 3, size, size]: the view, scaled to what the network sees."""
    seen = VIEWS[view](images)
    if seen.shape[-1] != size:
        seen = functional.interpolate(seen, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return seen.contiguous(memory_format=torch.channels_last)


def to_table(outputs: Tensor, ids: pd.Index, problem: Problem, scale: Scale) -> pd.DataFrame:
    """Raw outputs -> probabilities or values, by id."""
    if problem.kind in ("multiclass", "ordinal"):
        values = outputs.double().softmax(dim=1).numpy()
    elif problem.kind == "regression":
        values = scale.back(outputs.double().numpy())
    else:
        values = outputs.double().sigmoid().numpy()
    return pd.DataFrame(np.asarray(values), index=ids, columns=list(problem.columns))


@functools.lru_cache(maxsize=1)
def _network(
    path: Path, _time: int, backbone: str, size: int, outputs: int, device: torch.device
) -> tuple[nn.Module, dict]:
    """The fold's network, kept for its other views."""
    with safe_open(path, "pt") as f:
        notes = f.metadata()
    with versions.reading(path, versions.noted(notes) or versions.of_run(path.parent.parent), versions.MEND):
        network, weights = model.build(Training(backbone=backbone, size=size), outputs), load_file(path)
        if "columns" in notes:
            network = model.WithColumns(network, weights["branch.0.weight"].shape[1], outputs)
        network.load_state_dict(weights)
    return network.to(device=device).to(memory_format=torch.channels_last).eval(), notes
