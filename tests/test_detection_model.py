"""The detectors: losses, boxes, labels, weights, freezing, and anchors that fit."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import BACKBONE
from safetensors.torch import load, load_file, save, save_file

from competition import artifacts, backbone
from competition.detection import anchors, model
from competition.detection.anchors import Anchors
from competition.detection.task import DetectionTask
from competition.errors import ConfigFault
from competition.image import model as classifier
from competition.image.task import ImageTask

CANVAS = (64, 96)
CLASSES = 3
ORIGIN = {"data": "d", "competition": "c", "folds": "f"}
DETECTORS = [
    "retinanet",
    "fcos",
    "fasterrcnn",
    pytest.param(
        "rtdetr",
        marks=pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is an extra"),
    ),
]
FITTED = Anchors((8, 16), ((14.0, 20.0), (28.0, 40.0)), (0.7, 1.0, 1.4))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def knobs(detector: str = "retinanet", **more: object) -> DetectionTask:
    values = {"backbone": BACKBONE, "pretrained": False, "detector": detector, "size": 96, "fpn": 32, "lr": 2e-3}
    return DetectionTask.model_validate(values | more)


def toy() -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Noisy pictures: one with a bright box of the first class, one with a dark box of the last class, one with none."""
    images = 0.3 * torch.randn(3, 3, *CANVAS)
    boxes = [torch.tensor([[16.0, 16, 40, 40]]), torch.tensor([[56.0, 24, 80, 52]]), torch.zeros(0, 4)]
    images[0, :, 16:40, 16:40] += 3
    images[1, :, 24:52, 56:80] -= 3
    return images, tuple(boxes), (torch.tensor([0]), torch.tensor([CLASSES - 1]), torch.zeros(0, dtype=torch.long))


def train(detector: model.Detector, task: DetectionTask, steps: int) -> list[float]:
    batch, optimizer = toy(), model.optimizer(detector, task)
    losses = []
    detector.train()
    for _ in range(steps):
        loss = detector(*batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", DETECTORS)
def test_losses_are_finite_and_fall_and_the_trained_classes_are_found(name: str):
    task = knobs(name)
    detector = model.build(task, CLASSES, CANVAS, FITTED)
    images, _, _ = toy()
    nothing = tuple(torch.zeros(0, 4) for _ in images), tuple(torch.zeros(0, dtype=torch.long) for _ in images)
    assert detector(images, *nothing).isfinite()
    losses = train(detector, task, steps=25)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    if name == "rtdetr":  # its decoder needs hundreds of steps
        return
    with torch.inference_mode():
        found = detector.eval()(toy()[0])
    assert [int(labels[0]) for _, _, labels in found[:2]] == [0, CLASSES - 1]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    "body", [BACKBONE, "test_convnext", pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)]
)
def test_boxes_lie_on_the_canvas_and_are_no_more_than_asked_for(name: str, body: str):
    detector = model.build(knobs(name, backbone=body, min_score=0, max_boxes=7), CLASSES, CANVAS, None).eval()
    with torch.inference_mode():
        found = detector(torch.randn(2, 3, *CANVAS))
    assert len(found) == 2
    for boxes, scores, labels in found:
        assert len(boxes) == len(scores) == len(labels) <= 7
        assert ((boxes >= 0) & (boxes <= torch.tensor([96.0, 64, 96, 64]))).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()
        assert (scores.diff() <= 0).all()
        assert set(labels.tolist()) <= set(range(CLASSES))
    detector.keep(max_boxes=7, min_score=0.999)
    with torch.inference_mode():
        assert not any(len(boxes) for boxes, _, _ in detector(torch.randn(2, 3, *CANVAS)))


@pytest.mark.parametrize("name", DETECTORS)
def test_saved_and_averaged_weights_predict_the_same(name: str):
    task = knobs(name)
    detector = model.build(task, CLASSES, CANVAS, FITTED)
    train(detector, task, steps=2)
    images, twin = toy()[0], copy.deepcopy(detector).eval()
    fresh = model.build(task, CLASSES, CANVAS, FITTED).eval()
    fresh.load_state_dict(load(save(detector.state_dict())))
    with torch.inference_mode():
        for one, other, third in zip(detector.eval()(images), fresh(images), twin(images), strict=True):
            for a, b, c in zip(one, other, third, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)
                torch.testing.assert_close(a, c, rtol=0, atol=0)


