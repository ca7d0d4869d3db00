"""From test predictions to the file that the host scores, in the form of the sample: `make submission RUN=`.

`write` renders the predictions, reads the result back as the host would (`check`) and leaves only a right file behind.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, metrics
from competition.boxes import submitting
from competition.boxes.form import BoxForm
from competition.data import Data
from competition.errors import DataFault, Finding, examples
from competition.form import Form, infer
from competition.spelling import integer
from competition.tables import label_sets

TOLERANCE = 1e-6  # a mean of float32 probabilities leaves 0..1 by less
ROUNDED = 1e-3  # how far a row's sum may be from 1: files by other tools have three decimals, ours all


def render(data: Data, prediction: pd.DataFrame, where: str = "the prediction") -> pd.DataFrame:
    """The submission as a table of text, with the columns, ids and order of the sample.

    prediction: [test rows, problem.columns] by id, probabilities or values, in any order of rows; or a table of boxes.
    where: what messages call it. Raises DataFault: SUB-FORM, SUB-IDS, SUB-NONFINITE, SUB-PROB, and of boxes SUB-LABEL,
    SUB-BOX and SUB-EMPTY.
    """
    form, ids, problem = infer(data), data.sample[data.sample_id], data.problem
    assert set(prediction.columns) == set(problem.columns), f"{[*prediction.columns]} is not {[*problem.columns]}"
    if isinstance(form, BoxForm):
        return _rendered(data, form, prediction, where)
    table = prediction[list(problem.columns)].astype(float)
    problems = [*_ids(table.index, ids, where), *_out_of_range(table, problem.kind != "regression", where, table)]
    if problem.kind in metrics.CLASSES:
        zeros = table.index[(table <= 0).all(axis=1)]
        problems += _listed("SUB-PROB", "rows are 0 for every class", where, zeros, "delete that file and predict anew")
    if problems:
        raise DataFault(*problems)
    numbers = table.loc[ids].to_numpy()
    text = _text(data, form, numbers if problem.kind == "regression" else numbers.clip(0, 1))
    return pd.DataFrame({data.sample_id: ids.to_numpy()} | text)[list(data.sample.columns)]


def write(data: Data, run: str, prediction: pd.DataFrame) -> tuple[Path, list[str]]:
    """Writes submissions/<run>.csv (run: `<competition>/<run>`); returns its path and the notes that a user should see.

    A file of the same bytes is left untouched. Raises DataFault as `render` and `check` do, and then writes nothing.
    """
    path, source = artifacts.submission_csv(run), artifacts.run_folder(run) / "test.parquet"
    if data.config.ids == "sample":
        prediction = prediction[prediction.index.isin(data.sample[data.sample_id])]
    table = render(data, prediction, str(source))
    content = table.to_csv(index=False, sep=_delimiter(data), lineterminator="\n").encode()
    problems = _inspect(data, content, str(path))
    if problems:
        raise DataFault(*problems)
    if not path.is_file() or path.read_bytes() != content:
        artifacts.write_bytes(path, content)
    return path, _altered(data, prediction, table, str(source)) + notes(data, path)


def _altered(data: Data, prediction: pd.DataFrame, table: pd.DataFrame, source: str) -> list[str]:
    """Notes on what the prediction held and the submission `table` doesn't."""
    form = infer(data)
    if isinstance(form, BoxForm):
        return submitting.lost(data, form, prediction, table, source)
    sums = prediction.sum(axis=1)
    odd = data.problem.kind in metrics.CLASSES and (abs(sums - 1) > ROUNDED).any()
    note = f"SUB-PROB: rows of {source} sum to {sums.min():.6g}..{sums.max():.6g}, not to 1, and were divided by that"
    return [note] * bool(odd)


def check(data: Data, path: Path) -> list[Finding]:
    """All that is wrong with a CSV, read as the host would, against the sample. An empty list: it can be uploaded.

    Raises DataFault SUB-FORM where the sample itself does not fit the competition's kind and metric.
    """
    if not path.is_file():
        return [_finding("CSV-MISSING", "the submission is missing", str(path), "no such file", "mend the name")]
    return _inspect(data, path.read_bytes(), str(path))


def notes(data: Data, path: Path) -> list[str]:
    """Sentences on what is odd but not wrong in a file that `check` has passed."""
    form, table = infer(data), _parse(data, path.read_bytes(), str(path))
    assert isinstance(table, pd.DataFrame), "check has passed the file"
    found, ordered = list(form.notes), True
    if isinstance(form, BoxForm):
        found.append(submitting.counted(data, form, table))
        ordered, predicted = form.column is not None, table[form.predicted]
    else:
        predicted = table[list(form.source)]
    if ordered and not table[data.sample_id].equals(data.sample[data.sample_id]):
        found.append("SUB-ORDER: the rows are not in the sample's order; Kaggle joins by id, not every host does")
    if len(table) > 1 and len(predicted.drop_duplicates()) == 1:
        found.append(f"SUB-CONST: all {len(table)} rows hold the same prediction, {examples(predicted.iloc[0])}")
    cells = (table if form.names else table[[data.sample_id]]).stack()
    cells = cells[cells.str.startswith(("=", "+", "-", "@"))]
    formulas = cells[_floats(cells).isna()]
    if len(formulas):
        found.append(f"CSV-FORMULA: a spreadsheet would run {len(formulas)} cells: {examples(formulas.unique())}")
    return found


