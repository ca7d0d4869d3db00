"""Notes on copies: within train, across folds, with conflicting labels, and between train and test."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.check import copies
from competition.check.notes import EXAMPLES, Note
from competition.data import Data
from competition.keys import AUTO, Kind
from competition.split import labels_of
from competition.task import pick

SHOWN = 4  # pairs of pictures
LABEL = 24  # letters
Tile = Callable[[str, str], tuple[str, str]]  # id of a row, how like -> path, caption


def notes(data: Data, pairs: pd.DataFrame, fold: pd.Series | None) -> Iterator[Note]:
    """pairs: of paths. fold: of each training row, by id, where there is a fold table."""
    train, test = data.train.pictures, data.test.shown.pictures
    assert train is not None
    told = labels(data)
    mine = functools.partial(_tile, train, _captions(told, data.config.kind))
    inside = joined(pairs, train, train)
    inside = inside[inside["one"] != inside["other"]]
    ends = pd.DataFrame(np.sort(inside[["one", "other"]].astype(str).to_numpy(), axis=1))
    inside = inside[~ends.duplicated().to_numpy()]
    if len(inside):
        yield _within(inside, fold, data.config.folds.group == AUTO, mine)
        odd = inside[told[inside["one"]].to_numpy() != told[inside["other"]].to_numpy()]
        if data.config.kind in ("boxes", "regression"):  # a crop has other boxes by right, a near copy another value
            odd = odd[odd["likeness"] == 1]
        if len(odd):
            what = "copies have " + ("other boxes" if data.config.kind == "boxes" else "another label")
            mend = "look which is right; wrong labels teach nothing and cost score on both sides"
            yield Note("warn", "LABEL-CONFLICT", what + _kinds(odd), _rows(odd), mend=mend, **_shown(odd, mine, mine))
    if test is not None and len(across := joined(pairs, train, test)):
        what = "test pictures are copies of training pictures" + _kinds(across)
        mend = "nothing, but a score on them is no score of what is unseen; their labels are known"
        theirs = functools.partial(_tile, test, pd.Series("test", data.test.ids))
        shown = _shown(across, mine, theirs)
        yield Note("warn", "TEST-DUPE", what, across["other"].nunique(), mend=mend, **shown)


def joined(pairs: pd.DataFrame, one: pd.Series, other: pd.Series) -> pd.DataFrame:
    """Pairs of rows: ids `one` and `other`, and likeness. A row is paired with the first of equal ones, not with each."""
    keys = [copies.originals(pictures, pairs) for pictures in (one, other)]
    first = keys[0].drop_duplicates()
    first = pd.DataFrame({"first": first.to_numpy(), "one": first.index})
    second = pd.DataFrame({"second": keys[1].to_numpy(), "other": keys[1].index})
    near = pairs[pairs["likeness"] < 1][["first", "second", "likeness"]]
    turned = near.rename(columns={"first": "second", "second": "first"})
    same = pd.DataFrame({"first": first["first"], "second": first["first"], "likeness": 1.0})
    found = pd.concat([same, near, turned]).merge(first, on="first").merge(second, on="second")
    return found.sort_values(["likeness", "one", "other"], ascending=[False, True, True], ignore_index=True)


def labels(data: Data) -> pd.Series:
    """What is known of each training row, as text, by id."""
    truth = data.train.truth
    assert truth is not None
    if data.config.kind == "boxes":
        lines = pick(truth, truth.index.unique()).astype(str).apply(" ".join, axis=1)
        told = {str(i): "; ".join(sorted(rows)) for i, rows in lines.groupby(level=0)}
        return pd.Series([told.get(i, "") for i in data.train.ids], index=data.train.ids)
    if data.config.kind == "regression":
        return pd.Series([" ".join(f"{value:g}" for value in row) for row in truth.to_numpy()], index=truth.index)
    known = labels_of(data.train, data.config.kind)
    names = np.asarray(known.columns, dtype=str)
    return pd.Series([" ".join(names[row > 0]) for row in known.to_numpy()], index=known.index)


def _within(inside: pd.DataFrame, fold: pd.Series | None, auto: bool, mine: Tile) -> Note:
    """auto: whether the folds keep copies together."""
    what = f"training pictures are copies of one another{_kinds(inside)}"
    if fold is None:
        torn = np.full(len(inside), not auto)
    else:
        torn = fold[inside["one"]].to_numpy() != fold[inside["other"]].to_numpy()
        what += f"; {_rows(inside[torn]):,} have one in another fold: the CV score is too good" if torn.any() else ""
    if not torn.any():
        what, mend = f"{what}; none crosses folds", "nothing"
        return Note("info", "FOLD-DUPE", what, _rows(inside), mend=mend, **_shown(inside, mine, mine))
    mend = "folds: {group: auto} keeps copies together; then make the fold table anew"
    return Note("warn", "FOLD-DUPE", what, _rows(inside), mend=mend, **_shown(inside[torn], mine, mine))


def _rows(pairs: pd.DataFrame) -> int:
    return len(set(pairs["one"]) | set(pairs["other"]))


def _kinds(pairs: pd.DataFrame) -> str:
    """likeness: of files that are equal it is 1."""
    equal = int((pairs["likeness"] == 1).sum())
    return f" (pairs: {equal:,} of equal files, {len(pairs) - equal:,} of near copies)"


def _shown(pairs: pd.DataFrame, one: Tile, other: Tile) -> dict[str, Any]:
    """Examples and tiles of a note. Near copies first on the sheet: equal ones need no look."""
    examples = [f"{a} = {b}" for a, b in pairs[["one", "other"]].head(EXAMPLES).itertuples(index=False)]
    tiles = []
    few = pairs.sort_values("likeness", kind="stable").head(SHOWN)
    for a, b, likeness in few[["one", "other", "likeness"]].itertuples(index=False):
        how = "equal" if likeness == 1 else f"{likeness:.3f}"
        tiles += [one(a, how), other(b, how)]
    return {"examples": tuple(examples), "tiles": tuple(tiles)}


def _tile(pictures: pd.Series, captions: pd.Series, name: str, how: str) -> tuple[str, str]:
    return pictures[name], f"{Path(name).name[-LABEL:]}\n{captions[name][:LABEL]}, {how}"


def _captions(told: pd.Series, kind: Kind) -> pd.Series:
    """The row's label, or the number of its boxes."""
    return told.map(lambda boxes: f"{boxes.count('; ') + bool(boxes)} boxes") if kind == "boxes" else told
