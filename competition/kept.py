"""runs/<name>/<run>/late/: of a submission that was made because time was up, what it was made of and its score.

Apart from all that other commands read: nothing there counts for whole, and the folder goes when the run is whole.
`late.json` is of the CSV whose digest it names; of any other it says nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from competition import artifacts, ledger


def folder(run: str) -> Path:
    return artifacts.run_folder(run) / "late"


def state(run: str) -> dict[str, Any] | None:
    """Of the run's CSV as it lies there: rung, amount, told, score (as score.json has it, or None), rows (the
    ids that are scored), row (of the ledger). None where it is of a whole run, or not known."""
    path, csv = folder(run) / "late.json", artifacts.submission_csv(run)
    if not path.exists() or not csv.is_file():
        return None
    found = artifacts.read_json(path)
    return found if found["digest"] == artifacts.file_digest(csv) else None


def keep(run: str, values: Mapping[str, Any]) -> None:
    """Once the CSV is written."""
    digest = artifacts.file_digest(artifacts.submission_csv(run))
    artifacts.write_json(folder(run) / "late.json", {"digest": digest, **values})


def record(run: str) -> dict[str, Any] | None:
    """`state`, its row entered into the ledger."""
    found = state(run)
    if found is not None:
        ledger.record(found["row"])
    return found


def forget(run: str) -> None:
    """Once the run is whole."""
    if folder(run).exists():
        shutil.rmtree(folder(run))
