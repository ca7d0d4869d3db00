"""`task: imported`: a run of predictions that another program made; `make import` (bring.py) writes its file and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from competition import artifacts
from competition.errors import DataFault, Finding
from competition.keys import ROW_KINDS, Kind, Strict, fit
from competition.task import Fold, Problem, Progress, Rows, pick

PARTS = ("oof", "test")


class ImportedTask(Strict):
    """`task: imported`: predictions of a model from elsewhere, each row's looked up by its id; made by `make import`."""

    kinds: ClassVar[tuple[Kind, ...]] = (*ROW_KINDS, "boxes")
    learns: ClassVar[bool] = False
    recalls: ClassVar[bool] = True  # rows that the other program did not predict can't be predicted

    oof: str = fit(..., "digest of the file of out-of-fold predictions, written by `make import`")
    test: str = fit(..., "digest of the file of test predictions, written by `make import`")

    @property
    def views(self) -> Sequence[str]:
        return ("plain",)

    @property
    def device(self) -> str:
        return "cpu"

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        return ""

    def fit(self, fold: Fold) -> dict[str, Any]:
        """The fold's "model" is the held-out and the test rows' predictions. Raises DataFault IMPORT-MISSING."""
        assert fold.valid is not None
        tables = {part: artifacts.read_table(_there(fold, part)) for part in PARTS}
        for part, ids in (("oof", fold.valid.ids), ("test", tables["test"].index.unique())):
            artifacts.write_table(_model(fold, part), pick(tables[part], ids))
        return {"digests": self.model_dump()}

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        part = "test" if rows.truth is None else "oof"
        return pick(artifacts.read_table(_model(fold, part)), rows.ids)[list(fold.problem.columns)]


def source(run_folder: Path, part: str) -> Path:
    """Where a run keeps the predictions that it was imported with; the user's own files may vanish."""
    return run_folder / f"imported-{part}.parquet"


def _model(fold: Fold, part: str) -> Path:
    return fold.folder / f"model-{part}.parquet"


def _there(fold: Fold, part: str) -> Path:
    path = source(fold.folder.parent, part)
    if not path.exists():
        what, mend = "the run's predictions are not here", f"make import FILE=oof.csv,test.csv RUN={fold.origin['run']}"
        raise DataFault(Finding("IMPORT-MISSING", what, str(path), "no such file", mend))
    return path
