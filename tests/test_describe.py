"""A trained network from within: its layers counted, its speed measured, where it looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from conftest import write
from torch import nn

from competition import artifacts, cli, data, describe, layers, runs
from competition.config import load_run
from competition.image import gradcam, inside
from competition.report import anatomy
from competition.report.blocks import Block, Grid, Picture, Prose
from competition.report.subject import Subject
from competition.standings import Standing

CPU = torch.device("cpu")


def table(model: nn.Module, images: torch.Tensor) -> dict[str, layers.Layer]:
    found = layers.layers(
        model,
        lambda: model(images),
        lambda: model(images[:1]),
        lambda: model(images).sum(),
        len(images),
        CPU,
    )
    return {layer.name: layer for layer in found}


def test_a_convolution_is_counted_as_the_formula_says():
    conv, act, last = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Linear(8 * 6 * 10, 5)
    found = table(nn.Sequential(conv, act, nn.Flatten(), last), torch.randn(4, 3, 6, 10))
    assert list(found) == ["", "0", "3"], "parts without parameters are left out"
    assert found["0"].output == "8 x 6 x 10" and found[""].output == "5"
    assert found["0"].flops == 2 * (3 * 3 * 3) * 8 * 6 * 10 and found["3"].flops == 2 * 8 * 6 * 10 * 5
    assert found[""].flops == found["0"].flops + found["3"].flops
    assert found["0"].activations == 4 * 3 * 6 * 10, "its input, for the gradient of its weights"
    assert found["3"].activations == 0, "its input is the activation's output, which is kept once"
    assert found[""].activations == 4 * (3 * 6 * 10 + 8 * 6 * 10)
    assert found[""].time == 1 and 0 < found["0"].time < 1


class Pyramid(nn.Module):
    """A list of blocks, which is not called itself."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([block(images) for block in self.inner]).sum()


def test_what_is_in_a_list_is_told_in_its_place_and_a_wrapper_by_what_it_wraps():
    found = table(nn.Sequential(nn.Sequential(Pyramid())), torch.randn(2, 3, 8, 8))
    assert list(found) == ["", "0.0.inner.0", "0.0.inner.1", "0.0.inner.2"]
    assert sum(layer.flops for layer in found.values()) == 2 * found[""].flops > 0
    assert all(layer.output and layer.activations and layer.depth == 1 for name, layer in found.items() if name)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_parts_add_up_to_the_network(name: str):
    model = timm.create_model(name, num_classes=3)
    next(iter(model.children())).requires_grad_(False)
    side = model.pretrained_cfg["input_size"][-1]
    found = table(model, torch.randn(2, 3, side, side))
    whole, top = found[""], [layer for layer in found.values() if layer.depth == 1]
    assert whole.parameters == sum(p.numel() for p in model.parameters())
    assert whole.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad) < whole.parameters
    alone = sum(p.numel() for p in model.parameters(recurse=False))  # position and class tokens
    assert sum(layer.parameters for layer in top) == whole.parameters - alone
    assert sum(layer.flops for layer in top) == whole.flops
    assert 0 < sum(layer.activations for layer in top) <= whole.activations
    assert [layer.activations > 0 for layer in top] == [False] + [True] * (len(top) - 1), "what is frozen keeps nothing"


def test_attention_is_counted():
    """2 x 2 products of tokens x tokens x width beside the weights' own, in every block."""
    model = timm.create_model("test_vit", num_classes=3)
    block = table(model, torch.randn(2, 3, 160, 160))["blocks.0"]
    tokens, width, hidden = 101, 64, model.blocks[0].mlp.fc1.out_features
    weights = 2 * tokens * (4 * width * width + 2 * width * hidden)
    assert block.flops == weights + 2 * 2 * tokens * tokens * width


