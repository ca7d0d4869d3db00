"""The made scenes: what their tables say is what lies on the pictures, and test is kept apart from train."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from competition import scenes
from competition.boxes.geometry import iou
from competition.boxes.table import EDGES

ALL = range(scenes.TRAIN + scenes.TEST)


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Scene]:
    train, test = scenes.parts()
    return [scenes.draw(train if n < scenes.TRAIN else test, n) for n in ALL]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("scenes")
    return folder, scenes.write_scenes(folder)


def test_ink_reaches_all_four_edges_of_its_box_and_no_further():
    """On black photos everything that is not black is ink, light on dark."""
    part = dataclasses.replace(scenes.parts()[0], photos=[np.zeros((200, 300, 3), np.uint8)])
    for n in range(100):
        scene = scenes.draw(part, n)
        ink = scene.picture.max(axis=2)
        for _, (x_min, y_min, x_max, y_max) in scene.boxes:
            inside = ink[y_min:y_max, x_min:x_max]
            assert all(side.max() >= 0.3 * 185 for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        for _, (x_min, y_min, x_max, y_max) in scene.boxes:
            ink[y_min:y_max, x_min:x_max] = 0
        assert not ink.any()


def test_boxes_are_inside_hardly_overlap_and_number_0_to_5(drawn: list[scenes.Scene]):
    assert {len(scene.boxes) for scene in drawn} == set(range(scenes.MOST + 1))
    assert {len(scene.boxes) == 0 for scene in drawn[scenes.TRAIN :]} == {True, False}
    for scene in drawn:
        boxes = [box for _, box in scene.boxes]
        edges = np.array(boxes).reshape(-1, 4)
        assert (edges >= 0).all() and (edges[:, 2] <= scenes.WIDTH).all() and (edges[:, 3] <= scenes.HEIGHT).all()
        assert (np.tril(iou(edges[:, None], edges), -1) < scenes.OVERLAP).all()


def test_train_and_test_share_neither_digits_nor_photo(drawn: list[scenes.Scene]):
    digits = [{d for scene in part for d in scene.digits} for part in (drawn[: scenes.TRAIN], drawn[scenes.TRAIN :])]
    assert digits[0] and digits[1] and not digits[0] & digits[1]
    train, test = scenes.parts()
    assert all(a.shape[1] + b.shape[1] == 640 for a, b in zip(train.photos, test.photos))


def test_tables_list_every_picture_once_and_an_empty_one_with_empty_cells(written: tuple[Path, pd.DataFrame]):
    folder, truth = written
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        for name in ("train", "test", "sample_submission")
    }
    train, test = set(tables["train"]["image_id"]), list(tables["test"]["image_id"])
    assert len(train) == scenes.TRAIN and len(test) == scenes.TEST and not train & set(test)
    assert train | set(test) == {path.stem for path in (folder / "images").iterdir()}
    assert list(tables["sample_submission"]["image_id"]) == test
    assert set(truth.index) < set(test)  # some are empty
    empty = tables["train"]["class"] == ""
    assert empty.any() and (tables["train"].loc[empty, list(EDGES)] == "").all(axis=None)
    assert not tables["train"].loc[empty, "image_id"].duplicated().any()
    assert set(tables["train"].loc[~empty, "class"]) == set(truth["label"]) == set(scenes.CLASSES.values())
    picture = cv2.imread(str(folder / "images" / f"{test[0]}.jpg"))
    assert picture.shape == (scenes.HEIGHT, scenes.WIDTH, 3)


def test_the_same_bytes_again_and_what_is_there_stays(written: tuple[Path, pd.DataFrame], tmp_path: Path):
    folder, truth = written
    again = scenes.write_scenes(tmp_path)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*.*"))
    assert len(files) == len(ALL) + 3
    assert all((folder / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)
    pd.testing.assert_frame_equal(again, truth)
    (tmp_path / "train.csv").write_text("the user's")
    scenes.write_scenes(tmp_path)
    assert (tmp_path / "train.csv").read_text() == "the user's"
