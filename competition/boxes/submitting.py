"""A table of boxes as a submission in the form of the sample, and that read back as the host would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from competition.boxes import strings
from competition.boxes.form import BoxForm
from competition.boxes.table import EDGES, take
from competition.data import Data
from competition.errors import examples

Fault = tuple[str, str, list[str], str]  # code, what is wrong, where that is so, how to mend it
OUTSIDE = {False: 1.0, True: 1e-6}  # how far a box may stand out of its picture: pixels, fractions
LONG = 80  # characters of a cell that messages show


# Writing --------------------------------------------------------------------------------------------------------------


def wrong(data: Data, form: BoxForm, boxes: pd.DataFrame) -> Iterator[Fault]:
    """What of a prediction can't be written. boxes: a table of boxes with scores, by test id."""
    numbers = boxes[["score", *EDGES]].to_numpy(float)
    unsized = sizes_of(data, boxes.index).isna().any(axis=1).to_numpy()
    at = {
        "id": ~boxes.index.isin(data.test.ids),
        "label": ~boxes["label"].isin(data.problem.classes).to_numpy(),
        "number": ~np.isfinite(numbers).all(axis=1),
        "score": (numbers[:, 0] < 0) | (numbers[:, 0] > 1),
    }
    here = {name: _shown(boxes[bad]) for name, bad in at.items()}
    classes = f"the classes are {examples(data.problem.classes)}"
    yield "SUB-IDS", "boxes of pictures that are not of test", here["id"], "predict the pictures of test"
    yield "SUB-LABEL", "boxes of no class", here["label"], classes
    yield "SUB-NONFINITE", "boxes with a number that is none", here["number"], "look at the losses in history.jsonl"
    yield "SUB-PROB", "scores outside 0..1", here["score"], "give probabilities: a sigmoid of the model's outputs"
    if form.fractions:
        mend = "look at those pictures; boxes are written as fractions of width and height"
        yield "SUB-BOX", "pictures whose size can't be read", list(boxes.index[unsized & ~at["id"]].unique()), mend
    if form.columns and not form.nothing and not len(_kept(data, form, boxes)):
        mend = "train longer, or lower `min_score`; a submission of one row a box must have a row"
        yield "SUB-EMPTY", "no picture has a box", ["0 boxes"], mend


def render(data: Data, form: BoxForm, boxes: pd.DataFrame) -> pd.DataFrame:
    """The submission as a table of text with the sample's columns, the pictures in its order, the surest box first.

    boxes: as `wrong` passes them. Edges are clipped into the picture; boxes without area are left out. Of one row a box
    the sample may lack pictures; theirs come last.
    """
    text = _kept(data, form, boxes).pipe(strings.written, form.template.fields, form.fractions)
    further = data.test.ids[:0] if data.config.ids == "sample" else data.test.ids
    ids = pd.Index(data.sample[data.sample_id]).append(further).unique()
    if form.column is not None:
        cells = strings.render(form.template, text).reindex(ids, fill_value=form.nothing)
        return pd.DataFrame({data.sample_id: ids, form.column: cells.to_numpy()})[list(data.sample.columns)]
    bare = ids.difference(text.index, sort=False) if form.nothing else ids[:0]
    blank = pd.DataFrame([form.nothing.split("\t")] * len(bare), bare, list(text.columns), dtype=str)
    rows = take(pd.concat([text, blank]), ids).set_axis(list(form.columns), axis=1)
    rows.insert(0, data.sample_id, rows.index)
    if form.counter is not None:
        first = int(data.sample[form.counter].iloc[0])
        rows[form.counter] = [str(first + n) for n in range(len(rows))]
    return rows.reset_index(drop=True)[list(data.sample.columns)]


def _kept(data: Data, form: BoxForm, boxes: pd.DataFrame) -> pd.DataFrame:
    """The boxes that are written, in order: clipped and rounded, under the sample's names of classes."""
    ordered = take(boxes.sort_values("score", ascending=False, kind="stable"), data.test.ids)
    whole = strings.rounded(ordered, sizes_of(data, ordered.index.unique()), form.fractions)
    whole = whole[(whole["x_max"] > whole["x_min"]) & (whole["y_max"] > whole["y_min"])]
    return whole.assign(label=whole["label"].map(dict(zip(data.problem.classes, form.names, strict=True))))


def lost(data: Data, form: BoxForm, boxes: pd.DataFrame, table: pd.DataFrame, source: str) -> list[str]:
    """A sentence if boxes of the prediction are not in the submission."""
    left = len(boxes) - len(boxes_of(data, form, table)[0])
    return [f"SUB-BOX: {left:,} boxes of {source} have no area inside their picture and were left out"] * bool(left)


