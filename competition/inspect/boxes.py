"""Competitions of boxes: whether a folder holds one, and the keys that only such a competition has, one function each."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from competition.errors import examples
from competition.inspect.annotations import Annotations, source_for
from competition.inspect.boxnumbers import find_columns, find_form, find_unit, holds_boxes, is_number
from competition.inspect.folder import by_id, find_id, find_test
from competition.inspect.guess import Answers, Guess, Tables, question
from competition.inspect.metric import find_metric
from competition.inspect.pictures import Index, find_image
from competition.inspect.splits import find_folds
from competition.inspect.target import Shape
from competition.tables import fill, natural, read_rows

STRINGS = re.compile(r"prediction_?string|pred_?string|box", re.I)
CLASS = re.compile(r"class|label|categor|species|type|object|name", re.I)
NOTHING = {"none", "no_box", "nobox", "nan", "null", "background", ""}  # a sample's word for a picture without boxes
FEW_CLASSES = 1000


@dataclass(frozen=True)
class Asked:
    """The sample's strings. words: the class of each of their boxes; None: they name no class, or there are no strings."""

    columns: list[str]
    strings: bool
    words: set[str] | None


def read_asked(sample: pd.DataFrame) -> Asked | None:
    """What a sample that asks for boxes says; None where it asks for something else."""
    asked = list(sample.columns[1:])
    for column in asked:
        cells = sample[column][sample[column].str.strip() != ""]
        rows = [cell.split() for cell in cells.unique()[:200]]
        for size in (6, 5):
            if rows and (place := _class_place(rows, size)) is not None:
                words = {row[i] for row in rows for i in range(place, len(row), size)} if place >= 0 else None
                return Asked(asked, True, words)
        if STRINGS.search(column) and all(set(map(str.lower, row)) <= NOTHING for row in rows):
            return Asked(asked, True, set())
    return Asked(asked, False, None) if find_columns(sample.iloc[:0]) else None


def _class_place(rows: list[list[str]], size: int) -> int | None:
    """At which of `size` words a box has its class: -1 for none; None where the rows are no boxes with a score."""
    if any(len(row) % size for row in rows) or not any(rows):
        return None
    places = [[word for row in rows for word in row[i::size]] for i in range(size)]
    texts = [i for i, words in enumerate(places) if not all(map(is_number, words))]
    scores = [i for i, words in enumerate(places) if i not in texts and all(0 <= float(w) <= 1 for w in words)]
    if len(texts) > 1 or (not scores and not (size == 5 and texts)):
        return None
    if texts:
        return texts[0]
    return 0 if size == 6 else -1


def recognise(
    train: pd.DataFrame, sample: pd.DataFrame, pictures: Index, annotations: Annotations | None, given: dict[str, Any]
) -> bool:
    """Whether this is a competition of boxes: by `kind` where it is given, else by what the sample asks and train has.

    Raises ConfigFault INIT-BOXES where the sample asks for boxes and nothing holds any.
    """
    if "kind" in given:
        return given["kind"] == "boxes"
    asked, names = read_asked(sample), list(sample.columns[1:])
    known = all(column in train.columns for column in names)
    found = find_columns(train, names if asked else ())
    if asked is None or (asked.strings and not found and (known or _ranks(train, sample[names[0]]))):
        return found is not None and not known and bool(pictures.files)
    if found is None and annotations is None and "boxes.columns" not in given and "boxes.source" not in given:
        what, columns = "the sample asks for boxes, and train has none", f"columns {examples(train.columns, 12)}"
        raise question("boxes.columns", what, "train", columns, "[x_min, y_min, x_max, y_max]")
    return True


def _ranks(train: pd.DataFrame, cells: pd.Series) -> bool:
    """Whether the sample's words are all cells of one column: `0 1 2 3 4` is a list of classes, not a box."""
    words = {word for cell in cells.unique() for word in cell.split()}
    return bool(words) and any(words <= set(train[column]) for column in train.columns)


