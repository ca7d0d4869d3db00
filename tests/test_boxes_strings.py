"""Boxes as text: what a template writes is what it reads; every host's form from its sample; damage is found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition import artifacts, form, metrics, submit
from competition.boxes import strings
from competition.boxes.table import EDGES, PREDICTED, empty
from competition.data import Data
from competition.errors import ConfigFault, DataFault
from competition.keys import Competition
from competition.task import Problem, Rows

IDS = ["007", "010", "1e5"]
SIZES = {"width": [640.0, 100.0, 1024.0], "height": [480.0, 200.0, 1024.0]}
CELLS = ["RBC", "WBC", "Platelets"]
CHEST = [str(n) for n in range(14)]


def compete(sample: pd.DataFrame | str, classes: list[str] = CELLS, **boxes: object) -> Data:
    """Three test pictures; `sample`: the cell of each of them, or the whole table. boxes: keys of that section."""
    if isinstance(sample, str):
        sample = pd.DataFrame({"id": IDS, "PredictionString": sample})
    Path("data").mkdir(exist_ok=True)
    sample.to_csv("data/sample_submission.csv", index=False)
    values = {"data": "data", "id": "id", "kind": "boxes", "metric": "map", "image": "{id}.png", "boxes": boxes}
    metric = metrics.Metric("map", "boxes", True, lambda truth, prediction: 0.0)
    rows = Rows(pd.DataFrame(index=pd.Index(IDS, name="id")), sizes=pd.DataFrame(SIZES, pd.Index(IDS, name="id")))
    return Data(
        "toy", Competition(**values), Problem("toy", "boxes", (), tuple(classes), PREDICTED, metric), rows, rows,
        sample.astype(str), "id", "", "", (),
    )  # fmt: skip


def predicted(toy: Data, seed: int = 0) -> pd.DataFrame:
    """Boxes on the last and the first picture, none on the second; their edges have decimals that are not written."""
    rng = np.random.default_rng(seed)
    low, size = rng.uniform(0, 300, (5, 2)), rng.uniform(2, 150, (5, 2))
    table = pd.DataFrame(np.hstack([low, low + size]), columns=list(EDGES), index=pd.Index(["1e5"] * 3 + ["007"] * 2))
    table.insert(0, "score", rng.random(5))
    table.insert(0, "label", rng.choice(toy.problem.classes, 5))
    return table.rename_axis("id")


def codes(problems: list) -> set[str]:
    return {p.code for p in problems}


# Templates ------------------------------------------------------------------------------------------------------------

TEMPLATES = [
    "{label} {score} {x_min} {y_min} {x_max} {y_max}",
    "{score} {x_min} {y_min} {width} {height}",
    "{x_center} {y_center} {width} {height} {score} {label}",
    "{label},{score},{x_min},{y_min},{width},{height}",
    "{label}; {score}; {x_min}; {y_min}; {x_max}; {y_max}",
    "<{label}> 0 p={score} {x_center} {y_min} {width} {y_max}|",
]
BOX = st.tuples(*[st.integers(0, 6_000_000)] * 4, st.integers(0, 10**6), st.sampled_from(["a", "b-c"]))


@pytest.mark.parametrize("fractions", [False, True])
@pytest.mark.parametrize("text", TEMPLATES)
@settings(max_examples=15, deadline=None)
@given(boxes=st.lists(BOX, max_size=4), side=st.integers(1, 10_000))
def test_what_is_written_is_read(text: str, fractions: bool, boxes: list, side: int):
    """Edges to half of the last digit, scores exactly; the order within a picture stays."""
    template = strings.read(text)
    assert str(template) == text
    rows = [(label, score / 1e6, *(x / 6e6 * side for x in edges)) for *edges, score, label in boxes]
    table = pd.DataFrame(rows, [IDS[n % 2] for n in range(len(rows))], list(PREDICTED))
    whole = strings.rounded(table, pd.DataFrame(side, IDS, ["width", "height"]), fractions)
    cells = strings.render(template, strings.written(whole, template.fields, fractions))
    found, torn = strings.parse(template, cells)
    assert torn.empty and list(found.index) == sorted(table.index, key=IDS.index)
    table = table.loc[list(cells.index)] if len(table) else table
    assert "label" not in template.fields or list(found["label"]) == list(table["label"])
    numbers, unit = strings.measured(strings.numbers(found)), side if fractions else 1
    np.testing.assert_allclose(numbers["score"], table["score"].to_numpy(float), atol=1e-12)
    np.testing.assert_allclose(numbers[list(EDGES)] * unit, table[list(EDGES)].to_numpy(float), atol=5.1e-5)


def test_rounding_keeps_small_boxes():
    """A box of 2 by 2 pixels in a picture of 10,000 keeps an IoU of 0.9999 with itself."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 9_998, (2000, 2))
    table = pd.DataFrame(np.hstack([low, low + 2]), ["a"] * 2000, list(EDGES)).assign(score=0.5)
    for fractions in (False, True):
        whole = strings.rounded(table, pd.DataFrame(10_000, ["a"], ["width", "height"]), fractions)
        text = strings.written(whole, ("score", "x_min", "y_min", "width", "height"), fractions)
        read = strings.measured(strings.numbers(text))[list(EDGES)].to_numpy() * (10_000 if fractions else 1)
        true = table[list(EDGES)].to_numpy()
        both = np.prod(np.minimum(read, true)[:, 2:] - np.maximum(read, true)[:, :2], axis=1)
        areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (read, true)]
        assert (both / (areas[0] + areas[1] - both)).min() > 0.9999


