"""What another machine has before it works on a run: the data that this one has, and the files of runs."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from competition import artifacts, config, kept, runs
from competition.config import Run
from competition.data import Data, load
from competition.engine import Needs
from competition.errors import DataFault, Finding
from competition.runs import Opened

LOOKED = 500  # pictures whose size is compared: a look at each of 30,000 takes a file server half a minute


def needs(at: Opened) -> Needs:
    """The check raises DataFault RUN-DATA, and whatever reading the data raises."""
    own, data = artifacts.run_folder(at.run.name), at.data
    read = [artifacts.CONFIGS, artifacts.fold_table(data.name), *(f for f in folders(at.run.name) if f != own)]
    tables, weights = Path(config.load_competition(data.name).data), getattr(at.run.task, "pretrained", False)
    if isinstance(weights, str):
        run = weights.removeprefix("run:")
        read.append(Path(weights) if run == weights else artifacts.run_folder(run))
    if not Path.cwd().is_relative_to(tables.resolve()):
        read.append(tables)
    check = functools.partial(_compare, data.name, data.hash, _sizes(data))
    tastes = runs.ingredients(at.run)  # all folds of a soup into one folder
    names = frozenset(split.name for split in (*at.splits, *at.refits) if not tastes)
    read = [path for path in read if _can_be_copied(path)]
    return Needs(check, functools.partial(_fill, at.run), tuple(read), (own, kept.folder(at.run.name)), names)


def _can_be_copied(path: Path) -> bool:
    """To where it leads from a copy of this folder; others are at their place there, or can't be."""
    up = Path(os.path.normpath(path)).parts.count("..")
    return not path.expanduser().is_absolute() and up < len(Path.cwd().parts)


def _fill(run: Run) -> None:
    """Caches; raises RUN-DATA too where pictures or functions are others than those that the run began with."""
    from competition import train

    train.prepare(runs.look(run))


def folders(name: str) -> list[Path]:
    """Those of the run, of all that it is made of or learns from, and of their models, where they are presets."""
    found = {name, name.partition("+")[0]}
    found |= {part for run in found for part in runs.sources(run)}
    owners = [config.read_run(part) for part in found if "+" not in part and artifacts.run_yaml(part).exists()]
    found |= {model for run in owners if run.preset is not None for model in config.expand(run)}
    return [artifacts.run_folder(part) for part in sorted(found)]


def _sizes(data: Data) -> list[int | None]:
    """Of some pictures of the tables, in their order; None: no file."""
    known = [rows.pictures for rows in (data.train, data.test) if rows.pictures is not None]
    paths = [path for some in known for path in some if path]
    return [os.stat(path).st_size if os.path.isfile(path) else None for path in paths[:: max(1, len(paths) // LOOKED)]]


def _compare(name: str, known: str, sizes: list[int | None]) -> None:
    data = load(name)
    if data.hash != known:
        _refuse(data, "the tables", f"hash {data.hash} there, {known} where the command was given")
    others = sum(there != here for there, here in zip(_sizes(data), sizes, strict=True))
    if others:
        _refuse(data, "the pictures", f"{others} of {len(sizes)} that were looked at are missing or of another size")


def _refuse(data: Data, what: str, found: str) -> None:
    mend = f"put the same files there, or name a folder that all machines share as `data:` of {data.name}"
    raise DataFault(Finding("RUN-DATA", f"{what} of a machine are others", data.config.data, found, mend))
