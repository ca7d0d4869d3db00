"""What a sample submission asks for where the prediction is boxes: how a box is written, and a picture without one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts
from competition.boxes import reading, spellings, strings
from competition.boxes.checking import SOLE
from competition.boxes.strings import Template
from competition.boxes.table import EDGES
from competition.data import Data
from competition.errors import ConfigFault, DataFault, Finding, examples, nearest
from competition.ids import a_row_a_box
from competition.keys import Boxes
from competition.spelling import dress

SIDES = {
    "corners": EDGES,
    "sizes": ("x_min", "y_min", "width", "height"),
    "centers": ("x_center", "y_center", "width", "height"),
}  # `boxes.form` -> fields
IN_FILES = {".xml": ("corners", "pixels"), ".json": ("sizes", "pixels"), ".txt": ("centers", "fractions")}
EXAMPLE = "a template is such as '{label} {score} {x_min} {y_min} {x_max} {y_max}'"


@dataclass(frozen=True, kw_only=True)
class BoxForm:
    """What the sample asks for.

    template: one box. column: the sample's column that holds the boxes of a picture, one row a picture; None: the sample
    has one row a box, whose fields stand in `columns`, sample column -> field (also the template's, divided by tabs).
    counter: the column of such a sample that numbers its rows. nothing: the cell of a picture without boxes; of one row a
    box, the row's fields divided by tabs, "" for no row. fractions: of the picture's width and height, otherwise pixels.
    names: the classes in order, as the sample writes them. notes: sentences for the user on what was guessed.
    """

    template: Template
    column: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    counter: str | None = None
    nothing: str = ""
    fractions: bool = False
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def predicted(self) -> list[str]:
        """The sample's columns that hold predictions."""
        return list(self.columns) if self.column is None else [self.column]


def infer_boxes(data: Data) -> BoxForm:
    """The form of a sample of boxes; the keys boxes.template, nothing and fractions of the configuration go first.

    Raises ConfigFault where they can't be, DataFault SUB-FORM where the sample's cells are no boxes.
    """
    stated = _stated(data)
    columns = [c for c in data.sample.columns if c != data.sample_id]
    if not columns:
        raise _misfit(data, "no column beside the ids", "name the sample with a column for the boxes by `sample:`")
    if a_row_a_box(data.sample):
        return _row_form(data, stated, columns)
    shown = _shown(data, data.sample[columns[0]].str.strip())
    template, notes = (stated, []) if stated else _guess(data, shown)
    return replace(_filled(data, template, shown, notes), column=columns[0])


def _row_form(data: Data, stated: Template | None, columns: list[str]) -> BoxForm:
    held, counter = _held(data, stated, columns)
    rows = data.sample[list(held)]
    cells = strings.joined(rows, "\t").where(rows.ne("").any(axis=1), "")
    form = _filled(data, strings.of_fields(held.values(), "\t"), _shown(data, cells), [])
    words = form.nothing.split("\t" if "\t" in form.nothing else None)  # a configuration divides them by blanks
    if len(words) not in (0, len(held)):
        found = f"{len(words)} words for the columns {examples(held, 12)}"
        raise _unfit(data, "nothing", form.nothing, found, "give one word for each of them, or '' for no row")
    return replace(form, nothing="\t".join(words), columns=held, counter=counter)


def _shown(data: Data, cells: pd.Series) -> list[str]:
    """The different cells of the sample that hold boxes."""
    return [cell for cell in cells.unique() if cell and cell.split() != (_config(data).nothing or "").split()]


def _filled(data: Data, template: Template, shown: list[str], notes: list[str]) -> BoxForm:
    """The form but for its columns. shown: the different cells of the sample that hold boxes."""
    text, torn = strings.parse(template, pd.Series(shown, index=shown, dtype=str))
    boxes = strings.numbers(text)
    odd = [*torn, *boxes.index[boxes.isna().any(axis=1)]]
    if odd:
        mend = f"state `boxes.template:` (it is read as {template}), and `boxes.nothing:` if it is no box"
        raise _misfit(data, f"{len(odd)} cells that are no boxes: {examples(odd)}", mend)
    labels = text["label"] if "label" in text else pd.Series(data.problem.classes[0], text.index)
    names = dress(data.problem.classes, set(labels))
    _refuse_torn(data, template, names)
    marks = _markers(boxes, labels, names)
    unknown = sorted(set(labels[~labels.index.isin(marks)]) - set(names))
    if unknown and data.problem.classes == (SOLE,):
        mend = "name the column of a box's class by `target:`, or the one class by `classes:`, in competition.yaml"
        raise _misfit(data, f"it asks for {examples(unknown)}, and training boxes have no class", mend)
    lack = (
        f"SUB-FORM: the sample asks for {examples(unknown)}, of which there is no training box; none will be predicted"
    )
    lack += f", and classes are written as {examples(names)}"
    several = f"SUB-FORM: the sample marks pictures without boxes in several ways, {examples(marks)}; all get the first"
    fractions, guessed = _fractions(data, boxes[~boxes.index.isin(marks)])
    stated = _config(data).nothing
    nothing = stated.strip() if stated is not None else marks[0] if marks else ""
    told = (*notes, *[lack] * bool(unknown), *guessed, *[several] * (stated is None and len(marks) > 1))
    return BoxForm(template=template, nothing=nothing, fractions=fractions, names=names, notes=told)


# The template ---------------------------------------------------------------------------------------------------------


def _stated(data: Data) -> Template | None:
    """The template of the configuration. Raises ConfigFault CFG-VALUE where it can't be written or read back."""
    text = _config(data).template
    if text is None:
        return None
    try:
        template = strings.read(text)
        if len(data.problem.classes) > 1 and "label" not in template.fields:
            raise ValueError(f"{{label}} is missing, and there are {len(data.problem.classes)} classes")
    except ValueError as e:
        raise _unfit(data, "template", text, str(e), EXAMPLE) from None
    return template


def _guess(data: Data, shown: list[str]) -> tuple[Template, list[str]]:
    """The template that the sample's cells are of, with notes. Raises DataFault SUB-FORM where they are of none."""
    (trained, _), several = _trained(data), len(data.problem.classes) > 1
    separator = next((s for s in " ,;|" if any(s in cell for cell in shown)), " ")
    if not shown:
        fields = ("label", "score", *EDGES) if several else ("score", *SIDES[trained])
        template = strings.of_fields(fields)
        return template, [f"SUB-FORM: the sample shows no box; one is written as {template}, unless boxes.template says "
                          "otherwise"]  # fmt: skip
    for head in (("label", "score"),) if several else (("score",), ("label", "score")):
        boxes = _numbers_of(strings.of_fields((*head, *EDGES), separator), shown)
        if boxes is None:
            continue
        sides = "corners" if "label" in head else trained
        proven = bool((_inverted(boxes) & (boxes[list(EDGES)] != 0).any(axis=1)).any())  # no corners, whoever says so
        sides = ("sizes" if trained == "corners" else trained) if proven else sides
        template = strings.of_fields((*head, *SIDES[sides]), separator)
        doubt = not proven and (len(head) == 1 or trained != sides)
        note = f"SUB-FORM: the sample's boxes are read as {template}; boxes.template states another order"
        return template, [note] * doubt
    counts = sorted({len(strings.of_fields((), separator).split(cell)) for cell in shown})
    found = f"cells of {', '.join(map(str, counts))} words: {examples(shown)}"
    wanted = "label, score and four numbers" if several else "a score and four numbers, or a label before them"
    mend = f"state `boxes.template:`, unless each box can be {wanted}; and `boxes.nothing:` for cells that are no box"
    raise _misfit(data, found, mend)


def _numbers_of(template: Template, shown: list[str]) -> pd.DataFrame | None:
    """[boxes, score and EDGES] of cells; None where they can't be of the template."""
    text, torn = strings.parse(template, pd.Series(shown, index=shown, dtype=str))
    boxes = strings.numbers(text)
    return boxes if torn.empty and boxes.notna().all(axis=None) and boxes["score"].between(0, 1).all() else None


def _inverted(boxes: pd.DataFrame) -> pd.Series:
    return (boxes["x_max"] <= boxes["x_min"]) | (boxes["y_max"] <= boxes["y_min"])


def _refuse_torn(data: Data, template: Template, names: tuple[str, ...]) -> None:
    torn = [name for name in names if "label" in template.fields and len(template.split(name)) != 1]
    if torn:
        found = f"names that hold what divides words, {template.separator!r}: {examples(torn)}"
        raise _misfit(data, found, "set `boxes.template:` to how the host divides words, or rename those classes")


# One row a box --------------------------------------------------------------------------------------------------------


def _held(data: Data, stated: Template | None, columns: list[str]) -> tuple[dict[str, str], str | None]:
    """Sample column -> field, and the column that numbers the rows. A stated template names the columns in their order.

    Raises ConfigFault where it has another number of words, DataFault SUB-FORM where columns are missing or unknown.
    """
    counter = next((c for c, name in fields_of(columns).items() if name is None and _counts(data.sample[c])), None)
    columns = [c for c in columns if c != counter]
    if stated is not None:
        if len(columns) != len(stated.words) or not stated.bare:
            found = f"the sample has one row a box, in the columns {examples(columns, 12)}"
            raise _unfit(data, "template", str(stated), found, "name the field of each of them, and nothing else")
        return dict(zip(columns, stated.fields, strict=True)), counter
    held = fields_of(columns)
    unknown, found = [c for c in columns if held[c] is None], list(filter(None, held.values()))
    told = [f"{column!r} is no field of a box; {nearest(column, strings.FIELDS)}" for column in unknown]
    told += [f"two columns for {name}" for name in strings.FIELDS if found.count(name) > 1]
    told += strings.lacks(found)
    if "label" not in found and len(data.problem.classes) > 1:
        told.append(f"{{label}} is missing, and there are {len(data.problem.classes)} classes")
    if told:
        mend = "name the field of each column, in their order, by `boxes.template:`, or mend `sample:`"
        raise _misfit(data, "; ".join(told), mend)
    return {c: name for c, name in held.items() if name}, counter


def fields_of(columns: list[str]) -> dict[str, str | None]:
    """Column of a sample -> field of a box, None where its name is none's."""
    bare = {column: re.sub(r"^pred(icted|iction)?_?(?=.)", "", column, flags=re.I) for column in columns}
    form, four = spellings.four(bare.values()) or ("corners", ())
    found: dict[str, str] = dict(zip(four, SIDES[form], strict=False))
    known: dict[str, str] = {name.replace("_", ""): name for name in strings.FIELDS}
    known |= dict.fromkeys(spellings.LABEL, "label") | dict.fromkeys(spellings.SCORE, "score")
    return {column: found.get(name, known.get(spellings.plain(name))) for column, name in bare.items()}


def _counts(cells: pd.Series) -> bool:
    return cells.is_unique and bool(cells.str.fullmatch(r"\d+").all())


# Nothing found, and the unit ------------------------------------------------------------------------------------------


def _markers(boxes: pd.DataFrame, labels: pd.Series, names: tuple[str, ...]) -> list[str]:
    """Cells that say that nothing was found: one box of a class that training lacks, its numbers 0 or 1."""
    alone = ~boxes.index.duplicated(keep=False)
    return list(boxes.index[alone & ~labels.isin(names) & boxes.drop(columns="score").isin([0, 1]).all(axis=1)])


def _trained(data: Data) -> tuple[str, str]:
    """Form and unit of the training boxes: of files their own, otherwise as the configuration says."""
    config = _config(data)
    return IN_FILES.get(Path(reading.source_of(data.config)).suffix, (config.form, config.unit))


def _fractions(data: Data, boxes: pd.DataFrame) -> tuple[bool, list[str]]:
    """boxes: of the sample, but for markers of nothing, as they stand there."""
    stated, (_, unit) = _config(data).fractions, _trained(data)
    if stated is not None:
        return stated, []
    numbers = boxes.drop(columns="score").to_numpy(float)
    whole = numbers[np.isclose(numbers, numbers.round())]
    if (numbers > 1).any() or (len(whole) == numbers.size and unit == "pixels"):
        return False, []
    why = "the sample's are all below 1" if len(whole) < numbers.size else "those of training are"
    return True, [
        f"SUB-FORM: boxes are written as fractions of width and height, as {why}; boxes.fractions: false if not"
    ]


def _config(data: Data) -> Boxes:
    assert data.config.boxes is not None, "kind: boxes has a section boxes:"
    return data.config.boxes


def _unfit(data: Data, key: str, value: str, found: str, mend: str) -> ConfigFault:
    where = f"{artifacts.competition_yaml(data.name)}, key boxes.{key}"
    return ConfigFault(Finding("CFG-VALUE", f"boxes can't be written by {value!r}", where, found, mend))


def _misfit(data: Data, found: str, mend: str) -> DataFault:
    where, risk = f"{data.config.data}/{data.config.sample}", "the host would refuse the file or score it wrong"
    return DataFault(
        Finding("SUB-FORM", "it can't be told from the sample how boxes are written", where, found, mend, risk)
    )