def test_boxes_are_cut_to_their_picture():
    table = pd.DataFrame([[-5.0, -0.0, 700, 30], [650, 0, 700, 30]], ["007", "007"], list(EDGES))
    sizes = pd.DataFrame(SIZES, IDS)
    assert strings.rounded(table, sizes, False).to_numpy().tolist() == [[0, 0, 640, 30], [640, 0, 640, 30]]
    assert strings.rounded(table, sizes, True).to_numpy().tolist() == [[0, 0, 1, 0.0625], [1, 0, 1, 0.0625]]
    assert strings.rounded(table, sizes * np.nan, False).to_numpy().tolist() == [[0, 0, 700, 30], [650, 0, 700, 30]]


UNFIT = {
    "{label} {score} {xmin} {y_min} {x_max} {y_max}": "{xmin} is no field of a box; did you mean 'x_min'",
    "{label} {x_min} {y_min} {x_max} {y_max}": "{score} is missing",
    "{score} {x_min} {y_min} {x_max} {y_max}": "{label} is missing, and there are 3 classes",
    "{label} {score} {x_min} {y_min} {x_max}": "along the height there must be {y_min} and {y_max}, or",
    "{label} {score} {x_min} {y_min} {x_max} {y_max} {width}": "along the width",
    "{label} {score} {score} {x_min} {y_min} {x_max} {y_max}": "{score} stands more than once",
    "{label} {score}{x_min} {y_min} {x_max} {y_max}": "{score}{x_min}",
    "PredictionString": "{score} is missing",
}


@pytest.mark.parametrize("text, says", UNFIT.items())
def test_templates_that_cannot_be_read_back(text: str, says: str, workspace: Path):
    with pytest.raises(ConfigFault, match=f"(?s)CFG-VALUE.*boxes.template.*{re.escape(says)}"):
        form.infer(compete("", template=text))


# Every host's form ----------------------------------------------------------------------------------------------------

