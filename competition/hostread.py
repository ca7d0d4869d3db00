"""A submission as its host reads it: the bytes as a table of text, and what is wrong with ids, numbers and names."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import Finding, examples
from competition.form import Form
from competition.spelling import integer
from competition.tables import label_sets

TOLERANCE = 1e-6  # a mean of float32 probabilities leaves 0..1 by less
ROUNDED = 1e-3  # how far a row's sum may be from 1: files by other tools have three decimals, ours all
SHORT = 13  # columns of a header that a message shows
CELLS = 1_000_000  # that are Python's objects at a time: 3 million rows took 2.1 GB all at once
PACKED = (b"PK\x03\x04", b"\x1f\x8b")  # how zip and gzip begin


def delimiter_of(sample: Path) -> str:
    """What divides cells: the first of comma, semicolon and tab that the header has."""
    with open(sample, encoding="utf-8-sig", errors="replace") as f:
        header = f.readline()
    return next((c for c in ",;\t" if c in header), ",")


def parse(content: bytes, delimiter: str, where: str) -> pd.DataFrame | Finding:
    """A table of text, or why there is none: CSV-ENCODING, CSV-QUOTE, CSV-EMPTY, CSV-RAGGED."""
    if content.startswith(PACKED):
        return finding(
            "CSV-ENCODING", "the file is packed", where, f"{len(content):,} bytes", "unpack it, name the CSV"
        )
    csv.field_size_limit(max(len(content), csv.field_size_limit()))  # 131,072 at first, which boxes may exceed
    try:
        content.decode()
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
        return _table(csv.reader(text, delimiter=delimiter, strict=True), len(content), where)
    except UnicodeDecodeError as e:
        return finding("CSV-ENCODING", "the file is not UTF-8", where, f"byte {e.start}", "save it as UTF-8")
    except csv.Error as e:
        mend = f"divide cells by {delimiter!r}, and double the quotes inside of a quoted cell"
        return finding("CSV-QUOTE", "the quotes of cells do not match", where, str(e), mend)


def _table(reader: Iterator[list[str]], size: int, where: str) -> pd.DataFrame | Finding:
    """The lines as a table, or what is wrong with them. size: bytes of them all."""
    lines = ((n, line) for n, line in enumerate(reader, 1) if line)  # hosts skip blank lines
    _, header = next(lines, (0, []))
    parts, ragged = [], []
    while some := list(itertools.islice(lines, CELLS // max(1, len(header)) + 1)):
        ragged += [n for n, line in some if len(line) != len(header)]
        rows = [] if ragged else [line for _, line in some]
        parts.append(pd.DataFrame(rows, columns=header, dtype=str))
    if not parts:
        return finding("CSV-EMPTY", "the file has no rows", where, f"{size} bytes", "write it again")
    if ragged:
        found = f"{len(ragged)} lines with other than {len(header)} cells: {examples(ragged)}"
        return finding("CSV-RAGGED", "rows are longer or shorter than the header", where, found, "quote or mend them")
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def wrong_header(header: Sequence[str], wanted: Sequence[str], delimiter: str, where: str) -> list[Finding]:
    if list(header) == list(wanted):
        return []
    missing, extra = [c for c in wanted if c not in header], [c for c in header if c not in wanted]
    found = f"{len(header)} columns; missing: {examples(missing) or 'none'}; extra: {examples(extra) or 'none'}"
    turned = sorted(header) == sorted(wanted)
    found = f"the sample's {len(header)} columns in another order: {examples(header)}" if turned else found
    mend = f"make the first line {delimiter.join(wanted)!r}" if len(wanted) < SHORT else "copy the sample's"
    return [finding("CSV-HEADER", "the header is not the sample's", where, found, mend)]


def wrong_ids(found: Iterable[str], wanted: pd.Series, where: str) -> list[Finding]:
    ids = pd.Series(list(found), dtype=object)
    missing, extra = wanted[~wanted.isin(ids)], ids[~ids.isin(wanted)].drop_duplicates()
    lists = {"missing": missing, "extra": extra, "twice": ids[ids.duplicated()].drop_duplicates()}
    if not any(map(len, lists.values())):
        return []
    mend = "write one row for each id of the sample, and no other"
    if len(extra) and set(map(integer, extra.map(str))) <= set(map(integer, wanted)):
        mend = "the ids were read as numbers: read that column as text (pandas: dtype=str)"
    text = "; ".join(f"{len(values)} {word}: {examples(values)}" for word, values in lists.items() if len(values))
    return [finding("SUB-IDS", "the ids are not the sample's", where, text, mend)]


def wrong_numbers(form: Form, cells: pd.DataFrame, where: str) -> list[Finding]:
    """cells: [rows, sample columns] by id, text."""
    numbers = cells[list(form.source)].apply(floats)
    problems = out_of_range(numbers, form.cells == "probability", where, cells)
    if form.cells == "flag":
        odd = _at(cells, numbers.notna() & ~numbers.isin([0, 1]))
        problems += listed("SUB-LABEL", "cells are neither 0 nor 1", where, odd, "write 1 for the chosen classes")
    if form.exclusive:
        sums = numbers.sum(axis=1, skipna=False)
        odd = [f"{i}: {s:.6g}" for i, s in sums[abs(sums - 1) > ROUNDED].items()]
        problems += listed("SUB-PROB", "rows do not sum to 1", where, odd, "divide each row by its sum")
    return problems


def out_of_range(numbers: pd.DataFrame, limited: bool, where: str, cells: pd.DataFrame) -> list[Finding]:
    """numbers: [rows, columns] by id; limited: they are probabilities; cells: what messages show of them."""
    bad = _at(cells, ~numbers.abs().lt(np.inf))
    mend = "look at these rows' inputs and at the losses in history.jsonl; every cell must hold a number"
    problems = listed("SUB-NONFINITE", "cells are empty, infinite or no numbers", where, bad, mend)
    if limited:
        bad = _at(cells, numbers.abs().lt(np.inf) & ~numbers.clip(-TOLERANCE, 1 + TOLERANCE).eq(numbers))
        mend = "give probabilities: a softmax or sigmoid of the model's outputs"
        problems += listed("SUB-PROB", "probabilities outside 0..1", where, bad, mend)
    return problems


def wrong_names(form: Form, cells: pd.DataFrame, where: str) -> list[Finding]:
    """cells: [rows, 1] by id, names."""
    text = cells[next(iter(form.source))]
    lists = text.map(lambda cell: [cell]) if form.cells == "label" else label_sets(text, form.separator)
    table = [(f"{i}: {cell}", names) for i, cell, names in zip(text.index, text, lists, strict=True)]
    known, size = set(form.names), form.length
    unknown = [cell for cell, names in table if not known.issuperset(names)]
    wrong = [cell for cell, names in table if not len(set(names)) == len(names) == (size or len(names))]
    mend = f"write {size or 'the chosen'} different names, with {form.separator!r} between them"
    return [
        *listed("SUB-LABEL", "names of no class", where, unknown, f"write the names as {examples(form.names)}"),
        *listed("SUB-LIST", "lists too short, too long or with a name twice", where, wrong, mend),
    ]


def formulas(cells: pd.Series) -> pd.Series:
    """Those of the cells that a spreadsheet would run (FAULTS S7)."""
    cells = cells[cells.str.startswith(("=", "+", "-", "@"))]
    return cells[floats(cells).isna()]


def constant(predicted: pd.DataFrame) -> list[str]:
    """A sentence where all rows are the same. predicted: a submission but for its ids."""
    if len(predicted) < 2 or len(predicted.drop_duplicates()) > 1:
        return []
    return [f"SUB-CONST: all {len(predicted)} rows hold the same prediction, {examples(predicted.iloc[0])}"]


def floats(text: pd.Series) -> pd.Series:
    """nan for what is no number."""
    return pd.to_numeric(text.astype(object), errors="coerce").astype(float)


def finding(code: str, what: str, where: str, found: str, mend: str) -> Finding:
    risk = "the host would refuse the file or score it wrongly"
    return Finding(code=code, what=what, where=where, found=found, risk=risk, mend=mend)


def listed(code: str, what: str, where: str, bad: Sequence[object], mend: str) -> list[Finding]:
    return [finding(code, what, where, f"{len(bad)}: {examples(bad)}", mend)] if len(bad) else []


def _at(cells: pd.DataFrame, bad: pd.DataFrame) -> list[str]:
    """`id, column: cell` of each place that is True in `bad`."""
    odd = bad.to_numpy()
    rows = np.flatnonzero(odd.any(axis=1))
    ids, text = cells.index[rows], cells[list(bad.columns)].iloc[rows].to_numpy(object)
    return [f"{ids[r]}, {bad.columns[c]}: {text[r, c]}" for r, c in zip(*np.nonzero(odd[rows]), strict=True)]
