"""Predicts any number of rows with a bundle's models, a chunk at a time: memory holds two chunks of pictures, never all.

Pictures are decoded as they come, those of the next chunk while the networks look at this one; a picture that can't be used
costs its own row only. What a chunk gives is what `make predict` gives for these rows: the same tasks, the same decisions.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition import board, cache
from competition.cache import Cache
from competition.data import Data
from competition.decoding import BadPicture
from competition.decoding import read as content_of
from competition.engine import stopping
from competition.errors import Stopped
from competition.export.budget import MOST, WARM, Budget, Grid
from competition.export.combining import fewer
from competition.export.recipe import Leaf, Recipe, used
from competition.predictions import as_one
from competition.prefetch import ahead
from competition.shaped import How
from competition.task import Explained, Looking, Rows, pick

BYTES = 2**29  # of a chunk's pictures
LEAST = 32  # rows of a chunk, however large the pictures
EVEN = 512  # of whose multiple of rows they are, so that batches begin where they would of all rows
TABLES = 100_000  # rows of a chunk without pictures
TABLES_FIRST = (
    20_000  # of them those whose time is taken at most: to read the models takes seconds, however few the rows
)


@dataclass
class Said:
    """What the models of a leaf say. tables: of chunks, in turn; ids: of the rows that they are of."""

    tables: list[pd.DataFrame] = field(default_factory=list)
    ids: list[pd.Index] = field(default_factory=list)

    @property
    def whole(self) -> tuple[pd.DataFrame, pd.Index]:
        return pd.concat(self.tables), pd.Index(np.concatenate(self.ids))


@dataclass
class Stream:
    """bad: id -> why its picture can't be used. said: by leaf. failed: leaf -> why it says no more."""

    recipe: Recipe
    data: Data
    budget: Budget
    bad: dict[str, str] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)

    def run(self) -> None:
        """All rows by all leaves, or what there is time for. Raises Stopped; what is said by then counts."""
        leaves, rows = {name: self.recipe.leaves[name] for name in used(self.recipe)}, len(self.data.test)
        looking = [name for name, leaf in leaves.items() if isinstance(leaf.run.task, Looking)]
        for name in (together := [name for name, leaf in leaves.items() if not _rowwise(leaf)]):
            self._chunks([name], 0, rows, rows)
        groups = [name for name in leaves if name not in (*looking, *together)], looking
        begun: list[int] = []
        if self.budget.ends < math.inf:  # how long do they take? The first chunk reads libraries and models, too
            for some, most in zip(groups, (TABLES_FIRST, MOST), strict=True):
                self._chunks(some, 0, min(WARM, rows), rows)
                begun.append(min(WARM + self.budget.sample(some, most), rows))
                self._chunks(some, min(WARM, rows), begun[-1], rows)
            self.budget.plan()
        for some, start, size in zip(groups, begun or (0, 0), (TABLES, self._room(looking)), strict=True):
            self._chunks(some, start, rows, size)

    def _chunks(self, names: Sequence[str], start: int, end: int, size: int) -> None:
        """names: leaves that look at the same rows one after the other."""
        parts = [slice(n, min(n + size, end)) for n in range(start, end, size)] if names else []
        with ThreadPoolExecutor(1, "pictures") as pool:
            for n, (rows, pictures, seconds) in enumerate(ahead(pool, lambda part: self._shown(names, part), parts, 1)):
                self.budget.decoded(len(rows) if pictures else 0, seconds)
                if n:
                    self.budget.plan()
                with cache.held(pictures):
                    for name in (name for name in names if name not in self.failed):
                        self._tried(name, rows)

    def _tried(self, name: str, rows: Rows) -> None:
        """Hidden rows come but once: what one run's models can't costs its own word from here on, never the others'."""
        try:
            self._predict(name, rows)
        except Stopped:
            raise
        except Exception as e:  # a library's, of a model that it can't read or of memory, is of any kind
            self.failed[name] = e
            self.budget.left[name] = 0
            board.say(f"{name} is left out from here on: {type(e).__name__}: {e}")

    def _predict(self, name: str, rows: Rows) -> None:
        grid = self.budget.grid(name)
        tables: dict[tuple[str, str], pd.DataFrame] = {}
        try:
            for fold in grid.folds:
                for view in grid.views:
                    tables[fold, view] = self._one(
                        name, rows, fold, view, len(tables), len(grid.folds) * len(grid.views)
                    )
        finally:  # what is whole when time is up counts
            done = _whole(grid, tables)
            if done.folds:
                leaf = self.recipe.leaves[name]
                stack = {v: pick(as_one([tables[f, v] for f in done.folds]), rows.ids) for v in done.views}
                table, lost = finite(fewer(leaf.decision, done.views).combine(stack))
                self.bad |= dict.fromkeys(map(str, lost), f"SUB-NONFINITE ({name})")
                said = self.said.setdefault(name, Said())
                said.tables.append(table)
                said.ids.append(rows.ids.difference(lost, sort=False))
            self.budget.told(name, len(rows))

    def _one(self, name: str, rows: Rows, fold: str, view: str, place: int, places: int) -> pd.DataFrame:
        """place: of this model and view among those that look at the rows."""
        leaf, began, every = self.recipe.leaves[name], time.monotonic(), len(self.data.test)
        before = (every - self.budget.left[name]) * places + place * len(rows)

        def progress(done: int, total: int, text: str) -> None:
            board.show(name, (before + done) // places, every, f"{fold} {view}")
            if stopping():
                raise Stopped("time is up")

        task = leaf.run.task
        table = task.predict(rows, leaf.fold(fold, self.data.problem, progress), view)
        self.budget.took(name, view, len(rows), time.monotonic() - began)
        return table

    # Pictures ---------------------------------------------------------------------------------------------------------

    def _hows(self, names: Sequence[str]) -> dict[Path, How]:
        """By the folder where a task looks for them, how pictures are kept."""
        found = {}
        for leaf in (self.recipe.leaves[name] for name in names):
            task, problem = leaf.run.task, self.data.problem
            for fold in leaf.folds if isinstance(task, Looking) else ():
                how = task.how(problem, leaf.folder / fold)
                found[cache.folder_of(problem.competition, how.fit_to, how.shape, problem.reading)] = how
        return found

    def _room(self, names: Sequence[str]) -> int:
        """Rows whose pictures take BYTES."""
        most = BYTES // max(1, sum(3 * how.shape[0] * how.shape[1] for how in self._hows(names).values()))
        return most // EVEN * EVEN or max(LEAST, most // LEAST * LEAST)

    def _shown(self, names: Sequence[str], part: slice) -> tuple[Rows, dict[Path, Cache], float]:
        """These rows, their pictures as the leaves look for them, and the seconds that took."""
        rows, hows, began = self.data.test.take(self.data.test.ids[part]), self._hows(names), time.monotonic()
        if not hows:
            return rows, {}, 0.0
        assert rows.pictures is not None
        paths, lost = [*rows.pictures.unique()], {}
        kept = {folder: np.empty((len(paths), *how.shape, 3), np.uint8) for folder, how in hows.items()}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for n, found in enumerate(ahead(pool, lambda path: _decoded(path, hows), paths, 256)):
                if stopping():  # or the chunk that nobody will look at is waited for
                    raise Stopped("time is up")
                if isinstance(found, BadPicture):
                    lost[paths[n]] = found
                    continue
                for folder, picture in found.items():
                    kept[folder][n] = picture
        self.bad |= {str(i): f"{lost[p].code} ({lost[p].found})" for i, p in rows.pictures.items() if p in lost}
        row = pd.Series(np.arange(len(paths)), paths)
        caches = {folder: Cache(pictures, row, "") for folder, pictures in kept.items()}
        rows = replace(rows, pictures=rows.pictures.mask(rows.pictures.isin(lost), ""))
        return rows, caches, time.monotonic() - began


def _decoded(path: str, hows: dict[Path, How]) -> dict[Path, np.ndarray] | BadPicture:
    try:
        data = content_of(path)
        return {folder: how(data) for folder, how in hows.items()}
    except BadPicture as e:
        return e
    except Exception as e:  # of a file that nobody has seen, by whichever library reads it
        return BadPicture("IMG-CORRUPT", f"{type(e).__name__}: {e}")


def finite(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    """The rows or boxes that are numbers, and the ids of others: that costs these, not the submission."""
    fine = np.isfinite(table.select_dtypes("number").to_numpy()).all(axis=1)
    return table[fine], table.index[np.flatnonzero(~fine)].unique()


def _rowwise(leaf: Leaf) -> bool:
    """Whether what is said of a row doesn't hang on the others."""
    return not isinstance(leaf.run.task, Explained) or leaf.run.task.rowwise


def _whole(grid: Grid, tables: dict[tuple[str, str], pd.DataFrame]) -> Grid:
    """The folds that have said something in every view; before the first has, its views."""
    folds = tuple(fold for fold in grid.folds if all((fold, view) in tables for view in grid.views))
    if folds or not tables:
        return replace(grid, folds=folds)
    first = next(iter(tables))[0]
    return Grid(tuple(view for view in grid.views if (first, view) in tables), (first,))
