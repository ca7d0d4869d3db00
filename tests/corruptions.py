"""Ways to spoil a valid submission: what people and tools do to a CSV between the model and the host.

Each takes the file's lines as cells (the header first) and what is known of them, and returns other lines, or bytes where
the file as such is spoilt; None where the form has nothing to be spoilt in this way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from competition.boxes.form import BoxForm
from competition.data import Data
from competition.form import Form

Lines = list[list[str]]
FAULT, DOUBT, UNSEEN = "fault", "doubt", "unseen"


@dataclass(frozen=True)
class Valid:
    """A valid submission. at: its columns that hold predictions."""

    lines: Lines
    sample: Lines
    data: Data
    form: Form | BoxForm

    @property
    def at(self) -> list[int]:
        held = self.form.predicted if isinstance(self.form, BoxForm) else list(self.form.source)
        return [self.lines[0].index(column) for column in held]

    @property
    def key(self) -> int:
        return self.lines[0].index(self.data.sample_id)

    @property
    def numeric(self) -> bool:
        return isinstance(self.form, Form) and not self.form.names

    @property
    def cells(self) -> str:
        return "boxes" if isinstance(self.form, BoxForm) else self.form.cells

    @property
    def rows_of_boxes(self) -> bool:
        return isinstance(self.form, BoxForm) and self.form.column is None


Spoil = Callable[[Valid], Lines | bytes | None]


def text(lines: Lines, delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()


def delimiter(v: Valid) -> str:
    return next(c for c in ",;\t" if c in text([v.lines[0]]).decode())


def each(v: Valid, column: int, change: Callable[[str], str]) -> Lines:
    return [v.lines[0], *([*r[:column], change(r[column]), *r[column + 1 :]] for r in v.lines[1:])]


def one(v: Valid, column: int, cell: str) -> Lines:
    """Another cell in the second row."""
    lines = [list(r) for r in v.lines]
    lines[min(2, len(lines) - 1)][column] = cell
    return lines


def number(cell: str) -> Spoil:
    return lambda v: one(v, v.at[0], cell) if v.numeric else None


def scaled(change: Callable[[float], float], *cells: str) -> Spoil:
    def spoil(v: Valid) -> Lines | None:
        if v.cells not in cells:
            return None
        lines = [list(r) for r in v.lines]
        for r in lines[1:]:
            for c in v.at:
                r[c] = repr(change(float(r[c])))
        return lines

    return spoil


def name(change: Callable[[str], str], *cells: str) -> Spoil:
    def spoil(v: Valid) -> Lines | None:
        if v.cells not in cells:
            return None
        return next(
            (one(v, v.at[0], change(r[v.at[0]])) for r in v.lines[1:] if change(r[v.at[0]]) != r[v.at[0]]), None
        )

    return spoil


def ids(change: Callable[[str], str]) -> Spoil:
    return lambda v: each(v, v.key, change) if v.data.sample_id else None


def box(change: Callable[[dict[str, str]], dict[str, str]]) -> Spoil:
    """Changes the fields of the first box."""

    def spoil(v: Valid) -> Lines | None:
        form = v.form
        if not isinstance(form, BoxForm):
            return None
        lines = [list(r) for r in v.lines]
        for r in lines[1:]:
            cell = "\t".join(r[c] for c in v.at)
            if not cell.strip() or cell == form.nothing:
                continue
            words = form.template.split(cell)
            size, fields = len(form.template.words), form.template.fields
            if size != len(fields):
                return None
            told = dict(zip(fields, words[:size], strict=True))
            new = change(dict(told))
            if new == told:
                return None
            words[:size] = [new[f] for f in fields if f in new]
            if v.rows_of_boxes:
                if len(words) != len(v.at):
                    return None
                for c, word in zip(v.at, words, strict=True):
                    r[c] = word
            else:
                r[v.at[0]] = form.template.separator.join(words)
            return lines
        return None

    return spoil


def ends(told: dict[str, str]) -> dict[str, str]:
    """A box that ends before it begins, in whatever fields tell it."""
    if "x_max" in told:
        return told | {"x_min": told["x_max"], "x_max": told["x_min"]}
    return told | {"width": "-" + told["width"]}


def without(told: dict[str, str]) -> dict[str, str]:
    return {f: word for f, word in told.items() if f != "score"}


def turned_columns(v: Valid) -> Lines:
    order = [*range(1, len(v.lines[0])), 0]
    return [[r[c] for c in order] for r in v.lines]


def extension(id: str) -> str:
    return id.rpartition(".")[0] if "." in id else id + ".jpg"


def filled(v: Valid, row: list[str]) -> Lines:
    """All rows predict what `row` does."""
    return [v.lines[0], *([row[c] if c in v.at else cell for c, cell in enumerate(r)] for r in v.lines[1:])]


def repeated(cell: str) -> str:
    return f"{cell} {cell.split()[0]}" if cell else cell


def other_case(cell: str) -> str:
    return cell.swapcase()


# kind -> how, what it is with the competition known, what by the sample alone. None: depends on what the sample shows.
KINDS: dict[str, tuple[Spoil, str | None, str | None]] = {
    "empty file": (lambda v: b"", FAULT, FAULT),
    "header alone": (lambda v: v.lines[:1], FAULT, FAULT),
    "UTF-16": (lambda v: text(v.lines).decode().encode("utf-16"), FAULT, FAULT),
    "another delimiter": (lambda v: text(v.lines, "\t" if delimiter(v) == ";" else ";"), FAULT, FAULT),
    "quote left open": (lambda v: text(v.lines) + b'"x', FAULT, FAULT),
    "cut within a row": (lambda v: text([*v.lines[:-1], v.lines[-1][:-1]]), FAULT, FAULT),
    "trailing delimiters": (lambda v: [v.lines[0], *([*r, ""] for r in v.lines[1:])], FAULT, FAULT),
    "index column": (lambda v: [["", *v.lines[0]], *([str(n), *r] for n, r in enumerate(v.lines[1:]))], FAULT, FAULT),
    "no header": (lambda v: v.lines[1:], FAULT, FAULT),
    "columns in another order": (turned_columns, FAULT, FAULT),
    "column renamed": (lambda v: [[*v.lines[0][:-1], v.lines[0][-1] + "_x"], *v.lines[1:]], FAULT, FAULT),
    "column missing": (lambda v: [r[:-1] for r in v.lines], FAULT, FAULT),
    "column twice": (lambda v: [[*r, r[-1]] for r in v.lines], FAULT, FAULT),
    "byte order mark": (lambda v: b"\xef\xbb\xbf" + text(v.lines), DOUBT, DOUBT),
    "row missing": (lambda v: None if v.rows_of_boxes else v.lines[:-1], FAULT, FAULT),
    "row twice": (lambda v: None if v.rows_of_boxes else [*v.lines, v.lines[1]], FAULT, FAULT),
    "row of another id": (lambda v: [*v.lines, one(v, v.key, "other")[min(2, len(v.lines) - 1)]], FAULT, None),
    "ids as floats": (ids(lambda i: i + ".0"), FAULT, None),
    "ids with blanks": (ids(lambda i: i + " "), FAULT, None),
    "ids with or without extension": (ids(extension), FAULT, None),
    "rows in another order": (lambda v: None if v.rows_of_boxes else [v.lines[0], *v.lines[:0:-1]], DOUBT, DOUBT),
    "NaN": (number("nan"), FAULT, FAULT),
    "empty number": (number(""), FAULT, FAULT),
    "infinite": (number("inf"), FAULT, FAULT),
    "1e400": (number("1e400"), FAULT, FAULT),
    "decimal comma": (number("0,5"), FAULT, FAULT),
    "text for a number": (number("cat"), FAULT, FAULT),
    "probability above 1": (scaled(lambda p: p + 0.8, "probability"), FAULT, None),
    "percent": (scaled(lambda p: 100 * p, "probability"), FAULT, None),
    "logits": (scaled(lambda p: 8 * p - 5, "probability"), FAULT, None),
    "rows that don't sum to 1": (
        lambda v: scaled(lambda p: 0.9 * p, "probability")(v) if isinstance(v.form, Form) and v.form.exclusive else None,
        FAULT, None,
    ),
    "fractions for 0 or 1": (scaled(lambda p: 0.1 + 0.8 * p, "flag"), FAULT, None),
    "unknown class": (name(lambda c: "zebra!", "label", "labels", "ranking"), FAULT, None),
    "class in another case": (name(other_case, "label"), FAULT, None),
    "blank around a class": (name(lambda c: f" {c}", "label"), FAULT, None),
    "class as a float": (name(lambda c: f"{c}.5", "label", "labels", "ranking"), FAULT, None),
    "a class twice in a list": (name(repeated, "labels", "ranking"), FAULT, None),
    "lists by another separator": (name(lambda c: c.replace(" ", "/") if " " in c else c, "labels", "ranking"), FAULT, None),
    "list too short": (name(lambda c: c.rpartition(" ")[0], "ranking"), FAULT, None),
    "box without its score": (box(without), FAULT, None),
    "score above 1": (box(lambda told: told | {"score": "87"}), FAULT, None),
    "number that is none": (box(lambda told: told | {"score": "high"}), FAULT, None),
    "box that ends before it begins": (box(ends), FAULT, None),
    "box of no class": (box(lambda told: told | {"label": "zebra!"} if "label" in told else told), FAULT, None),
    "box out of the picture": (box(lambda told: told | {next(f for f in told if f[0] == "x"): "99999"}), FAULT, None),
    "one prediction for all": (lambda v: filled(v, v.lines[1]), DOUBT, DOUBT),
    "the sample itself": (lambda v: v.sample, None, DOUBT),  # some are no valid submission
}  # fmt: skip
