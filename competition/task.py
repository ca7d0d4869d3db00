"""The seam: what a task is given and what it gives back. Nothing above it asks which task it is (DESIGN 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from competition.boxes import table as boxes
from competition.decoding import PLAIN, Reading
from competition.errors import Stopped
from competition.keys import Kind
from competition.metrics import Metric
from competition.ranks import ALONE, Ranks
from competition.shaped import How

if TYPE_CHECKING:
    from torch import nn

    from competition.loop import Job

Progress = Callable[[int, int, str], None]  # done, total, text


@dataclass(frozen=True)
class Problem:
    """What is predicted, and how it is scored; the same for every fold and run of a competition.

    columns: the prediction columns. multiclass, ordinal: one probability a class, rows sum to 1; binary: one, the
    probability of the positive class `classes[-1]`; multilabel: one probability a label; regression: one value a target;
    boxes: those of a table of boxes (boxes/table.py), which is not a row an id but a row a box.
    inputs: the columns that train and test share, but for the id, the targets and the paths of templates. reading: how files
    of pictures become pixels.
    """

    competition: str
    kind: Kind
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    metric: Metric
    inputs: tuple[str, ...] = ()
    reading: Reading = PLAIN


@dataclass(frozen=True)
class Rows:
    """Rows of a competition, as tables that share the index `id` (text, unique).

    table: the columns as read, all text. truth: [rows, problem.columns], float: one-hot or soft for classes, 0..1 for
    labels, the value for regression; of boxes the table of them, a row a box by the same ids, some of which have none;
    None where unknown. weight: how much a row counts in training, mean 1. pictures: absolute path of each row's picture,
    "" where it can't be used, or None. sizes: of boxes, [rows] width and height of the picture in pixels, nan where it
    can't be read.
    """

    table: pd.DataFrame
    truth: pd.DataFrame | None = None
    weight: pd.Series | None = None
    pictures: pd.Series | None = None
    sizes: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> pd.Index:
        return self.table.index

    @property
    def shown(self) -> Rows:
        """The rows whose pictures can be used."""
        return self if self.pictures is None else self.take(self.ids[self.pictures != ""])

    def take(self, ids: pd.Index) -> Rows:
        """The rows of these ids, in that order."""
        parts = {name: part.loc[ids] for name, part in vars(self).items() if part is not None and name != "truth"}
        return replace(self, **parts, truth=None if self.truth is None else pick(self.truth, ids))


def together(*parts: Rows) -> Rows:
    """The rows of all parts as one, whose ids differ; cells of columns that a part lacks are empty."""

    def stacked(name: str) -> Any:
        tables = [getattr(part, name) for part in parts]
        return pd.concat(tables) if all(table is not None for table in tables) else None

    names = ("truth", "weight", "pictures", "sizes")
    table = pd.concat([part.table for part in parts]).fillna("").rename_axis("id")
    return Rows(table, **{name: stacked(name) for name in names})


def pick(table: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """The rows or the boxes of these ids, in that order."""
    return boxes.take(table, ids) if boxes.holds_boxes(table) else table.loc[ids]


@dataclass(frozen=True)
class Sight:
    """A picture as a network is given it, before its pixels are normalised.

    pixels: [h, w, 3] uint8, RGB. text: what is told of it, line by line. boxes: (x_min, y_min, x_max, y_max) in its pixels
    and the class of each.
    """

    pixels: np.ndarray
    text: str
    boxes: Sequence[tuple[Sequence[float], str]] = ()


@dataclass(frozen=True)
class Strip:
    """Pictures that are shown together. across: how many of them fit side by side."""

    title: str
    sights: Sequence[Sight]
    across: int


@dataclass(frozen=True)
class Graph:
    """A trained network on the CPU and all that is done around it, as one module, beside what the run says of some rows.

    module: tensors as `inputs` has them, in its order, [b, ...] -> [b, columns] float32. eager: the same as the run computes
    it. inputs: arrays by name, [rows, ...]. expected: [rows, columns], the run's own predictions. unit(predictions): in
    which two of them are compared: probabilities as they are, values in deviations of the training rows. batch: rows that
    the run predicts at once. about: what whoever runs the module must know, as JSON.
    """

    module: nn.Module
    eager: Callable[..., Any]
    inputs: dict[str, np.ndarray]
    expected: np.ndarray
    unit: Callable[[np.ndarray], np.ndarray]
    batch: int
    about: dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """All that a task may know of its surroundings while it fits or predicts one fold.

    valid is drawn and seen by the pruner only: nothing that a fold leaves behind may be chosen by it. `origin` is what
    the weights should remember of where they come from (run, competition, hashes of data and folds).

    log(step, values): one line of history. report(epoch, prediction): scores the validation rows by the competition's
    metric and returns the figure as the competition shows it. progress(done, total, text): what the screen shows.
    stop(): True once the work should save itself and raise Stopped. inner(n): splits of the ids of `train` into those to
    fit and those to stop by, at most n, made as the folds are (groups whole, time in order); empty where rows are few.
    ordered: whether the folds follow time; there is then one such split, its hold-out the latest rows. ranks: this process
    among those that train the fold together.
    """

    name: str
    problem: Problem
    train: Rows
    valid: Rows | None
    folder: Path
    seed: int
    log: Callable[[int, dict[str, Any]], None]
    report: Callable[[int, pd.DataFrame], float]
    progress: Progress
    stop: Callable[[], bool]
    inner: Callable[[int], list[tuple[pd.Index, pd.Index]]]
    ordered: bool
    origin: dict[str, str]
    ranks: Ranks = ALONE

    def check(self, done: int) -> None:
        """Polled in a validation, `done` rows of which are predicted. Raises Stopped."""
        if self.stop():
            raise Stopped(f"{self.name} stopped in a validation")


class Task(Protocol):
    """How a fold is fitted and predicted; a typed model whose fields are that task's knobs only."""

    kinds: ClassVar[tuple[Kind, ...]]  # that it predicts

    @property
    def views(self) -> Sequence[str]:
        """Names of the test-time views, the plain one first; a table has one."""
        ...

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        """Once before folds are fitted or predicted: refuses what can't work (settings, pictures), fills shared caches.

        Returns a hash of what the rows hold beyond their tables (pixels), empty where there is nothing.
        """
        ...

    def fit(self, fold: Fold) -> dict[str, Any]:
        """Leaves the model in `fold.folder`; returns what is worth recording (epochs, parameters, peak memory)."""
        ...

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        """[rows, problem.columns] by id, from the model in `fold.folder`."""
        ...


