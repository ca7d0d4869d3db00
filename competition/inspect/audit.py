"""`make check COMP=leaves`: reads every table and picture once and lists what is wrong or worth knowing before training."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from competition import artifacts, board, folds, form
from competition.badpictures import SIDE, refuse
from competition.data import Data, load
from competition.decoding import BadPicture, decode, read
from competition.errors import examples
from competition.inspect import columns, leaks, oddities
from competition.prefetch import ahead
from competition.task import pick

SMALL, LARGE = 32, 96  # sides of squares: COCO's bounds of area (cocodataset.org, detection evaluation)
SHOWN = 20  # classes that get a line each


def audit(name: str) -> None:
    """Prints notes; raises DataFault with all that must be mended, by kind."""
    with board.board():
        data = load(name)
        for note in data.notes:
            board.say(note)
        board.say(f"{len(data.train):,} training and {len(data.test):,} test rows, {data.problem.kind}, "
                  f"{len(data.problem.columns)} prediction columns, metric {data.problem.metric.name}")  # fmt: skip
        if data.config.kind == "boxes":
            for line in describe_boxes(data):
                board.say(line)
        if data.train.pictures is not None:
            for note in duplicates(data, read_pictures(data)):
                board.say(f"note: {note}")
        if data.problem.inputs or data.train.pictures is None:
            for note in leaks.notes(data, columns.of(data)):
                board.say(f"note: {note}")
        for note in form.infer(data).notes:
            board.say(f"note: {note}")
        if artifacts.fold_table(name).exists():
            table = folds.load(data)
            drawn, notes = table.table, folds.mismatch(data, table)
        else:
            drawn, notes = folds.draw(data)
        for note in notes + folds.left_alone(data, drawn):
            board.say(f"note: {note}")
        board.say(f"{name}: nothing that must be mended")


def describe_boxes(data: Data) -> list[str]:
    """Sentences on the training boxes: of each class, their sizes as COCO divides them, and pictures with none."""
    truth, sizes = data.train.truth, data.train.sizes
    assert truth is not None and sizes is not None
    counts = truth["label"].value_counts().reindex(data.problem.classes, fill_value=0)
    pictures = truth.groupby("label")["x_min"].agg(lambda boxes: boxes.index.nunique())
    area = (truth["x_max"] - truth["x_min"]) * (truth["y_max"] - truth["y_min"])
    small, large = (area < SMALL**2).mean(), (area >= LARGE**2).mean()
    per = truth.index.value_counts()
    known = sizes[["width", "height"]].dropna().astype(int).astype(str)
    alike = (known["width"] + " x " + known["height"]).value_counts()
    named = [f"{size} ({n:,})" for size, n in alike.head(3).items()]
    return [
        *(
            f"class {label}: {n:,} boxes in {pictures.get(label, 0):,} pictures"
            for label, n in counts.head(SHOWN).items()
        ),
        *([f"{len(counts) - SHOWN} more classes"] if len(counts) > SHOWN else []),
        f"{len(truth):,} boxes in {len(per):,} pictures, {per.median():g} in the middle one and {per.max()} at most; "
        f"{len(data.train) - len(per):,} pictures without boxes",
        f"{small:.0%} of the boxes are small (below {SMALL} x {SMALL} pixels in area), {1 - small - large:.0%} medium, "
        f"{large:.0%} large (from {LARGE} x {LARGE})",
        f"training pictures of {', '.join(named)}" + (f" and {len(alike) - 3} other sizes" if len(alike) > 3 else ""),
    ]


def read_pictures(data: Data) -> pd.Series:
    """Content digest of every picture by path; says what is odd. Raises DataFault for those that can't be used."""
    parts = (data.train.shown, data.test.shown)
    paths = sorted({p for rows in parts if rows.pictures is not None for p in rows.pictures})

    def one(path: str) -> tuple[str, tuple[str, ...]] | BadPicture:
        try:
            content = read(path)
            decode(content, SIDE, data.problem.reading)
        except BadPicture as e:
            return e
        return artifacts.digest(content), oddities.of(path, content)

    digests, odd, bad = {}, {}, []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, (path, found) in enumerate(zip(paths, ahead(pool, one, paths, 256), strict=True)):
            if isinstance(found, BadPicture):
                bad.append((path, found))
            else:
                digests[path], odd[path] = found
            board.show(f"{data.name}: pictures", n + 1, len(paths), "reading")
    refuse(bad)
    for note in oddities.notes(odd, data.problem.reading.upright):
        board.say(f"note: {note}")
    return pd.Series(digests)


def duplicates(data: Data, digests: pd.Series) -> list[str]:
    """Sentences on files that are byte for byte the same: within train, with other labels, between train and test."""
    assert data.train.pictures is not None and data.train.truth is not None
    train = data.train.pictures.map(digests)
    twice = train[train.duplicated(keep=False)]
    notes = []
    if len(twice):
        told = pick(data.train.truth, twice.index).astype(str).agg(" ".join, axis=1)
        labels = told.groupby(level=0).agg(lambda rows: "; ".join(sorted(rows))).reindex(twice.index, fill_value="")
        conflicting = twice[labels.groupby(twice).transform("nunique") > 1]
        notes.append(f"{len(twice)} training pictures are copies of one another: {examples(twice.index)}; "
                     "copies in two folds make the CV score too good (folds.group)")  # fmt: skip
        other = "other boxes" if data.config.kind == "boxes" else "another label"
        if len(conflicting):
            notes.append(f"{len(conflicting)} of them have copies with {other}: {examples(conflicting.index)}")
    if data.test.pictures is not None:
        shared = data.test.pictures.map(digests)
        shared = shared[shared.isin(set(train))]
        if len(shared):
            notes.append(f"{len(shared)} test pictures are copies of training pictures: {examples(shared.index)}")
    return notes