@pytest.mark.parametrize(
    "name, published",
    [
        ("resnet18", 1.82),
        pytest.param("mobilenetv4_conv_small", 0.19, marks=pytest.mark.slow),
        pytest.param("vit_tiny_patch16_224", 1.26, marks=pytest.mark.slow),
    ],
)
def test_flops_are_those_that_are_published(name: str, published: float):
    """G multiply-adds at 224 x 224: torchvision's table, MobileNetV4's paper, DeiT's with its attention."""
    with torch.device("meta"):
        model, image = timm.create_model(name), torch.empty(1, 3, 224, 224)
        _, flops = layers.counted(layers.tree(model), model.eval(), lambda: model(image))
    assert flops[""] / 2e9 == pytest.approx(published, rel=0.03)


def test_grad_cam_of_a_resnet_equals_the_paper_by_hooks():
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5).eval()
    images = torch.randn(2, 3, 128, 128)
    stage = gradcam.choose(network, network, (images,))
    assert stage is not None and stage.name == "layer4"
    found = gradcam.maps(network, stage, (images,), lambda outputs: outputs[:, 3])
    assert all(p.grad is None for p in network.parameters()) and not network.training

    kept: dict[str, torch.Tensor] = {}
    network.layer4.register_forward_hook(lambda m, args, output: kept.update(values=output))
    network.layer4.register_full_backward_hook(lambda m, before, after: kept.update(slopes=after[0]))
    network(images)[:, 3].sum().backward()
    for row in range(2):
        factors = kept["slopes"][row].mean(dim=(1, 2))
        expected = torch.relu((factors[:, None, None] * kept["values"][row].detach()).sum(dim=0))
        torch.testing.assert_close(found[row], expected / expected.max())


@pytest.mark.parametrize(
    "name, side, expected, places",
    [
        ("test_resnet", 128, "layer4", 4),
        ("test_resnet", 64, "layer3", 4),
        ("test_vit", 160, "blocks.5", 10),
        pytest.param("swin_tiny_patch4_window7_224", 224, "layers.3", 7, marks=pytest.mark.slow),
        pytest.param("deit_tiny_distilled_patch16_224", 224, "blocks.11", 14, marks=pytest.mark.slow),
        pytest.param("cait_xxs24_224", 224, "blocks.23", 14, marks=pytest.mark.slow),
    ],
)
def test_maps_are_of_the_deepest_stage_with_enough_places(name: str, side: int, expected: str, places: int):
    network = timm.create_model(name, num_classes=3).eval().requires_grad_(False)
    images = torch.randn(1, 3, side, side)
    stage = gradcam.choose(network, network, (images,))
    assert stage is not None and stage.name == expected
    found = gradcam.maps(network, stage, (images,), lambda outputs: outputs[:, 0])
    assert found.shape == (1, places, places) and float(found.min()) >= 0 and float(found.max()) in (0, 1)


def test_a_network_without_places_has_no_map():
    network = timm.create_model("test_resnet", num_classes=3).eval()
    assert gradcam.choose(network, nn.Identity(), (torch.randn(1, 3, 64, 64),)) is None
    network.feature_info = network.feature_info[-1:]  # one stage, of 1 x 1 places at this size
    assert gradcam.choose(network, network, (torch.randn(1, 3, 32, 32),)) is None


def test_the_picture_stays_visible_under_its_map():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    looked = np.zeros((4, 4), np.float32)
    looked[:2, :2] = 1
    plain, shown = inside.laid_over(pixels, np.zeros((4, 4), np.float32)), inside.laid_over(pixels, looked)
    assert shown.shape == (inside.SIDE, inside.SIDE, 3)
    assert (plain[-40:, -40:] == shown[-40:, -40:]).all(), "where it doesn't look"
    corner = plain[:60, :60].astype(float), shown[:60, :60].astype(float)
    assert np.abs(corner[0] - corner[1]).mean() > 20 and np.corrcoef(corner[0].ravel(), corner[1].ravel())[0, 1] > 0.3


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


