"""What a trained network makes of pictures: its channels stage by stage, and where it looks (gradcam.py)."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from competition import cache, devices
from competition.image import beside, gradcam, model
from competition.image.fitting import folder_of
from competition.image.predicting import see, trained
from competition.image.task import ImageTask
from competition.pixels import normalise, pixel_rows
from competition.task import Fold, Problem, Rows, Sight, Strip

ACROSS, CHANNELS = 12, 24
STAGES = 5
SIDE = 176  # pixels of a picture with its map
CLEAR = 0.6  # of the map where it is greatest; the picture stays visible below it
DARKEST, BRIGHTEST = 0.3, 0.8  # of the colours, which begin black and end in a yellow that is lost on white
QUALITY = 80  # of WebP


class Eye:
    """A fold's trained network and how it sees rows in the plain view."""

    def __init__(self, task: ImageTask, fold: Fold):
        self.task, self.fold, self.device = task, fold, devices.device_of(task.device)
        self.network, self.notes = trained(task, fold, self.device)
        self.pictures = cache.load(folder_of(task, fold.problem))

    def inputs(self, rows: Rows) -> tuple[Tensor, ...]:
        """[b, 3, size, size] normalised, and the cells of a network that takes them."""
        assert rows.pictures is not None
        kept = torch.from_numpy(self.pictures.pictures[self.pictures.rows(rows.pictures)]).to(self.device)
        mean, std = (json.loads(self.notes[name]) for name in ("mean", "std"))
        images = normalise(kept, *pixel_rows(mean, std, kept.shape[2], self.device))
        cells = beside.cells_of(self.fold.folder, rows) if "columns" in self.notes else None
        told = () if cells is None else (torch.from_numpy(cells).to(self.device),)
        return see(images, "plain", self.task.size), *told

    def pixels(self, rows: Rows) -> np.ndarray:
        """[b, size, size, 3] uint8: the same before it is normalised."""
        assert rows.pictures is not None
        kept = torch.from_numpy(self.pictures.pictures[self.pictures.rows(rows.pictures)]).permute(0, 3, 1, 2)
        return see(kept.float(), "plain", self.task.size).permute(0, 2, 3, 1).round().clamp(0, 255).byte().numpy()


@torch.no_grad()
def features(task: ImageTask, fold: Fold, rows: Rows) -> list[Strip]:
    """The picture of the first row, and the first channels of each stage, its first and last among them."""
    eye, row = Eye(task, fold), rows.take(rows.ids[:1])
    known = gradcam.stages(model.timm_part(eye.network))
    some = [known[n] for n in np.unique(np.linspace(0, len(known) - 1, min(STAGES, len(known))).round().astype(int))]
    with gradcam.watched(some) as seen:
        eye.network(*eye.inputs(row))
    strips = [Strip(f"{row.ids[0]} as the network sees it", [Sight(eye.pixels(row)[0], "")], ACROSS)]
    for stage in some:
        places = stage.places(seen.get(stage.name))
        if places is not None and min(places.shape[2:]) > 1:
            channels, height, width = places.shape[1:]
            told = f"{stage.name}: {channels} channels of {height} x {width}, the first {min(CHANNELS, channels)}"
            sights = [Sight(shaded(channel), "") for channel in places[0, :CHANNELS].float().cpu().numpy()]
            strips.append(Strip(told, sights, ACROSS))
    return strips


def shaded(channel: np.ndarray) -> np.ndarray:
    """[h, w] -> [h, w, 3] uint8 from its least to its greatest value, in colours of even steps."""
    low, high = float(channel.min()), float(channel.max())
    grey = ((channel - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    return cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[:, :, ::-1]


def maps(task: ImageTask, fold: Fold, rows: Rows) -> pd.DataFrame | None:
    """By id: image (WebP of the picture as the network sees it, with its Grad-CAM over it) and about (what the map is of).

    None where the network's stages have no places. Rows without a picture are left out.
    """
    eye, rows = Eye(task, fold), rows.shown
    inputs = eye.inputs(rows)
    stage = gradcam.choose(eye.network, model.timm_part(eye.network), inputs)
    if stage is None:
        return None
    images, about = [], []
    for start in range(0, len(rows), task.batch):
        some = tuple(part[start : start + task.batch] for part in inputs)
        with torch.no_grad():
            chosen, names = said(eye.network(*some), fold.problem)
        looked = gradcam.maps(eye.network, stage, some, lambda outputs, chosen=chosen: (outputs * chosen).sum(dim=1))
        pixels = eye.pixels(rows.take(rows.ids[start : start + task.batch]))
        images += [webp(laid_over(*pair)) for pair in zip(pixels, looked.float().cpu().numpy(), strict=True)]
        about += names
    return pd.DataFrame({"image": images, "about": about}, index=rows.ids)


def said(outputs: Tensor, problem: Problem) -> tuple[Tensor, list[str]]:
    """What is explained of each row: factors [b, columns] of the outputs, and its name.

    Of classes the likeliest one, of labels the likeliest, of a binary answer the side that is taken, of values their sum.
    """
    if problem.kind == "regression":
        names = "greater " + ", ".join(problem.columns)
        return torch.ones_like(outputs), [names] * len(outputs)
    if problem.kind == "binary":
        positive = outputs > 0
        return positive * 2.0 - 1, [problem.classes[int(side)] for side in positive[:, 0]]
    best = outputs.argmax(dim=1)
    one_hot = torch.nn.functional.one_hot(best, outputs.shape[1]).to(outputs.dtype)
    return one_hot, [problem.columns[int(n)] for n in best]


def laid_over(pixels: np.ndarray, looked: np.ndarray) -> np.ndarray:
    """[size, size, 3] uint8 and [h, w] in 0..1 -> [SIDE, SIDE, 3] uint8: the more it looks, the less the picture shows."""
    grows = pixels.shape[0] < SIDE
    picture = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)
    share = np.clip(cv2.resize(looked.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
    bright = ((DARKEST + (BRIGHTEST - DARKEST) * share) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(bright, cv2.COLORMAP_INFERNO)[:, :, ::-1]
    clear = CLEAR * share[:, :, None]
    return (picture * (1 - clear) + colours * clear).round().astype(np.uint8)


def webp(pixels: np.ndarray) -> bytes:
    done, content = cv2.imencode(".webp", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    assert done
    return content.tobytes()
