"""Bad boxes are counted, named and refused, clipped or left out, and never trained on in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from competition import artifacts, data
from competition.boxes import raw
from competition.boxes.checking import clean
from competition.boxes.geometry import areas, iou, shared
from competition.boxes.merging import clusters, merged
from competition.boxes.raw import Box
from competition.boxes.reading import Annotated
from competition.boxes.sizes import COLUMNS
from competition.boxes.table import EDGES, TRUTH
from competition.errors import DataFault, Finding
from competition.keys import Competition

WIDTH, HEIGHT = 100, 80
NAN = float("nan")
Listed = list[tuple[str, str, list[float]]]  # id, label, the four numbers


def settings_of(keys: dict[str, object], **boxes: object) -> Competition:
    values = {"data": "data", "id": "id", "target": "label", "kind": "boxes", "metric": "map", "image": "{id}.png"}
    return Competition.model_validate(values | {"boxes": boxes} | keys)


def check(
    listed: Listed, unit: str = "pixels", stated: dict[str, tuple[float, float]] | None = None, turn: int = 1,
    keys: dict[str, object] | None = None, **boxes: object,
) -> tuple[pd.DataFrame, str, dict[str, Finding]]:  # fmt: skip
    """clean on pictures a, b, c of 100 x 80 pixels: truth, notes, findings by code. turn: the EXIF orientation of c."""
    index = pd.Index(["a", "b", "c"], name="id")
    sizes = pd.DataFrame([[WIDTH, HEIGHT, WIDTH, HEIGHT, 1]] * 3, index=index, columns=COLUMNS, dtype=float)
    sizes.loc["c"] = [WIDTH, HEIGHT, *((HEIGHT, WIDTH) if turn in (6, 8) else (WIDTH, HEIGHT)), turn]
    said = pd.DataFrame.from_dict(stated or {}, orient="index", columns=["width", "height"]).reindex(index)
    config = settings_of(keys or {}, unit=unit, **boxes)
    marked = [Box(id, label, four, False, f"train.csv, line {n}") for n, (id, label, four) in enumerate(listed, 2)]
    table = pd.DataFrame({"id": index}, index=index)
    truth, notes, findings = clean(Annotated(table, raw.table(marked, "corners"), unit, said, "", ()), sizes, config)
    assert tuple(truth) == TRUTH and all(all(vars(finding).values()) for finding in findings)
    return truth, "\n".join(notes), {finding.code: finding for finding in findings}


GOOD: tuple[str, str, list[float]] = ("b", "cell", [10, 10, 30, 40])
BAD: dict[str, tuple[tuple[str, str, list[float]], str]] = {
    "DET-NAN": (("a", "cell", [1, NAN, 5, 6]), "a: 1 nan 5 6"),
    "DET-INVERTED": (("a", "cell", [30, 10, 20, 40]), "a: 30 10 20 40"),
    "DET-OUTSIDE": (("a", "cell", [100, 10, 120, 40]), "a: 100 10 120 40"),
    "DET-AREA": (("a", "cell", [10, 10, 10.9, 40]), "a: 10 10 10.9 40"),
    "DET-CLASS": (("a", "", [10, 10, 20, 40]), "classes ''"),
}


@pytest.mark.parametrize("code", BAD)
def test_bad_boxes_are_refused_or_left_out_with_their_number(code: str):
    box, found = BAD[code]
    _, notes, findings = check([GOOD, box, box])
    assert list(findings) == [code] and not notes.count(code)
    told = findings[code]
    assert told.what.startswith("2 training boxes") and told.where == "'train.csv, line 3', 'train.csv, line 4'"
    assert found in told.found and "bad: drop" in told.mend and "SET='boxes.bad=drop'" in told.mend
    truth, notes, findings = check([GOOD, box, box], bad="drop")
    assert not findings and list(truth.index) == ["b"]
    assert notes.startswith(f"{code}: 2 training boxes") and "train.csv, line 3" in notes


def test_all_faults_are_told_at_once():
    infinite = ("a", "cell", [1, 2, float("inf"), 4])
    _, _, findings = check([GOOD, infinite, *(box for box, _ in BAD.values())])
    assert set(findings) == set(BAD)
    assert findings["DET-NAN"].what.startswith("2 training boxes")


def test_a_class_that_is_not_listed_is_named_with_the_nearest():
    _, _, findings = check([GOOD, ("a", "cel", [1, 2, 9, 9])], keys={"classes": ["cell", "plate"]})
    assert "'cel'" in findings["DET-CLASS"].found and "did you mean 'cell'" in findings["DET-CLASS"].mend


def test_boxes_are_clipped_and_more_than_rounding_is_told():
    near = [("a", "cell", [-1, -0.4, 50, 50]), ("b", "cell", [60, 50, 101, 81])]
    truth, notes, findings = check(near)
    assert not notes and not findings
    assert truth[list(EDGES)].to_numpy().tolist() == [[0, 0, 50, 50], [60, 50, 100, 80]]
    truth, notes, findings = check([*near, ("c", "cell", [90, 70, 130, 75])])
    assert truth.loc["c", list(EDGES)].tolist() == [90, 70, 100, 75] and not findings
    assert notes.startswith("DET-OUTSIDE: 1 boxes") and "30 pixels" in notes and "line 4" in notes


def test_fractions_are_judged_in_pixels():
    truth, notes, findings = check(
        [("a", "cell", [0.1, 0.5, 0.11, 0.6]), ("b", "cell", [0, 0, 1, 1])], unit="fractions"
    )
    assert not notes and not findings, "a hundredth of the width is one pixel, which is not too thin"
    np.testing.assert_allclose(truth[list(EDGES)], [[10, 40, 11, 48], [0, 0, 100, 80]])
    _, _, findings = check([("a", "cell", [0.1, 0.5, 0.109, 0.6])], unit="fractions")
    assert list(findings) == ["DET-AREA"]
    _, _, findings = check([("a", "cell", [0.1, 0.5, 0.4, 0.6])])
    assert "unit: fractions" in findings["DET-AREA"].mend


def test_pictures_of_another_size_than_stated_are_refused_whatever_bad_says():
    _, _, findings = check([GOOD], stated={"a": (200, 160), "b": (100, 80)}, bad="drop")
    assert "a: says 200 x 160, is 100 x 80" in findings["DET-SIZE"].found and "1 pictures" in findings["DET-SIZE"].what
    assert not check([GOOD], stated={"a": (WIDTH, HEIGHT)})[2]


@pytest.mark.parametrize("upright", [True, False])
def test_a_turned_picture_is_read_as_told_and_contradiction_is_refused(upright: bool):
    shown, stored = (WIDTH, HEIGHT), (HEIGHT, WIDTH)
    box = ("c", "cell", [0.5, 0.5, 1, 1])
    truth, notes, findings = check([box], unit="fractions", turn=6, upright=upright)
    assert truth.loc["c", ["x_max", "y_max"]].tolist() == list(shown if upright else stored) and not findings
    assert notes.startswith("IMG-EXIF: 1 training pictures") and f"boxes.upright: {str(upright).lower()}" in notes
    right, wrong = (shown, stored) if upright else (stored, shown)
    assert not check([GOOD], turn=6, upright=upright, stated={"c": right})[2]
    _, _, findings = check([GOOD], turn=6, upright=upright, stated={"c": wrong})
    assert f"upright: {str(not upright).lower()}" in findings["DET-SIZE"].mend
    assert not check([GOOD], turn=3, upright=upright, stated={"c": shown})[2], "upside down it has the same size"


def test_several_boxes_of_one_object_are_told_and_merged_when_asked():
    readers = [("a", "cell", [10.0 + k, 10, 40 + k, 40]) for k in (0, 1, 2)]
    others = [GOOD, GOOD, ("a", "plate", [10, 10, 40, 40])]
    truth, notes, findings = check([*readers, *others])
    assert len(truth) == 6 and not findings
    assert notes.startswith("DET-DUP: 2 objects") and "up to 3 boxes of one object, 1 of them exact" in notes
    assert "merge: 0.7" in notes
    truth, notes, _ = check([*readers, *others], merge=0.7)
    assert "6 training boxes are 3 objects" in notes
    assert truth.reset_index()[["id", "label"]].to_numpy().tolist() == [["a", "cell"], ["a", "plate"], ["b", "cell"]]
    assert truth[list(EDGES)].to_numpy().tolist() == [[11, 10, 41, 40], [10, 10, 40, 40], [10, 10, 30, 40]]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), boxes=st.integers(0, 30), above=st.floats(0.1, 0.9))
def test_a_merged_box_stands_for_boxes_that_overlap_its_first(seed: int, boxes: int, above: float):
    random = np.random.default_rng(seed)
    start = random.integers(0, 12, (boxes, 2))
    edges = np.hstack([start, start + random.integers(1, 12, (boxes, 2))]).astype(float)
    truth = pd.DataFrame(edges, columns=list(EDGES), index=pd.Index(random.choice(list("ab"), boxes), name="id"))
    truth.insert(0, "label", pd.Series(random.choice(["x", "y"], boxes), index=truth.index, dtype="str"))
    truth["crowd"] = random.random(boxes) < 0.2
    number, fewer = clusters(truth, above), merged(truth, above)
    assert len(fewer) == len(set(number)) and fewer["crowd"].sum() == truth["crowd"].sum()
    firsts = []
    for k in pd.unique(number):
        group = truth[number == k]
        first = group[list(EDGES)].to_numpy()[:1]
        assert group.index.nunique() == group["label"].nunique() == 1
        assert (iou(first.repeat(len(group), axis=0), group[list(EDGES)].to_numpy()) >= above).all()
        same = [
            box
            for id, label, crowd, box in firsts
            if (id, label, crowd) == (group.index[0], group["label"].iloc[0], False)
        ]
        assert group["crowd"].any() or not same or (iou(first.repeat(len(same), axis=0), np.vstack(same)) < above).all()
        firsts.append((group.index[0], group["label"].iloc[0], group["crowd"].any(), first))


def test_iou_is_pycocotools():
    from pycocotools.mask import iou as reference

    start, sides = np.random.default_rng(0).random((2, 2, 40, 2))
    a, b = np.concatenate([start, start + sides], axis=2)
    of_sizes = reference(*np.concatenate([start, sides], axis=2), np.zeros(40, np.uint8))
    np.testing.assert_allclose(iou(a, b), np.diag(of_sizes), atol=1e-12)
    np.testing.assert_allclose(iou(a[:, None], b), of_sizes, atol=1e-12)
    both = shared(a[0], b)
    np.testing.assert_allclose(both / (areas(a[0]) + areas(b) - both), of_sizes[0], atol=1e-12)


def write_competition(row: str, **boxes: object) -> None:
    """Pictures p (a JPEG that its EXIF note turns by a quarter), q and a test picture; one row of train for p."""
    Path("data").mkdir(exist_ok=True)
    note = Image.Exif()
    note[0x0112] = 6
    Image.new("RGB", (60, 40)).save("data/p.jpg", exif=note)
    for id in "qz":
        Image.new("RGB", (60, 40)).save(f"data/{id}.jpg")
    Path("data/train.csv").write_text(f"id,width,height,x_min,y_min,x_max,y_max\n{row}\nq,60,40,1,2,20,30\n")
    Path("data/test.csv").write_text("id\nz\n")
    Path("data/sample_submission.csv").write_text("id,found\nz,\n")
    values = {"data": "data", "id": "id", "kind": "boxes", "metric": "map", "image": "{id}.jpg", "boxes": boxes}
    artifacts.write_text(artifacts.competition_yaml("toy"), json.dumps(values))
    data.load.cache_clear()


def test_a_jpeg_that_is_shown_turned(workspace: Path):
    write_competition("p,60,40,5,5,55,35")
    with pytest.raises(DataFault, match="DET-SIZE") as error:
        data.load("toy")
    assert "as stored by its EXIF note" in str(error.value) and "upright: false" in str(error.value)
    write_competition("p,60,40,5,5,55,35", upright=False)
    loaded = data.load("toy")
    assert loaded.train.sizes.loc["p"].tolist() == [60, 40] and any("IMG-EXIF: 1" in note for note in loaded.notes)
    write_competition("p,40,60,5,5,35,55")
    assert data.load("toy").train.sizes.loc["p"].tolist() == [40, 60]


def test_a_competition_without_any_good_box_is_refused(workspace: Path):
    write_competition("p,40,60,5,5,5,55", bad="drop")
    assert list(data.load("toy").train.truth.index) == ["q"]
    text = Path("data/train.csv").read_text().replace("1,2,20,30", "1,2,1,30")
    Path("data/train.csv").write_text(text)
    data.load.cache_clear()
    with pytest.raises(DataFault, match="no training picture has a box"):
        data.load("toy")


@pytest.mark.parametrize("read", ["corners", "sizes", "centers"])
@pytest.mark.parametrize("written", ["corners", "sizes", "centers"])
def test_boxes_read_in_another_form_than_they_are_written_are_refused(written: str, read: str):
    """Boxes like cells, a tenth to a third of the picture; what fits by chance is not taken for right."""
    rng = np.random.default_rng(0)
    side = rng.uniform(8, 30, (200, 2))
    start = rng.uniform(0, 1, (200, 2)) * ([WIDTH, HEIGHT] - side)
    numbers = raw.as_form(np.hstack([start, start + side]), written)
    np.testing.assert_allclose(raw.corners(numbers, written), np.hstack([start, start + side]))
    index = pd.Index(["a"], name="id")
    sizes = pd.DataFrame([[WIDTH, HEIGHT, WIDTH, HEIGHT, 1]], index=index, columns=COLUMNS, dtype=float)
    listed = [Box("a", "cell", four, False, "train.csv") for four in numbers.tolist()]
    found = Annotated(pd.DataFrame({"id": index}, index=index), raw.table(listed, read), "pixels",
                      pd.DataFrame({"width": [np.nan], "height": [np.nan]}, index=index), "", ())  # fmt: skip
    _, _, findings = clean(found, sizes, settings_of({}, form=read, bad="drop"))
    told = [finding for finding in findings if finding.code == "DET-FORMAT"]
    assert bool(told) == (written != read)
    assert not told or f"form: {written}" in told[0].mend