LABELLED = "{label} {score} {x_min} {y_min} {x_max} {y_max}"
CONFIDENCE = "{score} {x_min} {y_min} {x_max} {y_max}"
SIZED = "{score} {x_min} {y_min} {width} {height}"
HOSTS = {
    # cell of the sample, classes, section boxes -> template, nothing, fractions, what the notes say
    "bccd": ("RBC 0.5 0 0 100 100", CELLS, {}, LABELLED, "", False, ""),
    "wheat": ("1.0 0 0 50 50", ["wheat"], {"form": "sizes"}, SIZED, "", False, "read as {score} {x_min}"),
    "pneumonia": ("0.5 0 0 100 100", ["1"], {"form": "sizes"}, SIZED, "", False, "read as {score} {x_min}"),
    "corners": ("0.5 0 0 100 100", ["1"], {}, CONFIDENCE, "", False, "read as {score} {x_min}"),
    "two boxes": ("0.5 0 0 9 9 1 0 0 9 9", ["1"], {}, CONFIDENCE, "", False, "read as {score} {x_min}"),
    "six boxes": ("0.5 0 0 9 9 " * 6, ["1"], {}, CONFIDENCE, "", False, "read as {score} {x_min}"),
    "no corners": ("0.5 90 90 50 50", ["1"], {}, SIZED, "", False, ""),
    "centers": ("0.5 90 90 50 50", ["1"], {"form": "centers"}, "{score} {x_center} {y_center} {width} {height}", "",
                False, ""),
    "vinbigdata": ("14 1 0 0 1 1", CHEST, {}, LABELLED, "14 1 0 0 1 1", False, ""),
    "covid": ("none 1 0 0 1 1", ["opacity"], {"form": "sizes"}, LABELLED, "none 1 0 0 1 1", False, "read as {label}"),
    "covid, of zeros": ("opacity 0 0 0 0 0", ["opacity"], {}, LABELLED, "", False, ""),
    "open images": ("/m/05s2s 0.9 0.1 0.1 0.2 0.2", ["/m/05s2s", "/m/0k5j"], {}, LABELLED, "", True, "fractions"),
    "open images, sizes": ("/m/05s2s 0.9 0.9 0.9 0.2 0.2", ["/m/05s2s", "/m/0k5j"], {},
                           "{label} {score} {x_min} {y_min} {width} {height}", "", True, "fractions"),
    "empty": ("", CELLS, {"form": "sizes"}, LABELLED, "", False, "shows no box"),
    "empty, one class": ("", ["wheat"], {"form": "sizes"}, SIZED, "", False, "shows no box"),
    "empty, corners": ("", ["wheat"], {}, CONFIDENCE, "", False, "shows no box"),
    "empty, fractions": ("", CELLS, {"unit": "fractions"}, LABELLED, "", True, "those of training are"),
    "yolo": ("RBC 0.9 0.5 0.5 0.1 0.1", CELLS, {"source": "labels/{id}.txt"},
             "{label} {score} {x_center} {y_center} {width} {height}", "", True, "fractions"),
    "yolo, in doubt": ("RBC 0.9 0.1 0.1 0.5 0.5", CELLS, {"source": "labels/{id}.txt"}, LABELLED, "", True,
                       "read as {label} {score} {x_min}"),
    "coco": ("0.5 0 0 50 50", ["wheat"], {"source": "a.json"}, SIZED, "", False, "read as {score} {x_min}"),
    "voc": ("0.5 0 0 50 50", ["wheat"], {"source": "a/{id}.xml"}, CONFIDENCE, "", False, "read as {score} {x_min}"),
    "class unseen": ("Blast 0.5 0 0 100 100", CELLS, {}, LABELLED, "", False, "'Blast', of which there is no training box"),
    "commas": ("RBC,0.5,0,0,100,100", CELLS, {}, LABELLED.replace(" ", ","), "", False, ""),
    "stated": ("0.5 0 0 100 100", ["1"], {"template": SIZED, "nothing": "none", "fractions": True}, SIZED, "none", True,
               ""),
    "stated, a cell of its own": ("nothing found", CELLS, {"template": LABELLED, "nothing": "nothing found"}, LABELLED,
                                  "nothing found", False, ""),
    "stated, the marker found": ("14 1 0 0 1 1", CHEST, {"template": LABELLED}, LABELLED, "14 1 0 0 1 1", False, ""),
}  # fmt: skip


@pytest.mark.parametrize("cell, classes, boxes, template, nothing, fractions, says", HOSTS.values(), ids=HOSTS)
def test_forms_of_hosts(cell, classes, boxes, template, nothing, fractions, says, workspace: Path):
    """The form is told from the sample; a file in it passes the check and holds the boxes that were predicted."""
    toy = compete(cell, classes, **boxes)
    found = form.infer(toy)
    assert (str(found.template), found.nothing, found.fractions) == (template, nothing, fractions)
    assert found.column == "PredictionString" and found.names == tuple(classes)
    assert says in "\n".join(found.notes) and bool(says) == bool(found.notes)
    boxes_ = predicted(toy)
    path, notes = submit.write(toy, "toy/base", boxes_)
    assert submit.check(toy, path) == []
    assert "5 boxes on 2 of 3 pictures" in "\n".join(notes)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table["id"]) == IDS and table["PredictionString"][1] == nothing
    held(toy, table, boxes_)


