"""The image task's parts: cache, augmentation, mixing, schedule, model checks, views, weights, out-of-memory."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.mixup import Mixup, mixup_target
from timm.scheduler.cosine_lr import CosineLRScheduler

from competition import backbone, cache, cli, loop, shaped
from competition import step as stepping
from competition.augment import Listed
from competition.decoding import decode
from competition.errors import ConfigFault, DataFault
from competition.image import feed, model
from competition.image.predicting import see
from competition.image.supply import supply_of
from competition.image.task import VIEWS_OF, ImageTask
from competition.image.views import VIEWS, kept
from competition.pixels import normalise


def nothing(*_: object) -> None:
    """Nobody watches."""


@given(st.integers(2, 400), st.floats(0, 0.5), st.floats(1e-5, 1.0), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_schedule_equals_timms(steps: int, warm: float, peak: float, low: float):
    warmup = int(steps * warm)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = CosineLRScheduler(
        optimizer, t_initial=steps - warmup, lr_min=peak * low, warmup_t=warmup, warmup_lr_init=0.0, warmup_prefix=True,
        t_in_epochs=False,
    )  # fmt: skip
    for step in range(steps):
        expected = theirs._get_lr(step)[0]
        assert loop.learning_rate(step, steps, warmup, peak, peak * low) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_mixed_targets_equal_timms(mixup: float, cutmix: float):
    """Same share and partner give timm's targets; the share is the one the pixels show."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    labels = torch.arange(8) % 5
    one_hot = torch.nn.functional.one_hot(labels, 5).float()
    task = ImageTask(mixup=mixup, cutmix=cutmix, size=16)
    mixing = feed.Mixing.drawn(task, 8, np.random.default_rng(3))
    assert mixing is not None
    mixed, targets, _ = mixing.of(torch.from_numpy(images.copy()), (one_hot, torch.ones(8)))
    mixed = mixed.numpy()
    again = np.random.default_rng(3)
    again.random()
    share = float(again.beta(mixup or cutmix, mixup or cutmix))
    partner = again.permutation(8)
    if cutmix:
        y0, y1, x0, x1, share = feed.cut_box(16, 16, share, again)
        assert (mixed[:, y0:y1, x0:x1] == images[partner, y0:y1, x0:x1]).all()
        outside = np.ones((16, 16), bool)
        outside[y0:y1, x0:x1] = False
        assert (mixed[:, outside] == images[:, outside]).all()
    else:
        expected = images * share + images[partner] * (1 - share)
        assert np.abs(mixed - expected).max() <= 1
    theirs = mixup_target(labels, 5, share, smoothing=0.1)  # timm's partner is the batch reversed
    reversed_ = one_hot * share + one_hot.flip(0) * (1 - share)
    torch.testing.assert_close(feed.smooth(reversed_, 0.1), theirs)
    torch.testing.assert_close(targets, one_hot * share + one_hot[partner] * (1 - share))


def test_mixing_is_off_in_the_last_epochs_and_timms_mixup_has_the_same_spread():
    task = ImageTask(mixup=0.4, cutmix=1.0, size=32, epochs=3, mix_off=1, augment="none", symmetry="none", batch=4)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 37, 37, 3)).astype(np.uint8)
    supply = supply_of(task, pictures, np.arange(8), 0, torch.device("cpu"))
    ours = feed.Feed(task, supply, [*"abcdefgh"], np.eye(8), np.ones(8), None, seed=0)
    assert any((b.targets.max(dim=1).values < 1).any() for b in ours.batches(1))
    assert all((b.targets.max(dim=1).values == 1).all() for b in ours.batches(2))
    theirs = Mixup(mixup_alpha=0.4, cutmix_alpha=1.0, num_classes=8)
    shares = [theirs._params_per_batch()[0] for _ in range(2000)]
    rng = np.random.default_rng(1)
    mine = [float(rng.beta(*([1.0] * 2 if rng.random() < 0.5 else [0.4] * 2))) for _ in range(2000)]
    assert np.std(shares) == pytest.approx(np.std(mine), rel=0.1)


