"""The tabular task's knobs, and the seam's three calls; the work is in the modules beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import field_validator

from competition.keys import ROW_KINDS, Embeddings, Kind, Strict, fit, machine
from competition.tabular.columns import Columns
from competition.tabular.presets import PRESETS
from competition.tabular.spaces import BOOSTED, SPACES, STARTS, WHOLE
from competition.task import Fold, Problem, Progress, Rows

Model = Literal["lightgbm", "xgboost", "catboost", "histgb", "extratrees", "randomforest", "linear", "knn", "tabm"]


class TabularTask(Strict):
    """`task: tabular`: one model on the columns of the tables. `preset:` makes a portfolio of such runs."""

    kinds: ClassVar[tuple[Kind, ...]] = ROW_KINDS

    presets: ClassVar[dict[str, Any]] = PRESETS
    chosen: ClassVar[tuple[str, ...]] = ("model", "params")  # by a preset

    model: Model = fit("lightgbm", "the library that learns")
    params: dict[str, Any] = fit({}, "parameters of the model's own library, over our defaults: {learning_rate: 0.02}")
    columns: Columns = fit(Columns(), "types of columns that are not as inferred: {category: [zip], ignore: [row]}")
    runs: tuple[str, ...] = fit(
        (), "runs of this competition, <competition>/<run>, whose out-of-fold predictions are columns: stacking"
    )
    embeddings: Embeddings | None = fit(None, "a backbone whose view of the pictures is columns; a section")
    features: str | None = fit(
        None, "file.py:function, which makes further columns of a table of text; it is called for each part alone"
    )
    bag: int | None = fit(
        None,
        "models a fold, each stopped early by its own inner fold and averaged; 1: one model, a tenth held out; null: "
        "8 up to 5,000 rows, 5 up to 20,000, 3 up to 50,000, else 1. Models that do not stop early have no bag",
        ge=1,
    )
    max_levels: int = fit(32, "a category of more levels is encoded by its mean target and its count", ge=2, le=250)
    text_dims: int = fit(16, "numbers that a free text becomes", ge=1)
    device: Literal["auto", "cpu", "cuda"] = machine("auto", "auto: a GPU where there is one and the library has it")

    @field_validator("runs", mode="before")
    @classmethod
    def _run_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("runs")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"stands in the list once: {', '.join(twice)}")
        return value

    @property
    def recalls(self) -> bool:
        """Whether it predicts the rows alone that were there when it began, for others have no such columns."""
        return bool(self.runs) or self.embeddings is not None

    def space(self, kind: Kind) -> dict[str, Any]:
        return {f"params.{name}": entry for name, entry in SPACES[self.model].items()}

    def begins(self, kind: Kind) -> dict[str, Any]:
        starts = STARTS.get(self.model, ({}, {}))[kind == "regression"]
        return {f"params.{name}": value for name, value in (BOOSTED | starts).items()}

    def whole(self, key: str) -> bool:
        return key.removeprefix("params.") in WHOLE

    @property
    def views(self) -> Sequence[str]:
        return ("plain",)

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        from competition.tabular import fitting

        return fitting.prepare(self, problem, rows)

    def fit(self, fold: Fold) -> dict[str, Any]:
        from competition.tabular import fitting

        return fitting.fit(self, fold)

    def finished(self, fold: Fold, folder: Path) -> tuple[int, int]:
        from competition.tabular import fitting

        return fitting.finished(self, fold, folder)

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        from competition.tabular import fitting

        return fitting.predict(self, rows, fold)

    def settled(self, rows: int) -> TabularTask:
        from competition.tabular import fitting

        return self.model_copy(update={"bag": fitting.bag_of(self, rows)})

    @property
    def rowwise(self) -> bool:
        return self.features is None  # a user's function may count or rank the rows it gets

    def reads(self, problem: Problem) -> Sequence[str]:
        return [c for c in problem.inputs if self.features or c not in self.columns.ignore]

    def contributions(self, rows: Rows, fold: Fold) -> pd.DataFrame | None:
        from competition.tabular import explaining

        return explaining.contributions(self, rows, fold)