def held(toy: Data, table: pd.DataFrame, boxes: pd.DataFrame) -> None:
    """The submission holds these boxes, those of a picture in order of their scores."""
    told = form.infer(toy)
    cells = table.set_index("id")[told.predicted].agg("\t".join, axis=1)
    text, torn = strings.parse(told.template, cells[cells != told.nothing])
    assert torn.empty
    read = strings.measured(strings.numbers(text))
    if told.fractions:
        read[list(EDGES)] *= toy.test.sizes.loc[read.index, ["width", "height"] * 2].to_numpy()
    wanted = boxes.sort_values("score", ascending=False).loc[["007", "1e5"]]
    names = dict(zip(toy.problem.classes, told.names))
    assert "label" not in text or text["label"].to_list() == wanted["label"].map(names).to_list()
    assert list(read.index) == list(wanted.index)
    np.testing.assert_allclose(read[["score", *EDGES]], wanted[["score", *EDGES]], atol=6e-5)


@pytest.mark.parametrize("name", HOSTS)
def test_no_box_at_all(name: str, workspace: Path):
    cell, classes, boxes, _, nothing, *_ = HOSTS[name]
    toy = compete(cell, classes, **boxes)
    path, notes = submit.write(toy, "toy/base", empty())
    assert submit.check(toy, path) == []
    assert pd.read_csv(path, dtype=str, keep_default_na=False)["PredictionString"].to_list() == [nothing] * 3
    assert "SUB-CONST" in "\n".join(notes) and "0 boxes on 0 of 3 pictures" in "\n".join(notes)


def test_names_are_written_as_the_sample_does(workspace: Path):
    toy = compete("rbc 0.5 0 0 100 100")
    boxes = predicted(toy).assign(label="Platelets")
    table = submit.render(toy, boxes)
    assert table["PredictionString"][0].startswith("platelets 0.")
    held(toy, table, boxes)


REFUSED = {
    "torn": ("RBC 0.5 0 0 100", CELLS, {}, "cells of 5 words"),
    "no class": ("0.5 0 0 100 100", CELLS, {}, "cells of 5 words.*label, score and four numbers"),
    "class last": ("0.5 10 20 30 40 RBC", CELLS, {}, "cells of 6 words"),
    "words": ("nothing found", ["a"], {}, "cells of 2 words"),
    "stated, torn": ("nothing found", CELLS, {"template": LABELLED}, "1 cells that are no boxes: 'nothing found'"),
    "stated, no number": ("RBC x 0 0 1 1", CELLS, {"template": LABELLED}, "1 cells that are no boxes"),
    "a blank in a name": ("", ["red cell", "b"], {}, "names that hold what divides words, ' ': 'red cell'"),
}


@pytest.mark.parametrize("cell, classes, boxes, says", REFUSED.values(), ids=REFUSED)
def test_samples_that_are_refused(cell, classes, boxes, says: str, workspace: Path):
    with pytest.raises(DataFault, match=f"(?s)SUB-FORM.*sample_submission.csv.*{says}"):
        form.infer(compete(cell, classes, **boxes))


def test_cells_of_several_lengths(workspace: Path):
    cells = pd.DataFrame({"id": IDS, "p": ["RBC 0.5 0 0 9 9", "RBC 0.5 0 0 9", "RBC 1 0 0 9 9 WBC 0.1 1 1 2 2"]})
    with pytest.raises(DataFault, match="cells of 5, 6, 12 words"):
        form.infer(compete(cells))
    assert str(form.infer(compete(cells.drop(index=1))).template) == LABELLED


# One row a box --------------------------------------------------------------------------------------------------------

