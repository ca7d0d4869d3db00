"""Notes on copies: within train, across folds, with conflicting labels, and between train and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from competition.check import copies
from competition.check.notes import EXAMPLES, Note
from competition.data import Data
from competition.keys import AUTO
from competition.split import labels_of
from competition.task import pick

SHOWN = 4  # pairs of pictures
LABEL = 24  # letters


def notes(data: Data, pairs: pd.DataFrame, fold: pd.Series | None) -> Iterator[Note]:
    """pairs: of paths. fold: of each training row, by id, where there is a fold table."""
    train, test = data.train.pictures, data.test.shown.pictures
    assert train is not None
    told = labels(data)
    inside = joined(pairs, train, train)
    ends = pd.DataFrame(np.sort(inside[["one", "other"]].astype(str).to_numpy(), axis=1))
    inside = inside[~ends.duplicated().to_numpy()]
    if len(inside):
        yield _within(data, inside, told, fold)
        odd = inside[told[inside["one"]].to_numpy() != told[inside["other"]].to_numpy()]
        if data.config.kind in ("boxes", "regression"):
            odd = odd[
                odd["likeness"] == 1
            ]  # other boxes are right where a picture was cropped, other values where it is near
        if len(odd):
            what = "copies have " + ("other boxes" if data.config.kind == "boxes" else "another label")
            mend = "look which is right; wrong labels teach nothing and cost score on both sides"
            yield _note("warn", "LABEL-CONFLICT", what, odd, mend, data, told)
    across = pd.DataFrame() if test is None else joined(pairs, train, test)
    if len(across):
        mend = "nothing, but a score on them is no score of what is unseen; their labels are known"
        yield _note("warn", "TEST-DUPE", "test pictures are copies of training pictures", across, mend, data, told)


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
    found = found[found["one"] != found["other"]]
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


def _within(data: Data, inside: pd.DataFrame, told: pd.Series, fold: pd.Series | None) -> Note:
    what = "training pictures are copies of one another"
    if fold is None:
        mend = (
            "nothing: folds.group: auto"
            if data.config.folds.group == AUTO
            else "folds: {group: auto} keeps them together"
        )
        return _note("warn" if data.config.folds.group != AUTO else "info", "FOLD-DUPE", what, inside, mend, data, told)
    crossing = inside[fold[inside["one"]].to_numpy() != fold[inside["other"]].to_numpy()]
    if not len(crossing):
        return _note("info", "FOLD-DUPE", f"{what}; none crosses folds", inside, "nothing", data, told)
    what = f"{what}, and {len(_ids(crossing)):,} have one in another fold: the CV score is too good"
    mend = "folds: {group: auto} keeps copies together; then make the fold table anew"
    return _note("warn", "FOLD-DUPE", what, crossing, mend, data, told, len(_ids(inside)))


def _ids(pairs: pd.DataFrame) -> Sequence[str]:
    return sorted(set(pairs["one"]) | set(pairs["other"]))


def _note(severity, code, what, pairs: pd.DataFrame, mend, data: Data, told: pd.Series, count: int = 0) -> Note:
    """Near copies first on the sheet: equal ones need no look. likeness: of files that are equal it is 1."""
    equal = pairs["likeness"] == 1
    counted = sorted(set(pairs["other"])) if code == "TEST-DUPE" else _ids(pairs)
    kinds = f"{int(equal.sum()):,} pairs of equal files, {int((~equal).sum()):,} of near ones"
    shown = pairs.sort_values("likeness", kind="stable").head(SHOWN)
    files = {
        i: path for rows in (data.test, data.train) if rows.pictures is not None for i, path in rows.pictures.items()
    }
    tiles = []
    for one, other, likeness in shown[["one", "other", "likeness"]].itertuples(index=False):
        how = "equal" if likeness == 1 else f"{likeness:.3f}"
        tiles += [(files[i], f"{_short(i)}\n{_caption(data, told, i)}, {how}") for i in (one, other)]
    examples = [f"{one} = {other}" for one, other in pairs[["one", "other"]].head(EXAMPLES).itertuples(index=False)]
    return Note(severity, code, f"{what} ({kinds})", count or len(counted), tuple(examples), mend, tiles=tuple(tiles))


def _caption(data: Data, told: pd.Series, name: str) -> str:
    """The row's label, the number of its boxes, or that it is of test."""
    if data.config.kind == "boxes" and name in told.index:
        return f"{told[name].count('; ') + bool(told[name])} boxes"
    return told.get(name, "test")[:LABEL]


def _short(name: str) -> str:
    return Path(name).name[-LABEL:]
