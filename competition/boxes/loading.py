"""The target of kind boxes: read, checked against the pictures' sizes, and ready to train on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from competition import artifacts
from competition.boxes import reading, sizes
from competition.boxes.checking import clean, of_boxes
from competition.boxes.table import PREDICTED
from competition.errors import DataFault, Finding
from competition.keys import Competition
from competition.tables import natural, pictures
from competition.targets import Target


def read(name: str, config: Competition, train: pd.DataFrame, test: pd.DataFrame) -> Target:
    """train: config.train as read_rows has it; test: one row a picture, by id.

    Raises DataFault with all that `boxes/checking.py` finds, or DET-FORMAT where something can't be read or nothing is left.
    """
    found = reading.read(Path(config.data), config, train)
    paths = [_pictures(found.table, config, "train"), _pictures(test, config, "test")]
    every = sizes.read([*paths[0], *paths[1]], artifacts.cache_folder(name))
    of_train, of_test = (every.loc[of].set_index(of.index) for of in paths)
    truth, notes, findings = clean(found, of_train, config)
    if findings:
        raise DataFault(*findings)
    if truth["crowd"].all():
        what, where = "no training picture has a box", f"{config.data}/{reading.source_of(config)}"
        risk = "there is nothing to learn"
        raise DataFault(Finding("DET-FORMAT", what, where, "; ".join(notes) or "0 boxes", "mend `boxes:`", risk))
    classes = config.classes or natural(set(truth["label"]))
    frames = of_boxes(of_train, config), of_boxes(of_test, config)
    return Target(found.table, truth, classes, PREDICTED, (*found.notes, *notes), *frames, found.digest)


def _pictures(table: pd.DataFrame, config: Competition, part: str) -> pd.Series:
    paths = pictures(table, config, part)
    assert paths is not None, "kind boxes has pictures"
    return paths