@pytest.mark.parametrize("name", DETECTORS)
def test_half_precision_gives_a_float32_loss_near_the_full_one(name: str):
    if name == "fasterrcnn":
        pytest.skip("draws other proposals")
    detector, batch = model.build(knobs(name), CLASSES, CANVAS, FITTED), toy()
    full = detector(*batch).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = detector(*batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.detach(), full, rtol=0.05, atol=0)


def test_layer_decay_and_freezing_know_the_backbone_from_the_rest():
    task = knobs(layer_decay=0.5, head_lr=10)
    detector = model.build(task, CLASSES, CANVAS, FITTED)
    scale = {id(p): g["lr_scale"] for g in model.optimizer(detector, task).param_groups for p in g["params"]}
    body = detector.net.backbone.body.net
    assert len(scale) == len(list(detector.parameters()))
    assert {scale[id(p)] for p in detector.net.head.parameters()} == {10}
    assert {scale[id(p)] for p in detector.net.backbone.pyramid.parameters()} == {10}
    first, last = next(body.parameters()), body.layer4[0].conv2.weight
    assert scale[id(first)] < scale[id(last)] < 1
    backbone.freeze(detector, 2)
    assert not first.requires_grad
    assert last.requires_grad
    assert all(p.requires_grad for p in detector.net.head.parameters())


def test_no_parameter_is_without_a_gradient():
    for strides in ((8, 16), (16, 32), (8, 16, 32, 64), (32, 64)):
        levels = Anchors.default(strides)
        detector = model.build(knobs(), CLASSES, CANVAS, levels)
        detector(*toy()).backward()
        assert all(p.grad is not None for p in detector.parameters())


# ---- weights


def test_a_local_file_of_a_classifier_starts_the_backbone(tmp_path: Path):
    source: Any = timm.create_model(BACKBONE, num_classes=7)
    path = tmp_path / "w.safetensors"
    save_file(source.state_dict(), path)
    detector = model.create(knobs(pretrained=str(path)), CLASSES, CANVAS, FITTED, ORIGIN, "fold0")
    torch.testing.assert_close(detector.net.backbone.body.net.layer4[0].conv2.weight, source.layer4[0].conv2.weight)
    other = knobs(pretrained=str(path), backbone="test_convnext")
    with pytest.raises(ConfigFault, match="CKPT-MISMATCH"):
        model.create(other, CLASSES, CANVAS, FITTED, ORIGIN, "fold0")


def saved(run: str, weights: dict[str, torch.Tensor], **origin: str) -> None:
    path = artifacts.run_folder(run) / "fold0" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(weights, path, metadata=ORIGIN | {"run": run, "fold": "fold0"} | origin)


def test_a_runs_fold_starts_the_same_fold_and_leaks_are_refused(workspace: Path):
    source = model.build(knobs(), CLASSES, CANVAS, FITTED)
    saved("toy/base", source.state_dict())
    saved("toy/other", source.state_dict(), folds="another table")
    task = knobs(pretrained="run:toy/base")
    same = model.create(task, CLASSES, CANVAS, FITTED, ORIGIN, "fold0")
    for name, value in source.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], value, rtol=0, atol=0)
    wider = model.create(task, CLASSES + 1, CANVAS, FITTED, ORIGIN, "fold0").state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(wider[name], value) or "cls_logits" in name
    for refused in ("run:toy/other", "runs/toy/base/fold0/model.safetensors"):
        with pytest.raises(ConfigFault, match="MODEL-LEAK"):
            model.create(knobs(pretrained=refused), CLASSES, CANVAS, FITTED, ORIGIN, "fold0")
    with pytest.raises(ConfigFault, match="MODEL-WEIGHTS"):
        model.create(task, CLASSES, CANVAS, FITTED, ORIGIN, "fold1")
    with pytest.raises(ConfigFault, match="CKPT-MISMATCH"):
        model.create(task.model_copy(update={"backbone": "test_convnext"}), CLASSES, CANVAS, FITTED, ORIGIN, "fold0")


