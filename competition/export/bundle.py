"""A trained run as a folder that predicts without a network, for a code competition: `make export RUN=leaves/baseline`.

exports/<name>/<run>/   predict.py        `python predict.py --data <folder> --out submission.csv --time 8h45m`
                        predict.ipynb     the same as a notebook
                        recipe.json, truth.parquet, models/   what is decided, training labels, weights
                        configs/, folds/  what the user wrote, and the fold table
                        competition/      this package; wheels/ what a notebook's image lacks
                        manifest.json     bytes and SHA-256 of each file
                        dataset-metadata.json   for Kaggle's client, which does not upload it
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import competition
from competition import __version__, artifacts, board, card, disk, engine, git, versions
from competition.data import Data
from competition.engine import stopping
from competition.errors import Stopped
from competition.export import pages, recipe, wheels
from competition.export.budget import Budget
from competition.export.recipe import MODELS, RECIPE, TRUTH, Recipe
from competition.export.streaming import Stream
from competition.predict import intact
from competition.runs import Opened
from competition.task import Looking

MANIFEST, METADATA = "manifest.json", "dataset-metadata.json"
PAGES = (METADATA, "README.md", "predict.ipynb")
LIMIT = 200e9  # bytes of a Kaggle dataset
HOURS = 9.0  # that a notebook of a code competition may run
TIMED, TABLES = 64, 5_000  # rows of test by which the time is estimated, with pictures and without


def make(at: Opened) -> Path:
    """Writes the folder of a run with a score anew, whole or not at all, and tells its size and how long it will take.

    Raises EnvironmentFault CKPT-CORRUPT, EXP-WHEEL; Stopped.
    """
    folder = artifacts.export_folder(at.run.name)
    into = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(into, ignore_errors=True)  # of a killed process: the run's folder is locked, so no other is at it
    try:
        _fill(at, into)
        estimate = timed(recipe.read(into), at.data)
        pages.write(at, into, told(estimate))
        _write_manifest(into)
        for kept in _keep(folder, into):
            at.say(f"kept from the folder as it was: {kept}")
        _replace(folder, into)
    finally:
        shutil.rmtree(into, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    at.say(
        f"exported: {folder}, {size / 1e6:,.1f} MB ({size / LIMIT:.2%} of the {LIMIT / 1e9:.0f} GB of a Kaggle dataset)"
    )
    for line in told(estimate):
        at.say(line)
    at.say(f"make export-test RUN={at.run.name} runs it as a notebook without a network would")
    return folder


def _fill(at: Opened, into: Path) -> None:
    """All but the pages and the manifest."""
    values = recipe.of(at)
    for name, leaf in values["leaves"].items():
        source, to = artifacts.run_folder(name), into / leaf["folder"]
        for fold in leaf["folds"]:
            _copy_fold(source / fold, to / fold)
        _copy(source / "run.json", to / "run.json")
    artifacts.write_json(into / RECIPE, values)
    assert at.data.train.truth is not None
    artifacts.write_table(into / TRUTH, at.data.train.truth)
    _copy_configs(at, into, values)
    package = Path(competition.__file__).parent
    for source in sorted(package.rglob("*.py")):
        _copy(source, into / "competition" / source.relative_to(package))
    _copy(package / "export" / "entry.py", into / "predict.py")
    models = [str(leaf["config"].get("model")) for leaf in values["leaves"].values()]
    for name in wheels.needed((into / MODELS).rglob("*"), models):
        wheels.pack(name, into / "wheels")


def _copy_fold(source: Path, to: Path) -> None:
    """What prediction reads: the models and the record of the fit. Raises EnvironmentFault CKPT-CORRUPT."""
    intact(source)
    for file in (*sorted(source.glob("model*")), source / "fit.json"):
        _copy(file, to / file.name)


def _copy_configs(at: Opened, into: Path, values: dict[str, Any]) -> None:
    """competition.yaml, the runs' files with all that stands beside them for functions of the user, and the fold table."""
    home = artifacts.competition_yaml(at.data.name).parent
    names = {name.partition("/")[2].partition("+")[0] for name in (*values["leaves"], *values["members"], at.run.name)}
    wanted = [
        home / "competition.yaml",
        *(home / f"{name}.yaml" for name in sorted(names)),
        *sorted(home.rglob("*.py")),
    ]
    for file in filter(Path.is_file, (*wanted, artifacts.fold_table(at.data.name))):
        _copy(file, into / file)


