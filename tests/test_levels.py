"""Named levels of augmentation: draws that depend on seed, epoch and sample alone, their spread, and what they make."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from benchmarks.feed import LISTS
from competition import levels, warp
from competition.augment import BoxLevelled, Levelled, Listed
from competition.image.feed import Feed, ImageBatch, Mixing
from competition.image.supply import OnCore, Resident, Supply, Uploaded, resident, supply_of
from competition.image.task import ImageTask
from competition.image.views import kept
from competition.levels import LEVELS, Draws, draw, philox

CPU = torch.device("cpu")


def photo(side: int) -> np.ndarray:
    return cv2.resize(load_sample_image("flower.jpg"), (side, side), interpolation=cv2.INTER_AREA)


def drawn(
    name: levels.Name, samples: Any, symmetry: str = "all", size: int = 64, seed: int = 1, epoch: int = 0
) -> Draws:
    return draw(LEVELS[name], symmetry, kept(size)[0], size, seed, epoch, np.asarray(samples))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_generator_gives_its_authors_known_answers(counter: list[int], key: list[int], words: list[int]):
    """The file kat_vectors of Random123."""
    assert philox(np.array(counter, np.uint64), np.array(key, np.uint64)).tolist() == words


def test_a_draw_depends_on_seed_epoch_and_sample_alone():
    samples = np.array([3, 0, 2**40 + 1, 77, 3])
    together = drawn("heavy", samples)
    for n, sample in enumerate(samples):
        alone = drawn("heavy", [sample])
        for field in fields(Draws):
            assert np.array_equal(getattr(together, field.name)[n], getattr(alone, field.name)[0])
    several = [drawn("heavy", np.arange(50), seed=s, epoch=e) for s in (1, 2, 2**32 + 1) for e in (0, 1)]
    assert len({row.tobytes() for d in several for row in d.maps(73)}) == 300, "no two draws are the same"


def test_draws_are_spread_as_the_level_says():
    draws, side = drawn("heavy", np.arange(20_000)), kept(64)[0]
    edges = (draws.boxes[:, 2:] - draws.boxes[:, :2]) / side
    assert draws.boxes.min() == 0 and draws.boxes.max() == side
    assert edges.prod(axis=1).min() == pytest.approx(0.3, abs=0.02) and edges.prod(axis=1).max() == pytest.approx(
        1, abs=0.02
    )
    assert np.exp(np.abs(np.log(edges[:, 0] / edges[:, 1]))).max() == pytest.approx(1.33, abs=0.05)
    np.testing.assert_allclose((draws.boxes[:, :2] + draws.boxes[:, 2:]).mean(axis=0) / 2, side / 2, rtol=0.02)
    np.testing.assert_allclose(np.bincount(draws.flips) / len(draws), 1 / 8, atol=0.01)
    holes = (draws.holes[:, :, 2] > 0).mean(axis=0)
    shares = [draws.turned.mean(), draws.coloured.mean(), (draws.sigmas > 0).mean(), *holes]
    np.testing.assert_allclose(shares, [0.6, 0.8, 0.1, 0.4, 0.2], atol=0.015)
    assert set(drawn("light", np.arange(100), "horizontal").flips) == {0, 1}
    assert set(drawn("light", np.arange(100), "none").flips) == set(drawn("none", np.arange(100)).flips) == {0}


def test_what_is_not_drawn_changes_nothing():
    picture, out = photo(73), np.empty((1, 64, 64, 3), np.uint8)
    Levelled("none", 64, "all", 0)([picture], 3, np.array([5]), out)
    assert (out[0] == cv2.resize(picture, (64, 64), interpolation=cv2.INTER_LINEAR)).all()
    draws = drawn("heavy", np.arange(200))
    plain = ~draws.coloured
    np.testing.assert_allclose(draws.colours[plain], np.broadcast_to(np.eye(3), (plain.sum(), 3, 3)), atol=1e-9)
    assert not draws.pivots[plain].any() and (draws.turns[~draws.turned] == np.eye(2)).all()


def test_colours_keep_greys_grey_and_light():
    """Saturation and hue leave a grey as it is; contrast leaves a picture's mean, brightness scales it."""
    draws = drawn("heavy", np.arange(300))
    picture = np.random.default_rng(0).integers(96, 160, (32, 32, 3)).astype(np.uint8)
    for n in np.flatnonzero(draws.coloured & (draws.sigmas == 0))[:50]:
        row = draws.colours[n].sum(axis=1)
        np.testing.assert_allclose(row, row[0])
        made = picture.copy()
        warp.recolour(made, draws, n)
        brightness = row[0] + draws.pivots[n]
        assert 0.6 <= brightness <= 1.4
        light = [levels.LUMA @ part.reshape(-1, 3).mean(axis=0) for part in (made, picture)]
        assert light[0] == pytest.approx(brightness * light[1], abs=0.6)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("name", LEVELS)
