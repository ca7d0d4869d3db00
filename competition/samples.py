"""What a sample submission tells by itself, without any configuration: which columns name a row, what may stand in the
others, and what is wrong or odd with a file beside it.

A sample of constants leaves much open. `Asked.surely` is the loosest form that fits it, whose breach is a fault;
`Asked.perhaps` the strictest, whose breach is a doubt.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from competition import hostread
from competition.boxes import form as boxform
from competition.boxes import strings
from competition.boxes.table import EDGES
from competition.errors import Finding, examples, nearest
from competition.form import Form
from competition.hostread import floats, listed

NONE = ("nan", "NaN", "<NA>", "NaT", "null", "NULL")  # what tables say where they have nothing
SEPARATORS = (" ", ";", "|", ",")
FEW, MANY = 2, 10  # different values from which on a sample's numbers tell whether they are whole, and how far they go
FAR = 10.0  # times its range that a value may lie outside of a sample of MANY values
MOST = 0.9  # of the cells


@dataclass(frozen=True, kw_only=True)
class Asked:
    """keys: the columns that name a row, as few as are unique; repeated: none are, for there is one row a box.

    surely, perhaps: of the columns of numbers, which the sample holds as `numbers`. text: column -> what its cells are.
    columns: all, in order.
    """

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    repeated: bool
    fields: dict[str, str]
    surely: Form
    perhaps: Form
    numbers: pd.DataFrame
    text: dict[str, Text]

    @property
    def told(self) -> str:
        """For the user: what the sample was taken for."""
        numbers = list(self.perhaps.source)
        kinds = {"value": "numbers", "probability": "numbers within 0..1", "flag": "0 or 1"}
        noun = kinds[self.surely.cells] + " that sum to 1 in each row" * self.surely.exclusive
        parts = [f"{len(numbers)} column{'s'[: len(numbers) > 1]} of {noun}"] * bool(numbers)
        parts += [f"{column!r} of {text}" for column, text in self.text.items()]
        return f"rows named by {examples(self.keys)}; {'; '.join(parts) or 'nothing else'}"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A column of text. template: of boxes, None otherwise; sure: whether they must be. separator, length: of lists that
    all have as many names; seen: the sample's cells."""

    seen: pd.Series
    template: strings.Template | None = None
    sure: bool = False
    separator: str = ""
    length: int = 0

    def __str__(self) -> str:
        if self.template is not None:
            return f"boxes, each `{self.template}`"
        return f"lists of {self.length}, divided by {self.separator!r}" if self.length else "text"


def ask(sample: pd.DataFrame) -> Asked:
    """sample: text, with at least one column beside the ids."""
    columns = list(sample.columns)
    fields = _fields(columns[1:])
    keys, repeated = (columns[:1], True) if fields else _keys(sample)
    cells = sample.drop(columns=keys)
    numbers = cells.apply(floats)
    numeric = [c for c in cells if np.isfinite(numbers[c]).all()]
    surely, perhaps = _numbers(numbers[numeric])
    text = {c: _text(c, cells[c]) for c in cells if c not in numeric}
    return Asked(
        columns=tuple(columns),
        keys=tuple(keys),
        repeated=repeated,
        fields=fields,
        surely=surely,
        perhaps=perhaps,
        numbers=numbers[numeric],
        text=text,
    )


def wrong(asked: Asked, sample: pd.DataFrame, table: pd.DataFrame, where: str) -> list[Finding]:
    """All that surely is wrong with a table of text of the sample's columns."""
    keyed, problems = _keyed(asked, table), []
    if not asked.repeated:
        problems += hostread.wrong_ids(keyed.index, pd.Series(_keyed(asked, sample).index), where)
    problems += hostread.wrong_numbers(asked.surely, keyed, where) if asked.surely.source else []
    for column, text in asked.text.items():
        problems += _wrong_text(text, keyed[column], where)
    return problems + (_wrong_rows(asked, sample, keyed, where) if asked.fields else [])


