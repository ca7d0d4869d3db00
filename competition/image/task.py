"""The image task's knobs, and the seam's calls; the work is in the modules beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pandas as pd
from pydantic import field_validator, model_validator

from competition.keys import ROW_KINDS, Kind, fit, predict
from competition.knobs import Training
from competition.shaped import How
from competition.tabular.columns import Columns
from competition.task import Fold, Graph, Problem, Progress, Rows, Strip

if TYPE_CHECKING:
    from competition.loop import Job

Symmetry = Literal["none", "horizontal", "all"]
VIEWS_OF: dict[Symmetry, tuple[str, ...]] = {
    "none": ("plain", "zoom"),
    "horizontal": ("plain", "hflip", "zoom", "zoom_hflip"),
    "all": ("plain", "hflip", "vflip", "rot90", "rot180", "rot270", "transpose", "antitranspose"),
}


class ImageTask(Training):
    """`task: image`: a timm backbone on one picture a row, and on columns of its table where it is told so."""

    kinds: ClassVar[tuple[Kind, ...]] = ROW_KINDS

    fit_to: Literal["squash", "pad", "crop"] = fit(
        "squash", "how a picture becomes square: squash: scaled unevenly; pad: grey bars; crop: the middle square"
    )
    symmetry: Symmetry = fit(
        "horizontal",
        "flips that keep a label: none (text, digits), horizontal (photos), all (seen from above, microscopes)",
    )
    augment: Literal["none", "light", "medium", "heavy"] | tuple[dict[str, dict[str, Any] | None], ...] = fit(
        "medium", "a level, or a list of albumentations transforms: [{HorizontalFlip: {p: 0.5}}, ...]"
    )
    mixup: float = fit(0.0, "alpha of mixup; 0: off", ge=0)
    cutmix: float = fit(0.0, "alpha of cutmix; 0: off; with both on, each batch draws one", ge=0)
    mix_prob: float = fit(1.0, "share of batches that are mixed", ge=0, le=1)
    mix_off: int = fit(0, "last epochs without mixup and cutmix", ge=0)
    columns: Literal["all"] | tuple[str, ...] | None = fit(
        None, "columns of the tables that the head takes beside the picture: a list, or all that train and test share"
    )
    types: Columns = fit(Columns(), "types of those columns that are not as inferred: {category: [site]}")
    smoothing: float = fit(0.0, "label smoothing (multiclass, ordinal)", ge=0, lt=1)
    balance: Literal["none", "weights", "sampling"] = fit(
        "none", "rare classes: none; weights: count more in the loss; sampling: drawn as often as the others"
    )
    views: tuple[str, ...] = predict(
        (), "test-time views that are tried (OOF decides which stay); empty: those of `symmetry`"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _column_list(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError("a list of columns, or all; how they are read is said by `types:`")
        if value is None or value == "all":
            return value
        return tuple(str(v) for v in value) if isinstance(value, (list, tuple)) else (str(value),)

    @model_validator(mode="after")
    def _typed_columns_are_read(self) -> ImageTask:
        typed = [name for listed in self.types.model_dump().values() for name in listed]
        idle = [name for name in typed if self.columns is None or (self.columns != "all" and name not in self.columns)]
        if idle:
            raise ValueError(f"types: {idle[0]!r} is none of `columns:`")
        return self

    def model_post_init(self, context: Any) -> None:
        if not self.views:
            object.__setattr__(self, "views", VIEWS_OF[self.symmetry])

    def space(self, kind: Kind) -> dict[str, Any]:
        mixing = {
            "mixup": {"low": 0, "high": 0.8},
            "cutmix": {"low": 0, "high": 1},
            "drop_path": {"low": 0, "high": 0.3},
        }
        smoothing = {"smoothing": {"low": 0, "high": 0.2}} if kind in ("multiclass", "ordinal") else {}
        return super().space(kind) | {"augment": ["light", "medium", "heavy"]} | mixing | smoothing

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        from competition.image import fitting

        return fitting.prepare(self, problem, rows, progress)

    def fit(self, fold: Fold) -> dict[str, Any]:
        from competition.image import fitting

        return fitting.fit(self, fold)

    def job(self, fold: Fold) -> Job:
        from competition.image import fitting

        return fitting.job(self, fold)

    @property
    def rowwise(self) -> bool:
        return True

    def reads(self, problem: Problem) -> Sequence[str]:
        return problem.inputs if self.columns == "all" else self.columns or ()

    def contributions(self, rows: Rows, fold: Fold) -> pd.DataFrame | None:
        return None

    def strips(self, fold: Fold) -> Sequence[Strip]:
        from competition.image import looking

        return looking.strips(self, fold)

    def features(self, fold: Fold, rows: Rows) -> Sequence[Strip]:
        from competition.image import inside

        return inside.features(self, fold, rows)

    def maps(self, fold: Fold, rows: Rows) -> pd.DataFrame | None:
        from competition.image import inside

        return inside.maps(self, fold, rows)

    def graph(self, fold: Fold, rows: Rows) -> Graph:
        from competition.image import graph

        return graph.graph(self, fold, rows)

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        from competition.image import predicting

        return predicting.predict(self, rows, fold, view)

    def how(self, problem: Problem, folder: Path) -> How:
        from competition.image.views import kept

        return How(self.fit_to, kept(self.size), problem.reading)