ROW = {"class": "RBC", "confidence": "0.5", "xmin": "0", "ymin": "0", "xmax": "100", "ymax": "100"}
ROWS = {
    # a row of the sample, section boxes -> fields, the row of a picture without boxes
    "corners": (ROW, {}, ["label", "score", *EDGES], ""),
    "sizes": ({"score": "1", "bbox_x": "0", "bbox_y": "0", "w": "9", "h": "9", "label": "RBC"}, {},
              ["score", "x_min", "y_min", "width", "height", "label"], ""),
    "two corners": ({"score": "1", "pred_x0": "0", "pred_y0": "0", "pred_x1": "9", "pred_y1": "9", "category_id": "RBC"},
                    {}, ["score", *EDGES, "label"], ""),
    "a marker": (ROW | {"class": "none", "xmax": "1", "ymax": "1"}, {}, ["label", "score", *EDGES],
                 "none 0.5 0 0 1 1"),
    "a marker stated": (ROW, {"nothing": "none 1 0 0 1 1"}, ["label", "score", *EDGES], "none 1 0 0 1 1"),
    "empty": (dict.fromkeys(ROW, ""), {}, ["label", "score", *EDGES], ""),
    "stated": ({"a": "RBC", "b": "0.5", "c": "0", "d": "0", "e": "1", "f": "1"}, {"template": LABELLED},
               ["label", "score", *EDGES], ""),
}  # fmt: skip


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("row, boxes, fields, nothing", ROWS.values(), ids=ROWS)
def test_one_row_a_box(row, boxes, fields, nothing: str, counted: bool, workspace: Path):
    sample = pd.DataFrame([{"id": i} | row for i in [IDS[0], *IDS]])
    if counted:
        sample.insert(0, "row_id", ["1", "2", "3", "4"])
    toy = compete(sample, **boxes)
    found = form.infer(toy)
    assert found.column is None and list(found.columns.values()) == fields
    assert list(found.columns) == list(row) and found.nothing.split() == nothing.split()
    boxes_ = predicted(toy)
    path, notes = submit.write(toy, "toy/base", boxes_)
    assert submit.check(toy, path) == []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table.columns) == list(sample.columns)
    assert list(table["id"]) == ["007"] * 2 + ["010"] * bool(nothing) + ["1e5"] * 3
    assert not counted or list(table["row_id"]) == [str(n + 1) for n in range(len(table))]
    assert any(note.startswith("5 boxes on 2 of 3 pictures") for note in notes)
    held(toy, table, boxes_)
    if nothing:
        table[table["id"] != "010"].to_csv("other.csv", index=False)
        assert codes(submit.check(toy, Path("other.csv"))) == {"SUB-IDS"}
        assert len(submit.render(toy, empty())) == 3
    else:
        with pytest.raises(DataFault, match="SUB-EMPTY"):
            submit.write(toy, "toy/base", empty())


@pytest.mark.parametrize("nothing", ["", "none 1 0 0 1 1"])
def test_pictures_that_a_sample_of_rows_lacks_are_written_last(nothing: str, workspace: Path):
    toy = compete(pd.DataFrame([{"id": i} | ROW for i in ["1e5", "010"]]), nothing=nothing)
    boxes = predicted(toy)
    path, notes = submit.write(toy, "toy/base", boxes)
    assert submit.check(toy, path) == []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table["id"]) == ["1e5"] * 3 + ["010"] * bool(nothing) + ["007"] * 2
    said = "\n".join(notes)
    assert "5 boxes on 2 of 3 pictures" in said and "SUB-BOX" not in said


@pytest.mark.parametrize(
    "row, boxes, says",
    [
        ({"confidence": "1", "x": "0"}, {}, "along the width there must be.*{label} is missing"),
        ({**ROW, "shape": "round"}, {}, "'shape' is no field of a box"),
        ({**ROW, "conf": "1"}, {}, "two columns for score"),
        ({**ROW, "pred_confidence": "1"}, {}, "two columns for score"),
        ({**ROW, "xmax": "a"}, {}, "1 cells that are no boxes"),
        ({k: v for k, v in ROW.items() if k != "class"}, {}, "{label} is missing, and there are 3 classes"),
        ({**ROW, "shape": "round"}, {"template": LABELLED}, "has one row a box, in the columns"),
        (ROW, {"nothing": "none"}, "1 words for the columns"),
    ],
)
def test_columns_that_are_no_boxes(row: dict, boxes: dict, says: str, workspace: Path):
    with pytest.raises((DataFault, ConfigFault), match=says):
        form.infer(compete(pd.DataFrame([{"id": i} | row for i in IDS] * 2), **boxes))


# Damage ---------------------------------------------------------------------------------------------------------------

DAMAGED = {
    "RBC 0.5 0 0 100": ("SUB-BOX", "no whole number of boxes"),
    "rbc 0.5 0 0 100 100": ("SUB-LABEL", "boxes of no class"),
    "14 1 0 0 1 1 RBC 0.5 0 0 100 100": ("SUB-LABEL", "1: '010: 14 1 0 0 1 1'"),
    "RBC 1.5 0 0 100 100": ("SUB-PROB", "1: '010: RBC 1.5 0 0 100 100'"),
    "RBC -0.1 0 0 100 100": ("SUB-PROB", "outside 0..1"),
    "RBC nan 0 0 100 100": ("SUB-NONFINITE", "010"),
    "RBC 0.5 0 0 1e999 100": ("SUB-NONFINITE", "010"),
    "RBC 0.5 0 x 100 100": ("SUB-NONFINITE", "010"),
    "RBC 0.5 0 0 102 100": ("SUB-BOX", "outside their picture"),
    "RBC 0.5 -2 0 100 100": ("SUB-BOX", "outside their picture"),
    "RBC 0.5 50 0 50 100": ("SUB-BOX", "without area"),
    "RBC 0.5 50 70 60 60": ("SUB-BOX", "ends are swapped"),
    "": ("SUB-BOX", "empty cells"),
    "RBC 0.5 0 0 100.9 100": (None, ""),
    "RBC 0.5 0 0 100 100 RBC 0.5 0 0 100 200": (None, ""),
    "14 1 0 0 1 1": (None, ""),
}


