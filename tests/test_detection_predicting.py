"""From files to boxes in pixels of the original: every view, size, orientation and tile, by a detector that sees colours."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BACKBONE, write
from PIL import Image
from torch import Tensor, nn

from competition import artifacts
from competition.boxes.table import EDGES, PREDICTED
from competition.data import Data, load
from competition.detection import fitting, model
from competition.detection.predicting import Eye, find
from competition.detection.task import DetectionTask
from competition.detection.views import TILES, VIEWS
from competition.errors import ConfigFault
from competition.task import together

COLOURS = {"red": 0, "blue": 2}  # a class is its channel
SHAPES = ((150, 200), (200, 150), (131, 170), (480, 640), (110, 240), (64, 64))
TURNED = {
    1: 0,
    3: 2,
    6: 1,
    8: -1,
}  # EXIF orientation: quarters that np.rot90 turns an upright picture to have it stored
LARGEST_EDGE_FAULT = 1.5  # pixels of the original, or of what was seen where that is coarser


class Spotter(nn.Module):
    """A detector: the smallest box around all red, and around all blue. Out of memory with more than `room` pictures."""

    def __init__(self, room: int = 10**6):
        super().__init__()
        self.room, self.most = room, 0

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("this many pictures")
        self.most = max(self.most, len(images))
        return [self.spot(image) for image in images]

    def spot(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, labels = [], []
        for label, channel in enumerate(COLOURS.values()):
            ys, xs = torch.nonzero(image[channel] - image[1] > 0.5, as_tuple=True)  # grey around pictures is no colour
            if len(ys):
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                labels.append(label)
        return torch.tensor(boxes).reshape(-1, 4), torch.linspace(0.9, 0.5, len(boxes)), torch.tensor(labels, dtype=int)


@pytest.fixture
def made(workspace: Path) -> Callable[..., Data]:
    """A competition of pictures in many shapes, each with a red and a blue box, some with an EXIF note that turns them."""

    def make(upright: bool = True, shapes: tuple[tuple[int, int], ...] = SHAPES * 2) -> Data:
        rng, lines = np.random.default_rng(0), []
        Path("data/images").mkdir(parents=True)
        for n, (height, width) in enumerate(shapes):
            picture = np.zeros((height, width, 3), np.uint8)
            for half, (label, channel) in enumerate(COLOURS.items()):
                w, h = (
                    int(rng.integers(side // 14, side // 10)) for side in (width, height)
                )  # less than tiles overlap
                x = half * width // 2 + int(rng.integers(0, width // 2 - w))
                y = int(rng.integers(0, height - h))
                picture[y : y + h, x : x + w, channel] = 255
                lines.append((f"{n:02d}", label, x, y, x + w, y + h))
            turn, tags = list(TURNED)[n % len(TURNED)], Image.Exif()
            tags[0x0112] = turn
            stored = np.rot90(picture, TURNED[turn]) if upright else picture
            image = Image.fromarray(np.ascontiguousarray(stored))
            image.save(f"data/images/{n:02d}.jpg", exif=tags, quality=98, subsampling=0)
        pd.DataFrame(lines, columns=["id", "label", *EDGES]).to_csv("data/train.csv", index=False)
        image.save("data/images/test.jpg")
        Path("data/test.csv").write_text("id\ntest\n")
        Path("data/sample_submission.csv").write_text("id,PredictionString\ntest,red 0.5 0 0 10 10\n")
        values = {"data": "data", "id": "id", "target": "label", "kind": "boxes", "metric": "map50",
                  "image": "images/{id}.jpg", "classes": list(COLOURS), "boxes": {"upright": upright}}  # fmt: skip
        write("configs/toy/competition.yaml", values)
        load.cache_clear()
        return load("toy")

    return make


def ready(data: Data, **knobs: object) -> tuple[DetectionTask, tuple[int, int]]:
    """A task whose caches are filled, and its canvas."""
    plain = {"backbone": BACKBONE, "pretrained": False, "batch": 2, "tile": 2, "views": ["plain", "tiles"]}
    task = DetectionTask.model_validate(plain | knobs)
    task.prepare(data.problem, together(data.train, data.test), lambda *_: None)
    height, width = artifacts.read_json(fitting.canvas_file(task, data.problem))
    return task, (height, width)


def look(data: Data, view: str, network: Spotter, task: DetectionTask, canvas: tuple[int, int]) -> pd.DataFrame:
    eye = Eye(network, canvas, (0.0,) * 3, (1.0,) * 3, torch.device("cpu"), None)
    return find(eye, data.train, data.problem, view, task)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("size", [128, pytest.param(416, marks=pytest.mark.slow)])
def test_boxes_are_where_they_are_in_the_original(made: Callable[..., Data], size: int, upright: bool):
    data = made(upright)
    truth, sizes = data.train.truth, data.train.sizes
    assert truth is not None and sizes is not None
    task, canvas = ready(data, size=size)
    for view in (*VIEWS, TILES):
        found = look(data, view, Spotter(), task, canvas)
        assert list(found.columns) == list(PREDICTED)
        for (name, label), box in truth.set_index("label", append=True)[list(EDGES)].iterrows():
            ours = found.loc[[name]].loc[found.loc[[name], "label"] == label, list(EDGES)].to_numpy()
            assert len(ours) == 1 or (view == TILES and len(ours)), (view, name, label)
            width, height = sizes.loc[name, ["width", "height"]]
            scale = min(canvas[0] / height, canvas[1] / width) * (1.8 if view == TILES else VIEWS[view].scale)
            fault = np.abs(ours - box.to_numpy(float)).max() * min(1.0, scale)
            assert fault <= LARGEST_EDGE_FAULT, (view, name, label, ours, box.tolist())
        assert not set(found.index) - set(truth.index)


@pytest.mark.parametrize("view", ["plain", TILES])
def test_memory_that_runs_out_halves_the_batch_and_changes_nothing(made: Callable[..., Data], view: str):
    data, free, narrow = made(shapes=SHAPES), Spotter(), Spotter(room=3)
    task, canvas = ready(data, size=128, batch=3)
    whole = look(data, view, free, task, canvas)
    pd.testing.assert_frame_equal(look(data, view, narrow, task, canvas), whole)
    assert len(whole) >= 2 * len(SHAPES)
    assert (free.most, narrow.most) == (6, 3)
    with pytest.raises(torch.OutOfMemoryError):
        look(data, view, Spotter(room=0), task, canvas)


def test_windows_are_cut_a_batch_at_a_time(made: Callable[..., Data]):
    """256 canvases of 128 x 128 are 12.6 MB, as float 50; four of them and the picture are 0.3 and 0.8."""
    data, network = made(shapes=((150, 200), (200, 150))), Spotter()
    task, canvas = ready(data, size=128, tile=16)
    tracemalloc.start()
    look(data, TILES, network, task, canvas)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6
    assert network.most == 4


# ---- backbones that are made for one size

SWIN = "swin_tiny_patch4_window7_224"


@pytest.mark.slow
def test_swin_sees_every_view():
    canvas = (64, 96)
    task = DetectionTask(backbone=SWIN, pretrained=False, size=96, fpn=16, views=(*VIEWS, TILES))
    model.check(task, 2, canvas)
    network = model.build(task, 2, canvas, None).eval()
    eye = Eye(network, canvas, (0.5,) * 3, (0.25,) * 3, torch.device("cpu"), None)
    image = np.random.default_rng(0).integers(0, 256, (1, 80, 120, 3), np.uint8)
    for name, view in VIEWS.items():
        ((boxes, _, _),) = eye.look(image, lambda x, view=view: view.see(x, canvas))
        back = view.back(boxes, canvas)
        assert len(back) and (back >= 0).all() and (back <= torch.tensor([96.0, 64, 96, 64]) + 1e-3).all(), name


def test_views_that_a_backbone_cannot_see_are_named_before_training():
    task = DetectionTask(
        backbone="hiera_tiny_224", pretrained=False, size=96, views=("plain", "hflip", "large", "small")
    )
    with pytest.raises(ConfigFault) as fault:
        model.check(task, 2, (64, 96))
    assert [(f.code, f.where) for f in fault.value.findings] == [
        ("MODEL-INPUT", "key views: large"),
        ("MODEL-INPUT", "key views: small"),
    ]
    assert "leave large out" in fault.value.findings[0].mend
    model.check(task.model_copy(update={"views": ("plain", "hflip")}), 2, (64, 96))
