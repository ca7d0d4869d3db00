"""A fold's network as one module from kept pictures to predictions: nothing around it need be written again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from competition import cache
from competition.image import beside
from competition.image.fitting import folder_of
from competition.image.predicting import largest, predict, see, trained
from competition.image.scale import Scale
from competition.image.task import ImageTask
from competition.image.views import kept
from competition.keys import Kind
from competition.pixels import normalise, pixel_rows
from competition.task import Fold, Graph, Rows

CPU = torch.device("cpu")


class Whole(nn.Module):
    """The plain view of a fold's network with what stands around it: normalised, scaled, and its outputs as predictions.

    pixels: mean and deviation of pixels in 0..1. side, size: of the pictures that it is given, and that the network sees.
    """

    mean: Tensor
    std: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, network: nn.Module, kind: Kind, scale: Scale, pixels: tuple, side: int, size: int):
        super().__init__()
        self.network, self.kind, self.log, self.side, self.size = network, kind, scale.log, side, size
        mean, std = pixel_rows(*pixels, side, CPU)
        for name, values in {"mean": mean, "std": std, "centre": scale.mean, "spread": scale.std}.items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))

    def forward(self, images: Tensor, cells: Tensor | None = None) -> Tensor:
        """[b, side, side, 3] uint8, RGB, and [b, features] -> [b, columns] float32.

        All pictures at once, for a graph has no loop over them; numbers are those of `normalise`.
        """
        rows = images.reshape(-1, self.side, 3 * self.side).float()
        shown = torch.addcmul(-self.mean / self.std, rows, 1 / self.std).view(-1, self.side, self.side, 3)
        return self._said(shown.permute(0, 3, 1, 2), cells)

    @torch.inference_mode()
    def eager(self, images: Tensor, cells: Tensor | None = None) -> Tensor:
        """The same as the run computes it."""
        return self._said(normalise(images, self.mean, self.std), cells)

    def _said(self, shown: Tensor, cells: Tensor | None) -> Tensor:
        seen = see(shown, "plain", self.size)
        outputs = self.network(seen) if cells is None else self.network(seen, cells)
        if self.kind in ("multiclass", "ordinal"):
            return outputs.softmax(dim=1)
        if self.kind != "regression":
            return outputs.sigmoid()
        values = outputs * self.spread + self.centre
        return values.expm1() if self.log else values


def graph(task: ImageTask, fold: Fold, rows: Rows) -> Graph:
    """Of a trained fold, on the CPU and in full precision; rows: some that have pictures."""
    task = task.model_copy(update={"device": "cpu", "amp": "off"})
    assert rows.pictures is not None
    pictures = cache.load(folder_of(task, fold.problem))
    inputs = {"images": np.array(pictures.pictures[pictures.rows(rows.pictures)])}
    network, notes = trained(task, fold, CPU)
    if "columns" in notes:
        inputs["cells"] = beside.cells_of(fold.folder, rows)
    pixels, scale = (json.loads(notes["mean"]), json.loads(notes["std"])), Scale.from_json(notes["scale"])
    side = kept(task.size)[0]
    whole = Whole(network, fold.problem.kind, scale, pixels, side, task.size).eval()
    expected = predict(task, rows, fold, "plain").to_numpy()
    about = told(task, fold, pixels, side, inputs)
    return Graph(whole, whole.eager, inputs, expected, scale.forward, largest(task, CPU), about)


def told(task: ImageTask, fold: Fold, pixels: tuple, side: int, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """What whoever runs the graph must know, as JSON."""
    problem = fold.problem
    given = {
        "images": f"[batch, {side}, {side}, 3] uint8: rows, columns, RGB of pictures that became square by `fit_to`"
    }
    if "cells" in inputs:
        which = f"{inputs['cells'].shape[1]}] float32: what {fold.folder / beside.FILE} makes of the columns "
        given["cells"] = f"[batch, {which}" + ", ".join(task.reads(problem))
    what = "values of the targets" if problem.kind == "regression" else "probabilities"
    return {
        "backbone": task.backbone,
        "kind": problem.kind,
        "classes": list(problem.classes),
        "columns": list(problem.columns),
        "side": side,
        "size": task.size,
        "fit_to": task.fit_to,
        "mean": pixels[0],
        "std": pixels[1],
        "inputs": given,
        "output": f"prediction: [batch, {len(problem.columns)}] float32: {what}, in the order of `columns`",
    }