@pytest.mark.parametrize("cell, found", DAMAGED.items())
def test_damage_is_found(cell: str, found: tuple[str | None, str], workspace: Path):
    toy = compete("14 1 0 0 1 1")
    table = submit.render(toy, predicted(toy))
    table.loc[1, "PredictionString"] = cell
    table.to_csv("other.csv", index=False)
    problems = submit.check(toy, Path("other.csv"))
    code, says = found
    assert codes(problems) == ({code} if code else set())
    assert all(says in str(p) and p.where == "other.csv" and "010" in p.found for p in problems)


def test_damage_of_rows(workspace: Path):
    toy = compete(pd.DataFrame([{"id": i} | ROW for i in IDS]))
    table = submit.render(toy, predicted(toy))
    for change, code in ({"id": "7"}, "SUB-IDS"), ({"class": "rbc"}, "SUB-LABEL"), ({"xmax": ""}, "SUB-NONFINITE"):
        table.assign(**{k: [v, *table[k][1:]] for k, v in change.items()}).to_csv("other.csv", index=False)
        assert codes(submit.check(toy, Path("other.csv"))) == {code}
    table.rename(columns={"class": "label"}).to_csv("other.csv", index=False)
    assert codes(submit.check(toy, Path("other.csv"))) == {"CSV-HEADER"}


def test_fractions_stay_below_one(workspace: Path):
    toy = compete("RBC 0.9 0.1 0.1 0.2 0.2")
    table = submit.render(toy, predicted(toy))
    table.loc[1, "PredictionString"] = "RBC 0.9 0.1 0.1 1.00001 0.2"
    table.to_csv("other.csv", index=False)
    assert codes(submit.check(toy, Path("other.csv"))) == {"SUB-BOX"}


def test_ids_of_pictures(workspace: Path):
    toy = compete("")
    table = submit.render(toy, predicted(toy))
    pd.concat([table[:2], table[:1]]).to_csv("other.csv", index=False)
    (problem,) = submit.check(toy, Path("other.csv"))
    assert problem.code == "SUB-IDS" and "1 missing: '1e5'; 1 twice: '007'" in problem.found


@pytest.mark.parametrize(
    "change, code",
    [
        ({"score": 1.5}, "SUB-PROB"),
        ({"score": np.nan}, "SUB-NONFINITE"),
        ({"x_min": np.inf}, "SUB-NONFINITE"),
        ({"label": "Blast"}, "SUB-LABEL"),
        ({"id": "7"}, "SUB-IDS"),
    ],
)
def test_bad_predictions_are_refused_and_nothing_is_left(change: dict, code: str, workspace: Path):
    toy = compete("")
    boxes = predicted(toy).reset_index()
    boxes[list(change)] = boxes[list(change)].astype(object)
    boxes.loc[0, list(change)] = list(change.values())
    with pytest.raises(DataFault) as caught:
        submit.write(toy, "toy/base", boxes.set_index("id"))
    assert codes(caught.value.findings) == {code}
    assert not artifacts.submission_csv("toy/base").exists()


def test_boxes_without_area_are_left_out_and_told(workspace: Path):
    toy = compete("")
    boxes = predicted(toy)
    boxes.iloc[0, 2:] = [1030.0, 0, 1040, 9]  # the picture is 1024 wide
    path, notes = submit.write(toy, "toy/base", boxes)
    assert "SUB-BOX: 1 boxes of" in "\n".join(notes) and "4 boxes on 2 of 3 pictures" in "\n".join(notes)
    assert submit.check(toy, path) == []


def test_fractions_need_the_size(workspace: Path):
    toy = compete("RBC 0.9 0.1 0.1 0.2 0.2")
    toy.test.sizes.loc["007"] = np.nan
    with pytest.raises(DataFault, match="(?s)SUB-BOX.*whose size can't be read.*1: '007'"):
        submit.render(toy, predicted(toy))
