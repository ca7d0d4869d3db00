"""Rows 47 to 56: labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from competition import data, form
from faults.case import Case, Make, tables_of

FOLDS = ("folds", "toy")
TRAIN, SAMPLE = Path("data/train.csv"), Path("data/sample_submission.csv")


def labelled(labels: Sequence[object], kind: str = "multiclass", **keys: object) -> Callable[[Make], object]:
    """The first training rows have these labels."""

    def build(make: Make) -> None:
        tables_of(make, kind, **keys)
        table = pd.read_csv(TRAIN, dtype=str)
        column = table.columns[-1]
        table.loc[: len(labels) - 1, column] = [str(label) for label in labels]
        table.to_csv(TRAIN, index=False)

    return build


def all_labelled(label: Callable[[int], object], kind: str = "multiclass", **keys: object) -> Callable[[Make], object]:
    return labelled([label(n) for n in range(60)], kind, **keys)


def refused(row: int, name: str, build: Callable[[Make], object], code: str, *said: str) -> Case:
    return Case(row, name, build, FOLDS, "error", code, 3, said)


def told(row: int, name: str, build: Callable[[Make], object], code: str, *said: str,
         holds: Callable[[], object] | None = None) -> Case:  # fmt: skip
    return Case(row, name, build, FOLDS, "warning", code, said=said, holds=holds)


def has(rows: int, *classes: str) -> Callable[[], None]:
    def holds() -> None:
        toy = data.load("toy")
        assert len(toy.train) == rows and toy.problem.classes == classes

    return holds


def asked_for_more(make: Make) -> None:
    """The sample has a column of a class that no training row has."""
    tables_of(make, "multiclass", metric="logloss")
    ids = pd.read_csv(SAMPLE, dtype=str)["id"]
    pd.DataFrame({"id": ids, "dark": 0.25, "grey": 0.25, "light": 0.25, "pink": 0.25}).to_csv(SAMPLE, index=False)


def in_sample(make: Make) -> None:
    """The sample's cells have a label that no training row has."""
    tables_of(make, "multiclass")
    sample = pd.read_csv(SAMPLE, dtype=str)
    sample.assign(label=["pink"] * len(sample)).to_csv(SAMPLE, index=False)


def form_notes() -> None:
    """What `make check` says of the sample."""
    print(*form.infer(data.load("toy")).notes)


def listed(make: Make) -> None:
    tables_of(make, "multiclass", classes=["dark", "grey", "light", "pink"])


def doubtful(values: Sequence[float]) -> list[object]:
    return [f"{value:.4f}" for value in values]


GROWING = doubtful(np.linspace(0, 7, 60))
CASES = [
    told(47, "two empty labels", labelled(["", "grey", ""]), "LABEL-MISSING", "2 training rows", "'000', '002'",
         holds=has(58, "dark", "grey", "light")),
    told(47, "NaN among numbers", labelled(["NaN", "null", "?"], "ordinal"), "LABEL-MISSING", "3 training rows",
         holds=has(57, "0", "1", "2")),
    told(47, "an empty value", labelled(["", "NA"], "regression"), "LABEL-MISSING", "2 training rows"),
    refused(47, "a value that is none", labelled(["dear"], "regression"), "LABEL-KIND", "'dear'", "'000'"),
    told(48, "one label with a blank", labelled(["dark "]), "FOLD-RARE", "'dark '", "1 row"),
    told(48, "one label in capitals", labelled(["DARK"]), "FOLD-RARE", "'DARK'", "1 row"),
    told(49, "a class of one row", labelled(["pink"]), "FOLD-RARE", "'pink' has 1 row for 2 folds", "never saw it"),
    told(49, "a class rarer than five folds", labelled(["pink"] * 3, folds={"n": 5}), "FOLD-RARE", "'pink' has 3 rows",
         holds=has(60, "dark", "grey", "light", "pink")),
    told(50, "all classes rarer", all_labelled(lambda n: f"c{n // 2}", folds={"n": 5}), "FOLD-RARE", "more classes"),
    refused(51, "one class", all_labelled(lambda n: "dark"), "LABEL-ONECLASS", "'dark'"),
    refused(51, "one value", all_labelled(lambda n: "1.5", "regression"), "LABEL-ONECLASS"),
    refused(51, "one class of two", all_labelled(lambda n: "yes", "binary"), "LABEL-ONECLASS", "'yes'"),
    refused(52, "values for classes", labelled(GROWING), "LABEL-KIND", "60 labels in 60 rows", "kind: regression"),
    refused(52, "values for half of the classes", labelled(GROWING[:40]), "LABEL-KIND", "numbers with fractions"),
    refused(52, "values for levels", labelled(GROWING, "ordinal"), "LABEL-KIND", "kind: regression"),
    refused(52, "three classes for two", labelled(["maybe"], "binary"), "LABEL-KIND", "kind: multiclass"),
    refused(53, "sets of labels", labelled(["dark grey", "grey light"]), "LABEL-KIND", "several labels", "multilabel"),
    refused(53, "sets with commas", labelled(["dark,light"]), "LABEL-KIND", "separator: ','"),
    Case(53, "sets that are classes", labelled(["dark grey"], classes=["dark", "grey", "light", "dark grey"]), FOLDS,
         "handled", holds=has(60, "dark", "grey", "light", "dark grey")),
    refused(54, "a class that `classes:` lacks", labelled(["pink"], classes=["dark", "grey", "light"]), "CLASS-UNSEEN",
            "'pink'", "the choices are dark"),
    Case(54, "a class of the sample alone", asked_for_more, form_notes, "warning", "CLASS-UNSEEN",
         said=("'pink'; it gets 0",)),
    Case(54, "a label of the sample alone", in_sample, form_notes, "warning", "CLASS-UNSEEN",
         said=("'pink' is no class",)),
    Case(54, "a class that is listed", listed, FOLDS, "handled", holds=has(60, "dark", "grey", "light", "pink")),
    refused(55, "an index out of range", labelled([7], "ordinal", classes=[0, 1, 2]), "LABEL-RANGE", "'7'"),
    refused(55, "minus one", labelled([-1], "ordinal", classes=[0, 1, 2]), "LABEL-RANGE", "'-1'"),
    refused(55, "two in a column of 0 and 1", labelled([2], "multilabel"), "LABEL-RANGE", "'2'", "0 or 1"),
    refused(56, "infinite", labelled(["inf"], "regression"), "LABEL-INF", "'inf'", "'000'"),
    refused(56, "infinite by its size", labelled(["1e999"], "regression"), "LABEL-INF", "'1e999'"),
    told(56, "wildly scaled", labelled(["1e9"], "regression"), "LABEL-SCALE", "1e+09", "'000'"),
]  # fmt: skip
UNTRIED: dict[int, str] = {}
