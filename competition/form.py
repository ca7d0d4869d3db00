"""What a sample submission asks for: which cells, of which classes or targets, written how."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from competition.boxes.form import BoxForm, infer_boxes
from competition.data import Data
from competition.errors import DataFault, Finding, examples
from competition.spelling import dress, integer
from competition.tables import label_sets

Cells = Literal["label", "labels", "ranking", "probability", "flag", "value"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the sample asks for.

    cells: label, one class name; labels, the names of the chosen ones; ranking, the `length` most probable names, best
    first; probability, flag (0 or 1), value: a number. source: sample column -> the class, label or target that it
    holds; None: a class that train lacks. names: the classes in order, as the sample writes them. exclusive: a row's
    numbers sum to 1. notes: sentences for the user on what was guessed.
    """

    cells: Cells
    source: dict[str, str | None]
    names: tuple[str, ...] = ()
    separator: str = " "
    length: int = 0
    exclusive: bool = False
    notes: tuple[str, ...] = ()


def infer(data: Data) -> Form | BoxForm:
    """The form of the sample. Raises DataFault SUB-FORM where it can't hold what kind and metric make of the rows, and
    ConfigFault where `boxes.template` can't be written.
    """
    if data.problem.kind == "boxes":
        return infer_boxes(data)
    problem, needs = data.problem, data.problem.metric.needs
    columns = [c for c in data.sample.columns if c != data.sample_id]
    if problem.kind == "regression":
        return _numbers_form(data, columns, "value", problem.targets)
    if len(columns) != 1:
        return _numbers_form(data, columns, "flag" if needs == "label" else "probability", problem.classes)
    if needs != "probability":
        return _names_form(data, columns[0])
    if problem.kind != "binary":
        found = f"one column, {columns[0]!r}, for the probabilities of {len(problem.classes)} classes"
        mend = "name the sample with a column a class by `sample:`, or the metric that the host scores names by"
        raise DataFault(_misfit(data, found, mend))
    negative, positive = problem.classes
    if columns[0] in problem.targets or _plain(columns[0]) != _plain(negative):
        return Form(cells="probability", source={columns[0]: positive})
    note = f"SUB-FORM: the sample's column is named after the class {negative!r} and holds that class's probability"
    return Form(cells="probability", source={columns[0]: negative}, notes=(note,))


def _numbers_form(data: Data, columns: list[str], cells: Cells, names: tuple[str, ...]) -> Form:
    source = match(columns, names)
    missing = [name for name in names if name not in source.values()]
    spare = [column for column, name in source.items() if name is None]
    if missing or (spare and cells == "value"):
        noun = "targets" if cells == "value" else "classes"
        found = f"{len(missing)} of {len(names)} {noun} without a column: {examples(missing) or 'none'}; "
        found += f"{len(spare)} of {len(columns)} columns that are none of them: {examples(spare) or 'none'}"
        raise DataFault(_misfit(data, found, "mend `target:`, `kind:` or `sample:`, so that the names agree"))
    lacks = [f"CLASS-UNSEEN: no row of {data.config.train} is of the sample's class {c!r}; it gets 0" for c in spare]
    exclusive = cells != "value" and data.problem.kind != "multilabel"
    return Form(cells=cells, source=source, exclusive=exclusive, notes=tuple(lacks))


def _names_form(data: Data, column: str) -> Form:
    problem, separator = data.problem, data.config.separator
    cells: Cells = "labels" if problem.kind == "multilabel" else "label"
    cells = "ranking" if problem.metric.needs == "ranking" else cells
    seen = label_sets(data.sample[column], separator).explode() if cells != "label" else data.sample[column]
    names = dress(problem.classes, set(seen.dropna()) - {""})
    torn = [name for name in names if cells != "label" and separator in name]
    if torn:
        found = f"names that hold the separator {separator!r}: {examples(torn)}"
        raise DataFault(_misfit(data, found, "set `separator:` to what the host divides names by"))
    unknown = sorted(set(seen.dropna()) - set(names) - {""})
    note = (
        f"CLASS-UNSEEN: the sample's {examples(unknown)} is no class of train; names are written as {examples(names)}"
    )
    length = min(problem.metric.k or 0, len(names))
    return Form(cells=cells, source={column: None}, names=names, separator=separator, length=length,
                notes=(note,) * bool(unknown))  # fmt: skip


def match(columns: Sequence[str], names: Sequence[str]) -> dict[str, str | None]:
    """Which name each column holds, None for none: by the exact name, else but for case and blanks, else between the
    same texts (`Class_1`, `prob_cat`). The first of these that finds every name; none does: the one that finds most.
    """
    if len(columns) == len(names) == 1:
        return {columns[0]: names[0]}
    partial: list[dict[str, str | None]] = [dict.fromkeys(columns)]
    for source in _matches(columns, names):
        if set(names) <= set(source.values()):
            return source
        partial.append(source)
    return max(partial, key=lambda source: len(set(source.values()) - {None}))


def _matches(columns: Sequence[str], names: Sequence[str]) -> Iterator[dict[str, str | None]]:
    for framed, key in itertools.product((False, True), (str, _plain)):
        held, places = {key(name): name for name in names}, [key(column) for column in columns]
        if len(held) < len(names) or len(set(places)) < len(places):
            continue  # `a` and `A` are two classes: only their exact names tell
        for start, end in _frames(places, [*held][:2]) if framed else [("", "")]:
            at = {start + name + end: whole for name, whole in held.items()}
            yield {column: at.get(place) for column, place in zip(columns, places, strict=True)}


def _frames(places: list[str], names: list[str]) -> list[tuple[str, str]]:
    """What stands before and after one of the names in the columns that hold it."""
    cuts = [cut for n in names for p in places if n in p for cut in (p.rpartition(n), p.partition(n))]
    return list(dict.fromkeys((start, end) for start, _, end in cuts))


def _plain(text: str) -> str:
    return re.sub(r"[\s_]", "", integer(text)).casefold()


def _misfit(data: Data, found: str, mend: str) -> Finding:
    problem = data.problem
    what = f"the sample can't hold predictions of kind {problem.kind} for the metric {problem.metric.name}"
    risk = "the host would refuse the file or score it wrong"
    return Finding("SUB-FORM", what, f"{data.config.data}/{data.config.sample}", found, mend, risk)
