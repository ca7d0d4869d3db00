"""A run and all that it is made of, as their cards tell them, and what made them: what `make reproduce` begins with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition import artifacts, card, config, runfolder
from competition.config import Run
from competition.errors import ConfigFault, Finding
from competition.split import ALL


@dataclass(frozen=True)
class Carded:
    """A run as its card tells it. parts: the runs that it needs; of a preset the models that its time allowed."""

    run: Run
    record: dict[str, Any]
    parts: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return artifacts.run_folder(self.run.name)

    @property
    def folds(self) -> list[Path]:
        """The folders of the folds that count by now."""
        return list(runfolder.fold_folders(self.folder, self.record["config"]))

    @property
    def fits(self) -> dict[str, dict[str, Any]]:
        """fit.json by fold."""
        return {fold.name: artifacts.read_json(path) for fold in self.folds if (path := fold / "fit.json").exists()}


def lineage(name: str) -> dict[str, Carded]:
    """The run and all that it is made of by name, what is needed first comes first. Raises ConfigFault RUN-PARTIAL where
    a card is not here, or the run has come to nothing yet.
    """
    found: dict[str, Carded] = {}
    _add(name, "", found)
    if not (found[name].folder / "score.json").exists() and "results" not in found[name].record:
        raise ConfigFault(_lacking(name, "the run has no score yet, so there is nothing to hold it against"))
    return found


def _add(name: str, above: str, found: dict[str, Carded]) -> None:
    config.check_name(name)
    path = card.path_of(name)
    if not path.exists():
        raise ConfigFault(
            _lacking(name, "the run's card is not here", f"no {path}" + f"; {above} is made of it" * bool(above))
        )
    record = artifacts.read_json(path)
    run = config.make_run(name, card.of_run(record))
    one = Carded(run, record, tuple(dict.fromkeys(_parts(run))))
    for part in one.parts:
        if part not in found:
            _add(part, name, found)
    found[name] = one


def _parts(run: Run) -> Iterator[str]:
    if run.preset is not None:
        score = artifacts.run_folder(run.name) / "score.json"
        whole = artifacts.read_json(score)["parts"] if score.exists() else run.members or ()
        yield from (member for member in run.members or () if member in whole)
    yield from (name for _, name in config.made_of(run))
    begins = getattr(run.task, card.WEIGHTS, None)
    if isinstance(begins, str) and begins.startswith("run:"):
        yield begins.removeprefix("run:")


def _lacking(name: str, what: str, found: str = "no score.json") -> Finding:
    return Finding("RUN-PARTIAL", what, f"RUN={name}", found, f"make submission RUN={name}")


def fitted_by(one: Carded) -> dict[str, int]:
    """Fold -> threads by which it was fitted. A worker has one: what no record says is taken as that, or of a run with
    `jobs: 1` as the machine's cores.
    """
    usual = one.record["hardware"].get("cores", 1) if one.record["config"].get("jobs") == 1 else 1
    return {fold: int(record.get("threads", usual)) for fold, record in one.fits.items()}


def finished_by(one: Carded) -> int:
    """Threads of the processes that predicted, or of the one that blended."""
    usual = max(fitted_by(one).values(), default=1)
    predicted = [fold / "predicted.json" for fold in one.folds]
    files = predicted if one.run.members is None else [one.folder / "score.json"]
    counts = Counter(int(artifacts.read_json(path).get("threads", usual)) for path in files if path.exists())
    return counts.most_common(1)[0][0] if counts else usual


def unknown_threads(one: Carded) -> bool:
    """Whether older code made it, which did not record them."""
    return any("threads" not in record for record in one.fits.values())


def in_process(one: Carded) -> bool:
    """Whether folds were fitted on a CPU by several threads, as only a run with `jobs: 1` or a single fold is."""
    return any(record.get("threads", 1) > 1 and record.get("device", "cpu") == "cpu" for record in one.fits.values())


def steps(found: dict[str, Carded]) -> Iterator[tuple[list[str], int]]:
    """Commands, and the threads that each may use. Folds that another number of threads fitted than will predict are
    trained by themselves: sums that are divided otherwise end in other bits.
    """
    for name, one in found.items():
        finish, by_fold = finished_by(one), fitted_by(one)
        apart = {(_number(fold), threads) for fold, threads in by_fold.items() if threads != finish}
        for fold, threads in sorted(apart):
            yield ["train", name, f"--fold={fold}"], threads
        scored = not by_fold or (one.folder / "score.json").exists()  # else its weights were all that was asked for
        yield ["submission" if scored else "train", name], finish


def _number(fold: str) -> int:
    number = re.match(r"fold(\d+)", fold)
    return int(number[1]) if number else ALL