@pytest.mark.parametrize("what", ["untrained", "tabular", "blend"])
def test_what_has_no_trained_network_is_refused(
    what: str, competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", task="tabular" if what == "tabular" else "image")
    if what == "blend":
        Path("configs/toy/other.yaml").write_text("extends: base.yaml\nseed: 1\n")
        Path("configs/toy/blend.yaml").write_text("members: [toy/base, toy/other]\n")
        run = "toy/blend"
    assert podium("describe", run) == 2
    said = capsys.readouterr().err
    code, word = {
        "untrained": ("RUN-PARTIAL", "make train RUN=toy/base"),
        "tabular": ("CFG-TASK", "make importance RUN=toy/base"),
        "blend": ("CFG-TASK", "toy/base, toy/other"),
    }[what]
    assert f"error {code}" in said and word in said


def test_the_page_shows_what_describe_left(competition: Callable[..., str]):
    run = competition("multiclass")
    with runs.opened(load_run(run)) as at:
        artifacts.write_json(at.folder / "fold0/fit.json", {})
    model, images = timm.create_model("test_resnet", num_classes=3), torch.randn(2, 3, 32, 32)
    found = list(table(model, images).values())
    record = describe.told(found, at.run, at.table.splits[0], images, (20.0, 10.0)) | {"device": "cpu, 2 cores"}
    subject = Subject(at.data, at.table, [], [])

    def shown(name: str = run) -> list[Block]:
        return [block for part in anatomy.sections(subject, Standing(name, "image", "scored")) for block in part.blocks]

    (only,) = shown()
    assert isinstance(only, Prose) and "make describe RUN=toy/base" in only.lines[0]
    artifacts.write_json(at.folder / "describe.json", record | {"files": ["features.png"]})
    artifacts.write_bytes(
        at.folder / "features.png", cv2.imencode(".png", np.zeros((8, 1690, 3), np.uint8))[1].tobytes()
    )
    told, grid, picture = shown()
    assert isinstance(told, Prose) and isinstance(grid, Grid) and isinstance(picture, Picture)
    assert "20 pictures/s forward, 10 forward and backward" in " ".join(told.lines)
    assert [row[4] for row in grid.rows] == [layer.parameters for layer in found]
    assert grid.rows[0][6] == pytest.approx(found[0].flops / 1e6, abs=0.01) and grid.rows[0][8] == 100
    drawn = cv2.imdecode(np.frombuffer(picture.picture, np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None and drawn.shape[1] == anatomy.WIDE
    for name, damage in (
        ("features.png", b""),
        ("features.png", b"x"),
        ("describe.json", b"{}"),
        ("describe.json", b"{"),
    ):
        (at.folder / name).write_bytes(damage)
        (only,) = shown()
        assert isinstance(only, Prose) and "can't be read" in only.lines[0]
    (at.folder / "run.json").unlink()
    assert not shown("toy/other") and not Path("runs/toy/other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind, keys", [("multiclass", "epochs=1"), ("regression", "epochs=1 warmup=0.1")])
def test_a_run_is_described_once_until_it_is_another(kind: str, keys: str, competition: Callable[..., str]):
    run = competition(kind, run=keys, columns=True)
    assert podium("train", run) == 0
    assert podium("describe", run) == 0
    folder = Path("runs/toy/base")
    record = artifacts.read_json(folder / "describe.json")
    fit = artifacts.read_json(folder / "fold0/fit.json")
    assert record["parameters"] == fit["parameters"] == record["layers"][0]["parameters"]
    assert record["input"] == "3 x 32 x 32" and record["batch"] == 8
    assert record["forward_per_second"] > record["training_per_second"] > 0
    maps = pd.read_parquet(folder / "maps.parquet")
    assert len(maps) and maps.index.is_unique
    pictures = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) for content in maps["image"]]
    assert all(picture is not None and picture.shape == (176, 176, 3) for picture in pictures)
    before = {name: (folder / name).stat().st_mtime_ns for name in ("describe.json", *record["files"])}
    assert podium("describe", run) == 0
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before, "nothing is made twice"
    (folder / "features.png").unlink()
    assert podium("describe", run) == 0
    assert (folder / "features.png").exists()


@pytest.mark.slow
def test_a_detector_has_a_table(competition: Callable[..., str]):
    run = competition("boxes", run="epochs=1 mix_off=0 warmup=0.1", task="detection")
    assert podium("train", run) == 0
    assert podium("describe", run) == 0
    record = artifacts.read_json(Path("runs/toy/base/describe.json"))
    names = [layer["name"] for layer in record["layers"]]
    assert any("pyramid" in name for name in names) and any("layer1" in name for name in names)
    assert record["files"] == [] and record["parameters"] > 0 and record["training_per_second"] > 0


def plant(backbone: str, size: int, **keys: object) -> None:
    """Noise, and in two corners stripes that lie or stand: the label says how they do in the upper left one alone."""
    rng = np.random.default_rng(0)
    Path("data/images").mkdir(parents=True)
    ids = [f"{n:03d}" for n in range(140)]
    label = np.arange(140) % 2
    for name, side in zip(ids, label, strict=True):
        picture = rng.integers(60, 196, (size, size, 3))
        stripes = np.broadcast_to(255 * (np.arange(size // 4) // 4 % 2), (size // 4, size // 4))
        for corner, lie in ((slice(None, size // 4), side), (slice(-size // 4, None), rng.integers(2))):
            picture[corner, corner] = (stripes.T if lie else stripes)[:, :, None]
        cv2.imwrite(f"data/images/{name}.png", picture.astype(np.uint8))
    rows = pd.DataFrame({"id": ids, "label": np.array(["stand", "lie"])[label]})
    rows[:120].to_csv("data/train.csv", index=False)
    rows[120:][["id"]].to_csv("data/test.csv", index=False)
    rows[120:].assign(label="lie").to_csv("data/sample_submission.csv", index=False)
    values = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy"}
    write("configs/toy/competition.yaml", values | {"image": "images/{id}.png", "folds": {"n": 2}})
    run = {"task": "image", "backbone": backbone, "pretrained": False, "size": size, "augment": "none", "jobs": 1}
    write("configs/toy/base.yaml", run | {"symmetry": "none", "batch": 16, "views": ["plain"]} | keys)


@pytest.mark.slow
def test_a_trained_network_looks_at_the_patch_that_decides(workspace: Path):
    """And not at its like, which an untrained one looks at as much: 0.37 and 0.30 of the mass, trained 0.90 and 0.05."""
    plant("test_resnet", 64, epochs=16, lr=0.002, ema=0)
    assert podium("train", "toy/base") == 0
    assert podium("predict", "toy/base") == 0
    assert artifacts.read_json(Path("runs/toy/base/score.json"))["score"] > 0.9
    decides, other = looked_at_corners("toy/base")
    assert decides > 0.6 and decides > 5 * other, f"{decides:.2f} and {other:.2f} of the mass"


def looked_at_corners(name: str) -> tuple[float, float]:
    """Mean share of the maps' mass in the upper left and in the lower right: a patch and a place around it."""
    from competition import runs
    from competition.image import model
    from competition.train import open_fold

    at = runs.look(runs.resolve(name))
    fold = open_fold(at.run, at.table.splits[0])
    assert fold.valid is not None
    eye = inside.Eye(at.run.task, fold)
    inputs = eye.inputs(fold.valid)
    stage = gradcam.choose(eye.network, model.timm_part(eye.network), inputs)
    assert stage is not None
    with torch.no_grad():
        chosen, _ = inside.said(eye.network(*inputs), fold.problem)
    found = gradcam.maps(eye.network, stage, inputs, lambda outputs: (outputs * chosen).sum(dim=1))
    whole = found.sum(dim=(1, 2)).clamp_min(1e-9)
    first, last = (found[:, corner, corner].sum(dim=(1, 2)) / whole for corner in (slice(None, 2), slice(-2, None)))
    return float(first.mean()), float(last.mean())


def test_numbers_are_spelt_short():
    assert [describe.spelt(n) for n in (0, 999, 4_927_618, 38_100)] == ["0 ", "999 ", "4.93 M", "38.1 k"]