def answer_boxes(
    answers: Answers,
    names: dict[str, str],
    train: pd.DataFrame,
    sample: pd.DataFrame,
    pictures: Index,
    annotations: Annotations | None,
    metric: dict[str, Any] | None,
    name: str,
) -> None:
    """Every key from `test` on. A train table has a row a box, so pictures stand in it several times."""
    root, asked, ask = pictures.root, read_asked(sample) or Asked(list(sample.columns[1:]), False, None), answers.ask
    if not pictures.files:
        raise question(
            "image", "boxes are found on pictures, and there are none", root, "no picture", "images/{id}.jpg"
        )
    names["test"] = ask("test", find_test, names, train, sample, pictures, answers.given.get("id"))
    test = None if names["test"] == names["sample"] else read_rows(root, names["test"])
    id = ask("id", find_id, names, _one_a_picture(train, pictures), test, sample)
    tables = by_id(names, train, test, sample, id)
    ask("kind", lambda: Guess("kind", "boxes", _why(asked)))
    columns, marks = _where(answers, tables, annotations, asked, root)
    boxes = tables.train[holds_boxes(tables.train, columns)] if columns else tables.train.iloc[:0]
    target = ask("target", find_target, tables, boxes, columns, asked, marks)
    classes = ask("classes", find_classes, asked, target, marks)
    labels = _pictures_by_class(boxes, tables.id, target, marks)
    found = find_metric(metric, Shape("boxes", "boxes", ""), "boxes", classes or natural(set(labels.index)), name)
    answers.guesses.append(found if metric else replace(found, reason=_metric_reason(asked)))
    whole = replace(tables, train=_constant(tables.train, tables.id))
    image = ask("image", find_image, whole, pictures)
    ask("boxes.unlisted", find_unlisted, whole, image, pictures)
    for guess in find_folds(whole, [target] if target else [], labels, answers.given):
        ask(guess.key, lambda guess=guess: guess)


def _where(
    answers: Answers, tables: Tables, annotations: Annotations | None, asked: Asked, root: Path
) -> tuple[list[str], Annotations | None]:
    """The keys boxes.source, or columns, form and unit: the columns of train with boxes, or the files that are used."""
    columns = find_columns(tables.train, asked.columns)
    given, ask = answers.given, answers.ask
    if columns is None and annotations and "boxes.columns" not in given:
        reason = f"{annotations.what} files hold the boxes"
        ask("boxes.source", lambda: Guess(
            "boxes.source", source_for(annotations, tables.train, tables.names["train"], root), reason))  # fmt: skip
        return [], annotations
    if given.get("boxes.source"):
        return [], None
    named = ask("boxes.columns", lambda: columns or _no_columns(tables))
    named = [named] if isinstance(named, str) else list(named)
    lacking = [c for c in named if c not in tables.train.columns]
    if lacking:
        raise question("boxes.columns", "train has no such column", tables.names["train"], examples(lacking),
                       f"[{', '.join(tables.train.columns[-4:])}]")  # fmt: skip
    unit = ask("boxes.unit", find_unit, tables.train, named)
    ask("boxes.form", find_form, tables.train, named, unit)
    return named, None


def _no_columns(tables: Tables) -> Guess:
    found = f"columns {examples(tables.train.columns, 12)}"
    what = "no columns of train hold boxes by their names, and no files do"
    raise question("boxes.columns", what, tables.names["train"], found, "[x_min, y_min, x_max, y_max]")


def find_target(
    tables: Tables, boxes: pd.DataFrame, columns: list[str], asked: Asked, marks: Annotations | None
) -> Guess | None:
    """The key `target`: the column of a box's class. boxes: the rows with a box."""
    if marks:
        return Guess("target", None, f"the {marks.what} files have the classes")
    if asked.strings and asked.words is None:
        return Guess("target", None, "one class: the sample's boxes have a score and four numbers, and no class")
    if len(columns) == 1 and boxes[columns[0]].str.match(r"\s*[^\W\d]").any():
        return Guess("target", None, f"the cells of {columns[0]!r} name the class of each box")
    train, words = tables.train, {w for w in asked.words or () if w.lower() not in NOTHING}
    told = () if tables.names["test"] == tables.names["sample"] else tables.test.columns  # what test tells is no class
    could = [
        c for c in train.columns if c not in (tables.id, *columns, "path") and 1 < train[c].nunique() <= FEW_CLASSES
    ]
    covered = {c: len(words & set(train[c])) for c in could}
    whole = [c for c in could if words and covered[c] == len(words)]
    whole = [c for c in whole if CLASS.search(c)] or whole
    if whole:
        reason = f"its values are the classes in the sample's strings: {examples(sorted(words))}"
        return Guess("target", whole[0], _others(reason, whole), sure=len(whole) == 1)
    named = [c for c in could if c in asked.columns and c not in told]
    named = named or [c for c in could if CLASS.search(c) and boxes[c].nunique() > 1 and c not in told]
    named = [c for c in named if covered[c]] or named
    if named:
        reason = f"its name; {boxes[named[0]].nunique()} classes"
        lacking = sorted(words - set(train[named[0]]))
        reason += f"; it lacks {examples(lacking)} of the sample" if lacking else ""
        return Guess("target", named[0], _others(reason, named), sure=len(named) == 1 and not lacking)
    return Guess("target", None, "one class: no column of train looks like one of classes", sure=len(words) <= 1)


