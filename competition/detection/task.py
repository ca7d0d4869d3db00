"""The detection task's knobs, and the seam's calls; the work is in the modules beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pandas as pd
from pydantic import model_validator

from competition.keys import Kind, fit, predict
from competition.knobs import Training
from competition.shaped import How
from competition.task import Fold, Problem, Progress, Rows, Strip

if TYPE_CHECKING:
    from competition.loop import Job

Symmetry = Literal["none", "horizontal", "all"]
VIEWS_OF: dict[Symmetry, tuple[str, ...]] = {
    "none": ("plain", "large"),
    "horizontal": ("plain", "hflip", "large"),
    "all": ("plain", "hflip", "vflip", "rot180", "large"),
}


class DetectionTask(Training):
    """`task: detection`: boxes around the objects of a picture, by a detector on a timm backbone."""

    kinds: ClassVar[tuple[Kind, ...]] = ("boxes",)

    size: int = fit(512, "longer side of what the network sees, pixels; pictures are scaled evenly", ge=32, le=4096)
    detector: Literal["retinanet", "fcos", "fasterrcnn", "rtdetr"] = fit(
        "retinanet",
        "how boxes are found: retinanet, fcos (no anchors), fasterrcnn (two stages), from torchvision; rtdetr: "
        "RT-DETRv2 of transformers, which must be installed and wants pretrained weights or much data",
    )
    fpn: int = fit(128, "channels of the feature pyramid and of the head", ge=16, multiple_of=16)
    symmetry: Symmetry = fit(
        "horizontal",
        "flips under which objects stay what they are: none (text), horizontal (photos), all (from above, microscopes)",
    )
    augment: Literal["none", "light", "medium", "heavy"] | tuple[dict[str, dict[str, Any] | None], ...] = fit(
        "light", "a level, or a list of albumentations transforms that know boxes: [{HorizontalFlip: {p: 0.5}}, ...]"
    )
    jitter: float = fit(
        0.25, "scale jitter: pictures are shown 1 / (1 + jitter) to 1 + jitter times as large", ge=0, le=4
    )
    mosaic: float = fit(0.5, "share of the training pictures that are put together of four", ge=0, le=1)
    mixup: float = fit(0.0, "share of the training pictures that are laid over another one, boxes of both", ge=0, le=1)
    copy_paste: float = fit(0.0, "share of the training pictures that get objects of another one pasted in", ge=0, le=1)
    mix_off: int = fit(2, "last epochs without mosaic, mixup and copy_paste", ge=0)
    balance: Literal["none", "sampling"] = fit(
        "none", "rare classes: none; sampling: pictures that hold them are drawn more often"
    )
    max_boxes: int = predict(100, "most boxes of a picture and view that are kept, the surest ones", ge=1)
    min_score: float = predict(0.01, "boxes of a lower score are not kept", ge=0, lt=1)
    tile: int = predict(
        1, "the view `tiles` cuts a picture into tile x tile overlapping parts, each seen at full size", ge=1, le=16
    )
    views: tuple[str, ...] = predict(
        (),
        "test-time views that are tried (OOF decides which stay); empty: those of `symmetry`, and tiles if `tile` > 1",
    )

    @model_validator(mode="after")
    def _tiles_are_looked_at(self) -> DetectionTask:
        if self.tile > 1 and self.views and "tiles" not in self.views:
            raise ValueError(f"tile: {self.tile} is of the view `tiles`, which views: does not list")
        return self

    def model_post_init(self, context: Any) -> None:
        if not self.views:
            object.__setattr__(self, "views", VIEWS_OF[self.symmetry] + (("tiles",) if self.tile > 1 else ()))

    def space(self, kind: Kind) -> dict[str, Any]:
        mixing = {key: {"low": 0, "high": high} for key, high in (("mosaic", 1), ("mixup", 0.3), ("jitter", 0.5))}
        return super().space(kind) | {"augment": ["light", "medium"]} | mixing

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        from competition.detection import fitting

        return fitting.prepare(self, problem, rows, progress)

    def fit(self, fold: Fold) -> dict[str, Any]:
        from competition.detection import fitting

        return fitting.fit(self, fold)

    def job(self, fold: Fold) -> Job:
        from competition.detection import fitting

        return fitting.job(self, fold)

    def strips(self, fold: Fold) -> Sequence[Strip]:
        from competition.detection import looking

        return looking.strips(self, fold)

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        from competition.detection import predicting

        return predicting.predict(self, rows, fold, view)

    def how(self, problem: Problem, folder: Path) -> How:
        from competition.detection import predicting

        return predicting.how(problem, folder)
