"""JSON files that list pictures and their classes in COCO's form, without boxes: read as tables, found by `make init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from competition import artifacts
from competition.data import load
from competition.errors import Fault
from competition.inspect import infer
from competition.tables import read_rows

IMAGES = [{"id": 7 * n, "file_name": f"train/{n % 5}/{n:03d}.jpg", "place": f"p{n % 9}"} for n in range(60)]
MARKS = [{"id": n, "image_id": 7 * n, "category_id": n % 5, "sure": n % 2 == 0} for n in range(60)]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(workspace: Path) -> None:
    write("train2021.json", {"images": IMAGES, "annotations": MARKS, "categories": []})
    write("test2021.json", {"images": [{"id": n, "file_name": f"test/{n}.jpg"} for n in range(900, 906)]})
    sample("0 1 2 3 4")
    for name in [image["file_name"] for image in IMAGES] + [f"test/{n}.jpg" for n in range(900, 906)]:
        artifacts.write_text(Path("raw") / str(name), "")


def write(name: str, content: Any) -> None:
    artifacts.write_text(Path("raw") / name, json.dumps(content))


def sample(cell: str) -> None:
    rows = "".join(f"{n},{cell}\n" for n in range(900, 906))
    artifacts.write_text(Path("raw/sample_submission.csv"), f"id,predicted\n{rows}")


def found(**given: Any) -> dict[str, Any]:
    return {guess.key: guess.value for guess in infer.infer(Path("raw"), "birds", given=given)}


def test_images_have_what_their_annotations_say() -> None:
    table = read_rows(Path("raw"), "train2021.json")
    assert table["category_id"].tolist() == [str(n % 5) for n in range(60)]
    assert table["id"].tolist() == [str(7 * n) for n in range(60)] and set(table["sure"]) == {"True", "False"}


def test_several_annotations_of_an_image_are_a_set_and_none_is_empty() -> None:
    marks = [*MARKS[1:], {"id": 99, "image_id": 7, "category_id": 4}, {"id": 98, "image_id": 14, "category_id": 2}]
    write("train2021.json", {"images": IMAGES, "annotations": marks})
    assert read_rows(Path("raw"), "train2021.json")["category_id"][:4].tolist() == ["", "1|4", "2", "3"]
    sample("0")
    values = found(target="category_id")
    assert (values["kind"], values["separator"]) == ("multilabel", "|")


def test_annotations_with_boxes_add_no_column() -> None:
    write("train2021.json", {"images": IMAGES, "annotations": [mark | {"bbox": [0, 0, 9, 9]} for mark in MARKS]})
    assert "category_id" not in read_rows(Path("raw"), "train2021.json")


def test_init_finds_them_and_a_sample_of_five_classes_is_no_box() -> None:
    expected = {
        "train": "train2021.json",
        "test": "test2021.json",
        "id": "id",
        "target": "category_id",
        "kind": "multiclass",
        "metric": {"name": "mapk", "k": 5},
        "image": {"train": "{file_name}", "test": "test/{id}.jpg"},
    }
    assert {key: found().get(key) for key in expected} == expected
    artifacts.write_text(artifacts.competition_yaml("birds"), infer.to_yaml(infer.infer(Path("raw"), "birds")))
    data = load("birds")
    assert data.problem.classes == tuple("01234") and data.test.pictures is not None
    assert data.test.pictures["900"].endswith("raw/test/900.jpg")


def test_val_is_left_aside_and_two_files_of_train_are_asked_about() -> None:
    write("val2021.json", {"images": IMAGES[:9], "annotations": MARKS[:9]})
    assert found()["train"] == "train2021.json"
    write("train_mini.json", {"images": IMAGES[:9], "annotations": MARKS[:9]})
    with pytest.raises(Fault, match="INIT-TRAIN.*several files list pictures"):
        found()


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"images": 3}', '{"images": [], "annotations": []}'])
def test_other_json_files_are_passed_over(content: str) -> None:
    artifacts.write_text(Path("raw/train_about.json"), content)
    assert found()["train"] == "train2021.json"
