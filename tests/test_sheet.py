"""What the two pictures of out-of-fold boxes are made of: who is right, which picture is worst, and files that open."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from competition import metrics
from competition.boxes import curves, sheet
from competition.boxes.matching import match
from competition.boxes.table import EDGES, PREDICTED, TRUTH, empty
from competition.chart import DPI
from competition.data import Data
from competition.keys import Boxes, Competition, ImagePaths, MetricSpec
from competition.task import Problem, Rows

CLASSES = ("cat", "dog")
IDS = pd.Index(["good", "half", "bare", "false", "lost", "two lost"], name="id")
CAT, DOG, FAR = (0, 0, 20, 20), (30, 10, 50, 30), (60, 40, 70, 60)


def table(columns: tuple[str, ...], *rows: tuple) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["id", *columns]).set_index("id")
    return made.astype(dict.fromkeys(EDGES, float))


TRUE = table(
    TRUTH,
    ("good", "cat", *CAT, False),
    ("good", "dog", *FAR, True),
    ("half", "cat", *CAT, False),
    ("half", "dog", *DOG, False),
    ("lost", "cat", *CAT, False),
    ("two lost", "cat", *CAT, False),
    ("two lost", "dog", *DOG, False),
)
SAID = table(
    PREDICTED,
    ("false", "dog", 0.8, *FAR),
    ("half", "cat", 0.7, 1, 0, 21, 20),
    ("half", "cat", 0.6, *DOG),  # the other class
    ("good", "cat", 0.9, *CAT),
    ("good", "dog", 0.85, *FAR),  # a crowd: neither right nor wrong
    ("lost", "cat", 0.1, *FAR),  # below the threshold
)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Six pictures of 80 x 64 pixels and their boxes."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{name}.png") for name in IDS]
    for path in paths:
        cv2.imwrite(path, noise)
    sizes = pd.DataFrame({"width": 80.0, "height": 64.0}, index=IDS)
    return Rows(pd.DataFrame(index=IDS), TRUE, pictures=pd.Series(paths, index=IDS), sizes=sizes)


def decoded(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_right_wrong_and_missed_boxes_and_the_threshold():
    judged = sheet.judge(TRUE, SAID, match(TRUE, SAID))
    assert judged.threshold == 0.7  # 2 of 3 right there; the crowd's is not counted
    assert {(i, r.label, r.right) for i, r in zip(judged.prediction.index, judged.prediction.itertuples())} == {
        ("false", "dog", False),
        ("half", "cat", True),
        ("good", "cat", True),
    }
    assert not judged.truth["crowd"].any()
    assert [*judged.truth.index[judged.truth["found"]]] == ["good", "half"]


def test_the_worst_picture_is_first_and_of_equal_ones_that_with_more_faults():
    found = sheet.by_picture(sheet.judge(TRUE, SAID, match(TRUE, SAID)), IDS)
    assert list(found.index) == ["two lost", "false", "lost", "half", "good", "bare"]
    assert found["f1"].round(3).tolist() == [0, 0, 0, 0.667, 1, 1]
    assert found.loc["half", ["right", "wrong", "missed"]].tolist() == [1, 0, 1]


def test_of_random_boxes_each_true_one_is_found_by_one_right_prediction_near_it():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    edges = np.hstack([corner, corner + rng.uniform(15, 30, (200, 2))])
    made = pd.DataFrame(edges, columns=list(EDGES), index=pd.Index(rng.choice(IDS.to_numpy(str), 200), name="id"))
    made.insert(0, "label", rng.choice(CLASSES, 200))
    truth = made.assign(crowd=False)
    prediction = made.assign(score=rng.integers(1, 20, 200) / 20, **(made[[*EDGES]] + rng.normal(0, 4, (200, 4))))
    prediction = prediction[list(PREDICTED)].sample(frac=1, random_state=0)
    judged = sheet.judge(truth, prediction, match(truth, prediction))
    right, found = judged.prediction[judged.prediction["right"]], judged.truth[judged.truth["found"]]
    assert 20 < len(right) == len(found) < len(judged.prediction)
    for name, box in zip(right.index, right.itertuples()):
        near = found[(found.index == name) & (found["label"] == box.label)]
        sides = np.minimum(near[["x_max", "y_max"]], [box.x_max, box.y_max]).to_numpy() - np.maximum(
            near[["x_min", "y_min"]], [box.x_min, box.y_min]
        )
        shared = sides.clip(0).prod(axis=1)
        area = (near["x_max"] - near["x_min"]) * (near["y_max"] - near["y_min"])
        whole = area.to_numpy() + (box.x_max - box.x_min) * (box.y_max - box.y_min) - shared
        assert (shared / whole).max() >= 0.5


@pytest.mark.parametrize("said", [np.linspace(0.1, 1, 10), np.repeat([0.9, 0.5, 0.2], 4)])
def test_the_threshold_is_the_best_of_all_scores(said: np.ndarray):
    rng = np.random.default_rng(len(said))
    truth = table(TRUTH, *(("good", "cat", 20 * n, 0, 20 * n + 10, 10, False) for n in range(len(said))))
    hit = rng.random(len(said)) < said
    boxes = [(20 * n, 0, 20 * n + 10, 10) if h else (0, 50, 9, 59) for n, h in enumerate(hit)]
    prediction = table(PREDICTED, *(("good", "cat", s, *box) for s, box in zip(said, boxes)))
    f1 = {s: 2 * hit[said >= s].sum() / ((said >= s).sum() + len(said)) for s in said}
    assert f1[sheet.best_threshold(match(truth, prediction, (0.5,)))] == max(f1.values())


def test_draw_writes_two_pictures_and_the_scores_of_every_class(rows: Rows, tmp_path: Path):
    classes = (*CLASSES, "emu")
    config = Competition(
        data="data", id="id", target="label", kind="boxes", metric=MetricSpec(name="map"), boxes=Boxes(),
        image=ImagePaths(train="{id}.png", test="{id}.png"),
    )  # fmt: skip
    metric = metrics.Metric("map", "probability", True, lambda truth, prediction: 0.0)
    problem = Problem("toy", "boxes", ("label",), classes, PREDICTED, metric)
    data = Data("toy", config, problem, rows, rows, pd.DataFrame(), "id", "", "", ())
    files = sheet.draw(data, IDS.drop("lost"), SAID, tmp_path / "run")
    assert [file.name for file in files] == ["worst.png", "precision_recall.png", "by_class.csv"]
    assert all(decoded(file.read_bytes()).shape[1] > 700 for file in files[:2])
    scores = pd.read_csv(files[2], index_col="class")
    assert list(scores.index) == [*classes, sheet.MEAN]
    assert scores["boxes"].tolist() == [3, 2, 0, 5]  # without the lost cat and the crowd
    assert scores.loc[sheet.MEAN, "ap50"] == scores.loc[["cat", "dog"], "ap50"].mean()
    assert scores.loc["dog", "ap50"] == 0 and np.isnan(scores.loc["emu", "ap50"])
    assert scores.loc["cat", "ap_small"] == scores.loc["cat", "ap"] and np.isnan(scores.loc["cat", "ap_large"])


def test_the_sheet_grows_by_rows_of_tiles(rows: Rows):
    judged = sheet.judge(TRUE, SAID, match(TRUE, SAID))
    sizes = [decoded(sheet.sheet(rows.take(IDS[:n]), judged, CLASSES, "toy")).shape for n in (3, 4)]
    assert sizes[1][0] > sizes[0][0] and sizes[1][1] == sizes[0][1]


def test_without_predictions_everything_is_missed_and_still_drawn(rows: Rows):
    nothing = sheet.judge(TRUE, empty(), match(TRUE, empty()))
    assert not nothing.truth["found"].any()
    assert decoded(sheet.sheet(rows.take(IDS[:1]), nothing, CLASSES, "toy")).std() > 30  # noise, not an empty page


@pytest.mark.parametrize(("n", "across", "down"), [(3, 3, 1), (13, 4, 3)])
def test_curves_have_a_panel_a_class_and_twelve_at_most(n: int, across: int, down: int):
    names = tuple(f"{i:02d}" for i in range(n))
    truth = table(TRUTH, *(("good", name, *CAT, False) for name in names))
    prediction = table(PREDICTED, *(("good", name, 0.5, *CAT) for name in names))
    height, width, _ = decoded(curves.curves(match(truth, prediction), names, 0.5, "toy")).shape
    assert (width, height) == (int(across * curves.INCHES * DPI), int((down * curves.INCHES + 1) * DPI))


def test_a_picture_is_drawn_in_pixels_of_the_original(rows: Rows, tmp_path: Path):
    """The same box on the same picture, stored at ten times the size with ten times the coordinates."""
    path = str(tmp_path / "large.png")
    cv2.imwrite(path, cv2.resize(cv2.imread(rows.pictures["good"]), None, fx=10, fy=10, interpolation=cv2.INTER_AREA))
    one = IDS[:1]
    small = rows.take(one)
    large = dataclasses.replace(small, pictures=pd.Series([path], index=one), sizes=small.sizes * 10)
    drawn = []
    for part, factor in ((small, 1), (large, 10)):
        truth, said = (t[t.index == "good"] for t in (TRUE, SAID))
        truth, said = (t.assign(**{e: t[e] * factor for e in EDGES}) for t in (truth, said))
        drawn.append(decoded(sheet.sheet(part, sheet.judge(truth, said, match(truth, said)), CLASSES, "toy")))
    frame = [np.abs(d.astype(int) - (255, 208, 0)).max(axis=2) < 20 for d in drawn]  # the cat's colour, BGR
    assert frame[0].any() and (frame[0] ^ frame[1]).sum() < 0.3 * frame[0].sum()
