"""From test predictions to the file that the host scores, in the form of the sample: `make submission RUN=`.

`write` renders the predictions, reads the result back as the host would (`check`) and leaves only a right file behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, hostread, kinds, metrics
from competition.boxes import submitting
from competition.boxes.form import BoxForm
from competition.data import Data
from competition.errors import DataFault, Finding, examples
from competition.form import Form, infer


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
    problems = [
        *hostread.wrong_ids(table.index, ids, where),
        *hostread.out_of_range(table, problem.kind != "regression", where, table),
    ]
    if problem.kind in kinds.CLASSES:
        zeros = table.index[(table <= 0).all(axis=1)]
        problems += hostread.listed(
            "SUB-PROB", "rows are 0 for every class", where, zeros, "delete that file and predict anew"
        )
    if problems:
        raise DataFault(*problems)
    text = cells(data, form, table.loc[ids])
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
    back = read(data, content, str(path))
    problems = faults(data, back, str(path))
    if problems:
        raise DataFault(*problems)
    if not path.is_file() or path.read_bytes() != content:
        artifacts.write_bytes(path, content)
    assert isinstance(back, pd.DataFrame), "a finding is a fault"
    return path, _altered(data, prediction, table, str(source)) + notes(data, back)


def _altered(data: Data, prediction: pd.DataFrame, table: pd.DataFrame, source: str) -> list[str]:
    """Notes on what the prediction held and the submission `table` doesn't."""
    form = infer(data)
    if isinstance(form, BoxForm):
        return submitting.lost(data, form, prediction, table, source)
    sums = prediction.sum(axis=1)
    odd = data.problem.kind in kinds.CLASSES and (abs(sums - 1) > hostread.ROUNDED).any()
    note = f"SUB-PROB: rows of {source} sum to {sums.min():.6g}..{sums.max():.6g}, not to 1, and were divided by that"
    return [note] * bool(odd)


def check(data: Data, path: Path) -> list[Finding]:
    """All that is wrong with a CSV, read as the host would, against the sample. An empty list: it can be uploaded.

    Raises DataFault SUB-FORM where the sample itself does not fit the competition's kind and metric.
    """
    if not path.is_file():
        return [
            hostread.finding("CSV-MISSING", "the submission is missing", str(path), "no such file", "mend the name")
        ]
    return faults(data, read(data, path.read_bytes(), str(path)), str(path))


def notes(data: Data, table: pd.DataFrame) -> list[str]:
    """Sentences on what is odd but not wrong in a submission without `faults`."""
    form = infer(data)
    found, ordered = list(form.notes), True
    if isinstance(form, BoxForm):
        found.append(submitting.counted(data, form, table))
        ordered, predicted = form.column is not None, table[form.predicted]
    else:
        predicted = table[list(form.source)]
    if ordered and not table[data.sample_id].equals(data.sample[data.sample_id]):
        found.append("SUB-ORDER: the rows are not in the sample's order; Kaggle joins by id, not every host does")
    found += hostread.constant(predicted)
    formulas = hostread.formulas((table if form.names else table[[data.sample_id]]).stack())
    if len(formulas):
        found.append(f"CSV-FORMULA: a spreadsheet would run {len(formulas)} cells: {examples(formulas.unique())}")
    return found


# Writing --------------------------------------------------------------------------------------------------------------


def _rendered(data: Data, form: BoxForm, boxes: pd.DataFrame, where: str) -> pd.DataFrame:
    problems = _each(submitting.wrong(data, form, boxes), where)
    if problems:
        raise DataFault(*problems)
    return submitting.render(data, form, boxes)


def cells(data: Data, form: Form, predicted: pd.DataFrame) -> dict[str, list[str]]:
    """Sample column -> its cells, row by row of any prediction that `render` would take."""
    numbers = predicted[list(data.problem.columns)].to_numpy(float)
    prediction = numbers if data.problem.kind == "regression" else numbers.clip(0, 1)
    problem, names = data.problem, np.array(form.names, dtype=object)
    classes = np.hstack([1 - prediction, prediction]) if problem.kind == "binary" else prediction
    column = next(iter(form.source))
    if form.cells == "value":
        return _number_text(form, problem.targets, prediction)
    if form.cells == "probability":
        classes = classes / classes.sum(axis=1, keepdims=True) if form.exclusive else classes
        return _number_text(form, problem.classes, classes)
    if form.cells == "ranking":
        return {column: [form.separator.join(row) for row in names[kinds.ranking(classes, form.length)]]}
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


def read(data: Data, content: bytes, where: str) -> pd.DataFrame | Finding:
    """The table of a submission of this competition, or why there is none."""
    return hostread.parse(content, _delimiter(data), where)


def _delimiter(data: Data) -> str:
    return hostread.delimiter_of(Path(data.config.data) / data.config.sample)


def faults(data: Data, table: pd.DataFrame | Finding, where: str) -> list[Finding]:
    """Of what `read` gives; `where` is the file's name."""
    form, wanted = infer(data), list(data.sample.columns)
    if isinstance(table, Finding):
        return [table]
    header = list(table.columns)
    problems = hostread.wrong_header(header, wanted, _delimiter(data), where)
    if header.count(data.sample_id) == 1 and not (isinstance(form, BoxForm) and form.column is None):
        problems += hostread.wrong_ids(table[data.sample_id], data.sample[data.sample_id], where)
    if header == wanted and isinstance(form, BoxForm):
        problems += _each(submitting.faults(data, form, table), where)
    elif header == wanted and isinstance(form, Form):
        find = hostread.wrong_names if form.names else hostread.wrong_numbers
        problems += find(form, table.set_index(data.sample_id), where)
    return problems


def _each(faults: Iterable[submitting.Fault], where: str) -> list[Finding]:
    return [p for code, what, bad, mend in faults for p in hostread.listed(code, what, where, bad, mend)]
