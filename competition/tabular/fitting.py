"""Fits a fold's models and predicts by them: early stopping on inner hold-outs of the fold's own training rows, bagged.

A model that stops early needs rows that it is not trained on. Those of the scored fold would make the score too good, so
they are an inner fold; with `bag: 5` five models hold out a fifth each, and their mean has seen every training row.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from competition import artifacts, hooks, versions
from competition.engine import accelerators, cores
from competition.errors import DataFault, Fault, Finding, Stopped
from competition.tabular import columns, models, skopsfile, target
from competition.tabular.features import Features, Matrix
from competition.tabular.models import Held, Job, Library
from competition.tabular.target import Target
from competition.task import Fold, Problem, Rows

if TYPE_CHECKING:
    from competition.tabular.task import TabularTask

Fitted = tuple[Any, dict[str, Any]]  # a model, None where it is a constant, and its record
HELD = 10  # a single model holds out a tenth of its rows
BAGS = ((5_000, 8), (20_000, 5), (50_000, 3))  # up to so many rows, so many models; above, one
PREDICTED = 100_000  # rows at a time
SHOWN = 0.5  # seconds between two pictures of progress
LEAST = 0.02  # of a soft label: ten classes would otherwise be ten times the rows
HOOK_ROWS = 100  # that a user's function is tried on first


def prepare(task: TabularTask, problem: Problem, rows: Rows) -> str:
    """Refuses columns that are not there and a hook that fails; returns a hash of the hook's file."""
    table = inputs(task, problem, rows.table.head(HOOK_ROWS))
    if table.empty:
        what, where = "there is no column to learn from", f"{problem.competition}: train and test"
        found = "no column but the id, the targets and what paths are made of stands in both"
        raise DataFault(
            Finding("TAB-COLUMNS", what, where, found, "another `task:`, or further columns in both tables")
        )
    columns.resolve(table, task.columns)
    if not task.features:
        return ""
    return artifacts.digest(hooks.content(task.features, artifacts.competition_yaml(problem.competition).parent))


def fit(task: TabularTask, fold: Fold) -> dict[str, Any]:
    """Writes the fold's models; returns what `predict` needs to know and what is worth recording.

    A part of the bag that a killed process has finished is kept.
    """
    assert fold.train.truth is not None
    library, goal = models.library(task.model), target.of(fold.problem, fold.train.truth)
    splits = _splits(task, library, fold)
    basis = _basis(task, fold)
    done = _finished_parts(fold.folder, basis)
    bag: list[dict[str, Any]] = []
    unheeded = [] if library.WEIGHS else _weighed(fold.train, goal)
    if unheeded:
        fold.log(0, {"note": f"{task.model} takes no weights: {' and '.join(unheeded)}"})
    for n, (ids, stop_ids) in enumerate(splits):
        record = done.get(n) or _Part(task, library, fold, goal, n, len(splits)).fit(ids, stop_ids)
        artifacts.write_json(fold.folder / f"model{n}.json", {"basis": basis, "record": record})
        bag.append(record)
        fold.log(n, {"model": task.model, "part": n, **record})
    seconds = sum(p["seconds"] for p in bag)
    return {"model": task.model, "target": vars(goal), "seconds": seconds, "threads": threads(), "bag": bag}


def finished(task: TabularTask, fold: Fold, folder: Path) -> tuple[int, int]:
    """Copies the parts of the bag that are whole, and what `predict` needs to know of them; how many of how many."""
    assert fold.train.truth is not None
    library, goal = models.library(task.model), target.of(fold.problem, fold.train.truth)
    done = _finished_parts(fold.folder, _basis(task, fold))
    for n, part in enumerate(sorted(done)):
        for file in fold.folder.glob(f"model{part}-*"):
            artifacts.write_bytes(folder / file.name.replace(f"model{part}-", f"model{n}-", 1), file.read_bytes())
    artifacts.write_json(folder / "fit.json", {"target": vars(goal), "bag": [done[part] for part in sorted(done)]})
    return len(done), len(_splits(task, library, fold))


def _basis(task: TabularTask, fold: Fold) -> str:
    """Of what a part of the bag is fitted."""
    return artifacts.digest(task.model_dump_json(), json.dumps(fold.origin), str(fold.seed), _rows_digest(fold.train))