def test_normalise_equals_the_textbook():
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    ours = normalise(pixels, mean.mul(255).repeat(7), std.mul(255).repeat(7))
    expected = (pixels.permute(0, 3, 1, 2) / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_misspelt_augmentations_are_all_named():
    misspelt = Listed(({"HorizontalFlop": None}, {"Blur": {"blur_limt": 3}}), 32, 0)
    with pytest.raises(ConfigFault) as fault:
        misspelt.one(np.zeros((9, 9, 3), np.uint8), 0, 0)
    first, second = fault.value.findings
    assert "HorizontalFlip" in first.mend
    assert "blur_limt" in second.found


@pytest.mark.parametrize("view", VIEWS_OF["all"])
def test_flips_and_turns_undo_themselves(view: str):
    """The eight views of a square are a group: each has another of them that undoes it."""
    x = torch.arange(2 * 3 * 6 * 6).reshape(2, 3, 6, 6)
    assert any(torch.equal(VIEWS[undo](VIEWS[view](x)), x) for undo in VIEWS_OF["all"])
    assert len({VIEWS[v](x).contiguous().numpy().tobytes() for v in VIEWS_OF["all"]}) == 8


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_gives_the_size(view: str):
    assert see(torch.zeros(2, 3, *kept(32)), view, 32).shape == (2, 3, 32, 32)


def test_balanced_sampling_draws_classes_equally():
    task = ImageTask(size=16, augment="none", symmetry="none", batch=50)
    truth = np.eye(2)[np.r_[np.zeros(450, int), np.ones(50, int)]]
    rarity = 1 / truth.mean(axis=0)[truth.argmax(axis=1)]
    supply = supply_of(task, np.zeros((500, 19, 19, 3), np.uint8), np.arange(500), 0, torch.device("cpu"))
    ours = feed.Feed(task, supply, ["?"] * 500, truth, np.ones(500), rarity / rarity.sum(), 0)
    drawn = truth[np.concatenate([ours.order(e).ravel() for e in range(4)])].mean(axis=0)
    np.testing.assert_allclose(drawn, 0.5, atol=0.05)


# ---- the cache


def jpeg(shape: tuple[int, int], exif: int = 0) -> bytes:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[: shape[0] // 2] = 255
    buffer, tags = BytesIO(), Image.Exif()
    tags[0x0112] = exif or 1
    Image.fromarray(pixels).save(buffer, "JPEG", exif=tags, quality=95)
    return buffer.getvalue()


def test_cache_is_shared_rebuilt_for_other_content_and_not_for_another_time(tmp_path: Path):
    paths = [tmp_path / f"{n}.jpg" for n in range(3)]
    for n, path in enumerate(paths):
        path.write_bytes(jpeg((40 + n, 50)))
    names = [str(p) for p in paths]
    first = cache.build(names, tmp_path / "c", "squash", kept(16), nothing)
    assert first.pictures.shape == (3, 19, 19, 3)
    made = (tmp_path / "c" / "pictures.npy").stat().st_mtime_ns
    paths[0].touch()
    assert cache.build(names, tmp_path / "c", "squash", kept(16), nothing).digest == first.digest
    assert (tmp_path / "c" / "pictures.npy").stat().st_mtime_ns == made, "decoded once"
    paths[0].write_bytes(jpeg((30, 20)))
    assert cache.build(names, tmp_path / "c", "squash", kept(16), nothing).digest != first.digest


def test_decoding_is_upright_rgb_and_scaled_while_decoding():
    assert decode(jpeg((400, 300)), 50).shape == (100, 75, 3)
    turned = decode(jpeg((40, 60), exif=6), 40)
    assert turned.shape == (60, 40, 3)
    assert turned[:, -10:].mean() > 200
    assert turned[:, :10].mean() < 50
    red = BytesIO()
    Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8)).save(red, "PNG")
    assert decode(red.getvalue(), 8)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("fit_to", ["squash", "pad", "crop"])