def find_classes(asked: Asked, target: str | None, marks: Annotations | None) -> Guess | None:
    """The key `classes`: YOLO's numbers need names, and one class without a column has the sample's name."""
    words = sorted(w for w in asked.words or () if w.lower() not in NOTHING)
    if marks and marks.what == "YOLO":
        numbers = tuple(map(str, range(1 + max((int(x) for x in marks.labels), default=0))))
        names = marks.classes if marks.classes and len(marks.classes) >= len(numbers) else numbers
        if words and set(words) <= set(numbers) and not set(words) <= set(names):
            return Guess("classes", list(numbers), "the sample's strings have YOLO's numbers, not names", sure=False)
        why = "by the number in the label files" if names is marks.classes else "no file names the numbers"
        return Guess("classes", list(names), why, sure=names is marks.classes)
    if not marks and target is None and len(words) == 1:
        return Guess("classes", words, "the one class, as the sample's strings call it", sure=False)
    return None


def find_unlisted(tables: Tables, image: Any, index: Index) -> Guess | None:
    """The key `boxes.unlisted`: training pictures that no table lists have no boxes; None where all are listed."""
    paths = dict(image) if isinstance(image, dict) else {"train": image, "test": image}
    listed = {path for part, table in (("train", tables.train), ("test", tables.test))
              for path in fill(paths[part], table, "image")}  # fmt: skip
    beside = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(paths["train"]))
    lying = [f for f in index.files if re.fullmatch(beside, f)]
    others = [f for f in lying if f not in listed]
    if not others:
        return None
    reason = (
        f"{len(others)} of {len(lying)} pictures beside the training pictures are in no table: {examples(others, 3)}"
    )
    if 2 * len(others) > len(lying):
        return Guess("boxes.unlisted", False, f"{reason}; too many to take them for pictures without boxes", sure=False)
    return Guess("boxes.unlisted", True, f"{reason}; they are taken for pictures without boxes", sure=False)


def _why(asked: Asked) -> str:
    return "the sample asks for strings of boxes" if asked.strings else "train or files beside it have boxes"


def _metric_reason(asked: Asked) -> str:
    usual = "COCO's mean average precision; set METRIC= if the competition says otherwise"
    if asked.strings and asked.words is None:
        usual += " (of one class, wheat and pneumonia are scored by METRIC=mean_precision)"
    return usual


def _others(reason: str, columns: list[str]) -> str:
    return reason + (f"; {examples(columns[1:])} could be meant too" if len(columns) > 1 else "")


def _one_a_picture(train: pd.DataFrame, index: Index) -> pd.DataFrame:
    """The first row of each picture, by the first column whose cells name pictures."""
    for column in train.columns:
        if any(map(index.around, train[column].iloc[:: len(train) // 200 + 1])):
            return train.drop_duplicates(column)
    return train


def _constant(train: pd.DataFrame, id: str) -> pd.DataFrame:
    """[pictures] the columns that have one value a picture."""
    counts = train.groupby(id, sort=False).nunique().max()
    return train.drop_duplicates(id)[[c for c in train.columns if c == id or counts[c] == 1]]


def _pictures_by_class(boxes: pd.DataFrame, id: str, target: str | None, marks: Annotations | None) -> pd.Series:
    """Class -> training pictures that have it; empty where there is but one class."""
    if marks:
        return marks.labels.value_counts()
    return boxes.drop_duplicates([id, target])[target].value_counts() if target else pd.Series(dtype=int)