def _weighed(rows: Rows, goal: Target) -> list[str]:
    """What becomes of rows that say how much they count, where a library doesn't hear it."""
    assert rows.truth is not None
    soft = goal.loss == "softmax" and _soft(rows.truth.to_numpy(float)).any()
    alike = rows.weight is None or rows.weight.nunique() == 1
    return ["every row counts alike"] * (not alike) + ["a soft label is its likeliest class"] * bool(soft)


def _rows_digest(rows: Rows) -> str:
    """Of what a model is told of them beyond the tables, which `fold.origin` stands for."""
    assert rows.truth is not None
    weight = b"" if rows.weight is None else rows.weight.to_numpy(float).tobytes()
    return artifacts.digest(*rows.ids, rows.truth.to_numpy(float).tobytes(), weight)


def _finished_parts(folder: Path, basis: str) -> dict[int, dict[str, Any]]:
    """Number -> record of the parts that are whole and of this basis; the files of any other are removed."""
    stored = {path: artifacts.read_json(path) for path in folder.glob("model*.json")}
    done = {int(p.stem.removeprefix("model")): v["record"] for p, v in stored.items() if v["basis"] == basis}
    for file in folder.glob("model*"):
        if int(re.findall(r"\d+", file.name)[0]) not in done:
            file.unlink()
    return done


