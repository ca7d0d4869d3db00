"""Galleries of the page: a run's worst and most confident mistakes, and the rows whose label every run doubts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from competition import artifacts, mistakes
from competition.chart import shortened
from competition.doubts import doubted
from competition.errors import EnvironmentFault
from competition.kinds import ONE_LABEL
from competition.mistakes import HIGH, LOSSES, RIGHT, SURE, UNSURE, number
from competition.report import render, thumbnails
from competition.report.blocks import Block, Cell, Column, Gallery, Grid, Prose, Section, Tile
from competition.report.boxed import LEGEND
from competition.report.subject import Subject
from competition.report.thumbnails import Thumbnail
from competition.standings import Standing

MOST, IN_TURN = 24, 12  # tiles of a run: of the greatest loss, and beside them of each class in turn
DOUBTED = 36
PAIRS = 20
CELLS, LETTERS = 8, 60  # of a row without a picture; of a text
MAPS = "maps.parquet"  # of a run: by id `image`, what the model looked at
Picture = Callable[[str], Thumbnail]


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """The mistakes of one run."""
    problem, fold, truth = subject.problem, subject.fold, subject.truth
    if problem.kind == "boxes":
        matched = mistakes.found(truth, subject.oof(standing))
        table = mistakes.judged_boxes(problem, matched, fold)
        rows = mistakes.chosen(problem, table, matched.truth, matched.prediction, MOST, IN_TURN)
        some = subject.data.train.take(rows.index)
        reading, classes = problem.reading, problem.classes

        def picture(name: str) -> Thumbnail:
            return thumbnails.with_boxes(some, matched, name, classes, reading)
    else:
        said = subject.decided(standing)
        table = mistakes.judged(problem, truth, subject.oof(standing), fold, said)
        rows = mistakes.chosen(problem, table, truth, said, MOST, IN_TURN)
        picture = _plain(subject)
    maps, note = _maps(subject, standing, rows.index)
    note = f"{_note(subject, table)} {note}".strip()
    blocks: list[Block] = [_shown(subject, "Worst and most confident mistakes", rows, note, picture, maps)]
    if problem.kind in ONE_LABEL:
        blocks.append(_pairs(subject, table, said))
    yield Section("mistakes", "Mistakes", blocks, standing.name)


def suspects(subject: Subject) -> Iterator[Section]:
    """Rows whose label all chosen runs doubt; of one run there is nothing to agree on."""
    runs = [(subject.oof(s), subject.decided(s)) for s in subject.chosen]
    if len(runs) < 2:
        return
    rows = doubted(subject.problem, subject.truth, runs, subject.fold, DOUBTED)
    title = "Labels that every run doubts"
    if not len(rows):
        yield Section("suspects", title, [Prose([f"There is no row that all {len(runs)} runs get wrong alike."])])
        return
    picture = _drawn_by_first(subject, rows) if subject.problem.kind == "boxes" else _plain(subject)
    yield Section("suspects", title, [_shown(subject, title, rows, _agreed(subject), picture, {}, len(runs))])


def _plain(subject: Subject) -> Picture:
    pictures, reading = subject.data.train.pictures, subject.problem.reading
    if pictures is None:
        return lambda name: Thumbnail(None)
    return lambda name: thumbnails.of_file(pictures[name], reading)


def _drawn_by_first(subject: Subject, rows: pd.DataFrame) -> Picture:
    """With the boxes of the first run."""
    some = subject.data.train.take(rows.index)
    matched = mistakes.found(subject.truth, subject.oof(subject.chosen[0]))
    return lambda name: thumbnails.with_boxes(some, matched, name, subject.problem.classes, subject.problem.reading)


def _shown(
    subject: Subject,
    title: str,
    rows: pd.DataFrame,
    note: str,
    picture: Picture,
    maps: Mapping[str, bytes],
    runs: int = 0,
) -> Gallery | Grid:
    """Rows as tiles; without pictures as a table, in which their cells can be compared. runs: that doubt them."""
    each = [(str(name), row) for name, row in rows.to_dict("index").items()]
    if subject.data.train.pictures is None:
        return _table(subject, title, each, note, runs)
    return Gallery(title, [_tile(subject, name, row, picture, maps, runs) for name, row in each], note)


def _tile(subject: Subject, name: str, row: Mapping, picture: Picture, maps: Mapping[str, bytes], runs: int) -> Tile:
    shown = picture(name)
    return Tile(
        id=name,
        truth=shortened(row["truth"], LETTERS),
        predicted=shortened(row["predicted"], LETTERS),
        picture=shown.picture,
        missing=shown.missing,
        layer=thumbnails.layer(maps[name], shown.picture) if shown.picture and name in maps else None,
        facts=[
            (f"{column.name[0].upper()}{column.name[1:]}", render.shown(cell, column))
            for column, cell in _figures(subject, row, runs)
            if cell is not None
        ],
        kinds=_kinds(row),
    )


def _table(subject: Subject, title: str, each: Sequence[tuple[str, Mapping]], note: str, runs: int) -> Grid:
    """Columns that say nothing of any row are left out."""
    inputs, cells = subject.problem.inputs[:CELLS], subject.data.train.table
    rows = [
        [name, *_answers(subject, name, row), *(cell for _, cell in _figures(subject, row, runs)), row["kind"],
         *(shortened(cells.at[name, key], LETTERS) or None for key in inputs)]
        for name, row in each
    ]  # fmt: skip
    figures = [column for column, _ in _figures(subject, each[0][1], runs)]
    answers = [Column(name, read=number) for name in ("truth", "predicted")]
    cut = [Column(shortened(key, LETTERS)) for key in inputs]
    columns = [Column(subject.data.config.id), *answers, *figures, Column("kind"), *cut]
    known = [n for n in range(len(columns)) if any(row[n] is not None for row in rows)]
    return Grid(title, [columns[n] for n in known], [[row[n] for n in known] for row in rows], note)


def _answers(subject: Subject, name: str, row: Mapping) -> tuple[Cell, Cell]:
    """Truth and prediction; values of one target as numbers, which sort: the error is between them."""
    if subject.problem.kind != "regression" or len(subject.problem.columns) > 1:
        return shortened(row["truth"], LETTERS), shortened(row["predicted"], LETTERS)
    true = float(subject.truth.at[name, subject.problem.columns[0]])
    return true, true + row["loss"] * (1 if row["kind"] == HIGH else -1)


def _kinds(row: Mapping) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row[key] for key in ("kind", "why") if key in row))


def _figures(subject: Subject, row: Mapping, runs: int) -> Iterator[tuple[Column, Cell]]:
    """None: not known of this row."""
    if runs and subject.problem.kind in ONE_LABEL:
        yield Column("said by", help="how many runs predict that class"), f"{row['votes']} of {runs} runs"
    for key, column in (
        ("confidence", Column("confidence", 3, "probability of what is predicted")),
        ("given", Column("label's p", 3, "probability of the label that is given, mean of the runs")),
    ):
        value = row.get(key, np.nan)
        yield column, float(value) if np.isfinite(value) else None
    loss = LOSSES.get(subject.problem.kind, "log loss")
    read = number if subject.problem.kind == "regression" else None
    yield Column(loss, 3, read=read), float(row["loss"])
    yield Column("fold", 0), int(row["fold"])


def _note(subject: Subject, table: pd.DataFrame) -> str:
    """How many mistakes there are, and which are shown."""
    wrong, kind = ~table["kind"].isin([RIGHT, UNSURE]), subject.problem.kind
    loss = LOSSES.get(kind, "log loss")
    first = f"The {min(MOST, len(table))} rows of the greatest {loss}"
    if kind == "regression":
        return f"{first}, and beside them the worst of each range of the target."
    if kind == "boxes":
        counted = f"{wrong.sum():,} of {len(table):,} pictures have missed or false boxes"
        return f"{counted}. {first}, and beside them those of the surest false boxes, each class in turn. {LEGEND}"
    sure = (table["kind"] == SURE).sum()
    return (
        f"{wrong.sum():,} of {len(table):,} rows are wrong, {sure:,} of them confidently: at least as sure as the run is on"
        f" rows for which that is right. {first}, and beside them the surest mistakes of each class in turn."
    )


def _agreed(subject: Subject) -> str:
    """What the doubted rows are."""
    runs, kind = len(subject.chosen), subject.problem.kind
    if kind == "boxes":
        what = f"All {runs} runs that are shown miss boxes here, or find others; the least F1 in the mean comes first."
        return f"{what} The boxes are those of {subject.chosen[0].name}. {LEGEND}"
    what = {
        "regression": "lies on the same side of these values, out of fold; the greatest error in the mean comes",
        "multilabel": "says the same label otherwise, out of fold; where it is least likely in the mean comes",
    }.get(kind, "says another class than the label, out of fold; the least probable label, in the mean, comes")
    return f"Each of the {runs} runs that are shown {what} first. Look here for wrong labels."


def _maps(subject: Subject, standing: Standing, ids: pd.Index) -> tuple[dict[str, bytes], str]:
    """What the model looked at in these rows, and a note on how to have that."""
    folder = subject.folder(standing)
    if subject.data.train.pictures is None or not any(folder.glob("fold*/model.safetensors")):
        return {}, ""
    command = f"make describe RUN={standing.name}"
    if not (folder / MAPS).exists():
        return {}, f"What the model looked at is laid over them after {command}."
    try:
        table = artifacts.read_table(folder / MAPS)
    except EnvironmentFault:
        return {}, f"{MAPS} can't be read: delete it, and {command} makes it anew."
    return table.loc[table.index.isin(ids), "image"].to_dict(), "What the model looked at can be laid over."


def _pairs(subject: Subject, table: pd.DataFrame, said: pd.DataFrame) -> Grid:
    rows = mistakes.pairs(subject.problem, table, said, PAIRS)
    columns = (
        Column("truth"),
        Column("predicted"),
        Column("rows", 0, "rows of that truth that are predicted so"),
        Column("share", 3, "of the rows of that truth"),
        Column("confident", 0, "of them, those at least as sure as on rows for which that is right"),
        Column("confidence", 3, "mean probability of the predicted class"),
    )
    note = "" if len(rows) else "No row is mistaken."
    return Grid("Commonest mistakes", columns, [*rows.itertuples(index=False, name=None)], note)
