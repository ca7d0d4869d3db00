"""`task: soup`: the mean of the weights of several runs of one network, at the cost of one.

Greedy soup (Wortsman et al. 2022, https://arxiv.org/abs/2203.05482): the runs in the order of their scores, each added if
the mean with it scores at least as well. For fold k that is decided on the held-out rows of the other folds alone, of which
fold j is predicted by the mean of the runs' weights of fold j. It pays for runs that were fine-tuned from the same weights;
between nets from scratch lies a barrier of loss, and the best of them remains alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import field_validator

from competition import artifacts, config, folds, locks, runs, versions
from competition.boxes import deciding
from competition.config import Run
from competition.data import Data, load
from competition.errors import ConfigFault, Finding, Stopped, examples
from competition.folds import FoldTable
from competition.keys import ROW_KINDS, Kind, Strict, fit, machine, predict
from competition.predict import intact, predict_keys
from competition.split import Split
from competition.task import Fold, Problem, Progress, Rows, pick

NETWORKS = ("image", "detection")  # tasks whose fold is one network
WEIGHTS, MODEL = "model.safetensors", "model*"
OWN_NOTES = ("run", "fold", versions.NOTE)  # of a weights file; all others must agree: they say how the network is used
Names = tuple[str, ...]


class SoupTask(Strict):
    """`task: soup`: the mean of the weights of runs of one network, those of them that it gains by."""

    kinds: ClassVar[tuple[Kind, ...]] = (*ROW_KINDS, "boxes")
    learns: ClassVar[bool] = False

    of: Names = fit(
        ...,
        "runs of one network (task image or detection), as <competition>/<run>, best fine-tuned from the same weights; "
        "of detection `max_boxes`, `min_score` and `tile` are those of the first",
        min_length=2,
    )
    views: tuple[str, ...] = predict(
        (), "test-time views that are tried (OOF decides which stay); empty: those of the first run"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = machine("auto", "auto: a GPU where there is one")

    @field_validator("of", "views", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("of", "views")
    @classmethod
    def _each_once(cls, value: Names) -> Names:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"stands in the list once: {', '.join(twice)}")
        return value

    @field_validator("of")
    @classmethod
    def _networks(cls, value: Names) -> Names:
        for name in value:
            task = config.task_in_file(name)
            if task not in NETWORKS:
                raise ValueError(
                    f"{name} has no network of its own (task: {task}); a soup is of {' or '.join(NETWORKS)}"
                )
        return value

    def model_post_init(self, context: Any) -> None:
        if not self.views:
            object.__setattr__(self, "views", runs.resolve(self.of[0]).task.views)

    def prepare(self, problem: Problem, rows: Rows, progress: Progress) -> str:
        """Checks the runs and does what the network's task does; the hash of the pictures and of all weights.

        Raises ConfigFault RUN-PARTIAL, ENS-FOLDS, SOUP-SHAPES and EnvironmentFault CKPT-CORRUPT.
        """
        data = load(problem.competition)
        table = folds.load(data)
        found = [runs.resolve(name) for name in self.of]
        check(found, data, table)
        weights = [weights_digest(weights_file(run.name, split.name)) for run in found for split in table.splits]
        asked = artifacts.digest(predict_keys(found[0]))
        return artifacts.digest(self.network().prepare(problem, rows, progress), asked, *weights)

    def fit(self, fold: Fold) -> dict[str, Any]:
        """Chooses the runs without this fold, averages their weights of this fold. Raises Stopped."""
        tasting = Tasting.of_other_folds(self, fold)
        chosen, tried = greedy(self.of, tasting.score)
        shown = {" + ".join(some): _plain(fold.problem.metric.shown(score)) for some, score in tried.items()}
        paths = [weights_file(name, fold.name) for name in chosen]
        lay(paths, fold)
        note = f"soup of {' + '.join(chosen)}; on the other folds {fold.problem.metric.name} was "
        fold.log(0, {"note": note + ", ".join(f"{score} of {some}" for some, score in shown.items())})
        return {"chosen": list(chosen), "tried": shown}

    def predict(self, rows: Rows, fold: Fold, view: str) -> pd.DataFrame:
        return self.network().predict(rows, fold, view)

    def network(self) -> Any:
        """The task that predicts with the soup's weights: the first run's. What that run began with is not needed."""
        given = {"views": self.views, "device": self.device, "pretrained": False}
        return runs.resolve(self.of[0]).task.model_copy(update=given)


def greedy(names: Names, score: Callable[[Names], float]) -> tuple[Names, dict[Names, float]]:
    """The runs of the soup, in the order of `names`, and what was tried with its score. A score of nan is the worst."""
    tried: dict[Names, float] = {(name,): score((name,)) for name in names}
    ranked = sorted(names, key=lambda name: -np.nan_to_num(tried[name,], nan=-np.inf))
    chosen: Names = (ranked[0],)
    for name in ranked[1:]:
        more = tuple(n for n in names if n in (*chosen, name))
        tried[more] = score(more)
        if tried[more] >= tried[chosen]:
            chosen = more
    return chosen, tried


@dataclass
class Tasting:
    """Scores soups on the held-out rows of some folds. What was scored stays in `tasted/` of the run's folder, for the
    other folds and for a repeated command; processes wait for each other's."""

    task: SoupTask
    fold: Fold
    rows: dict[str, Rows]  # by the fold's name
    basis: str  # what a score depends on beside the weights
    done: int = 0
    network: Any = field(init=False)

    def __post_init__(self) -> None:
        self.network = self.task.network()

    @classmethod
    def of_other_folds(cls, task: SoupTask, fold: Fold) -> Tasting:
        data = load(fold.problem.competition)
        table = folds.load(data)
        rows = {split.name: data.train.take(table.ids(split)[1]) for split in others(table, fold.name)}
        first = artifacts.digest(predict_keys(runs.resolve(task.of[0])))
        return cls(task, fold, rows, artifacts.digest(data.hash, table.hash, data.metric_hash, first, task.views[0]))

    def score(self, some: Names) -> float:
        """Mean over the folds of their score, greater is better; nan where none has one. Without a calibration, which a
        run's own log loss has: it would be fitted on the fold that it is scored on.
        """
        scores = [score for name in self.rows if not np.isnan(score := self._of_fold(some, name))]
        return float(np.mean(scores)) if scores else float("nan")

    def _of_fold(self, some: Names, name: str) -> float:
        paths = [weights_file(run, name) for run in some]
        key = artifacts.digest(self.basis, *map(weights_digest, paths))
        folder = self.fold.folder.parent / "tasted" / f"{name}-{key}"
        with locks.locked(folder, wait=-1):
            if not (folder / "score.json").exists():
                lay(paths, replace(self.fold, folder=folder))
                score = self._taste(folder, name)
                for file in folder.glob(MODEL):
                    file.unlink()
                artifacts.write_json(folder / "score.json", {"of": list(some), "fold": name, "score": score})
        self.done += len(self.rows[name])
        return artifacts.read_json(folder / "score.json")["score"]

    def _taste(self, folder: Path, name: str) -> float:
        rows, metric = self.rows[name], self.fold.problem.metric
        total = (2 * len(self.task.of) - 1) * sum(map(len, self.rows.values()))

        def progress(done: int, _: int, text: str) -> None:
            self.fold.progress(self.done + done, total, "tasting")
            if self.fold.stop():
                raise Stopped(f"{self.fold.name} stopped while soups were tasted")

        there = replace(self.fold, name=name, folder=folder, progress=progress)
        found = self.network.predict(rows, there, self.task.views[0])
        assert rows.truth is not None
        if not np.isfinite(found.select_dtypes("number").to_numpy()).all():
            return float("-inf")
        return deciding.best_score(metric, rows.truth, pick(found, rows.ids))