def test_square_keeps_the_middle(fit_to: str):
    picture = np.full((20, 40, 3), 200, np.uint8)
    out = shaped.fitted(picture, (16, 16), fit_to)
    assert out.shape == (16, 16, 3)
    assert abs(int(out[8, 8, 0]) - 200) <= 1
    assert (out[0, 0, 0] == shaped.GREY) == (fit_to == "pad")


def test_every_bad_picture_is_named_at_once_by_kind(tmp_path: Path):
    good = jpeg((64, 64))
    deep = BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(deep, "PNG")
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))[1].tobytes()
    files = {
        "ok.jpg": good,
        "noend.jpg": good[:-2],
        "empty.jpg": b"",
        "page.jpg": b"<html>not found</html>",
        "cut.jpg": good[: len(good) // 2],
        "cut.png": png[: len(png) // 2],
        "deep.png": deep.getvalue(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFault) as fault:
        cache.build([str(tmp_path / n) for n in files], tmp_path / "c", "squash", kept(16), nothing)
    codes = {f.code: f for f in fault.value.findings}
    assert {"IMG-EMPTY", "IMG-NOTIMAGE", "IMG-TRUNC", "IMG-DEPTH"} <= set(codes)
    good_ones = {"ok.jpg", "noend.jpg"}
    assert {name for name in files if name not in str(fault.value)} == good_ones
    assert not list((tmp_path / "c").glob("*.npy")), "nothing half-written is left"
    with pytest.raises(DataFault, match="IMG-MISSING"):
        cache.build([str(tmp_path / "gone.jpg")], tmp_path / "c", "squash", kept(16), nothing)


# ---- the model


@pytest.mark.parametrize(
    ("settings_", "code", "mend"),
    [
        ({"backbone": "resnet5O"}, "MODEL-NAME", "resnet50"),
        ({"backbone": "resnet18.a1_in1"}, "MODEL-NAME", "a1_in1k"),
        ({"backbone": "vit_tiny_patch16_224", "size": 60}, "MODEL-INPUT", "48 or 64"),
        ({"backbone": "test_resnet", "opt": "adamwx"}, "OPT-NAME", "adamw"),
    ],
)
def test_models_that_cannot_be_made_are_refused_with_the_nearest(settings_: dict, code: str, mend: str):
    with pytest.raises(ConfigFault) as fault:
        model.check(ImageTask(**{"pretrained": False, **settings_}), 3)
    assert fault.value.findings[0].code == code
    assert mend in fault.value.findings[0].mend


def test_pretrained_without_network_fails_in_seconds_with_the_hint(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):

    run = competition("multiclass", run="backbone=resnet18 pretrained=true")
    began = time.monotonic()
    assert cli.main(["train", run]) == 4
    assert time.monotonic() - began < 15
    said = capsys.readouterr().err
    assert "MODEL-HUB" in said
    assert 'SET="pretrained=false"' in said
    assert "local weights file" in said


def test_weights_of_the_same_competition_are_refused_and_by_fold_accepted(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run]) == 0
    weights = "runs/toy/base/fold0/model.safetensors"
    assert cli.main(["train", run, "--set", f"pretrained={weights}", "--as", "toy/leak"]) == 2
    assert "MODEL-LEAK" in capsys.readouterr().err
    assert cli.main(["train", run, "--set", "pretrained=run:toy/base", "--as", "toy/on"]) == 0
    assert cli.main(["train", run, "--set", "pretrained=none.safetensors", "--as", "toy/gone"]) == 2
    assert "MODEL-WEIGHTS" in capsys.readouterr().err
    assert cli.main(["train", "toy/on", "--set", "seeds=2"]) == 0, "a further seed begins with the first's weights"
    assert cli.main(["train", run, "--set", "pretrained=run:toy/base refit=beside", "--as", "toy/whole"]) == 2
    assert 'RUN=toy/base SET="refit=beside"' in capsys.readouterr().err
    assert not list(Path("runs/toy/whole").glob("fold*/fit.json")), "told before a fold is trained"
    assert cli.main(["train", run, "--set", "refit=beside"]) == 0
    assert cli.main(["train", "toy/whole"]) == 0


def test_local_weights_are_taken_and_another_head_is_new(tmp_path: Path):
    from safetensors.torch import save_file

    source = timm.create_model("test_resnet", num_classes=7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    task = ImageTask(backbone="test_resnet", pretrained=str(tmp_path / "w.safetensors"), size=32)
    made = model.create(task, 3, {"data": "other", "competition": "other"}, "fold0")
    first = next(iter(source.state_dict()))
    torch.testing.assert_close(made.state_dict()[first], source.state_dict()[first])
    assert made.get_classifier().weight.shape[0] == 3
    wrong = task.model_copy(update={"backbone": "test_vit", "size": 160})
    with pytest.raises(ConfigFault, match="CKPT-MISMATCH"):
        model.create(wrong, 3, {"data": "other", "competition": "other"}, "fold0")


def test_parameter_groups_and_frozen_stages():
    task = ImageTask(backbone="resnet18", layer_decay=0.5, head_lr=10, weight_decay=0.1)
    network = timm.create_model("resnet18", num_classes=3)
    groups = model.optimizer(network, task).param_groups
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    assert len(scale) == len(list(network.parameters()))
    assert scale[id(network.fc.weight)] == 10
    assert scale[id(network.conv1.weight)] < scale[id(network.layer4[1].conv2.weight)] <= 1
    assert all(g["weight_decay"] == 0 for g in groups for p in g["params"] if p.ndim == 1)
    backbone.freeze(network, 2)
    network.train()
    assert not network.conv1.weight.requires_grad
    assert not network.bn1.training
    assert network.layer4[1].bn2.training
    assert network.fc.weight.requires_grad


def test_out_of_memory_halves_the_pieces_and_keeps_the_batch(
    competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """A device that holds three rows at a time: the batch of eight is computed in four pieces, and it is said."""
    run = competition("multiclass", run="epochs=1")
    build = model.build

    def small(*words: object, **more: object) -> torch.nn.Module:
        network = build(*words, **more)

        def full(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            if network.training and len(inputs[0]) > 3:
                raise torch.OutOfMemoryError("3 rows fit")

        network.register_forward_pre_hook(full)
        return network

    monkeypatch.setattr(model, "build", small)
    assert cli.main(["train", run, "--fold", "0"]) == 0
    assert json.loads(Path("runs/toy/base/fold0/fit.json").read_text())["accumulate"] == 4
    assert "out of memory" in capsys.readouterr().out


def squared(run: torch.nn.Module, batch: feed.ImageBatch) -> torch.Tensor:
    return ((run(batch.images) - batch.targets) ** 2).mean()


def test_pieces_give_the_gradient_of_the_whole_batch():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    batch = feed.ImageBatch(torch.randn(8, 3), torch.randn(8, 2), torch.rand(8), torch.empty(8, 0))
    grads = []
    for pieces in (1, 4):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        job = loop.Job(
            network, optimizer, 1, lambda *_: iter(()), lambda run, b: ((run(b.images) - b.targets) ** 2).mean(), None
        )
        state = loop.State(job, None, torch.amp.GradScaler("cpu", enabled=False), accumulate=pieces)
        kept: list[torch.Tensor] = []
        optimizer.register_step_pre_hook(
            lambda o, *_, kept=kept: kept.append(o.param_groups[0]["params"][0].grad.clone())
        )
        stepping.backward(state, batch, contextlib.nullcontext(), torch.device("cpu"))
        stepping.update(state, clip=0.0)
        grads.append(kept[0])
    torch.testing.assert_close(grads[0], grads[1])
