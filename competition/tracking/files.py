"""What belongs to a run and what it is made from, as files that go together: the artifacts of W&B."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition import artifacts


@dataclass(frozen=True)
class Artifact:
    """kind: config, folds, weights, predictions, submission. keep: whether the files may be others by the time they are
    uploaded, so that a copy is wanted; weights are as they were written, or gone."""

    kind: str
    name: str
    files: Sequence[Path]
    keep: bool = True


def config(run: str) -> Artifact:
    paths = (artifacts.run_yaml(run), artifacts.competition_yaml(_competition(run)))
    return _artifact("config", run, [*paths, artifacts.run_folder(run) / "run.json"])


def folds(run: str) -> Artifact:
    return _artifact("folds", _competition(run), [artifacts.fold_table(_competition(run))])


def weights(run: str, fold: str) -> Artifact:
    """Of a trained fold."""
    folder = artifacts.run_folder(run) / fold
    names = artifacts.read_json(folder / "fit.json").get("files", {})
    return _artifact("weights", f"{run}-{fold}", [folder / name for name in sorted(names)], keep=False)


def predictions(run: str) -> Artifact:
    """Out of fold and of test."""
    return _artifact("predictions", run, [artifacts.run_folder(run) / f"{part}.parquet" for part in ("oof", "test")])


def submission(run: str) -> Artifact:
    return _artifact("submission", run, [artifacts.submission_csv(run)])


def made_from(run: str, settings: dict[str, Any]) -> Iterator[Artifact]:
    """The fold table; of a blend its members' predictions, of a run its folds' weights. settings: its configuration."""
    yield folds(run)
    for member in settings.get("members") or ():
        yield predictions(member)
    for path in sorted(artifacts.run_folder(run).glob("fold*/fit.json")):
        yield weights(run, path.parent.name)


def _artifact(kind: str, of: str, files: Sequence[Path], keep: bool = True) -> Artifact:
    """Its name is of the letters that W&B takes."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{kind}-{of}")
    return Artifact(kind, name, [path for path in files if path.exists()], keep)


def _competition(run: str) -> str:
    return run.partition("/")[0]