def others(table: FoldTable, name: str) -> list[Split]:
    """The folds of the same repeat, beginning behind this one: processes at work on several meet less."""
    here = next(split for split in table.splits if split.name == name)
    rest = [split for split in table.splits if split.repeat == here.repeat and split.fold != here.fold]
    return sorted(rest, key=lambda split: (split.fold < here.fold, split.fold))


def lay(paths: Sequence[Path], fold: Fold) -> None:
    """Writes the mean of the weights into the fold's folder, and what lies beside them, which is alike where notes are."""
    for file in paths[0].parent.glob(MODEL):
        if file.name != WEIGHTS:
            artifacts.write_bytes(fold.folder / file.name, file.read_bytes())
    artifacts.write_bytes(fold.folder / WEIGHTS, averaged(paths, fold.origin))


def averaged(paths: Sequence[Path], origin: dict[str, str]) -> bytes:
    """A weights file of the mean of others, in float64; the notes are the first's, but for where they come from.

    Statistics of batch norms are averaged like weights; whole numbers (how many batches were seen) are the first's.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file, save

    first = load_file(paths[0])
    sums = {name: tensor.double() for name, tensor in first.items() if tensor.is_floating_point()}
    for path in paths[1:]:
        more = load_file(path)
        sums = {name: tensor + more[name] for name, tensor in sums.items()}
    means = {name: (tensor / len(paths)).to(first[name].dtype) for name, tensor in sums.items()}
    with safe_open(paths[0], "np") as f:
        return save(first | means, metadata=f.metadata() | origin | {versions.NOTE: versions.note()})


def weights_file(run: str, fold: str) -> Path:
    """A run's weights of a fold."""
    return artifacts.run_folder(run) / fold / WEIGHTS