@runtime_checkable
class Explained(Task, Protocol):
    """A task that learns from columns, whose importance can be told."""

    @property
    def rowwise(self) -> bool:
        """Whether what is predicted of a row doesn't depend on the rows beside it."""
        ...

    def reads(self, problem: Problem) -> Sequence[str]:
        """Those of `problem.inputs` that the run doesn't leave out."""
        ...

    def contributions(self, rows: Rows, fold: Fold) -> pd.DataFrame | None:
        """[rows, (output, column)] what each column adds to the raw output, by id; None where it can't be told."""
        ...


@runtime_checkable
class Stepped(Task, Protocol):
    """A task whose knobs are `knobs.Training`: it trains by steps of an optimizer, in the loop."""

    def begins_with(self, fold: str, origin: dict[str, str]) -> Path | None:
        """The weights file that this fold starts from, None where the run names none. Raises ConfigFault."""
        ...

    def job(self, fold: Fold) -> Job:
        """What `fit` hands to the loop, the network new; nothing is written."""
        ...


@runtime_checkable
class Parted(Task, Protocol):
    """A task whose fold is several models."""

    def finished(self, fold: Fold, folder: Path) -> tuple[int, int]:
        """Leaves in `folder` the models of a fold that is still being fitted, to predict by; how many of how many."""
        ...


@runtime_checkable
class Seen(Stepped, Protocol):
    """A task that learns from pictures, which can be shown as its network is given them."""

    def strips(self, fold: Fold) -> Sequence[Strip]:
        """Of the first training batches, of draws of one picture beside it as it is, of test-time views; nothing is
        written."""
        ...


@runtime_checkable
class Looking(Task, Protocol):
    """A task that predicts from pictures."""

    def how(self, problem: Problem, folder: Path) -> How:
        """How the pictures are kept that the model in a fold's folder is shown."""
        ...


@runtime_checkable
class Mapped(Stepped, Protocol):
    """A task whose trained networks show what they look at in a picture; the folds are trained ones."""

    def features(self, fold: Fold, rows: Rows) -> Sequence[Strip]:
        """The channels of the network's stages for the first of the rows."""
        ...

    def maps(self, fold: Fold, rows: Rows) -> pd.DataFrame | None:
        """By id: image (WebP: the picture as the network sees it and what it looks at) and about (the class or value that
        this is of). None where the network's layers keep no places apart."""
        ...


@runtime_checkable
class Portable(Stepped, Protocol):
    """A task whose trained networks can leave Podium as graphs; the folds are trained ones."""

    def graph(self, fold: Fold, rows: Rows) -> Graph:
        """Of the fold's network; rows: some that it can predict."""
        ...


@runtime_checkable
class Adaptive(Task, Protocol):
    """A task that leaves settings to the number of rows."""

    def settled(self, rows: int) -> Task:
        """The same with those settings as so many rows would have them."""
        ...


@runtime_checkable
class Searched(Task, Protocol):
    """A task whose settings `make tune` can search."""

    def space(self, kind: Kind) -> dict[str, Any]:
        """What is tried where a run has no `search:`, in the form of that section; empty where nothing is known."""
        ...

    def begins(self, kind: Kind) -> dict[str, Any]:
        """Values of keys that a run may leave to a library, as near to the library's as the default ranges go."""
        ...

    def whole(self, key: str) -> bool:
        """Whether a key below a mapping, whose values have no type here (`params.depth`), takes whole numbers only."""
        ...