# Writing --------------------------------------------------------------------------------------------------------------


def _rendered(data: Data, form: BoxForm, boxes: pd.DataFrame, where: str) -> pd.DataFrame:
    problems = _each(submitting.wrong(data, form, boxes), where)
    if problems:
        raise DataFault(*problems)
    return submitting.render(data, form, boxes)


def _text(data: Data, form: Form, prediction: np.ndarray) -> dict[str, list[str]]:
    """Sample column -> its cells. prediction: [rows, problem.columns]."""
    problem, names = data.problem, np.array(form.names, dtype=object)
    classes = np.hstack([1 - prediction, prediction]) if problem.kind == "binary" else prediction
    column = next(iter(form.source))
    if form.cells == "value":
        return _number_text(form, problem.targets, prediction)
    if form.cells == "probability":
        classes = classes / classes.sum(axis=1, keepdims=True) if form.exclusive else classes
        return _number_text(form, problem.classes, classes)
    if form.cells == "ranking":
        return {column: [form.separator.join(row) for row in names[metrics.ranking(classes, form.length)]]}
    chosen = metrics.labels(problem.metric, problem.kind, prediction)
    if form.cells == "label":
        return {column: names[chosen].tolist()}
    if form.cells == "labels":
        return {column: [form.separator.join(names[row == 1]) for row in chosen]}
    one_hot = chosen if problem.kind == "multilabel" else chosen[:, None] == np.arange(len(problem.classes))
    return _number_text(form, problem.classes, one_hot.astype(int))


def _number_text(form: Form, names: tuple[str, ...], numbers: np.ndarray) -> dict[str, list[str]]:
    """numbers: [rows, names]; written in the fewest digits that read back as the same float."""
    place = {name: n for n, name in enumerate(names)}
    zeros = np.zeros_like(numbers[:, 0])
    return {
        column: [repr(x) for x in (zeros if name is None else numbers[:, place[name]]).tolist()]
        for column, name in form.source.items()
    }


# Reading --------------------------------------------------------------------------------------------------------------


def _delimiter(data: Data) -> str:
    with open(Path(data.config.data) / data.config.sample, encoding="utf-8-sig") as f:
        header = f.readline()
    return next((c for c in ",;\t" if c in header), ",")


def _parse(data: Data, content: bytes, where: str) -> pd.DataFrame | Finding:
    """A table of text, or why there is none."""
    delimiter = _delimiter(data)
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        lines = list(csv.reader(text, delimiter=delimiter, strict=True))
    except UnicodeDecodeError as e:
        return _finding("CSV-ENCODING", "the file is not UTF-8", where, f"byte {e.start}", "save it as UTF-8")
    except csv.Error as e:
        mend = f"divide cells by {delimiter!r}, and double the quotes inside of a quoted cell"
        return _finding("CSV-QUOTE", "the quotes of cells do not match", where, str(e), mend)
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line]  # hosts skip blank lines
    if len(numbered) < 2:
        return _finding("CSV-EMPTY", "the file has no rows", where, f"{len(content)} bytes", "write it again")
    header, rows = numbered[0][1], numbered[1:]
    ragged = [n for n, line in rows if len(line) != len(header)]
    if ragged:
        found = f"{len(ragged)} lines with other than {len(header)} cells: {examples(ragged)}"
        return _finding("CSV-RAGGED", "rows are longer or shorter than the header", where, found, "quote or mend them")
    return pd.DataFrame([line for _, line in rows], columns=header, dtype=str)


def _inspect(data: Data, content: bytes, where: str) -> list[Finding]:
    """Findings of a file's bytes; `where` is its name."""
    form, table, wanted = infer(data), _parse(data, content, where), list(data.sample.columns)
    if isinstance(table, Finding):
        return [table]
    header, problems = list(table.columns), []
    if header != wanted:
        missing, extra = [c for c in wanted if c not in header], [c for c in header if c not in wanted]
        found = f"{len(header)} columns; missing: {examples(missing) or 'none'}; extra: {examples(extra) or 'none'}"
        mend = f"make the first line {_delimiter(data).join(wanted)!r}" if len(wanted) < 13 else "copy the sample's"
        problems.append(_finding("CSV-HEADER", "the header is not the sample's", where, found, mend))
    if header.count(data.sample_id) == 1 and not (isinstance(form, BoxForm) and form.column is None):
        problems += _ids(table[data.sample_id], data.sample[data.sample_id], where)
    if header == wanted and isinstance(form, BoxForm):
        problems += _each(submitting.faults(data, form, table), where)
    elif header == wanted and isinstance(form, Form):
        find = _name_findings if form.names else _number_findings
        problems += find(form, table.set_index(data.sample_id), where)
    return problems


