"""`make check COMP=leaves`: reads every table and picture once and shows what is wrong or worth knowing before training.

One page on the screen, the worst first; the same as runs/.check/<name>/findings.json, and pictures to look at in check.png.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from competition import artifacts, board, folds, form
from competition.check import copies, doubles, groups, ids, labels, leaks, page, pictures, sheet, shift
from competition.check.facts import Facts
from competition.check.notes import Note, heard, of_sentence, ordered
from competition.data import Data, load
from competition.engine import signals
from competition.errors import DataFault
from competition.inspect import columns

SMALL, LARGE = 32, 96  # sides of squares: COCO's bounds of area (cocodataset.org, detection evaluation)
SHOWN = 20  # classes that get a line each


def audit(name: str) -> None:
    """Shows the page and writes both files. Raises DataFault with all that must be mended, by kind."""
    with board.board(), signals():
        data = load(name)
        types = columns.of(data)
        facts = None if data.train.pictures is None else groups.seen(data)
        fold, found = split(data)
        found += [of_sentence(note) for note in data.notes]
        found += heard(lambda: list(labels.notes(data))) + heard(lambda: list(ids.notes(data)))
        found += heard(lambda: [of_sentence(note) for note in form.infer(data).notes])
        if data.problem.inputs or facts is None:
            found += heard(lambda: list(leaks.notes(data, types, fold)))
        if facts is not None:
            pairs = copies.find(facts, groups.progress(data, "copies"))
            found += [*doubles.notes(data, pairs, fold), *shift.leaking(data, facts), *pictures.notes(data, facts)]
        board.show(f"{name}: test against train", 0, 1, "")
        sources = shift.sources(data, facts, types)
        board.show(f"{name}: test against train", 1, 1, "told")
        found = ordered([*found, *shift.notes(data, sources)])
        told = summary(data, facts)
        page.show(data, told, sources, found)
        path = artifacts.check_folder(name)
        artifacts.write_json(path / "findings.json", page.record(data, told, sources, found))
        artifacts.write_bytes(path / "check.png", sheet.draw(data, facts, sources, found))
        board.say(f"written: {path / 'findings.json'}, {path / 'check.png'}")
        errors = [note.finding() for note in found if note.severity == "error"]
        if errors:
            raise DataFault(*errors)
        board.say(f"{name}: nothing that must be mended")


def split(data: Data) -> tuple[pd.Series | None, list[Note]]:
    """The fold of each training row by id, where there is a table or one can be drawn, and what there is to say of it."""
    drawn: list[pd.Series] = []

    def part() -> Iterator[Note]:
        if artifacts.fold_table(data.name).exists():
            there = folds.load(data)
            table, notes = there.table, folds.mismatch(data, there)
        else:
            table, notes = folds.draw(data)
        drawn.append(table["fold"])
        return map(of_sentence, notes + folds.left_alone(data, table))

    found = heard(lambda: list(part()))
    return (drawn[0].loc[data.train.ids] if drawn else None), found


def summary(data: Data, facts: Facts | None) -> list[str]:
    """Sentences on what there is."""
    n = len(data.problem.columns)
    lines = [f"{len(data.train):,} training and {len(data.test):,} test rows, {data.problem.kind}, "
             f"{n} prediction column{'s' * (n != 1)}, metric {data.problem.metric.name}"]  # fmt: skip
    lines += [labels.described(data)] if data.config.kind != "regression" else []
    lines += [pictures.described(facts)] if facts is not None else []
    return lines + (describe_boxes(data) if data.config.kind == "boxes" else [])


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