def test_core_and_device_agree(name: levels.Name, size: int):
    """At the rim cv2 stops at what it cuts out where the other reads on: there they may differ, by half a pixel (which a
    blur carries inwards)."""
    pictures, samples = np.stack([photo(kept(size)[0])] * 48), np.arange(48)
    draws, out = drawn(name, samples, size=size), np.empty((48, size, size, 3), np.uint8)
    warp.on_core(pictures, draws, out)
    theirs = warp.on_device(torch.from_numpy(pictures), draws, size).numpy()
    apart = np.abs(out.astype(int) - theirs)
    assert apart[draws.sigmas == 0, 1:-1, 1:-1].max() <= 3
    assert apart.mean(axis=(1, 2, 3)).max() < 1
    assert name == "none" or len({made.tobytes() for made in out}) > 40


def feed_of(supply: Supply, n: int, **knobs: Any) -> Feed:
    odds = np.arange(1, n + 1) / np.arange(1, n + 1).sum() if knobs.pop("odds", False) else None
    return Feed(task_of(**knobs), supply, ["?"] * n, np.eye(n), np.ones(n), odds, seed=5)


def task_of(**knobs: Any) -> ImageTask:
    return ImageTask(**{"size": 24, "batch": 4, "epochs": 3, "augment": "heavy", "symmetry": "all"} | knobs)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    whole = photo(120)
    return np.stack([whole[n : n + 28, 2 * n : 2 * n + 28] for n in range(14)])


def same(one: list[ImageBatch], other: list[ImageBatch]) -> bool:
    assert len(one) == len(other)
    return all(torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) for a, b in zip(one, other))


@pytest.mark.parametrize(
    "knobs", [{}, {"odds": True}, {"mixup": 0.4}, {"cutmix": 1.0}, {"augment": [{"D4": {"p": 1.0}}]}]
)
def test_batches_are_the_same_for_any_workers_and_any_resume(pictures: np.ndarray, knobs: dict[str, Any]):
    rows = np.arange(13)[::-1].copy()

    def made(workers: int, first: int = 0, epoch: int = 1) -> list[ImageBatch]:
        odds = {"odds": knobs["odds"]} if "odds" in knobs else {}
        given = {k: v for k, v in knobs.items() if k != "odds"} | {"workers": workers}
        supply = supply_of(task_of(**given), pictures, rows, 5, CPU)
        return list(feed_of(supply, 13, **given, **odds).batches(epoch, first))

    whole = made(0)
    assert len(whole) == 3
    for workers, first in ((1, 0), (3, 0), (0, 2), (2, 1)):
        assert same(whole[first:], made(workers, first))
    assert not same(whole, made(0, epoch=2))


def test_a_picture_is_the_same_in_any_batch(pictures: np.ndarray):
    supply = supply_of(task_of(), pictures, np.arange(14), 5, CPU)

    def given(positions: np.ndarray) -> torch.Tensor:
        return supply.finish(supply.begin(positions, 2, positions), 2, positions)

    order = np.random.default_rng(0).permutation(14)
    parts = torch.cat([given(order[start:end]) for start, end in pairwise([0, 1, 6, 14])])
    assert torch.equal(parts, given(np.arange(14))[torch.from_numpy(order)])


