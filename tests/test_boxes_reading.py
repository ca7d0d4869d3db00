"""Every form of boxes gives the same table, pictures without boxes stay, and what can't be read is told by place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from competition import artifacts, data, folds, split
from competition.boxes import reading, sizes
from competition.boxes.table import EDGES, TRUTH
from competition.decoding import Reading, decode
from competition.errors import DataFault
from competition.keys import Competition, Folds
from competition.task import Rows

WIDTH, HEIGHT = 64, 48
CLASSES = ["cell", "plate"]
BOXES = [  # id, label, edges, crowd; the picture c has none
    ("a", "cell", (4, 6, 20, 30), False),
    ("a", "plate", (10, 0, 64, 12), False),
    ("b", "cell", (32.5, 8, 40, 47), True),
    ("d", "plate", (1, 2, 3, 4), False),
]
IDS, TEST = ["a", "b", "c", "d"], ["y", "z"]
Writer = Callable[[], dict[str, object]]


def write_pictures(*ids: str) -> None:
    Path("data/images").mkdir(parents=True, exist_ok=True)
    for id in ids:
        Image.new("RGB", (WIDTH, HEIGHT)).save(f"data/images/{id}.png")


def write_tables(train: pd.DataFrame) -> None:
    Path("data").mkdir(exist_ok=True)
    train.to_csv("data/train.csv", index=False)
    pd.DataFrame({"id": TEST}).to_csv("data/test.csv", index=False)
    pd.DataFrame({"id": TEST, "found": ""}).to_csv("data/sample_submission.csv", index=False)


def competition(boxes: dict[str, object], **keys: object) -> Competition:
    """configs/toy/competition.yaml as JSON, which is YAML too."""
    values = {"data": "data", "id": "id", "kind": "boxes", "metric": "map", "image": "images/{id}.png", "boxes": boxes}
    values |= {"folds": {"n": 2}} | keys
    artifacts.write_text(artifacts.competition_yaml("toy"), json.dumps(values))
    data.load.cache_clear()
    return Competition.model_validate(values)


def numbers(edges: tuple[float, ...], form: str) -> list[float]:
    x0, y0, x1, y1 = edges
    return {
        "corners": [x0, y0, x1, y1],
        "sizes": [x0, y0, x1 - x0, y1 - y0],
        "centers": [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0],
    }[form]


def fractions(four: list[float]) -> list[float]:
    return [value / side for value, side in zip(four, (WIDTH, HEIGHT) * 2, strict=True)]


def four_columns(form: str = "corners", unit: str = "pixels") -> dict[str, object]:
    rows = [
        [id, "lab", label, *(fractions(numbers(edges, form)) if unit == "fractions" else numbers(edges, form))]
        for id, label, edges, _ in BOXES
    ]
    rows.insert(3, ["c", "lab", "nothing", "", "", "", ""])
    write_tables(pd.DataFrame(rows, columns=["id", "site", "label", "p", "q", "r", "s"]))
    return {"boxes": {"columns": ["p", "q", "r", "s"], "form": form, "unit": unit}, "target": "label"}


def one_column(
    cell: Callable[[str, tuple], str], join: str | None, empty: str = "", **boxes: object
) -> dict[str, object]:
    """A row a box where join is None, else a row a picture with its boxes between brackets or behind each other."""
    if join is None:
        rows = [[id, label, cell(label, edges)] for id, label, edges, _ in BOXES]
        rows.insert(3, ["c", "", empty])
        write_tables(pd.DataFrame(rows, columns=["id", "label", "found"]))
        return {"boxes": {"columns": "found", **boxes}, "target": "label"}
    cells = {id: [cell(label, edges) for at, label, edges, _ in BOXES if at == id] for id in IDS}
    around = "{}" if join == " " else "[{}]"
    rows = [[id, around.format(join.join(some)) if some else empty] for id, some in cells.items()]
    write_tables(pd.DataFrame(rows, columns=["id", "found"]))
    return {"boxes": {"columns": "found", **boxes}}


def a_list(label: str, edges: tuple) -> str:
    return str(numbers(edges, "sizes"))


def a_dict(label: str, edges: tuple) -> str:
    return str(dict(zip(("x", "y", "width", "height"), numbers(edges, "sizes"), strict=True)) | {"label": label})


def words(label: str, edges: tuple) -> str:
    return " ".join(map(str, (label, 1, *edges)))


def words_without_score(label: str, edges: tuple) -> str:
    return " ".join(map(str, (label, *edges)))


def voc() -> dict[str, object]:
    Path("data/Annotations").mkdir()
    for id in IDS:
        objects = "".join(
            f"<object><name>{label}</name><difficult>{int(crowd)}</difficult><bndbox>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
            + "</bndbox></object>"
            for at, label, edges, crowd in BOXES
            if at == id
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        Path(f"data/Annotations/{id}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    write_tables(pd.DataFrame({"id": IDS}))
    return {"boxes": {"source": "Annotations/{id}.xml"}}


def coco_content() -> dict[str, list[dict[str, object]]]:
    images = [{"id": n, "file_name": f"{id}.png", "width": WIDTH, "height": HEIGHT} for n, id in enumerate(IDS, 7)]
    annotations = [
        {"id": n, "image_id": 7 + IDS.index(id), "category_id": 3 + CLASSES.index(label),
         "bbox": numbers(edges, "sizes"), "iscrowd": int(crowd), "segmentation": [[1, 2]]}
        for n, (id, label, edges, crowd) in enumerate(BOXES)
    ]  # fmt: skip
    categories = [{"id": 3 + n, "name": name} for n, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_beside_train() -> dict[str, object]:
    write_tables(pd.DataFrame({"id": IDS}))
    artifacts.write_text(Path("data/annotations.json"), json.dumps(coco_content()))
    return {"boxes": {"source": "annotations.json"}}


def coco_as_train() -> dict[str, object]:
    write_tables(pd.DataFrame({"id": IDS}))
    artifacts.write_text(Path("data/train.json"), json.dumps(coco_content()))
    return {
        "boxes": {},
        "train": "train.json",
        "id": "stem",
        "image": "images/{stem}.png",
        "test": "sample_submission.csv",
    }


def yolo(names: Callable[[], object], **keys: object) -> dict[str, object]:
    Path("data/labels").mkdir()
    for id in {id for id, *_ in BOXES}:  # c has no file
        lines = [
            " ".join(map(str, (CLASSES.index(label), *fractions(numbers(edges, "centers")))))
            for at, label, edges, _ in BOXES
            if at == id
        ]
        Path(f"data/labels/{id}.txt").write_text("\n".join(lines) + "\n")
    names()
    write_tables(pd.DataFrame({"id": IDS}))
    return {"boxes": {"source": "labels/{id}.txt"}, **keys}


FORMS: dict[str, Writer] = {
    "corners": four_columns,
    "sizes": lambda: four_columns("sizes"),
    "centers": lambda: four_columns("centers"),
    "fractions": lambda: four_columns("corners", "fractions"),
    "fractions of centers": lambda: four_columns("centers", "fractions"),
    "list, a row a box": lambda: one_column(a_list, None, form="sizes"),
    "dict, a row a picture": lambda: one_column(a_dict, ", ", "[]"),
    "words": lambda: one_column(words, " ", "none 1 0 0 1 1"),
    "words without score": lambda: one_column(words_without_score, " "),
    "voc": voc,
    "coco beside train": coco_beside_train,
    "coco as train": coco_as_train,
    "yolo, classes in competition.yaml": lambda: yolo(lambda: None, classes=CLASSES),
    "yolo, classes.txt": lambda: yolo(lambda: Path("data/labels/classes.txt").write_text("\n".join(CLASSES))),
    "yolo, labels.txt": lambda: yolo(lambda: Path("data/labels.txt").write_text("\n".join(CLASSES))),
    "yolo, a .names file": lambda: yolo(lambda: Path("data/plates.names").write_text("\n".join(CLASSES))),
    "yolo, two YAML files": lambda: yolo(
        lambda: [
            Path(f"data/{n}.yml").write_text(text) for n, text in (("a", "x: 1\n"), ("b", "names: [cell, plate]\n"))
        ]
    ),
    "yolo, data.yaml": lambda: yolo(lambda: Path("data/data.yaml").write_text("names:\n  0: cell\n  1: plate\n")),
}
CROWDED = ("voc", "coco")  # forms that tell crowds


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(form: str, workspace: Path):
    write_pictures(*IDS, *TEST)
    competition(**FORMS[form]())
    loaded = data.load("toy")
    truth = loaded.train.truth
    assert truth is not None and tuple(truth) == TRUTH
    assert list(loaded.train.ids) == IDS and list(loaded.test.ids) == TEST
    assert list(truth.index) == [id for id, *_ in BOXES]
    assert list(truth["label"]) == [label for _, label, *_ in BOXES]
    np.testing.assert_allclose(truth[list(EDGES)], [edges for *_, edges, _ in BOXES], atol=1e-9)
    assert list(truth["crowd"]) == [crowd and form.startswith(CROWDED) for *_, crowd in BOXES]
    assert loaded.problem.classes == tuple(CLASSES)
    for rows in (loaded.train, loaded.test):
        assert rows.sizes is not None and rows.sizes.to_numpy().tolist() == [[WIDTH, HEIGHT]] * len(rows)


def test_one_word_in_many_cells_says_that_there_is_no_box(workspace: Path):
    write_pictures(*IDS, *TEST)
    rows = {"a": "cell 1 2 3 4", "b": "no_box", "c": "no_box", "d": ""}
    write_tables(pd.DataFrame({"id": rows.keys(), "found": rows.values()}))
    competition({"columns": "found"})
    loaded = data.load("toy")
    assert list(loaded.train.ids) == IDS and list(loaded.train.truth.index) == ["a"]
    assert any("2 cells of column 'found' are 'no_box'" in note for note in loaded.notes)


def test_one_class_needs_no_column(workspace: Path):
    write_pictures(*IDS, *TEST)
    told = FORMS["list, a row a box"]() | {"target": None}
    competition(**told)
    assert data.load("toy").problem.classes == ("object",)
    competition(**told, classes=["wheat"])
    assert set(data.load("toy").train.truth["label"]) == {"wheat"}


def test_a_column_may_mark_boxes_of_many_objects(workspace: Path):
    write_pictures(*IDS, *TEST)
    values = four_columns()
    table = pd.read_csv("data/train.csv", dtype=str, keep_default_na=False)
    write_tables(table.assign(IsGroupOf=["1", "0", "-1", "", "true"]))
    competition(**values)
    truth = data.load("toy").train.truth
    assert truth is not None and truth["crowd"].tolist() == [True, False, False, True]
    write_tables(table.assign(difficult=["1", "2", "3", "", "1"]))  # levels, no flags
    competition(**values)
    levels = data.load("toy").train.truth
    assert levels is not None and not levels["crowd"].any()


def test_columns_that_differ_within_a_picture_are_left_out(workspace: Path):
    values = four_columns()
    table = pd.read_csv("data/train.csv", dtype=str, keep_default_na=False)
    write_tables(table.assign(reader=[f"R{n}" for n in range(len(table))]))
    found = reading.read(Path("data"), competition(**values))
    assert list(found.table) == ["id", "site"] and list(found.table["site"]) == ["lab"] * 4
    assert any("'reader'" in note for note in found.notes)
    with pytest.raises(DataFault, match="FOLD-GROUP.*\n.*\n.*'reader'"):
        reading.read(Path("data"), competition(**values, folds={"group": "reader"}))


def test_unlisted_pictures_are_training_pictures_without_boxes(workspace: Path):
    write_pictures(*IDS, *TEST, "e", "f")
    values = four_columns()
    values["boxes"] |= {"unlisted": True}
    competition(**values)
    loaded = data.load("toy")
    assert list(loaded.train.ids) == [*IDS, "e", "f"] and not {"e", "f"} & set(loaded.train.truth.index)
    assert loaded.train.table.loc["f"].to_dict() == {"id": "f", "site": ""}
    assert any("2 pictures that no table lists" in note for note in loaded.notes)


def test_other_runs_notice_changed_annotations(workspace: Path):
    """The data hash follows the boxes' files and how they are read, not how a submission is written."""
    write_pictures(*IDS, *TEST)
    values = yolo(lambda: None)
    hashes = []
    for boxes in ({}, {"template": "{label} {score} {x_min} {y_min} {x_max} {y_max}"}, {"merge": 0.7}):
        competition(**{**values, "boxes": values["boxes"] | boxes})
        hashes.append(data.load("toy").hash)
    assert hashes[0] == hashes[1] != hashes[2]
    Path("data/labels/a.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    competition(**values)
    assert data.load("toy").hash != hashes[0]


@pytest.mark.parametrize("ids, columns, good", [("yy", 6, True), ("y", 6, True), ("xyz", 6, False), ("y", 1, False)])
def test_a_sample_with_a_row_a_box_may_repeat_and_leave_out_ids(ids: str, columns: int, good: bool, workspace: Path):
    write_pictures(*IDS, *TEST)
    competition(**four_columns())
    cells = {f"field{n}": "1" for n in range(columns)}
    pd.DataFrame([{"id": id} | cells for id in ids]).to_csv("data/sample_submission.csv", index=False)
    if good:
        assert list(data.load("toy").test.ids) == TEST
    else:
        with pytest.raises(DataFault, match="SUB-STALE"):
            data.load("toy")


def spoil_cells() -> dict[str, object]:
    values = FORMS["list, a row a box"]()
    Path("data/train.csv").write_text('id,label,found\na,cell,[1 2 3 4]\nb,cell,"[1, 2, 3]"\n')
    return values


def spoil_one_word() -> dict[str, object]:
    write_tables(pd.DataFrame({"id": IDS, "found": ["cell 1 2 3 4", "corrupt", "", "cell 2 2 3 4"]}))
    return {"boxes": {"columns": "found"}}


def spoil_words() -> dict[str, object]:
    values = FORMS["words"]()
    Path("data/train.csv").write_text("id,found\na,cell 1 2 3 4 5\nb,cell 1 2 3\n")
    return values


def spoil_voc() -> dict[str, object]:
    values = voc()
    Path("data/Annotations/a.xml").write_text("<annotation><object>")
    Path("data/Annotations/b.xml").write_text('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>')
    Path("data/Annotations/c.xml").unlink()
    return values


def spoil_coco() -> dict[str, object]:
    values, content = coco_beside_train(), coco_content()
    content["annotations"][1]["bbox"] = [1, 2]
    content["annotations"][2]["image_id"] = 99
    del content["annotations"][3]["image_id"]
    Path("data/annotations.json").write_text(json.dumps(content))
    return values


def spoil_coco_ids() -> dict[str, object]:
    values, content = coco_beside_train(), coco_content()
    content["images"][0]["file_name"] = "other.png"
    Path("data/annotations.json").write_text(json.dumps(content))
    return values


def spoil_yolo() -> dict[str, object]:
    values = FORMS["yolo, classes.txt"]()
    Path("data/labels/a.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    return values


def no_yolo() -> dict[str, object]:
    return FORMS["yolo, classes.txt"]() | {"boxes": {"source": "label/{id}.txt"}}


SPOILT: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "cells": (spoil_cells, ("train.csv, column 'found'", "line 2: [1 2 3 4]", "line 3: [1, 2, 3]")),
    "one word": (spoil_one_word, ("line 3: corrupt", "an empty cell")),
    "words": (spoil_words, ("line 3: cell 1 2 3", "4 words")),
    "voc": (spoil_voc, ("a.xml: no XML", "b.xml: declares entities", "c.xml: no such file")),
    "coco": (spoil_coco, ("annotation 1: bbox [1, 2]", "annotation 3: no image_id", "not listed: '99'")),
    "coco ids": (spoil_coco_ids, ("annotations.json", "'a'")),
    "yolo": (spoil_yolo, ("labels/a.txt, line 2: 7 words",)),
    "yolo nowhere": (no_yolo, ("label/a.txt: no such file",)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_read_is_told_by_its_place(name: str, workspace: Path):
    Path("data").mkdir()
    spoil, said = SPOILT[name]
    config = competition(**spoil())
    with pytest.raises(DataFault, match="DET-FORMAT") as error:
        reading.read(Path("data"), config)
    for part in said:
        assert part in str(error.value)
    assert all(all(vars(finding).values()) for finding in error.value.findings)


def test_sizes_are_read_once_and_again_when_a_file_changes(workspace: Path):
    write_pictures("a", "b")
    Path("data/images/c.png").write_text("no picture")
    paths = [f"data/images/{id}.png" for id in "abcd"]
    found = sizes.read(paths, Path("cache"))
    assert found.loc[paths[0], ["width", "height", "orientation"]].tolist() == [WIDTH, HEIGHT, 1]
    assert found.loc[paths[2:]].isna().all(axis=None), "one that is no picture, one that is missing"
    written = Path("cache/sizes.parquet").stat().st_mtime_ns
    assert sizes.read(paths[::-1], Path("cache")).equals(found)
    assert sizes.read(paths[:1], Path("cache")).equals(found[:1])
    assert Path("cache/sizes.parquet").stat().st_mtime_ns == written
    Image.new("RGB", (9, 5)).save(paths[1])
    assert sizes.read(paths, Path("cache")).loc[paths[1], "width"] == 9


def xmp(orientation: int) -> bytes:
    """A note as photo programs write it, its orientation beside EXIF's."""
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
        <rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>
        </rdf:RDF></x:xmpmeta>""".encode()


@pytest.mark.parametrize("note", [{}, {0x010F: "maker"}, {0x0112: 1}], ids=["no EXIF", "EXIF of the maker", "upright"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_turn_that_only_xmp_tells_is_none(suffix: str, note: dict[int, object], tmp_path: Path):
    """OpenCV, which decodes, reads EXIF alone."""
    path, exif = tmp_path / f"p.{suffix}", Image.Exif()
    exif.update(note)
    image, block = Image.new("RGB", (WIDTH, HEIGHT)), {"exif": exif} if note else {}
    if suffix == "png":
        chunk = PngInfo()
        chunk.add_itxt("XML:com.adobe.xmp", xmp(6).decode())
        block["pnginfo"] = chunk
    else:
        block["xmp"] = xmp(6)
    image.save(path, **block)
    assert Image.open(path).getexif().get(0x0112) == note.get(0x0112, 6), "Pillow takes it"
    row = sizes.read([str(path)], tmp_path / "cache").iloc[0]
    assert tuple(row[["height", "width"]]) == decode(path.read_bytes(), WIDTH).shape[:2] == (HEIGHT, WIDTH)
    assert row["orientation"] == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_sizes_are_those_of_the_decoded_picture(suffix: str, orientation: int, tmp_path: Path):
    path, note = tmp_path / f"p.{suffix}", Image.Exif()
    note[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=note)
    row = sizes.read([str(path)], tmp_path / "cache").iloc[0]
    for columns, upright in ((["height", "width"], True), (["stored_height", "stored_width"], False)):
        assert tuple(row[columns]) == decode(path.read_bytes(), WIDTH, Reading(upright)).shape[:2]
    assert row["orientation"] == (1 if suffix == "tif" else orientation)


def random_rows(pictures: int, groups: int, seed: int = 0) -> Rows:
    """Pictures of 0 to 30 boxes; class b is in every third of them, c in few."""
    random = np.random.default_rng(seed)
    ids = pd.Index([f"{n:03d}" for n in range(pictures)], name="id")
    boxes = []
    for n, id in enumerate(ids):
        labels = ["a"] * random.integers(0, 30) + ["b"] * (n % 3 == 0) + ["c"] * (n % 20 == 0)
        boxes += [(id, label, 0.0, 0.0, 9.0, 9.0, False) for label in labels]
    truth = pd.DataFrame(boxes, columns=["id", *TRUTH]).set_index("id")
    return Rows(pd.DataFrame({"g": (np.arange(pictures) % groups).astype(str)}, index=ids), truth)


def test_folds_have_the_classes_and_the_number_of_boxes_alike():
    rows = random_rows(200, 200)
    table, notes = split.split(rows, "boxes", Folds())
    assert not [note for note in notes if split.NO_BOX in note]
    fold, present = table["fold"], split.labels_of(rows, "boxes")
    assert list(present) == ["a", "b", "c", split.NO_BOX]
    held = present.groupby(fold).sum()
    assert (np.ptp(held.to_numpy(), axis=0) <= 2).all()
    assert np.ptp(fold.value_counts()) <= 6
    boxes = rows.truth.index.map(fold).value_counts()
    plain, _ = split.split(rows, "boxes", Folds(scheme="plain"))
    assert np.ptp(boxes) < min(0.1 * boxes.mean(), np.ptp(rows.truth.index.map(plain["fold"]).value_counts()))


def test_groups_of_pictures_stay_whole():
    rows = random_rows(120, 20)
    table, _ = split.split(rows, "boxes", Folds(group="g"))
    assert (table["fold"].groupby(rows.table["g"]).nunique() == 1).all()
    assert np.ptp(rows.truth.index.map(table["fold"]).value_counts()) < 0.35 * len(rows.truth) / 5


def test_the_summary_counts_boxes_and_shares_of_pictures(workspace: Path):
    write_pictures(*IDS, *TEST)
    competition(**four_columns())
    loaded = data.load("toy")
    table, _ = folds.make(loaded)
    shown = folds.summary(loaded, table)
    assert shown["boxes"].sum() == len(BOXES) and set(shown.filter(like="share of ").stack()) <= {0, 0.5, 1}
    assert "share of no box" in shown
