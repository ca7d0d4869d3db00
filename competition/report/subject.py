"""What the sections of the page are drawn from: a competition, its standings and the runs that are shown in detail."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from competition import artifacts
from competition.data import Data
from competition.folds import FoldTable
from competition.scoring import decided, scored_folds
from competition.standings import Standing
from competition.task import Problem, pick


@dataclass(frozen=True, eq=False)
class Subject:
    """standings: all runs, the best first, those without a comparable score last. chosen: those of them, with a score, that
    are shown in detail."""

    data: Data
    table: FoldTable
    standings: Sequence[Standing]
    chosen: Sequence[Standing]

    @property
    def problem(self) -> Problem:
        return self.data.problem

    @functools.cached_property
    def fold(self) -> pd.Series:
        """Fold number by id, of the rows that are scored."""
        return scored_folds(self.table)

    @functools.cached_property
    def truth(self) -> pd.DataFrame:
        """[scored rows, problem.columns], or the table of boxes."""
        assert self.data.train.truth is not None
        return pick(self.data.train.truth, self.fold.index)

    def folder(self, standing: Standing) -> Path:
        return artifacts.run_folder(standing.name)

    @functools.cache  # noqa: B019  one subject a page
    def oof(self, standing: Standing) -> pd.DataFrame:
        """The run's out-of-fold prediction in the order of `truth`, as the ensemble's code left it: nothing is cut."""
        return pick(artifacts.read_table(self.folder(standing) / "oof.parquet"), self.fold.index)

    @functools.cache  # noqa: B019  as above
    def decided(self, standing: Standing) -> pd.DataFrame:
        """The same as it is scored: with each fold's cuts or calibration, fitted on the other folds."""
        return decided(standing.scored, self.oof(standing), self.fold)

    def score_of(self, prediction: pd.DataFrame, ids: pd.Index) -> float:
        """Of a prediction of these rows, as the competition shows it. Raises ValueError where it has none there."""
        metric = self.problem.metric
        return metric.shown(metric.score(pick(self.truth, ids), pick(prediction, ids)))

    def detail(self, standing: Standing, name: str) -> Any:
        """A JSON file of the run's folder, None where there is none."""
        path = self.folder(standing) / name
        return artifacts.read_json(path) if path.exists() else None