def weights_digest(path: Path) -> str:
    return artifacts.read_json(path.parent / "fit.json")["files"][path.name]


def check(found: Sequence[Run], data: Data, table: FoldTable) -> None:
    """Raises ConfigFault RUN-PARTIAL, ENS-FOLDS, SOUP-SHAPES with every run that can't be in one soup, and EnvironmentFault
    CKPT-CORRUPT."""
    problems = [problem for run in found for problem in _unfit(run.name, data, table)]
    if problems:
        raise ConfigFault(*problems)
    for run in found:
        for split in table.splits:
            intact(weights_file(run.name, split.name).parent)
    first = found[0].name
    problems = [
        _finding(
            "SOUP-SHAPES", run.name, f"{difference} ({first}, {run.name})", f"leave it out, or train it as {first}"
        )
        for run in found[1:]
        if (difference := _difference(first, run.name, table))
    ]
    if problems:
        raise ConfigFault(*problems)


def _unfit(name: str, data: Data, table: FoldTable) -> list[Finding]:
    record = runs.recorded(name)
    if record is not None and (record["folds"] != table.hash or record["data"] != data.hash):
        what = "fold table" if record["folds"] != table.hash else "data"
        return [_finding("ENS-FOLDS", name, f"it is of another {what}", f"train {name} anew (AS=)")]
    missing = [s.name for s in table.splits if not (artifacts.run_folder(name) / s.name / "fit.json").exists()]
    if missing:
        return [_finding("RUN-PARTIAL", name, f"not trained: {examples(missing)}", f"make train RUN={name}")]
    return []


def _difference(one: str, other: str, table: FoldTable) -> str:
    """The first tensor, or else the first note, by which the networks of two runs differ; empty where none does."""
    for split in table.splits:
        here, there = (_described(weights_file(run, split.name)) for run in (one, other))
        for name in here | there:
            if here.get(name) != there.get(name):
                return f"{split.name}, {name}: {here.get(name, 'none')} and {there.get(name, 'none')}"
    return ""


def _described(path: Path) -> dict[str, str]:
    """Tensors with type and shape, then notes."""
    from safetensors import safe_open

    with safe_open(path, "np") as f:
        slices = {name: f.get_slice(name) for name in f.keys()}  # noqa: SIM118  (no mapping)
        notes = {name: text for name, text in f.metadata().items() if name not in OWN_NOTES}
        return {name: f"{s.get_dtype()} {s.get_shape()}" for name, s in slices.items()} | notes


def _plain(score: float) -> float | None:
    return round(score, 6) if np.isfinite(score) else None


def _finding(code: str, run: str, found: str, mend: str) -> Finding:
    return Finding(
        code=code,
        what="a run can't be in the soup",
        where=f"key of: {run}",
        found=found,
        risk="a mean of weights is of one network, trained on the same folds",
        mend=mend,
    )
