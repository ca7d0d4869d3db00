"""Pictures and boxes on their way into the network and back: cache, canvas, views, tiles, mixing, batches."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from competition import augment, cache, shaped
from competition.augment import check_with_boxes
from competition.boxes.table import empty
from competition.decoding import Reading, decode
from competition.detection import canvas as canvases
from competition.detection import feed, mixing, tiles, views
from competition.detection.mixing import Sample
from competition.detection.task import DetectionTask
from competition.errors import ConfigFault
from competition.knobs import check_views
from competition.ranks import Ranks
from competition.task import Rows

CLASSES = ("red", "green", "blue")  # a class is its channel of the picture
SHAPES = ((96, 128), (90, 150), (140, 100), (64, 64), (70, 131), (200, 260))


def nothing(*_: object) -> None:
    """Nobody watches."""


def scene(shape: tuple[int, int], number: int) -> tuple[np.ndarray, list[tuple[str, int, int, int, int]]]:
    """Coloured rectangles on black that don't touch, one in each of some cells; every third picture has none."""
    rng, (height, width) = np.random.default_rng(number), shape
    picture, found = np.zeros((*shape, 3), np.uint8), []
    for row, column in np.ndindex(2, 3):
        if number % 3 == 2 or rng.random() < 0.3:
            continue
        h, w = height // 2, width // 3
        y0, x0 = row * h + int(rng.integers(3, h // 3)), column * w + int(rng.integers(3, w // 3))
        y1, x1 = (row + 1) * h - int(rng.integers(3, h // 3)), (column + 1) * w - int(rng.integers(3, w // 3))
        label = int(rng.integers(3))
        picture[y0:y1, x0:x1, label] = 255
        found.append((CLASSES[label], x0, y0, x1, y1))
    return picture, found


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder, boxes, paths, sizes = tmp_path_factory.mktemp("scenes"), [], {}, {}
    for number, shape in enumerate(SHAPES * 2):
        picture, found = scene(shape, number)
        name = f"{number:02d}"
        paths[name], sizes[name] = str(folder / f"{name}.png"), {"width": float(shape[1]), "height": float(shape[0])}
        cv2.imwrite(paths[name], picture[:, :, ::-1])
        boxes += [(name, *box, False) for box in found]
    truth = pd.DataFrame(boxes, columns=["id", "label", "x_min", "y_min", "x_max", "y_max", "crowd"]).set_index("id")
    table = pd.DataFrame(index=pd.Index(paths, name="id"))
    return Rows(table, truth, None, pd.Series(paths), pd.DataFrame.from_dict(sizes, orient="index"))


def make_feed(
    rows: Rows, folder: Path, canvas: tuple[int, int] = (96, 128), workers: int = 0,
    odds: np.ndarray | None = None, **knobs: Any,
) -> feed.Feed:  # fmt: skip
    assert rows.pictures is not None and rows.sizes is not None
    plain = {"augment": "light", "mosaic": 0.0, "mix_off": 0, "epochs": 4, "batch": 4, "size": 128}
    kept = cache.build(list(rows.pictures), folder / f"{canvas}", "corner", canvases.kept(canvas), nothing)
    boxes, labels = canvases.targets(rows, CLASSES, canvas)
    extents = canvases.extents(rows.sizes, canvas)
    return feed.Feed(
        DetectionTask(**plain | knobs), kept, kept.rows(rows.pictures), boxes, labels, extents, canvas, 5, workers, odds
    )


def test_ranks_make_a_batch_between_them(rows: Rows, tmp_path: Path):
    knobs = MIXES["all of them"] | {"batch": 5}
    whole, *parts = (make_feed(rows, tmp_path, **knobs) for _ in range(3))
    for rank, part in enumerate(parts):
        part.ranks = Ranks(rank, 2)
    for batch, *made in zip(*(one.batches(1) for one in (whole, *parts)), strict=True):
        assert [len(part) for part in made] == [2, 3]
        assert torch.equal(torch.cat([part.images for part in made]), batch.images)
        boxes = [box for part in made for box in part.boxes]
        assert all(torch.equal(one, other) for one, other in zip(boxes, batch.boxes, strict=True))


MIXES = {
    "as it is": {"augment": "none", "jitter": 0.0},
    "jitter": {"symmetry": "none", "jitter": 0.6},
    "flips": {"symmetry": "all"},
    "mosaic": {"mosaic": 1.0, "symmetry": "all"},
    "mixup": {"mixup": 1.0},
    "copy_paste": {"copy_paste": 1.0},
    "all of them": {"mosaic": 0.7, "mixup": 0.5, "copy_paste": 0.5, "symmetry": "all", "jitter": 0.4},
    "a list": {"augment": [{"HorizontalFlip": {"p": 0.5}}, {"Affine": {"scale": [0.6, 1.4], "p": 1.0}}]},
}


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("canvas", [(96, 128), (128, 128)])
def test_boxes_hold_their_colour_and_nothing_else_does(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, canvas: tuple[int, int]
):
    """With every part of a box kept, however little is visible, colour is where boxes say and only there."""
    for module in (mixing, augment):
        monkeypatch.setattr(module, "VISIBLE", 0.0)
    monkeypatch.setattr(mixing, "THINNEST", 1e-6)
    ours, seen = make_feed(rows, tmp_path, canvas, **MIXES[name]), 0
    for batch in (b for epoch in range(4) for b in ours.batches(epoch)):
        for image, boxes, labels in zip(batch.images.numpy(), batch.boxes, batch.labels, strict=True):
            colour_is_where_boxes_are(image, boxes.numpy(), labels.numpy())
            seen += len(boxes)
    assert seen > 50


def colour_is_where_boxes_are(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> None:
    height, width = image.shape[:2]
    assert boxes.shape == (len(labels), 4) and boxes.dtype == np.float32
    assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    colour = image.astype(int) - image.min(axis=2, keepdims=True)  # grey has none
    for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        others = covered(np.delete(boxes, number, axis=0), (height, width), 2)  # may lie over this one
        inside = covered(box[None], (height, width), -2) & ~others
        assert (colour[inside, label] > 30).all(), "a box holds what is not its colour"
    for label in range(3):
        outside = ~covered(boxes[labels == label], (height, width), 2)
        assert (colour[outside, label] < 30).all(), "colour without a box"


def covered(boxes: np.ndarray, shape: tuple[int, int], more: int) -> np.ndarray:
    """[h, w] bool: pixels of these boxes, grown by `more` on each side."""
    mask = np.zeros(shape, bool)
    for x0, y0, x1, y1 in boxes:
        top, left = max(0, int(np.floor(y0)) - more), max(0, int(np.floor(x0)) - more)
        mask[top : max(0, int(np.ceil(y1)) + more), left : max(0, int(np.ceil(x1)) + more)] = True
    return mask


def test_batches_depend_on_seed_epoch_and_step_alone(rows: Rows, tmp_path: Path):
    knobs = {**MIXES["all of them"], "augment": "heavy"}
    first = list(make_feed(rows, tmp_path, **knobs).batches(1))
    for workers, start in ((2, 0), (0, 1), (3, 2)):
        again = list(make_feed(rows, tmp_path, workers=workers, **knobs).batches(1, start))
        assert len(again) == len(first) - start
        for one, other in zip(first[start:], again, strict=True):
            assert torch.equal(one.images, other.images)
            assert all(map(torch.equal, one.boxes + one.labels, other.boxes + other.labels))
    assert not torch.equal(first[0].images, next(make_feed(rows, tmp_path, **knobs).batches(2)).images)


def test_without_augmentation_a_picture_is_the_cached_one_on_its_canvas(rows: Rows, tmp_path: Path):
    ours = make_feed(rows, tmp_path, **MIXES["as it is"])
    batch = ours.make(0, 0, np.array([0, 2]))
    seen = torch.from_numpy(ours.cache.pictures[ours.rows[:1]]).permute(0, 3, 1, 2).float()
    plain = views.VIEWS["plain"].see(seen, (96, 128))[0].permute(1, 2, 0)
    assert (plain - batch.images[0].float()).abs().mean() < 2
    np.testing.assert_allclose(batch.boxes[0], rows.truth.loc["00", ["x_min", "y_min", "x_max", "y_max"]], atol=1e-3)
    assert batch.boxes[1].shape == (0, 4) and batch.labels[1].shape == (0,)


def test_mixing_is_off_in_the_last_epochs(rows: Rows, tmp_path: Path):
    knobs = {"jitter": 0.0, "symmetry": "none"}
    mixed, plain = (make_feed(rows, tmp_path, mosaic=m, mix_off=1, **knobs) for m in (1.0, 0.0))
    for epoch, same in ((2, False), (3, True)):
        for one, other in zip(mixed.batches(epoch), plain.batches(epoch), strict=True):
            assert torch.equal(one.images, other.images) == same


def test_pictures_without_boxes_are_fed(rows: Rows, tmp_path: Path):
    bare = Rows(
        rows.table, empty(("label", "x_min", "y_min", "x_max", "y_max", "crowd")), None, rows.pictures, rows.sizes
    )
    for knobs in ({}, {"mosaic": 1.0, "mixup": 1.0, "copy_paste": 1.0, "augment": "heavy"}, MIXES["a list"]):
        batches = list(make_feed(bare, tmp_path, **knobs).batches(0))
        assert sum(map(len, batches)) == len(rows)
        assert all(boxes.shape == (0, 4) for b in batches for boxes in b.boxes)


def test_a_batch_is_cut_by_pictures():
    boxes = tuple(torch.arange(4.0 * n).reshape(n, 4) for n in (2, 0, 1))
    batch = feed.DetectionBatch(
        torch.zeros(3, 8, 8, 3), boxes, tuple(torch.zeros(len(b), dtype=torch.long) for b in boxes)
    )
    part = batch[1:]
    assert len(part) == 2 and [len(b) for b in part.boxes] == [0, 1]
    moved = batch.to(torch.device("meta"))
    assert [tuple(b.shape) for b in moved.boxes] == [(2, 4), (0, 4), (1, 4)]


def test_the_sheet_shows_the_boxes(tmp_path: Path):
    image = torch.zeros(1, 20, 30, 3, dtype=torch.uint8)
    feed.draw(feed.DetectionBatch(image, (torch.tensor([[5.0, 4, 25, 16]]),), (torch.tensor([0]),)), tmp_path / "s.png")
    drawn = cv2.imread(str(tmp_path / "s.png"))[:, :, ::-1].any(axis=2)
    ys, xs = np.nonzero(drawn)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (5, 4, 25, 16)
    assert not image.any(), "the batch is not drawn on"


# ---- mixing


def test_what_is_cut_goes_below_three_tenths():
    image = np.zeros((10, 10, 3), np.uint8)
    boxes = np.array([[-7.2, 0, 2.8, 5], [-6.8, 0, 3.2, 5], [2, 2, 4, 4], [9.5, 0, 30, 9]], np.float32)
    left = mixing.cut(Sample(image, boxes, np.arange(4)))
    assert left.labels.tolist() == [1, 2]
    np.testing.assert_allclose(left.boxes[0], [0, 0, 3.2, 5], rtol=1e-6)


def test_what_is_pasted_hides_no_box():
    large = Sample(np.full((20, 20, 3), 9, np.uint8), np.array([[1, 1, 18, 18]], np.float32), np.array([1]))
    small = Sample(np.zeros((20, 20, 3), np.uint8), np.array([[5, 5, 9, 9]], np.float32), np.array([0]))
    for seed in range(8):
        assert len(mixing.paste(small, large, np.random.default_rng(seed)).boxes) == 1
    pasted = {len(mixing.paste(large, small, np.random.default_rng(seed)).boxes) for seed in range(8)}
    assert pasted == {1, 2}, "about half of them, onto a larger one"


def test_rare_classes_are_drawn_more_often_and_empty_pictures_as_the_commonest():
    labels = [np.array([0, 0]), np.array([0]), np.array([0, 1]), np.array([], int), np.array([0])]
    np.testing.assert_allclose(feed.repeats(labels), [1, 1, 2, 1, 1])
    np.testing.assert_allclose(feed.odds_of(labels, None, rarity=True), np.array([1, 1, 2, 1, 1]) / 6)
    np.testing.assert_allclose(feed.repeats([np.array([], int)] * 2), 1)


def test_pictures_are_drawn_by_their_weight(rows: Rows, tmp_path: Path):
    weight = pd.Series([0.0, 3.0, 1.0] * 4, index=rows.ids)
    labels = [np.array([], int)] * len(rows)
    odds = feed.odds_of(labels, weight, rarity=False)
    np.testing.assert_allclose(odds, weight / 16)
    assert feed.odds_of(labels, None, rarity=False) is None
    rare = [np.array([1]), np.array([1])] + [np.array([0])] * 8 + [labels[0]] * 2
    np.testing.assert_allclose(feed.odds_of(rare, weight, rarity=True), weight * ([2] * 2 + [1] * 10) / 19)
    ours = make_feed(rows, tmp_path, odds=odds, mosaic=1.0)
    drawn = np.bincount(np.concatenate([ours.order(epoch).ravel() for epoch in range(100)]), minlength=len(rows))
    assert not drawn[::3].any(), "nor are they mixed in"
    assert not any(odds[ours.other(np.random.default_rng(seed))] == 0 for seed in range(50))
    assert drawn[1::3].sum() == pytest.approx(3 * drawn[2::3].sum(), rel=0.2)


# ---- canvas and cache


@pytest.mark.parametrize(
    ("shapes", "size", "canvas"),
    [
        ([(480, 640)] * 40, 512, (384, 512)),
        ([(480, 640)] * 40, 320, (256, 320)),
        ([(640, 480)] * 40, 500, (512, 384)),
        ([(480, 640), (640, 480)] * 20, 512, (512, 512)),
        ([(480, 640)] * 39 + [(640, 480)], 512, (384, 512)),
        ([(1024, 1024)], 256, (256, 256)),
        ([(np.nan, np.nan)], 256, (256, 256)),
    ],
)
def test_the_canvas_fits_the_shapes_of_the_pictures(shapes: list, size: int, canvas: tuple[int, int]):
    assert canvases.canvas_of(pd.DataFrame(shapes, columns=["height", "width"]), size) == canvas


def test_targets_are_by_row_and_without_crowds():
    ids = pd.Index(["b", "a", "c"], name="id")
    truth = pd.DataFrame(
        [["green", 0, 0, 10, 20, False], ["red", 10, 20, 20, 40, False], ["red", 0, 0, 5, 5, True],
         ["blue", 1, 2, 3, 4, False]],
        columns=["label", "x_min", "y_min", "x_max", "y_max", "crowd"], index=pd.Index(["a", "b", "b", "a"], name="id"),
    )  # fmt: skip
    sizes = pd.DataFrame({"width": [64.0, 128, 64], "height": [64.0, 64, 64]}, index=ids)
    boxes, labels = canvases.targets(Rows(pd.DataFrame(index=ids), truth, sizes=sizes), CLASSES, (32, 32))
    assert [part.tolist() for part in labels] == [[0], [1, 2], []]
    np.testing.assert_allclose(boxes[0], [[5, 10, 10, 20]])
    np.testing.assert_allclose(boxes[1], [[0, 0, 2.5, 5], [0.25, 0.5, 0.75, 1]])
    assert boxes[2].shape == (0, 4)


def test_corner_is_even_and_leaves_the_rest_grey():
    out = shaped.fitted(np.full((50, 100, 3), 200, np.uint8), (40, 40), "corner")
    assert (out[:20] == 200).all() and (out[20:] == shaped.GREY).all()
    assert shaped.extent(50, 100, (40, 40)) == (20, 40)


def test_the_folder_tells_shape_and_orientation():
    assert cache.folder_of("x", "squash", (37, 37)).name == "squash-37"
    assert cache.folder_of("x", "corner", (30, 40)).name == "corner-30x40"
    assert cache.folder_of("x", "corner", (30, 40), reading=Reading(upright=False)).name == "corner-30x40-stored"


def test_a_picture_is_kept_as_stored_where_its_note_is_passed_over(tmp_path: Path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 255
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=tags, quality=95)
    path = str(tmp_path / "a.jpg")
    stored = cache.build([path], tmp_path / "s", "corner", (40, 60), nothing, reading=Reading(upright=False)).pictures[
        0
    ]
    assert np.abs(stored.astype(int) - pixels).max() < 30
    turned = cache.build([path], tmp_path / "u", "corner", (60, 40), nothing).pictures[0]
    assert turned[:, 25:].mean() > 200 and turned[:, :15].mean() < 50


def test_jpegs_are_halved_while_decoding_only_where_that_is_exact():
    for width, exact in ((800, 400), (801, 801)):
        buffer = BytesIO()
        Image.fromarray(np.zeros((600, width, 3), np.uint8)).save(buffer, "JPEG")
        assert decode(buffer.getvalue(), 300, exact=True).shape[1] == exact
        assert decode(buffer.getvalue(), 300).shape[1] == (width + 1) // 2


# ---- there and back


def bright_box(image: np.ndarray) -> np.ndarray:
    """[4] edges of the one bright rectangle of [h, w], finer than pixels, by its brightness."""
    edges = []
    for axis in (0, 1):
        profile = image.sum(axis=axis) / np.median(
            image.sum(axis=axis)[image.sum(axis=axis) > 0.5 * image.sum(axis=axis).max()]
        )
        middle = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
        edges.append((middle - profile.sum() / 2, middle + profile.sum() / 2))
    return np.array([edges[0][0], edges[1][0], edges[0][1], edges[1][1]])


@st.composite
def pictures_with_a_box(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """height, width, and a box that takes about a fifth to a half of each side."""
    height, width = draw(st.integers(60, 300)), draw(st.integers(60, 300))
    x0, y0 = draw(st.integers(0, width // 2)), draw(st.integers(0, height // 2))
    x1 = x0 + draw(st.integers(width // 5, width // 2))
    return height, width, (x0, y0, x1, y0 + draw(st.integers(height // 5, height // 2)))


@given(pictures_with_a_box(), st.sampled_from([(96, 128), (160, 160), (192, 128), (256, 352)]))
@settings(max_examples=40, deadline=None)
def test_boxes_seen_in_any_view_come_back_to_the_original(
    made: tuple[int, int, tuple[int, int, int, int]], canvas: tuple[int, int]
):
    """Original file -> cache -> view -> where it is bright -> original, within a pixel of the coarsest grid."""
    height, width, (x0, y0, x1, y1) = made
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y0:y1, x0:x1] = 255
    kept = shaped.fitted(picture, canvases.kept(canvas), "corner")
    rows, columns = canvases.extents(pd.DataFrame({"height": [height], "width": [width]}), canvas)[0]
    assert (kept[rows:] == shaped.GREY).all() and (kept[:, columns:] == shaped.GREY).all()
    kept[rows:], kept[:, columns:] = 0, 0
    scale = float(canvases.factors(pd.DataFrame({"height": [height], "width": [width]}), canvas)[0])
    images = torch.from_numpy(kept).permute(2, 0, 1)[None].float()
    for name, view in views.VIEWS.items():
        seen = view.see(images, canvas)
        assert seen.shape == (1, 3, *view.shape(canvas)) and not any(side % 32 for side in seen.shape[-2:])
        found = torch.from_numpy(bright_box(seen[0, 0].numpy()))[None]
        back = canvases.original(view.back(found, canvas).numpy(), scale, width, height)[0]
        coarsest = max(1.0, 1 / scale, 1 / (scale * view.scale))
        np.testing.assert_allclose(back, [x0, y0, x1, y1], atol=coarsest, err_msg=name)


SEEN = {
    "plain": lambda x, y, w, h: (x, y),
    "hflip": lambda x, y, w, h: (w - x, y),
    "vflip": lambda x, y, w, h: (x, h - y),
    "rot180": lambda x, y, w, h: (w - x, h - y),
    "rot90": lambda x, y, w, h: (y, w - x),
}


@given(st.integers(20, 4000), st.integers(20, 4000), st.integers(32, 1024), st.sampled_from(sorted(SEEN)), st.data())
@settings(max_examples=100, deadline=None)
def test_the_way_back_is_exact(height: int, width: int, size: int, name: str, data: st.DataObject):
    x, y = data.draw(st.floats(0, width)), data.draw(st.floats(0, height))
    sizes = pd.DataFrame({"height": [height], "width": [width]})
    canvas = canvases.canvas_of(sizes, size)
    scale = float(canvases.factors(sizes, canvas)[0])
    corners = np.array([SEEN[name](u * scale, v * scale, canvas[1], canvas[0]) for u, v in ((x, y), (width, height))])
    seen = torch.from_numpy(np.concatenate([corners.min(axis=0), corners.max(axis=0)]))[None]
    back = canvases.original(views.VIEWS[name].back(seen, canvas).numpy(), scale, width, height)[0]
    np.testing.assert_allclose(back, [x, y, width, height], atol=1e-6 * max(width, height))


@given(st.integers(40, 500), st.integers(40, 500), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_windows_cover_the_picture_and_overlap(height: int, width: int, n: int):
    spans = tiles.windows(height, width, n)
    assert spans.shape == (n * n, 4)
    assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in spans.tolist()}) == 1, "of one size"
    seen = np.zeros((height, width), int)
    for x0, y0, x1, y1 in spans:
        seen[y0:y1, x0:x1] += 1
    assert seen.all() and spans.min() == 0 and spans[:, 2].max() == width and spans[:, 3].max() == height
    side = spans[0, 2] - spans[0, 0]
    for one, after in pairwise(spans[:n]):
        assert one[2] - after[0] >= tiles.OVERLAP * side - 2


@given(st.integers(150, 400), st.integers(150, 400), st.integers(2, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_boxes_found_in_tiles_come_back_whole(height: int, width: int, n: int, data: st.DataObject):
    """An object smaller than the overlap: what stays of all windows is the whole of it, at least once."""
    canvas = (160, 192)
    _, _, w, h = tiles.windows(height, width, n)[0]
    box_w, box_h = (data.draw(st.integers(max(4, side // 16), side // 8)) for side in (w, h))
    x0, y0 = data.draw(st.integers(0, width - box_w)), data.draw(st.integers(0, height - box_h))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y0 : y0 + box_h, x0 : x0 + box_w] = 255
    spans = tiles.windows(height, width, n)
    scale, stayed = shaped.factor(h, w, canvas), []
    for number, window in enumerate(spans):
        seen = tiles.cut(picture, window, canvas)
        assert seen.shape == (*canvas, 3)
        rows, columns = shaped.extent(h, w, canvas)
        image = seen[:rows, :columns, 0].astype(float)
        if image.max() < 128:
            continue
        back, stay = tiles.back(bright_box(image)[None], number, spans, canvas)
        stayed += list(back[stay])
    assert stayed
    for found in stayed:
        np.testing.assert_allclose(found, [x0, y0, x0 + box_w, y0 + box_h], atol=max(1.0, 1 / scale))


def test_an_object_longer_than_the_overlap_stays_in_parts():
    spans = tiles.windows(100, 180, 2)
    part = np.array([[10.0, 10, 100, 50], [95, 10, 100, 50]])
    _, stay = tiles.back(part, 0, spans, (64, 100))
    assert spans[0].tolist() == [0, 0, 100, 56]
    assert stay.tolist() == [True, False], "the second one begins where the next window sees it"


# ---- what users get wrong


def test_unknown_views_and_transforms_are_named():
    check_views([*views.VIEWS, "tiles"], views.NAMES)
    with pytest.raises(ConfigFault, match="'hflip'"):
        check_views(["plain", "hflp"], views.NAMES)
    with pytest.raises(ConfigFault, match="HorizontalFlip"):
        check_with_boxes(({"HorizontalFlop": None},), (64, 96))
    with pytest.raises(ConfigFault, match="stay uint8"):
        check_with_boxes(({"ToFloat": None},), (64, 96))
    for spec in ("none", "light", "medium", "heavy", ({"RandomCrop": {"height": 40, "width": 40}},)):
        check_with_boxes(spec, (64, 96))
