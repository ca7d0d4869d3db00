"""`folds: {group: auto}`: training rows that are copies of one another, to be kept in one fold; and what pictures are known
by, read with progress and kept."""

from __future__ import annotations

import pandas as pd

from competition import artifacts, board
from competition.check import copies, facts
from competition.check.facts import Facts
from competition.data import Data
from competition.engine import stopping
from competition.errors import DataFault, Finding, Stopped
from competition.inspect import columns


def of_copies(data: Data) -> pd.Series:
    """Group of each training row, by id: of pictures those that are copies, of tables rows that are the same in all
    columns that a model looks at.

    Raises DataFault FOLD-GROUP where there is neither.
    """
    if data.train.pictures is not None:
        return copies.groups(data.train.pictures, copies.find(seen(data), progress(data, "copies")))
    used = [column.name for column in columns.of(data) if column.type != "ignore"]
    if not used:
        found, mend = "no pictures, and no column that train and test share", "folds: {group: null}, or name a column"
        where = "competition.yaml, folds: group: auto"
        raise DataFault(Finding("FOLD-GROUP", "there is nothing to tell copies by", where, found, mend))
    same = data.train.table.groupby(used, sort=False).ngroup()
    return same.index.to_series().astype(str).groupby(same).transform("min").rename("group")


def seen(data: Data) -> Facts:
    """What is known of every picture of train and test; kept in the cache of the competition."""
    paths = [path for rows in (data.train, data.test.shown) if rows.pictures is not None for path in rows.pictures]
    reading = data.problem.reading
    folder = artifacts.cache_folder(data.name) / f"facts{reading.mark}"
    return facts.read(paths, folder, progress(data, "pictures"), reading)


def progress(data: Data, what: str):
    """Shows how far the work is, and ends it where that is asked for."""

    def show(done: int, total: int, text: str) -> None:
        board.show(f"{data.name}: {what}", done, total, text)
        if stopping():
            raise Stopped(f"stopped at {text}")

    return show
