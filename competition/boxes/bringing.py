"""Reads boxes that another program found, for `make import`: one row a box, in the columns of a table of boxes.

image_id,label,score,x_min,y_min,x_max,y_max      pixels of the original picture; a picture without boxes has no row
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES, PREDICTED
from competition.data import Data
from competition.errors import DataFault, Finding, examples, nearest
from competition.tables import read_csv

RISK = "a score or a blend would be of wrong boxes; nothing was written"


def read(data: Data, path: Path) -> tuple[pd.DataFrame, pd.Series | None]:
    """The table of boxes, nan for what is no number, and the cells of a column `fold` where there is one.

    Raises DataFault CSV-* and IMPORT-COLUMNS; the rest of what can be wrong is for `faults`.
    """
    cells, classes = read_csv(path), data.problem.classes
    names = [column for column in (data.config.id, "id", data.sample_id) if column in cells]
    wanted = [c for c in PREDICTED if c != "label" or len(classes) > 1]
    missing = [data.config.id] * (not names) + [c for c in wanted if c not in cells]
    if missing:
        found, mend = f"missing: {examples(missing)}; the file has {examples(cells.columns, 12)}", "one row a box: "
        mend += f"{','.join([data.config.id, *PREDICTED])}; {nearest(missing[0], cells.columns)}"
        raise DataFault(_finding("COLUMNS", "columns of boxes are missing", path, found, mend))
    cells = cells.set_index(cells[names[0]].str.strip().rename("id"))
    label = cells["label"] if "label" in cells else pd.Series(classes[0], index=cells.index)
    numbers = cells[["score", *EDGES]].apply(pd.to_numeric, errors="coerce").astype(float)
    return numbers.assign(label=label)[list(PREDICTED)], cells.get("fold")


def faults(path: Path, boxes: pd.DataFrame, known: pd.Index, classes: tuple[str, ...]) -> Iterator[Finding]:
    """What is wrong with boxes: IMPORT-IDS, -LABEL, -NONFINITE, -PROB, -BOX. known: ids that may have some."""
    label, numbers = boxes["label"], boxes[["score", *EDGES]]
    unknown = boxes.index.difference(known)
    if len(unknown):
        mend = "FILE=<training pictures, held out>,<test pictures>; read ids as text"
        yield _finding("IDS", "ids are not the competition's", path, f"{len(unknown)}: {examples(unknown)}", mend)
    strange = label[~label.isin(classes)]
    if len(strange):
        found = f"{len(strange)} boxes: {examples(strange.unique())}"
        yield _finding("LABEL", "labels of no class", path, found, f"the classes are {examples(classes, 12)}")
    broken = numbers[~np.isfinite(numbers.to_numpy()).all(axis=1)]
    if len(broken):
        found = f"{len(broken)} boxes of {examples(broken.index.unique())}"
        yield _finding("NONFINITE", "cells are empty, infinite or no numbers", path, found, "every cell holds a number")
    outside = numbers.loc[(numbers["score"] < 0) | (numbers["score"] > 1), "score"]
    if len(outside):
        found = f"{len(outside)} boxes: {examples(outside)}"
        yield _finding("PROB", "scores outside 0..1", path, found, "divide them by 100, or by the greatest")
    flat = numbers[(numbers["x_max"] <= numbers["x_min"]) | (numbers["y_max"] <= numbers["y_min"])]
    if len(flat):
        found = f"{len(flat)} boxes of {examples(flat.index.unique())}"
        mend = "x_max and y_max are the right and lower edge, not width and height"
        yield _finding("BOX", "boxes without area", path, found, mend)


def _finding(code: str, what: str, path: Path, found: str, mend: str) -> Finding:
    return Finding(f"IMPORT-{code}", what, str(path), found, mend, RISK)