def _ids(found: Iterable[str], wanted: pd.Series, where: str) -> list[Finding]:
    ids = pd.Series(list(found), dtype=object)
    missing, extra = wanted[~wanted.isin(ids)], ids[~ids.isin(wanted)].drop_duplicates()
    lists = {"missing": missing, "extra": extra, "twice": ids[ids.duplicated()].drop_duplicates()}
    if not any(map(len, lists.values())):
        return []
    mend = "write one row for each id of the sample, and no other"
    if len(extra) and set(map(integer, extra.map(str))) <= set(map(integer, wanted)):
        mend = "the ids were read as numbers: read that column as text (pandas: dtype=str)"
    text = "; ".join(f"{len(values)} {word}: {examples(values)}" for word, values in lists.items() if len(values))
    return [_finding("SUB-IDS", "the ids are not the sample's", where, text, mend)]


def _number_findings(form: Form, cells: pd.DataFrame, where: str) -> list[Finding]:
    """cells: [rows, sample columns] by id, text."""
    numbers = cells[list(form.source)].apply(_floats)
    problems = _out_of_range(numbers, form.cells == "probability", where, cells)
    if form.cells == "flag":
        odd = _at(cells, numbers.notna() & ~numbers.isin([0, 1]))
        problems += _listed("SUB-LABEL", "cells are neither 0 nor 1", where, odd, "write 1 for the chosen classes")
    if form.exclusive:
        sums = numbers.sum(axis=1, skipna=False)
        odd = [f"{i}: {s:.6g}" for i, s in sums[abs(sums - 1) > ROUNDED].items()]
        problems += _listed("SUB-PROB", "rows do not sum to 1", where, odd, "divide each row by its sum")
    return problems


def _out_of_range(numbers: pd.DataFrame, limited: bool, where: str, cells: pd.DataFrame) -> list[Finding]:
    """numbers: [rows, columns] by id; limited: they are probabilities; cells: what messages show of them."""
    bad = _at(cells, ~numbers.abs().lt(np.inf))
    mend = "look at these rows' inputs and at the losses in history.jsonl; every cell must hold a number"
    problems = _listed("SUB-NONFINITE", "cells are empty, infinite or no numbers", where, bad, mend)
    if limited:
        bad = _at(cells, numbers.abs().lt(np.inf) & ~numbers.clip(-TOLERANCE, 1 + TOLERANCE).eq(numbers))
        mend = "give probabilities: a softmax or sigmoid of the model's outputs"
        problems += _listed("SUB-PROB", "probabilities outside 0..1", where, bad, mend)
    return problems


def _name_findings(form: Form, cells: pd.DataFrame, where: str) -> list[Finding]:
    """cells: [rows, 1] by id, names."""
    text = cells[next(iter(form.source))]
    lists = text.map(lambda cell: [cell]) if form.cells == "label" else label_sets(text, form.separator)
    table = [(f"{i}: {cell}", names) for i, cell, names in zip(text.index, text, lists, strict=True)]
    known, size = set(form.names), form.length
    unknown = [cell for cell, names in table if not known.issuperset(names)]
    wrong = [cell for cell, names in table if not len(set(names)) == len(names) == (size or len(names))]
    mend = f"write {size or 'the chosen'} different names, with {form.separator!r} between them"
    return [
        *_listed("SUB-LABEL", "names of no class", where, unknown, f"write the names as {examples(form.names)}"),
        *_listed("SUB-LIST", "lists too short, too long or with a name twice", where, wrong, mend),
    ]


def _at(cells: pd.DataFrame, bad: pd.DataFrame) -> list[str]:
    """`id, column: cell` of each place that is True in `bad`."""
    text = cells[list(bad.columns)].to_numpy(object)
    places = zip(*np.nonzero(bad.to_numpy()), strict=True)
    return [f"{cells.index[r]}, {bad.columns[c]}: {text[r, c]}" for r, c in places]


def _floats(text: pd.Series) -> pd.Series:
    return pd.to_numeric(text.astype(object), errors="coerce").astype(float)


def _finding(code: str, what: str, where: str, found: str, mend: str) -> Finding:
    risk = "the host would refuse the file or score it wrongly"
    return Finding(code=code, what=what, where=where, found=found, risk=risk, mend=mend)


def _each(faults: Iterable[submitting.Fault], where: str) -> list[Finding]:
    return [p for code, what, bad, mend in faults for p in _listed(code, what, where, bad, mend)]


def _listed(code: str, what: str, where: str, bad: Sequence[object], mend: str) -> list[Finding]:
    return [_finding(code, what, where, f"{len(bad)}: {examples(bad)}", mend)] if len(bad) else []