def _copy(source: Path, to: Path) -> None:
    if stopping():
        raise Stopped("stopped while it exported")
    with disk.writing(to) as into, open(source, "rb") as file:
        shutil.copyfileobj(file, into, 1 << 24)


def _write_manifest(into: Path) -> None:
    files = {file.relative_to(into).as_posix(): _told(file) for file in sorted(into.rglob("*")) if file.is_file()}
    for page in PAGES:  # which a user may change
        files.pop(page, None)
    made = {
        "podium": __version__,
        "git": git.sha() or "",
        "made": artifacts.now(),
        "versions": versions.now(card.PACKAGES),
    }
    artifacts.write_text(into / MANIFEST, json.dumps(made | {"files": files}, indent=1) + "\n")


def _told(file: Path) -> dict[str, Any]:
    with open(file, "rb") as f:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _keep(folder: Path, into: Path) -> list[str]:
    """Takes over what the user has put there: a name in the file for Kaggle's client, wheels that the manifest lacks."""
    ours = json.loads((folder / MANIFEST).read_bytes())["files"] if (folder / MANIFEST).exists() else {}
    own = [file for file in sorted(folder.glob("wheels/*.whl")) if f"wheels/{file.name}" not in ours]
    named = folder / METADATA
    if named.exists() and pages.OWNER not in named.read_text(encoding="utf-8"):
        own.append(named)
    for file in own:
        _copy(file, into / file.relative_to(folder))
    return [str(file.relative_to(folder)) for file in own]


def _replace(folder: Path, new: Path) -> None:
    """A folder can't be replaced in one call, so the old one steps aside first."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class Estimate:
    """start: seconds to read the models, a chunk. each: of a row, by all models and views, here. rows: of the public test;
    timed: of them. device: in words."""

    start: float
    each: float
    rows: int
    timed: int
    device: str

    def seconds(self, rows: int) -> float:
        return self.start + rows * self.each

    @property
    def most(self) -> int:
        """Rows that fit into HOURS."""
        return int((HOURS * 3600 - self.start) / self.each)


def timed(made: Recipe, data: Data) -> Estimate:
    """By the first rows of the public test, in this process; libraries are read before."""

    def seconds(rows: int) -> float:
        some, before = replace(data, test=data.test.take(data.test.ids[:rows])), time.monotonic()
        Stream(made, some, Budget(made, len(some.test))).run()
        return time.monotonic() - before

    looking = any(isinstance(leaf.run.task, Looking) for leaf in made.leaves.values())
    most = min(TIMED if looking else TABLES, len(data.test))
    _, few, many = seconds(1), seconds(1), seconds(most)
    each = (
        (many - few) / (most - 1) if many > few and most > 1 else many / most
    )  # more than it takes, where it is nothing
    device = "a GPU" if engine.accelerators() else f"{engine.cores()} CPU cores"
    return Estimate(few, each, len(data.test), most, device)


def told(estimate: Estimate) -> list[str]:
    public, thousand = (board.spoken(estimate.seconds(rows)) for rows in (estimate.rows, 1000))
    how = f"by {estimate.timed} rows on {estimate.device}"
    return [
        f"its {estimate.rows:,} rows of test take {public} here, 1,000 hidden rows {thousand} ({how}); {HOURS:.0f} h are "
        f"enough for {estimate.most:,} rows"
    ]
