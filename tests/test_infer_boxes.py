"""What `make init` infers from competitions of boxes: every form that boxes come in, each built tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from competition import artifacts, data
from competition.check import copies, doubles, groups
from competition.check.audit import describe_boxes
from competition.config import load_run
from competition.detection.task import DetectionTask
from competition.errors import ConfigFault, Fault
from competition.inspect.boxnumbers import boxes_in
from competition.inspect.infer import infer, to_yaml
from competition.inspect.start import start

WIDTH, HEIGHT = 100, 80
Layout = dict[str, Any]  # file -> text, or None for a picture of WIDTH x HEIGHT


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(workspace: Path) -> None:
    """Commands run in an empty folder."""


def build(layout: Layout) -> Path:
    for name, text in layout.items():
        path = Path("data/scenes") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        else:
            path.write_text(text)
    return Path("data/scenes")


def csv(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def pictures(template: str, *numbers: int) -> Layout:
    return {template.format(n): None for n in numbers}


def sample(string: str, header: str = "image_id,PredictionString", ids: str = "p{}") -> str:
    return csv(header, *(f"{ids.format(n)},{string}" for n in TEST))


TRAIN, TEST = range(6), range(6, 9)
BOXES = [(n, 10 + n, 20, 40 + n, 50) for n in TRAIN for _ in range(2)]  # two a picture: corners
CORNERS = [f"p{n},{a},{b},{c},{d},{'cat' if n % 2 else 'dog'}" for n, a, b, c, d in BOXES]
FOLDERS = pictures("train/p{}.jpg", *TRAIN) | pictures("test/p{}.jpg", *TEST)
ONE = pictures("images/p{}.jpg", *TRAIN, *TEST)
TWO = {"train": "train/{image_id}.jpg", "test": "test/{image_id}.jpg"}


def voc(n: int) -> str:
    name = "cat" if n % 2 else "dog"
    box = f"<bndbox><xmin>{10 + n}</xmin><ymin>20</ymin><xmax>{40 + n}</xmax><ymax>50</ymax></bndbox>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>{size}<object><name>{name}</name>{box}</object></annotation>"


def coco(numbers: range) -> str:
    images = [{"id": n, "file_name": f"p{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in numbers]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [10, 20, 30, 30], "iscrowd": 0} for n in numbers
    ]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories})


def yolo(template: str, **more: str) -> Layout:
    return {template.format(n): f"{n % 2} 0.25 0.5 0.3 0.4\n1 0.5 0.5 0.2 0.2\n" for n in TRAIN} | more


WHEAT = [f'p{n},{WIDTH},{HEIGHT},"[{60 + n}.0, 22.0, 30.0, 36.0]",{"a" if n < 3 else "b"}' for n in TRAIN for _ in "ab"]
LUNGS = [f"p{n},{'60.0,20.0,10.0,30.0,1' if n % 2 else ',,,,0'}" for n in TRAIN]
CHESTS = [
    f"p{n},{'Nodule,8' if n % 2 else 'No finding,14'},R{n % 3},{'10,20,30,40' if n % 2 else ',,,'}" for n in TRAIN
] + ["p1,Mass,9,R1,50,20,70,40"]
OPEN = [f"p{n},/m/0{n % 2},0.125,0.5,0.25,0.75" for n in TRAIN]

FORMS: dict[str, tuple[Layout, dict[str, Any]]] = {
    "wheat: sizes in a cell, pictures without boxes in no table": (
        FOLDERS | pictures("train/empty{}.jpg", 1, 2) | {
            "train.csv": csv("image_id,width,height,bbox,source", *WHEAT),
            "sample_submission.csv": sample("1.0 0 0 50 50"),
        },
        {"target": None, "boxes.columns": ["bbox"], "boxes.form": "sizes", "boxes.unit": "pixels", "image": TWO,
         "boxes.unlisted": True, "id": "image_id", "test": "sample_submission.csv", "metric": "map"},
    ),
    "pneumonia: x, y, width, height, empty where there is none": (
        pictures("train_images/p{}.png", *TRAIN) | pictures("test_images/p{}.png", *TEST) | {
            "stage_2_train_labels.csv": csv("patientId,x,y,width,height,Target", *LUNGS),
            "stage_2_detailed_class_info.csv": csv("patientId,class", *(f"p{n},Normal" for n in TRAIN)),
            "stage_2_sample_submission.csv": sample("0.5 0 0 100 100", "patientId,PredictionString"),
        },
        {"train": "stage_2_train_labels.csv", "target": None, "boxes.columns": ["x", "y", "width", "height"],
         "boxes.form": "sizes", "id": "patientId", "boxes.unlisted": None},
    ),
    "chests: the sample's strings have the class's number": (
        FOLDERS | {
            "train.csv": csv("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", *CHESTS),
            "sample_submission.csv": sample("14 1 0 0 1 1"),
        },
        {"target": "class_id", "boxes.columns": ["x_min", "y_min", "x_max", "y_max"], "boxes.form": "corners"},
    ),
    "cells: a table of test rows, one folder": (
        ONE | {
            "train.csv": csv("image_id,x_min,y_min,x_max,y_max,class", *CORNERS),
            "test.csv": csv("image_id,width,height", *(f"p{n},{WIDTH},{HEIGHT}" for n in TEST)),
            "sample_submission.csv": sample("cat 0.5 0 0 100 100"),
        },
        {"target": "class", "test": "test.csv", "image": "images/{image_id}.jpg", "boxes.unlisted": None},
    ),
    "open images: fractions, names in capitals and another order": (
        FOLDERS | {
            "train-annotations-bbox.csv": csv("ImageID,LabelName,XMin,XMax,YMin,YMax", *OPEN),
            "sample_submission.csv": sample("/m/01 0.9 0.1 0.1 0.9 0.9", "ImageId,PredictionString"),
        },
        {"target": "LabelName", "boxes.columns": ["XMin", "YMin", "XMax", "YMax"], "boxes.form": "corners",
         "boxes.unit": "fractions", "id": "ImageID"},
    ),
    "centers by name, empty strings in the sample": (
        FOLDERS | {
            "train.csv": csv("image_id,x_center,y_center,width,height,label",
                             *(f"p{n},50,40,20,{10 + n},{'cat' if n % 2 else 'dog'}" for n in TRAIN)),
            "sample_submission.csv": sample(""),
        },
        {"target": "label", "boxes.form": "centers", "boxes.columns": ["x_center", "y_center", "width", "height"]},
    ),
    "centers by the numbers": (
        FOLDERS | {
            "train.csv": csv("image_id,x,y,w,h", *(f"p{n},{0.8 + n / 100},0.9,0.3,0.2" for n in TRAIN)),
            "sample_submission.csv": sample("0.9 0.1 0.1 0.9 0.9"),
        },
        {"boxes.form": "centers", "boxes.unit": "fractions"},
    ),
    "corners in a cell": (
        FOLDERS | {
            "train.csv": csv("image_id,box", *(f'p{n},"[[5, 6, {10 + n}, 12], [40, 30, 60, 60]]"' for n in TRAIN)),
            "sample_submission.csv": sample("0.9 1 1 9 9"),
        },
        {"boxes.columns": ["box"], "boxes.form": "corners"},
    ),
    "dicts in a cell": (
        FOLDERS | {
            "train.csv": csv("image_id,annotations", *(
                f"p{n},\"[{{'x': 5, 'y': 6, 'width': {10 + n}, 'height': 12}}]\"" if n else "p0,[]" for n in TRAIN)),
            "sample_submission.csv": sample("0.9 1 1 9 9", "image_id,annotations"),
        },
        {"boxes.columns": ["annotations"], "boxes.form": "sizes"},
    ),
    "words in a cell": (
        FOLDERS | {
            "train.csv": csv("image_id,BoxesString,domain", *(
                f"p{n},{'60 40 70 60;5 5 20 30' if n else ''},farm" for n in TRAIN)),
            "sample_submission.csv": sample("", "image_id,PredString"),
        },
        {"boxes.columns": ["BoxesString"], "boxes.form": "corners", "target": None},
    ),
    "a row a box in the sample": (
        FOLDERS | {
            "train.csv": csv("image_id,x_min,y_min,x_max,y_max,class", *CORNERS),
            "test.csv": csv("image_id", *(f"p{n}" for n in TEST)),
            "sample_submission.csv": csv("image_id,class,score,x_min,y_min,x_max,y_max",
                                         *(f"p{n},cat,0.5,0,0,9,9" for n in TEST for _ in "ab")),
        },
        {"target": "class", "id": "image_id", "test": "test.csv"},
    ),
    "a row a box in the sample, which serves as test": (
        FOLDERS | {
            "train.csv": csv("image_id,x_min,y_min,x_max,y_max,class", *CORNERS),
            "sample_submission.csv": csv("image_id,class,score,x_min,y_min,x_max,y_max",
                                         *(f"p{n},cat,0.5,0,0,9,9" for n in TEST for _ in "ab")),
        },
        {"target": "class", "id": "image_id", "test": "sample_submission.csv"},
    ),
    "fractions, of which one box is wrong": (
        FOLDERS | {
            "train.csv": csv("image_id,x,y,w,h", *(f"p{n},{0.8 + n / 100},0.9,0.3,0.2" for n in TRAIN for _ in "ab"),
                             "p1,0.85,0.5,0.3,1.02"),
            "sample_submission.csv": sample("0.9 0.1 0.1 0.9 0.9"),
        },
        {"boxes.unit": "fractions"},
    ),
    "the one class by the sample's name": (
        FOLDERS | {
            "train.csv": csv("image_id,x_min,y_min,x_max,y_max", *(r.rpartition(",")[0] for r in CORNERS)),
            "sample_submission.csv": sample("wheat 0.5 0 0 9 9"),
        },
        {"target": None, "classes": ["wheat"]},
    ),
    "Pascal VOC without a table": (
        pictures("JPEGImages/p{}.jpg", *TRAIN, *TEST) | {f"Annotations/p{n}.xml": voc(n) for n in TRAIN} | {
            "test.csv": csv("image_id", *(f"p{n}" for n in TEST)),
            "sample_submission.csv": sample("cat 0.5 0 0 9 9"),
        },
        {"train": "Annotations/{image_id}.xml", "test": "test.csv", "boxes.source": "Annotations/{image_id}.xml",
         "id": "image_id", "target": None, "boxes.columns": None, "image": "JPEGImages/{image_id}.jpg"},
    ),
    "Pascal VOC with a list of ids": (
        FOLDERS | {f"marks/p{n}.xml": voc(n) for n in (*TRAIN, *TEST)} | {
            "train.csv": csv("name,site", *(f"p{n},a" for n in TRAIN)),
            "sample_submission.csv": sample("cat 0.5 0 0 9 9", "name,PredictionString"),
        },
        {"train": "train.csv", "boxes.source": "marks/{name}.xml", "id": "name"},
    ),
    "COCO without a table": (
        FOLDERS | {
            "annotations/instances_train.json": coco(TRAIN),
            "annotations/image_info_test.json": json.dumps({"images": []}),
            "sample_submission.csv": sample("cat 0.5 0 0 9 9"),
        },
        {"train": "annotations/instances_train.json", "boxes.source": "annotations/instances_train.json",
         "id": "stem", "target": None, "image": {"train": "train/{stem}.jpg", "test": "test/{stem}.jpg"}},
    ),
    "COCO with a list of pictures": (
        FOLDERS | {
            "train.csv": csv("image_id,site", *(f"p{n},a" for n in TRAIN)),
            "train.json": coco(TRAIN),
            "sample_submission.csv": sample("cat 0.5 0 0 9 9"),
        },
        {"train": "train.csv", "boxes.source": "train.json", "id": "image_id"},
    ),
    "YOLO with data.yaml": (
        pictures("images/train/p{}.jpg", *TRAIN, 20, 21) | pictures("images/test/p{}.jpg", *TEST)
        | yolo("labels/train/p{}.txt", **{"data.yaml": "names: [dog, cat]\n"})
        | {"sample_submission.csv": sample("cat 0.5 0 0 9 9")},
        {"train": "labels/train/{image_id}.txt", "boxes.source": "labels/train/{image_id}.txt", "boxes.unlisted": True,
         "classes": ["dog", "cat"], "image": {k: f"images/{k}/{{image_id}}.jpg" for k in ("train", "test")}},
    ),
    "YOLO with classes.txt, numbers in the sample": (
        ONE | yolo("labels/p{}.txt") | {"classes.txt": "dog\ncat\n", "sample_submission.csv": sample("1 0.5 0 0 9 9")},
        {"classes": ["0", "1"], "image": "images/{image_id}.jpg"},
    ),
    "YOLO in folders of a split": (
        pictures("images/a/p{}.jpg", 0, 1, 2) | pictures("images/b/p{}.jpg", 3, 4, 5) | pictures("images/t/p{}.jpg", *TEST)
        | {f"labels/{'a' if n < 3 else 'b'}/p{n}.txt": "0 0.5 0.5 0.1 0.1\n" for n in TRAIN}
        | {"obj.names": "cat\n", "sample_submission.csv": sample("cat 0.5 0 0 9 9")},
        {"train": "labels/{split}/{image_id}.txt", "classes": ["cat"],
         "image": {"train": "images/{split}/{image_id}.jpg", "test": "images/t/{image_id}.jpg"}},
    ),
}  # fmt: skip


def values(layout: Layout, given: dict[str, Any] | None = None) -> dict[str, Any]:
    return {guess.key: guess.value for guess in infer(build(layout), "scenes", given=given)}


@pytest.mark.parametrize("layout, expected", [pytest.param(*v, id=k) for k, v in FORMS.items()])
def test_forms_are_told(layout: Layout, expected: dict[str, Any]) -> None:
    guesses = infer(build(layout), "scenes")
    found = {guess.key: guess.value for guess in guesses}
    assert {key: found.get(key) for key in expected} == expected
    assert (found["kind"], found["folds.n"]) == ("boxes", 3)
    artifacts.write_text(artifacts.competition_yaml("scenes"), to_yaml(guesses))
    loaded = data.load("scenes")
    assert loaded.train.truth is not None and loaded.train.pictures is not None and loaded.test.pictures is not None
    assert set(loaded.train.ids) >= set(loaded.train.truth.index)
    assert all(Path(path).is_file() for path in (*loaded.train.pictures, *loaded.test.pictures))
    assert len(loaded.train) == len(TRAIN) + 2 * bool(found.get("boxes.unlisted")) and len(loaded.test) == len(TEST)


def test_a_check_tells_the_boxes_and_the_copies() -> None:
    layout, _ = FORMS["cells: a table of test rows, one folder"]
    artifacts.write_text(artifacts.competition_yaml("scenes"), to_yaml(infer(build(layout), "scenes")))
    loaded = data.load("scenes")
    lines = describe_boxes(loaded)
    assert lines[0] == "class cat: 6 boxes in 3 pictures"
    assert lines[2].startswith("12 boxes in 6 pictures, 2 in the middle one and 2 at most; 0 pictures without")
    assert lines[3].startswith("100% of the boxes are small")
    assert lines[4] == "training pictures of 100 x 80 (6)"
    seen = groups.seen(loaded)
    notes = list(doubles.notes(loaded, copies.find(seen, lambda *_: None), None))
    assert [(note.code, note.count) for note in notes] == [("FOLD-DUPE", 6), ("LABEL-CONFLICT", 6), ("TEST-DUPE", 3)]
    assert "other boxes" in notes[1].what


def test_a_first_run_of_a_detector_is_one_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    layout, _ = FORMS["cells: a table of test rows, one folder"]
    start(str(build(layout)), "scenes")
    task = load_run("scenes/baseline").task
    assert isinstance(task, DetectionTask)
    assert (task.size, task.pretrained) == (128, False) and task.epochs >= 15
    assert "make detect RUN=scenes/baseline" in capsys.readouterr().out


def test_what_is_given_is_taken() -> None:
    layout, _ = FORMS["corners in a cell"]
    found = values(layout, {"boxes.form": "sizes", "boxes": {"merge": 0.6}, "boxes.bad": "drop"})
    assert (found["boxes.form"], found["boxes.merge"], found["boxes.bad"]) == ("sizes", 0.6, "drop")
    with pytest.raises(ConfigFault, match="'boxes.form'"):
        infer(Path("data/scenes"), "scenes", given={"boxes.from": "sizes"})


def test_a_class_column_beside_crops_stays_a_label() -> None:
    layout, _ = FORMS["cells: a table of test rows, one folder"]
    crops = csv("image_id,x_min,y_min,x_max,y_max,class", *CORNERS[::2])
    layout = layout | {"train.csv": crops, "sample_submission.csv": sample("cat", "image_id,class")}
    assert values(layout)["kind"] == "binary"


def test_groups_are_columns_with_one_value_a_picture() -> None:
    rows = [f"{row},s{n // 4},v{n % 3}" for n, row in enumerate(CORNERS)]
    layout, _ = FORMS["cells: a table of test rows, one folder"]
    train = csv("image_id,x_min,y_min,x_max,y_max,class,site,video", *rows)
    found = values(layout | {"train.csv": train})
    assert found["folds.group"] == "site"


FAULTS: dict[str, tuple[Layout, str, str]] = {
    "several COCO files": (
        FOLDERS | {"a.json": coco(TRAIN), "b.json": coco(TRAIN), "sample_submission.csv": sample("cat 0.5 0 0 9 9")},
        "INIT-TRAIN",
        "'a.json', 'b.json'",
    ),
    "files that are no picture's": (
        ONE | yolo("labels/p{}.txt", **{"labels/classes.txt": "dog\ncat\n"})
        | {"sample_submission.csv": sample("1 0.5 0 0 9 9")},
        "INIT-TRAIN",
        "labels/classes.txt",
    ),
    "no boxes": (
        FOLDERS | {"train.csv": csv("image_id,site", *(f"p{n},a" for n in TRAIN)),
                   "sample_submission.csv": sample("cat 0.5 0 0 9 9")},
        "INIT-BOXES",
        "'site'",
    ),
    "no pictures": (
        {"train.csv": csv("image_id,x_min,y_min,x_max,y_max,class", *CORNERS),
         "sample_submission.csv": sample("cat 0.5 0 0 9 9")},
        "INIT-IMAGE",
        "no picture",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout, code, evidence", [pytest.param(*v, id=k) for k, v in FAULTS.items()])
def test_what_can_not_be_told_is_asked(layout: Layout, code: str, evidence: str) -> None:
    with pytest.raises(Fault) as caught:
        infer(build(layout), "scenes")
    assert [finding.code for finding in caught.value.findings] == [code]
    assert evidence in str(caught.value)


@pytest.mark.parametrize(
    "cell, boxes",
    [
        ("[834.0, 222.0, 56.0, 36.0]", [[834, 222, 56, 36]]),
        ("[(1, 2, 3, 4), (5, 6, 7, 8)]", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("99 692 160 764;641 27 697 115", [[99, 692, 160, 764], [641, 27, 697, 115]]),
        ("U+306F 1 2 3 4 U+304C 5 6 7 8", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("opacity 1 7.5 5 18 24 opacity 1 22 5 28 25", [[7.5, 5, 18, 24], [22, 5, 28, 25]]),
        ('[{"label": "cat", "bbox": [1, 2, 3, 4]}]', [[1, 2, 3, 4]]),
        ("no_box", []),
        ("[]", []),
        ("[1, 2", []),
        ("", []),
    ],
)
def test_cells(cell: str, boxes: list[list[float]]) -> None:
    assert boxes_in(cell) == boxes