def odd(asked: Asked, sample: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    """What may be wrong with a table that `wrong` has passed, as sentences."""
    keyed = _keyed(asked, table)
    ids = _keyed(asked, sample).index
    strange = keyed.index[~keyed.index.isin(ids)].unique()
    if asked.repeated and not asked.fields:
        yield "SUB-IDS: no columns of the sample name each of its rows once; missing rows can't be seen"
    elif len(strange):
        yield f"SUB-IDS: {len(strange)} ids are not in the sample, which may be a part of test: {examples(strange)}"
    if len(table) == len(sample) and keyed.index.isin(ids).all() and list(keyed.index) != list(ids):
        yield "SUB-ORDER: the rows are not in the sample's order; Kaggle joins by id, not every host does"
    for found in hostread.wrong_numbers(asked.perhaps, keyed, "") if asked.perhaps != asked.surely else []:
        yield f"{found.code}: {found.what}, as perhaps they should ({found.found}); {found.mend}"
    yield from _odd_numbers(asked, sample, keyed)
    for column, text in asked.text.items():
        yield from (f"{code}: {told}, column {column!r}" for code, told in _odd_text(text, keyed[column]))


# What stands where ----------------------------------------------------------------------------------------------------


def _fields(columns: list[str]) -> dict[str, str]:
    """Column -> field of a box; empty where they tell no box."""
    held = {column: name for column, name in boxform.fields_of(columns).items() if name}
    return {} if strings.lacks(held.values()) else held


def _keys(sample: pd.DataFrame) -> tuple[list[str], bool]:
    """The first columns that together are unique, or a later one that is called id; the first alone, repeated, where none
    are."""
    columns = list(sample.columns)
    some = [columns[:n] for n in range(1, len(columns))] + [[c] for c in columns if c.lower().endswith("id")]
    keys = next((keys for keys in some if not sample.duplicated(keys).any()), None)
    return keys or columns[:1], keys is None


def _keyed(asked: Asked, table: pd.DataFrame) -> pd.DataFrame:
    """The table by its keys, several of them as one text."""
    index = table[asked.keys[0]] if len(asked.keys) == 1 else strings.joined(table[list(asked.keys)], ", ")
    return table.set_axis(pd.Index(index, dtype=object))


def _numbers(numbers: pd.DataFrame) -> tuple[Form, Form]:
    """What columns of numbers surely are and what they perhaps are. Two columns of one half each may be two labels, and
    ones among zeros classes or labels; three thirds are classes."""
    source, found = dict.fromkeys(numbers.columns), numbers.to_numpy(float)
    loose = Form(cells="value", source=source)
    if not found.size or found.min() < 0 or found.max() > 1:
        return loose, loose
    flags, varies = bool(np.isin(found, (0, 1)).all()), len(np.unique(found)) > 1
    if found.shape[1] > 1 and (abs(found.sum(axis=1) - 1) <= hostread.ROUNDED).all():
        exclusive = Form(cells="probability", source=source, exclusive=True)
        proven = not flags and (found.shape[1] > 2 or len(np.unique(found[:, 0])) > 1)
        return (exclusive if proven else loose), exclusive
    strict = replace(loose, cells="flag" if flags and varies else "probability")
    return loose, strict


def _text(column: str, cells: pd.Series) -> Text:
    shown = [cell for cell in cells.str.strip().unique() if cell]
    template = _template(shown)
    if template is not None:
        named = re.search(r"box|prediction_?string", column, re.I) is not None
        return Text(seen=cells, template=template, sure=named or any("." in cell for cell in shown))
    separator = next((s for s in SEPARATORS if shown and all(s in cell for cell in shown)), "")
    counts = {len(cell.split(separator)) for cell in shown} if separator else set()
    return Text(seen=cells, separator=separator, length=counts.pop() if len(counts) == 1 else 0)


def _template(shown: list[str]) -> strings.Template | None:
    """How boxes are written in cells that can be nothing else than boxes with scores; None of other cells."""
    text = pd.Series(shown, index=shown, dtype=str)
    for separator, head in itertools.product(" ,;|", (("label", "score"), ("score",))):
        template = strings.of_fields((*head, *EDGES), separator)
        boxes, torn = strings.parse(template, text)
        numbers = strings.numbers(boxes)
        if len(boxes) and torn.empty and numbers.notna().all(axis=None) and numbers["score"].between(0, 1).all():
            return template
    return None


# Cells of text --------------------------------------------------------------------------------------------------------


def _wrong_text(text: Text, cells: pd.Series, where: str) -> list[Finding]:
    if text.template is not None:
        return [p for p in _wrong_boxes(text, cells, where) if text.sure]
    known = set(text.seen)
    said = cells[~cells.isin(known)]
    empty = [f"{i}: {cell}" for i, cell in said[said.isin(NONE)].items()]
    problems = listed("SUB-NONFINITE", "cells say that they hold nothing", where, empty, "give each row a name")
    blanks = said[(said != said.str.strip()) & said.str.strip().isin(known)]
    mend = f"write them without blanks around, such as {examples(blanks.str.strip().unique(), 1)}"
    return [*problems, *listed("SUB-LABEL", "names with blanks around them", where, list(blanks), mend)]


def _wrong_boxes(text: Text, cells: pd.Series, where: str) -> list[Finding]:
    assert text.template is not None
    cells = cells.str.strip()
    boxes, torn = strings.parse(text.template, cells[~cells.isin(set(text.seen.str.strip()))])
    numbers = strings.numbers(boxes)
    told, mend = [f"{i}: {cell[:80]}" for i, cell in torn.items()], f"the words of a box are {text.template}"
    flat = (numbers["x_max"] <= 0) | (numbers["y_max"] <= 0)  # whether these are corners or sizes
    return [
        *listed("SUB-BOX", "cells that are no whole number of boxes", where, told, mend),
        *_wrong_fields(boxes, numbers, flat, where, mend),
    ]


def _wrong_rows(asked: Asked, sample: pd.DataFrame, keyed: pd.DataFrame, where: str) -> list[Finding]:
    """Of a file of one row a box."""
    fields = list(asked.fields)
    same = strings.joined(keyed[fields], "\t").isin(set(strings.joined(sample[fields], "\t")))  # as where nothing is
    boxes = keyed[fields][~same].rename(columns=asked.fields)
    numbers = strings.numbers(boxes)
    ends = strings.measured(numbers)
    flat = (ends["x_max"] <= ends["x_min"]) | (ends["y_max"] <= ends["y_min"])
    return _wrong_fields(boxes, numbers, flat, where, f"a box has the columns {examples(fields, 9)}")


def _wrong_fields(boxes: pd.DataFrame, numbers: pd.DataFrame, flat: pd.Series, where: str, mend: str) -> list[Finding]:
    finite = np.isfinite(numbers).all(axis=1)
    score = finite & ~numbers["score"].between(0, 1)
    return [
        *listed("SUB-NONFINITE", "boxes with words that are no numbers", where, _shown(boxes[~finite]), mend),
        *listed("SUB-PROB", "scores outside 0..1", where, _shown(boxes[score]), mend),
        *listed("SUB-BOX", "boxes without area", where, _shown(boxes[finite & flat]), mend),
    ]


def _odd_text(text: Text, cells: pd.Series) -> Iterator[tuple[str, str]]:
    """Codes and what is told."""
    if text.template is not None:
        yield from _odd_boxes(text, cells)
        return
    bare = cells.str.strip()
    if (bare == "").any() and (text.seen.str.strip() != "").all():
        yield "SUB-LABEL", f"{(bare == '').sum()} cells are empty, none of the sample's is"
    unseen = bare[~bare.isin(set(text.seen.str.strip())) & (bare != "")].unique()
    if len(unseen) and text.seen.nunique() >= FEW and not text.length:
        hint = nearest(unseen[0], text.seen.unique())
        yield "SUB-LABEL", f"{len(unseen)} different cells are none of the sample's: {examples(unseen)}; {hint}"
    divider = text.separator or " "
    words = bare[bare != ""].str.split(divider)
    double = words[words.map(lambda w: len(set(w)) < len(w) and not all(map(str.isdigit, w)))]
    if len(double):
        shown = [f"{i}: {divider.join(w)}" for i, w in double.items()]
        yield "SUB-LIST", f"{len(double)} cells name something twice: {examples(shown)}"
    other = words[words.map(len) != text.length] if text.length else words[:0]
    if len(other):
        shown = [f"{i}: {divider.join(w)}" for i, w in other.items()]
        yield (
            "SUB-LIST",
            f"{len(other)} lists have not {text.length} names, as all of the sample's do: {examples(shown)}",
        )


def _odd_boxes(text: Text, cells: pd.Series) -> Iterator[tuple[str, str]]:
    assert text.template is not None
    for found in [] if text.sure else _wrong_boxes(text, cells, ""):
        yield found.code, f"{found.what} ({found.found})"
    boxes, _ = strings.parse(text.template, cells[~cells.isin(set(text.seen))])
    numbers = strings.numbers(boxes)
    swapped = (numbers["x_max"] <= numbers["x_min"]) | (numbers["y_max"] <= numbers["y_min"])
    if swapped.any():
        told = examples(_shown(boxes[swapped]))
        yield (
            "SUB-BOX",
            f"{swapped.sum():,} of {len(boxes):,} boxes end before they begin, unless sizes are told: {told}",
        )
    low = (numbers[["x_min", "y_min"]] < -1).any(axis=1)
    if low.any():
        yield "SUB-BOX", f"{low.sum():,} boxes begin outside of their picture: {examples(_shown(boxes[low]))}"
    strange = sorted(set(boxes.get("label", pd.Series(dtype=str))) - set(_labels(text)))
    if strange and len(set(_labels(text))) >= FEW:
        yield "SUB-LABEL", f"boxes of {len(strange)} classes that the sample lacks: {examples(strange)}"


def _labels(text: Text) -> pd.Series:
    assert text.template is not None
    boxes, _ = strings.parse(text.template, text.seen.str.strip())
    return boxes.get("label", pd.Series(dtype=str))


def _shown(boxes: pd.DataFrame) -> list[str]:
    return [f"{i}: {' '.join(map(str, words))}" for i, *words in boxes.itertuples()]


# Cells of numbers -----------------------------------------------------------------------------------------------------


def _odd_numbers(asked: Asked, sample: pd.DataFrame, keyed: pd.DataFrame) -> Iterator[str]:
    for column in asked.surely.source:
        own = asked.numbers[column]
        several, bare = own.nunique() >= FEW, sample[column].str.fullmatch(r"[+-]?\d+").all()
        if not (several or bare):
            continue
        found = floats(keyed[column])
        broken = found[found % 1 != 0]
        if several and (own % 1 == 0).all() and len(broken) and asked.perhaps.cells == "value":
            yield f"SUB-LABEL: the sample's {column!r} holds whole numbers, the file fractions: {examples(broken)}"
        dotted = keyed[column][keyed[column].str.contains(".", regex=False)]
        if broken.empty and len(dotted) and bare:
            yield f"SUB-LABEL: the sample's {column!r} is written without a point, the file's with: {examples(dotted)}"
        low, high = own.min() - FAR * np.ptp(own), own.max() + FAR * np.ptp(own)
        away = found[(found < low) | (found > high)]
        if own.nunique() >= MANY and len(away):
            span = f"{own.min():g}..{own.max():g}"
            yield f"SUB-RANGE: {len(away)} cells of {column!r} lie far outside of the sample's {span}: {examples(away)}"