@pytest.mark.parametrize("knobs", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, {"augment": "none"}])
def test_pictures_kept_on_the_device_and_those_copied_there_train_alike(pictures: np.ndarray, knobs: dict[str, Any]):
    """The code of a GPU, on the CPU device; and near to what cv2 gives."""
    task, rows = task_of(**knobs), np.array([3, 1, 13, 0, 7, 7, 2, 5])
    level = Levelled(task.augment, task.size, task.symmetry, 5)  # ty: ignore[invalid-argument-type]
    supplies: list[Supply] = [
        Resident(level, resident(pictures, rows, CPU)),
        Uploaded(level, pictures, rows, 2, CPU),
        OnCore(level, task.size, pictures, rows, 0, CPU),
    ]
    kept_there, copied, here = ([*feed_of(s, 8, **knobs).batches(0)] for s in supplies)
    assert same(kept_there, copied)
    for one, other in zip(kept_there, here, strict=True):
        apart = (one.images.float() - other.images.float()).abs()
        assert apart.mean() < 1 and torch.equal(one.targets, other.targets)


@pytest.mark.parametrize("knobs", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_mixing_on_a_device_is_that_of_a_core(pictures: np.ndarray, knobs: dict[str, Any]):
    mixing = Mixing.drawn(task_of(**knobs), 14, np.random.default_rng(0))
    assert mixing is not None
    images = torch.from_numpy(pictures[:, :24, :24])
    ours, *_ = mixing.of(images.clone(), [])
    theirs = mixing.on_device(images.clone())
    assert (ours.int() - theirs.int()).abs().max() <= (1 if mixing.patch is None else 0)
    assert not torch.equal(ours, images)


def test_a_detectors_colours_are_those_of_the_level():
    boxes, labels = np.zeros((1, 4), np.float32), np.zeros(1, np.int64)
    picture = photo(60)[:48]
    for name, differ in (("none", 0), ("light", 0), ("medium", 0.5), ("heavy", 0.8)):
        augment = BoxLevelled(name, 3)
        made = [augment(picture.copy(), boxes, labels, 0, n)[0] for n in range(60)]
        assert np.mean([(m != picture).any() for m in made]) == pytest.approx(differ, abs=0.2)
        assert (made[7] == BoxLevelled(name, 3)(picture.copy(), boxes, labels, 0, 7)[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light", "medium", "heavy"])
def test_means_and_spreads_are_those_of_albumentations(name: levels.Name):
    """Of 600 draws each, of a photo and of one whose colours are its places. They clip after every change of colours, ours
    once; and warp a turned picture twice, which blurs it."""
    size, n = 32, 600
    ramp = np.linspace(20, 235, kept(size)[0]).round().astype(np.uint8)
    places = np.stack([*np.meshgrid(ramp, ramp), np.full((len(ramp),) * 2, 128, np.uint8)], axis=2)
    for picture in (photo(kept(size)[0]), places):
        ours, theirs = np.empty((2, n, size, size, 3), np.uint8)
        Levelled(name, size, "all", 0)([picture] * n, 0, np.arange(n), ours)
        Listed(LISTS[name]("all", size), size, 0)([picture] * n, 0, np.arange(n), theirs)
        for what, told in TOLD.items():
            one, other = told(ours.astype(float)), told(theirs.astype(float))
            error = np.hypot(one.std(), other.std()) / n**0.5
            assert abs(one.mean() - other.mean()) < 4 * error + (0.12 if what == "sharpness" else 0.06) * abs(
                other.mean()
            )
            assert one.std() == pytest.approx(other.std(), rel=0.2, abs=0.02 * abs(other.mean()))


TOLD = {
    "lightness": lambda p: p.mean(axis=(1, 2, 3)),
    "contrast": lambda p: p.mean(axis=3).std(axis=(1, 2)),
    "colourfulness": lambda p: (p.max(axis=3) - p.min(axis=3)).mean(axis=(1, 2)),
    "red to blue": lambda p: (p[..., 0] - p[..., 2]).mean(axis=(1, 2)),
    "sharpness": lambda p: np.abs(np.diff(p, axis=2)).mean(axis=(1, 2, 3)),
}
