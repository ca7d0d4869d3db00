"""Rows 57 to 72: folds, boxes, columns of tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from competition import cli
from faults.case import Case, Make
from faults.making import (
    CHECK,
    FIT,
    FOLDS,
    SAMPLE,
    SUBMIT,
    TEST,
    TRAIN,
    after,
    box,
    boxes,
    cells,
    column,
    put,
    renamed,
    submitted,
    table,
)


def by_five(here: pd.DataFrame) -> list[str]:
    return [f"p{int(i) // 5}" for i in here["id"]]


def crossing_folds() -> None:
    put(cells().assign(site=[str(n // 5) for n in range(60)]))
    put(pd.DataFrame({"id": cells()["id"], "fold": [n % 2 for n in range(60)]}), "folds/toy.csv")


def other_folds() -> None:
    here = cells("folds/toy.csv")
    put(here.assign(fold=here["fold"].to_numpy()[::-1]), "folds/toy.csv")


FOLD_CASES = [
    Case(57, "groups torn by name", table(column("patient", by_five)), FOLDS, "warning", "FOLD-GROUP",
         said=("'patient' has 12 values", "folds: {group: patient}")),
    Case(57, "groups that the host parts test by", table(column("wells", by_five)), FOLDS, "warning", "FOLD-GROUP",
         said=("'wells'",)),
    Case(57, "a column that test shares is no group",
         table(column("shade", lambda here: [f"s{int(i) % 7}" for i in here["id"]])), FOLDS, "handled",
         holds=lambda: None, said=("fold table:",)),
    Case(57, "a hand-made table that tears groups",
         table(lambda: (Path("folds").mkdir(), crossing_folds()), folds={"n": 2, "group": "site"}), FOLDS, "error",
         "FOLD-GROUP", 3, ("lie in more than one fold",)),
    Case(58, "fewer groups than folds", table(column("site", lambda h: ["a", "b", "c"] * (len(h) // 3)),
         folds={"n": 5, "group": "site"}), FOLDS, "error", "FOLD-GROUP", 3, ("3 groups", "5 are needed")),
    Case(58, "rows without a group", table(column("site", lambda h: ["a", "b", ""] * (len(h) // 3)),
         folds={"n": 2, "group": "site"}), FOLDS, "error", "FOLD-GROUP", 3, ("'002'", "20 in all")),
    Case(58, "a word for none as a group", table(column("site", lambda h: ["a", "b", "NA"] * (len(h) // 3)),
         folds={"n": 2, "group": "site"}), FOLDS, "warning", "FOLD-GROUP", said=("20 rows have no group",)),
    Case(59, "one giant group",
         table(column("site", lambda h: ["a"] * (len(h) - 10) + [str(n) for n in range(10)]),
               folds={"n": 3, "group": "site"}), FOLDS, "warning", "FOLD-BALANCE", said=("5 to 50 rows", "'a', has 50")),
    Case(60, "test lies after train", table(column("day", lambda h: "2030-01-01", TEST)), FOLDS, "warning", "FOLD-TIME",
         said=("test lies after train", "scheme: time")),
    Case(62, "another fold table", after(FIT, other_folds), FIT, "error", "RUN-FOLDS", 3, ("hash",)),
    Case(62, "a fold table of other rows", after(FOLDS, lambda: put(cells("folds/toy.csv")[5:], "folds/toy.csv")), FIT,
         "error", "FOLD-IDS", 3, ("5 training rows are missing",)),
    Case(63, "one fold", table(folds={"n": 1}), FOLDS, "error", "CFG-VALUE", 2, ("line 8, key folds.n",)),
    Case(63, "more folds than rows", table(folds={"n": 61}), FOLDS, "error", "FOLD-ROWS", 3, ("60 rows",)),
    Case(63, "groups in the order of time", table(folds={"n": 2, "scheme": "time", "time": "day", "group": "id"}), FOLDS,
         "error", "CFG-VALUE", 2, ("neither repeats nor group",)),
]  # fmt: skip


def copied_boxes() -> None:
    here = cells()
    some = here[here["x_min"] != ""].head(2)
    put(pd.concat([here, some, some]))


def as_sizes() -> None:
    here = cells()
    some = here["x_min"] != ""
    for low, high in (("x_min", "x_max"), ("y_min", "y_max")):
        here.loc[some, high] = (here.loc[some, high].astype(int) - here.loc[some, low].astype(int)).astype(str)
    put(here)


def four_bad_boxes() -> None:
    box(0, x_max="-5")
    box(1, x_min="7", x_max="7")
    box(2, x_min="nan")
    box(3, x_min="500", x_max="520")


BOX_CASES = [
    Case(64, "inverted, flat, nan and outside at once", boxes(four_bad_boxes), FIT, "error", "DET-NAN", 3,
         ("DET-INVERTED", "DET-OUTSIDE", "DET-AREA", "line 5", "'001: 4 15 -5 32'")),
    Case(64, "the same, left out as asked", boxes(four_bad_boxes, boxes={"bad": "drop"}), CHECK, "warning", "DET-NAN",
         said=("left out, as boxes.bad says",)),
    Case(65, "corners read as sizes", boxes(boxes={"form": "sizes"}), FIT, "error", "DET-FORMAT", 3,
         ("corners: 100%", "boxes: {form: corners}")),
    Case(65, "sizes read as corners", boxes(as_sizes), FIT, "error", "DET-FORMAT", 3, ("boxes: {form: sizes}",)),
    Case(66, "a class that is not listed", boxes(classes=["bright"]), CHECK, "error", "DET-CLASS", 3, ("'dim'",)),
    Case(66, "the same box again and again", boxes(copied_boxes), CHECK, "warning", "DET-DUP",
         said=("2 objects", "4 of them exact copies")),
    Case(66, "pictures without boxes count", boxes(), CHECK, "handled", said=("20 pictures without boxes",)),
    Case(67, "a box without a class, one without an edge",
         boxes(lambda: (box(0, label=""), box(1, y_max=""))), CHECK, "error", "DET-NAN", 3, ("DET-CLASS", "nan")),
    Case(67, "a cell with three numbers", boxes(column("box", lambda h: "[1,2,3]", TRAIN), boxes={"columns": "box"}), CHECK,
         "error", "DET-FORMAT", 3, ("a box has four numbers", "line 2")),
]  # fmt: skip


def same_as_in_order(make: Make) -> None:
    """The run of test as it is, kept to be compared with that of test with its columns reversed."""
    table()(make)
    assert cli.main(SUBMIT) == 0
    shutil.copy("submissions/toy/base.csv", "in_order.csv")
    shutil.rmtree("runs")
    shutil.rmtree("submissions")
    put(cells(TEST).iloc[:, ::-1], TEST)


def other_sizes() -> None:
    """Test six times, with sizes of another range."""
    for path in (TEST, SAMPLE):
        put(pd.concat([cells(path).assign(id=cells(path)["id"] + letter) for letter in "abcdef"]), path)
    here = cells(TEST)
    put(here.assign(size=[f"{n + 900}" for n in range(len(here))]), TEST)


ODD = 'si"ze: {[1,2]}, ä☃'

TABLE_CASES = [
    Case(68, "test's columns in another order", same_as_in_order, SUBMIT, "handled",
         holds=lambda: Path("in_order.csv").read_bytes() == Path("submissions/toy/base.csv").read_bytes() or 1 / 0,
         slow=True),
    Case(68, "test lacks a column", table(lambda: put(cells(TEST).drop(columns="size"), TEST)), SUBMIT, "warning",
         said=("test lacks 1 columns of train", "'size'"), code="'size'"),
    Case(69, "a category that train has not", table(column("colour", lambda h: "violet", TEST)), CHECK, "warning",
         "TAB-UNSEEN", said=("'colour': 100.0%", "'violet'")),
    Case(69, "infinite cells", table(column("size", lambda h: ["inf", *h["size"][1:]])), CHECK, "warning", "TAB-INF",
         said=("1 in train, 1 in test",)),
    Case(69, "words among numbers", table(column("size", lambda h: ["big", *h["size"][1:]], TEST)), CHECK, "warning",
         "TAB-MIXED", said=("'big'",)),
    Case(69, "all of that predicted",
         table(lambda: (column("colour", lambda h: "violet", TEST)(), column("size", lambda h: "inf", TEST)())), SUBMIT,
         "handled", holds=submitted(), slow=True),
    Case(70, "JSON characters in a column's name", table(renamed("size", ODD)), SUBMIT, "handled", holds=submitted(),
         slow=True),
    Case(71, "the same cell in every row", table(column("same", lambda h: "7")), CHECK, "warning", "TAB-CONST",
         said=("'same'",)),
    Case(71, "the target among the columns",
         table(lambda: (column("leak", lambda h: h["label"], TRAIN)(), column("leak", lambda h: "dark", TEST)())), CHECK,
         "warning", "TAB-LEAK", said=("'leak' alone tells the target",)),
    Case(72, "numbers of another range in test", table(other_sizes, image=None), CHECK, "warning", "TAB-DRIFT",
         said=("'size'",), slow=True),
]  # fmt: skip

CASES = [*FOLD_CASES, *BOX_CASES, *TABLE_CASES]
UNTRIED: dict[int, str] = {
    61: "pictures that are the same or nearly so in two folds: tests/test_check.py",
}