def test_an_image_runs_fold_starts_the_backbone(workspace: Path):
    source = classifier.build(ImageTask(backbone=BACKBONE, pretrained=False, size=32), 2)
    saved("toy/image", source.state_dict())
    detector = model.create(knobs(pretrained="run:toy/image"), CLASSES, CANVAS, FITTED, ORIGIN, "fold0")
    theirs = load_file("runs/toy/image/fold0/model.safetensors")
    torch.testing.assert_close(detector.net.backbone.body.net.conv1[0].weight, theirs["conv1.0.weight"])


@pytest.mark.parametrize(
    ("wrong", "code", "mend"),
    [
        ({"backbone": "resnet5O"}, "MODEL-NAME", "resnet50"),
        ({"backbone": "test_vit"}, "MODEL-FEATURES", "resnet18"),
        ({"backbone": "inception_v3"}, "MODEL-INPUT", "another backbone"),
        ({"opt": "adamwx"}, "OPT-NAME", "adamw"),
        ({"freeze": 6}, "CFG-VALUE", "0 to 5"),
        ({"pretrained": "gone.safetensors"}, "MODEL-WEIGHTS", "mend the path"),
    ],
)
def test_detectors_that_cannot_be_made_are_refused_before_data_is_read(wrong: dict, code: str, mend: str):
    with pytest.raises(ConfigFault) as fault:
        model.check(knobs(**wrong), CLASSES, CANVAS)
    assert fault.value.findings[0].code == code
    assert mend in fault.value.findings[0].mend
    model.check(knobs(), CLASSES, CANVAS)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="the extra is here")
def test_the_extra_that_is_missing_is_named():
    with pytest.raises(ConfigFault, match="--extra detr"):
        model.check(knobs("rtdetr"), CLASSES, CANVAS)


# ---- anchors


@pytest.mark.parametrize("seed", range(8))
def test_fitted_anchors_cover_at_least_what_the_default_ones_do(seed: int):
    rng = np.random.default_rng(seed)
    size = rng.normal(rng.uniform(2, 6), rng.uniform(0, 1.2), (300, 1))
    boxes = np.exp(size + rng.normal(0, rng.uniform(0, 0.7), (300, 2)))
    fitted = anchors.fit(boxes)
    assert fitted.coverage >= round(anchors.coverage(boxes, Anchors.default()), 4)
    assert len(fitted.strides) == len(fitted.sizes) >= 2
    assert len({len(sizes) for sizes in fitted.sizes}) == 1
    assert Anchors.from_json(fitted.to_json()) == fitted


def test_levels_that_no_box_needs_are_left_out():
    rng = np.random.default_rng(0)
    assert anchors.fit(rng.uniform(20, 100, (200, 2))).strides == (8, 16)
    assert anchors.fit(rng.uniform(150, 400, (200, 2))).strides == (32, 64)
    assert anchors.fit(np.zeros((0, 2))) == Anchors.default()


def test_shape_iou_equals_torchvisions_of_centered_boxes():
    from torchvision.ops import box_iou

    rng = np.random.default_rng(0)
    one, other = rng.uniform(1, 50, (5, 2)), rng.uniform(1, 50, (4, 2))
    boxes, shapes = (torch.tensor(np.hstack([-x / 2, x / 2])) for x in (one, other))
    np.testing.assert_allclose(anchors.shape_iou(one, other), box_iou(boxes, shapes).numpy())


def test_anchors_stand_where_the_maps_places_are():
    """At 72 pixels the map of stride 32 has 3 rows; torchvision's own would stand 24 apart."""
    detector = model.build(knobs(), CLASSES, (72, 96), Anchors((8, 32), ((11.3,), (40.5,)), (1.0,)))
    maps = list(detector.net.backbone(torch.zeros(1, 3, 72, 96)).values())
    images, _ = detector.net.transform(torch.zeros(1, 3, 72, 96), None)
    boxes = detector.net.anchor_generator(images, maps)[0]
    coarse = boxes[maps[0].shape[2] * maps[0].shape[3] :]
    assert torch.unique((coarse[:, 1] + coarse[:, 3]) / 2).tolist() == [0, 32, 64]
    torch.testing.assert_close(coarse[:, 2] - coarse[:, 0], torch.full((9,), 40.5))
