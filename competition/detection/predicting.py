"""Finds boxes with a fold's saved detector, one test-time view at a time, in pixels of the original pictures."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from competition import cache, devices, versions
from competition.boxes.table import EDGES, PREDICTED, empty
from competition.decoding import decode, read
from competition.detection import model, tiles
from competition.detection.anchors import Anchors
from competition.detection.canvas import factors, kept, original
from competition.detection.task import DetectionTask
from competition.detection.views import TILES, VIEWS, View
from competition.pixels import normalise, pixel_rows
from competition.shaped import How, Shape
from competition.task import Fold, Problem, Rows

WHOLE = 2**31  # a side that no picture has: nothing is scaled down while decoding
Seen = tuple[Tensor, np.ndarray, np.ndarray]  # boxes [n, 4] in pixels of what was seen, scores [n], labels [n]
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes [n, 4] in original pixels, scores [n], labels [n]


@dataclass(frozen=True)
class Eye:
    """A detector and how it sees: canvas (height, width), mean and deviation of pixels in 0..1, autocast's dtype."""

    network: nn.Module
    canvas: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    dtype: torch.dtype | None

    @torch.inference_mode()
    def look(self, images: np.ndarray, see: Callable[[Tensor], Tensor]) -> list[Seen]:
        """images [b, h, w, 3] uint8 -> of each boxes [n, 4] in pixels of what `see` made of it, scores and labels."""
        rows = pixel_rows(self.mean, self.std, images.shape[2], self.device)
        shown = see(normalise(torch.from_numpy(images).to(self.device), *rows))
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            found = self.network(shown)
        return [(b.float().cpu(), s.float().cpu().numpy(), n.cpu().numpy()) for b, s, n in found]


def predict(task: DetectionTask, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
    """The table of boxes (PREDICTED) of these pictures, from `model.safetensors` in the fold's folder; none where
    there is no picture."""
    device, path = devices.device_of(task.device), fold.folder / "model.safetensors"
    classes = len(fold.problem.classes)
    eye = _eye(path, path.stat().st_mtime_ns, task.model_dump_json(), classes, device)
    return find(eye, rows.shown, fold.problem, view, task, lambda done: fold.progress(done, len(rows), f"view {view}"))


def how(problem: Problem, folder: Path) -> How:
    """How the pictures are kept that the detector in a fold's folder is shown."""
    with safe_open(folder / "model.safetensors", "pt") as f:
        height, width = json.loads(f.metadata()["canvas"])
    return How("corner", kept((height, width)), problem.reading)


def find(eye: Eye, rows: Rows, problem: Problem, view: str, task: DetectionTask,
         progress: Callable[[int], None] = lambda done: None) -> pd.DataFrame:  # fmt: skip
    """The table of boxes of these pictures, found in one view."""
    if not len(rows):
        return empty()
    looked = _tiled(eye, rows, problem, task) if view == TILES else _whole(eye, rows, problem, view, task)
    parts: list[Found] = []
    for found in looked:
        parts.append(found)
        progress(len(parts))
    counts = [len(scores) for _, scores, _ in parts]
    boxes, scores, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    table = pd.DataFrame(boxes, columns=list(EDGES), index=rows.ids.repeat(counts).rename("id"), dtype="float64")
    names = np.array(problem.classes, dtype=object)[labels]
    table = table.assign(label=pd.Series(names, index=table.index, dtype="str"), score=scores.astype("float64"))
    solid = (table["x_max"] > table["x_min"]) & (table["y_max"] > table["y_min"])
    return table.loc[solid.to_numpy(), list(PREDICTED)]


def pictures_of(problem: Problem, canvas: Shape) -> Path:
    return cache.folder_of(problem.competition, "corner", kept(canvas), problem.reading)


def _whole(eye: Eye, rows: Rows, problem: Problem, view: str, task: DetectionTask) -> Iterator[Found]:
    """Picture by picture."""
    assert rows.pictures is not None and rows.sizes is not None
    pictures, shown = cache.load(pictures_of(problem, eye.canvas)), VIEWS[view]
    positions = pictures.rows(rows.pictures)
    scale, sizes = factors(rows.sizes, eye.canvas), rows.sizes[["width", "height"]].to_numpy()
    found = _looked(eye, len(rows), lambda part: pictures.pictures[positions[part]], shown, 2 * task.batch)
    for n, (boxes, scores, labels) in enumerate(found):
        there = shown.back(boxes, eye.canvas).numpy().astype(float)
        yield original(there, scale[n], *sizes[n]), scores, labels


def _tiled(eye: Eye, rows: Rows, problem: Problem, task: DetectionTask) -> Iterator[Found]:
    """Each original in its windows; the surest `max_boxes` of all of them. Only a batch's windows are cut at a time, for
    16 x 16 of 768 x 1024 pixels would be 604 MB."""
    assert rows.pictures is not None and rows.sizes is not None
    paths, each = list(rows.pictures), task.tile**2
    spans = [
        tiles.windows(int(height), int(width), task.tile)
        for width, height in rows.sizes[["width", "height"]].to_numpy()
    ]

    @functools.lru_cache(maxsize=1)
    def decoded(n: int) -> np.ndarray:
        return decode(read(paths[n]), WHOLE, problem.reading)

    def cut(part: slice) -> np.ndarray:
        numbers = (divmod(place, each) for place in range(*part.indices(len(paths) * each)))
        return np.stack([tiles.cut(decoded(n), spans[n][window], eye.canvas) for n, window in numbers])

    found = _looked(eye, len(paths) * each, cut, VIEWS["plain"], 2 * task.batch)
    for windows in spans:
        parts = []
        for number, (boxes, scores, labels) in enumerate(islice(found, each)):
            moved, stay = tiles.back(boxes.numpy().astype(float), number, windows, eye.canvas)
            parts.append((moved[stay], scores[stay], labels[stay]))
        boxes, scores, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        best = np.argsort(-scores, kind="stable")[: task.max_boxes]
        yield boxes[best], scores[best], labels[best]


def _looked(eye: Eye, count: int, images: Callable[[slice], np.ndarray], view: View, batch: int) -> Iterator[Seen]:
    """What is found in `count` pictures, of which images(part) gives [b, h, w, 3]; halves its batch when memory runs out."""
    start = 0
    while start < count:
        try:
            found = eye.look(images(slice(start, start + batch)), lambda x: view.see(x, eye.canvas))
        except RuntimeError as e:
            if not devices.is_out_of_memory(e) or batch == 1:
                raise
            batch = max(1, batch // 2)
            continue
        yield from found
        start += len(found)


@functools.lru_cache(maxsize=1)
def _eye(path: Path, _time: int, knobs: str, classes: int, device: torch.device) -> Eye:
    """The fold's detector, kept for its other views."""
    task = DetectionTask.model_validate_json(knobs)
    with safe_open(path, "pt") as f:
        notes = f.metadata()
    height, width = json.loads(notes["canvas"])
    with versions.reading(path, versions.noted(notes) or versions.of_run(path.parent.parent), versions.MEND):
        network = model.build(task, classes, (height, width), Anchors.from_json(notes["anchors"]))
        network.load_state_dict(load_file(path))
    network = network.to(device=device).to(memory_format=torch.channels_last).eval()
    pixels = (tuple(json.loads(notes[name])) for name in ("mean", "std"))
    return Eye(network, (height, width), *pixels, device, devices.amp_dtype(task.amp, device))