def predict(task: TabularTask, rows: Rows, fold: Fold) -> pd.DataFrame:
    """[rows, problem.columns] by id: the mean of the bag."""
    record = artifacts.read_json(fold.folder / "fit.json")
    library, goal, bag = models.library(task.model), Target(**record["target"]), record["bag"]
    table = inputs(task, fold.problem, rows.table)
    total = np.zeros((len(table), goal.outputs))
    for n, (features, fitted) in enumerate(fitted_bag(task, fold, bag)):
        for start in range(0, len(table), PREDICTED):
            some = slice(start, start + PREDICTED)
            x = features.transform(table[some])
            y = [_output(library, model, x, output, goal) for model, output in fitted]
            total[some] += goal.decode(np.hstack(y)) / len(bag)
            fold.progress((n * len(table) + start + len(x)) // len(bag), len(table), "predicting")
    return pd.DataFrame(total, index=rows.ids, columns=list(fold.problem.columns))


def fitted_bag(task: TabularTask, fold: Fold, bag: list[dict[str, Any]]) -> Iterator[tuple[Features, list[Fitted]]]:
    """Of each part of the bag in fit.json its features, and the model and record of each output."""
    library, made = models.library(task.model), versions.of_run(fold.folder.parent)
    for n, part in enumerate(bag):
        files = [_file(fold.folder, library, n, j) for j in range(len(part["outputs"]))]
        there = [file for file in (fold.folder / f"model{n}-features.skops", *files) if file.exists()]
        with versions.reading(there[-1], made, versions.MEND, versions.LIBRARIES):
            fitted = [library.load(file, device_of(task, library)) if file.exists() else None for file in files]
            features = skopsfile.load(fold.folder / f"model{n}-features.skops")
        yield features, list(zip(fitted, part["outputs"], strict=True))


def device_of(task: TabularTask, library: Library) -> str:
    """Apple's GPU counts for the engine, but no library here has it."""
    if task.device == "cpu" or not library.GPU or not accelerators():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def threads() -> int:
    """What this process may use: the engine gives a worker one."""
    return int(os.environ.get("OMP_NUM_THREADS") or cores())


def inputs(task: TabularTask, problem: Problem, table: pd.DataFrame) -> pd.DataFrame:
    """The columns that may be looked at, and those that the user's `features:` function makes of them."""
    table = table[list(problem.inputs)]
    if not task.features:
        return table
    home = artifacts.competition_yaml(problem.competition).parent
    function = hooks.find(task.features, home, "features")
    where = f"{home}, key features: {task.features}"
    try:
        new = function(table.copy())
    except Exception as e:  # whatever the user's function raises
        what, found = "a function of yours fails", f"{type(e).__name__}: {e}"
        mend = "mend that function; it is given a DataFrame of text, missing cells as they stand in the file"
        raise DataFault(Finding("HOOK-FEATURES", what, where, found, mend)) from e
    if not isinstance(new, pd.DataFrame) or not new.index.equals(table.index):
        what = "a function of yours returns something else than columns of these rows"
        found = type(new).__name__ + (f" of {len(new)} rows" if isinstance(new, pd.DataFrame) else "")
        mend = "return a DataFrame with the index of the one given, its new columns only"
        raise DataFault(Finding("HOOK-FEATURES", what, where, found, mend))
    new = new.set_axis(new.columns.astype(str), axis=1)
    return table.drop(columns=[c for c in new if c in table]).join(new.astype(str).where(new.notna(), ""))


def _splits(task: TabularTask, library: Library, fold: Fold) -> list[tuple[pd.Index, pd.Index | None]]:
    """(ids to fit, ids that stop it early or None), a model each."""
    if not library.STOPS:
        return [(fold.train.ids, None)]
    bag = bag_of(task, len(fold.train))
    inner = fold.inner(bag if bag > 1 else HELD)[:bag]
    return list(inner) if inner else [(fold.train.ids, None)]


def bag_of(task: TabularTask, rows: int) -> int:
    return task.bag or next((size for most, size in BAGS if rows <= most), 1)


def _file(folder: Path, library: Library, part: int, output: int) -> Path:
    return folder / f"model{part}-{output}{library.SUFFIX}"


def _output(library: Library, model: Any, x: Matrix, record: dict[str, Any], goal: Target) -> np.ndarray:
    """[rows, outputs of this model], classes that its rows lacked at a small floor."""
    if "constant" in record:
        return np.tile(np.array(record["constant"], float), (len(x), 1))
    found = np.asarray(library.predict(model, x), float)
    if library.JOINT:
        return found
    if goal.loss != "softmax":
        return found[:, -1:] if found.ndim == 2 else found[:, None]
    wide = np.full((len(x), goal.outputs), record["floor"])
    wide[:, record["classes"]] = found
    return wide


@dataclass(frozen=True)
class _Part:
    """One member of the bag: features, and a model for each output (or one for all)."""

    task: TabularTask
    library: Library
    fold: Fold
    goal: Target
    number: int
    parts: int

    def fit(self, ids: pd.Index, stop_ids: pd.Index | None) -> dict[str, Any]:
        train = self.fold.train
        if stop_ids is None:
            return self._fit(train.take(ids), None, None)
        record = self._fit(train.take(ids), train.take(stop_ids), None)
        alone_on_all_rows = self.parts == 1 and self.fold.valid is None
        if not (self.fold.ordered or alone_on_all_rows):
            return record
        # learn from the held-out rows too, for as many rounds: the latest are the most like test, and a refit is of all rows
        again = self._fit(train, None, [o["rounds"] or None for o in record["outputs"]])
        return again | {"seconds": round(record["seconds"] + again["seconds"], 2)}

    def _fit(self, train: Rows, held: Rows | None, rounds: list[int | None] | None) -> dict[str, Any]:
        began = time.monotonic()
        table, y = self._read(train)
        features = Features(
            columns.resolve(table, self.task.columns), self.library.FORM, self.task.max_levels, self.task.text_dims
        )
        x = features.fit_transform(table, y, self._seed())
        skopsfile.save(features, self.fold.folder / f"model{self.number}-features.skops")
        inner = None
        if held is not None:
            other, truth = self._read(held)
            inner = (features.transform(other), truth)
        weight = np.ones(len(train)) if train.weight is None else train.weight.to_numpy(float)
        if self.goal.loss == "softmax" and not self.library.JOINT:
            x, y, weight = whole_classes(x, y, weight) if self.library.WEIGHS else (x, y, weight)
        outputs = []
        for j, one in enumerate(self._targets(y)):
            valid = None if inner is None else (inner[0], self._targets(inner[1])[j])
            outputs.append(self._fit_output(j, x, one, weight, valid, rounds[j] if rounds else None))
        seconds = round(time.monotonic() - began, 2)
        return {"rows": len(train), "features": len(x.names), "seconds": seconds, "outputs": outputs}

    def _seed(self) -> int:
        """Of this part, as small as the smallest of the libraries' integers."""
        return (self.fold.seed + self.number) % 2**31

    def _read(self, rows: Rows) -> tuple[pd.DataFrame, np.ndarray]:
        assert rows.truth is not None
        return inputs(self.task, self.fold.problem, rows.table), self.goal.encode(rows.truth)

    def _targets(self, y: np.ndarray) -> list[np.ndarray]:
        """What each model learns: all outputs, the class, or one output."""
        if self.library.JOINT:
            return [y]
        return [y.argmax(axis=1)] if self.goal.loss == "softmax" else list(y.T)

    def _fit_output(
        self, j: int, x: Matrix, y: np.ndarray, weight: np.ndarray, valid: Held | None, rounds: int | None
    ) -> dict[str, Any]:
        """Classes that these rows lack are left out; where only one value is left, there is nothing to fit."""
        record: dict[str, Any] = {"rounds": 0}
        known = np.unique(y)
        if self.goal.loss == "softmax" and not self.library.JOINT:
            record |= {"classes": known.tolist(), "floor": 0.5 / len(y)}
            y = np.searchsorted(known, y)
            if valid is not None:
                valid = _rows_of(*valid, known)
        if len(known) == 1:
            least = 0.5 / len(y)  # a label that these rows never have may still come
            wide = np.eye(self.goal.outputs)[known[0]] if self.goal.loss == "softmax" else known
            wide = wide if self.goal.centre else wide.clip(least, 1 - least)
            return record | {"constant": wide.tolist()}
        job = Job(
            x=x,
            y=y,
            weight=weight,
            valid=valid,
            loss=self.goal.loss,
            classes=len(known),
            alpha=self.goal.alpha,
            params=dict(self.task.params) | ({} if rounds is None else {self.library.ROUNDS: rounds}),
            seed=self._seed(),
            threads=threads(),
            device=device_of(self.task, self.library),
            round=self._rounds(),
        )
        try:
            model, record["rounds"] = self.library.fit(job)
        except (Fault, Stopped):
            raise
        except Exception as e:  # whatever a library raises becomes one message that names it
            raise DataFault(
                Finding(
                    code="TAB-MODEL",
                    what=f"{self.task.model} can't be fitted",
                    where=f"{self.fold.origin['run']} {self.fold.name}",
                    found=f"{type(e).__name__}: {e}",
                    mend="mend `params:` or take another `model:`; --debug shows where",
                )
            ) from e
        self.library.save(model, _file(self.fold.folder, self.library, self.number, j))
        return record

    def _rounds(self) -> Callable[[int, int], None]:
        """`Job.round`: shows progress now and then, and raises Stopped as soon as it is time."""
        shown = 0.0

        def one(done: int, total: int) -> None:
            nonlocal shown
            if self.fold.stop():
                raise Stopped(f"{self.fold.name} stopped while {self.task.model} was fitted")
            if time.monotonic() - shown > SHOWN:
                shown = time.monotonic()
                text = f"{self.task.model} {self.number + 1} of {self.parts}"
                self.fold.progress(self.number * total + done, self.parts * total, text)

        return one


def whole_classes(x: Matrix, y: np.ndarray, weight: np.ndarray) -> tuple[Matrix, np.ndarray, np.ndarray]:
    """Rows with a class each, of y [rows, classes]: a soft row becomes one of each class it may be of, weighed by it."""
    if not _soft(y).any():
        return x, y, weight
    share = np.where(y >= LEAST, y, 0)
    share /= share.sum(axis=1, keepdims=True)
    row, column = np.nonzero(share)
    return replace(x, values=x.values[row]), np.eye(y.shape[1])[column], weight[row] * share[row, column]


def _soft(y: np.ndarray) -> np.ndarray:
    return (y > 0) & (y < 1)


def _rows_of(x: Matrix, y: np.ndarray, known: np.ndarray) -> Held | None:
    """The rows of known classes, as their positions among them; None where there is none."""
    some = np.isin(y, known)
    return (replace(x, values=x.values[some]), np.searchsorted(known, y[some])) if some.any() else None