# Reading --------------------------------------------------------------------------------------------------------------


def faults(data: Data, form: BoxForm, table: pd.DataFrame) -> Iterator[Fault]:
    """What is wrong with the boxes of a submission. table: text, with the sample's columns."""
    boxes, torn = boxes_of(data, form, table)
    numbers = strings.numbers(boxes)
    finite = np.isfinite(numbers).all(axis=1)
    found = strings.measured(numbers)
    edges, slack = found[list(EDGES)].to_numpy(), OUTSIDE[form.fractions]
    sizes = sizes_of(data, found.index)[["width", "height", "width", "height"]].to_numpy()
    whole = np.ones_like(edges) if form.fractions else sizes
    outside = finite & ((edges < -slack) | (edges > whole + slack)).any(axis=1)
    flat = finite & ((found["x_max"] <= found["x_min"]) | (found["y_max"] <= found["y_min"]))
    template = " ".join(form.template.fields)
    if form.columns:
        known = set(data.test.ids)
        extra = [i for i in table[data.sample_id].unique() if i not in known]
        yield "SUB-IDS", "rows of pictures that are not of test", extra, "write the ids as the sample does"
        missing = data.sample[data.sample_id][~data.sample[data.sample_id].isin(table[data.sample_id])].unique()
        mend = f"a picture without boxes has the row {form.nothing.split()}"
        yield "SUB-IDS", "pictures without a row", list(missing) if form.nothing else [], mend
    elif form.nothing:
        empty = list(table[data.sample_id][table[form.column].str.strip() == ""])
        yield "SUB-BOX", "empty cells", empty, f"write {form.nothing!r} for a picture without boxes"
    yield "SUB-BOX", "cells that are no whole number of boxes", torn, f"write each box as `{form.template}`"
    if "label" in boxes:
        mend = f"write the names as {examples(form.names)}"
        yield "SUB-LABEL", "boxes of no class", _shown(boxes[~boxes["label"].isin(form.names)]), mend
    mend = f"the words of a box are {template}; all but the label are numbers"
    yield "SUB-NONFINITE", "boxes with words that are no numbers", _shown(boxes[~finite]), mend
    bad = finite & ~found["score"].between(0, 1)
    yield "SUB-PROB", "scores outside 0..1", _shown(boxes[bad]), f"the words of a box are {template}"
    mend = f"the words of a box are {template}; boxes are in {'fractions' if form.fractions else 'pixels'}"
    yield "SUB-BOX", "boxes outside their picture", _shown(boxes[outside]), mend
    yield "SUB-BOX", "boxes without area, or whose ends are swapped", _shown(boxes[flat]), mend


def counted(data: Data, form: BoxForm, table: pd.DataFrame) -> str:
    """A sentence on how many boxes a submission holds. table: as `faults` passes it."""
    boxes = boxes_of(data, form, table)[0]
    pictures = len(data.test.ids) if data.config.ids != "sample" else data.sample[data.sample_id].nunique()
    bare = pictures - boxes.index.nunique()
    way = f"the cell {form.nothing!r}" if form.column is not None else form.nothing.split() or "no row"
    return f"{len(boxes):,} boxes on {pictures - bare:,} of {pictures:,} pictures" + f"; the others have {way}" * bool(
        bare
    )


def boxes_of(data: Data, form: BoxForm, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """[boxes, fields] text by id, but for those that mark nothing; and `id: cell` of cells that are no boxes."""
    if form.column is None:
        text = table.set_index(data.sample_id)[list(form.columns)].set_axis(list(form.columns.values()), axis=1)
        return text[strings.joined(text, "\t") != form.nothing], []
    cells = table.set_index(data.sample_id)[form.column].str.strip()
    text, torn = strings.parse(form.template, cells[cells != form.nothing])
    return text, [f"{i}: {cell if len(cell) < LONG else cell[:LONG] + '...'}" for i, cell in torn.items()]


def sizes_of(data: Data, ids: pd.Index) -> pd.DataFrame:
    """[ids] width and height in pixels, nan where unknown."""
    assert data.test.sizes is not None, "kind: boxes has the sizes of pictures"
    return data.test.sizes.reindex(ids)


def _shown(boxes: pd.DataFrame) -> list[str]:
    """`id: words` of each box."""
    return [f"{i}: {' '.join(map(str, words))}" for i, *words in boxes.itertuples()]
