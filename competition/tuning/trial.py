"""One trial: a run with the values that are tried, fitted and scored fold by fold until it is whole or not worth more.

It lies in `runs/<name>/<run>~tune/<hash>/`, whose hash is of its settings, seed, data and folds: the same values are never
trained twice, and a killed trial goes on from its folds and checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from competition import artifacts, board, decide, folds, locks, runs, stacked, train
from competition.boxes import deciding
from competition.config import Run
from competition.data import load
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Fault, Stopped
from competition.folds import Split
from competition.predict import finite
from competition.predictions import VIEW, fold_predictions
from competition.scoring import scored_folds
from competition.task import pick
from competition.tuning import rules, space
from competition.tuning.space import Space

if TYPE_CHECKING:
    import optuna

Thing = TypeVar("Thing")
THIRD = 34  # percent of the first fold's schedule after which the best third goes on
MODEL_FAULTS = {"RUN-OOM", "RUN-NAN", "RUN-DIVERGED", "TAB-MODEL", "SUB-NONFINITE"}  # of one trial's values


@dataclass(frozen=True)
class Search:
    """What every worker of a search knows. basis: hash of data, pictures and folds; splits: in the order of trials."""

    run: Run
    space: Space
    splits: tuple[Split, ...]
    basis: str
    greater: bool
    url: str = field(repr=False)  # with its password

    @property
    def name(self) -> str:
        return f"{self.run.name}~tune"

    @property
    def folder(self) -> Path:
        return artifacts.run_folder(self.name)

    @property
    def view(self) -> str:
        return self.run.task.views[0]

    def say(self, text: str) -> None:
        board.say(f"{self.run.name}: {text}", self.folder)

    def run_of(self, values: dict[str, Any]) -> Run:
        """The run with these values; its name holds all that it depends on. Raises ConfigFault."""
        run = space.run_of(self.run, self.name, values)
        key = artifacts.digest(runs.identity(run, ("fit",)), self.basis)[:8]
        return run.model_copy(update={"name": f"{self.name}/{key}"})

    def signed(self, score: float) -> float:
        """Between a score as it is shown and one that is better when greater, both ways."""
        return score if self.greater else -score


@dataclass
class Ended(Exception):
    """A trial that is not worth its further folds; reason: for people."""

    reason: str


@dataclass
class Repeated(Exception):
    """Values that have come to an end in the trial of this number."""

    number: int


def evaluate(search: Search, trial: optuna.Trial, label: str) -> tuple[float | None, str]:
    """The pooled score as the competition shows it, or None and why the trial ended before its last fold.

    trial: Optuna's; its user attributes hold the values, the folder's name and the fold scores. Raises Repeated, Stopped and
    every Fault that is not of the values.
    """
    values = space.suggest(trial, search.space)
    trial.set_user_attr("values", values)
    try:
        run = search.run_of(values)
        folder = run.name.rpartition("/")[2]
        trial.set_user_attr("folder", folder)
        _refuse_repeated(trial, folder)
        _folds(search, run, trial, label)
        value = score(run, search.view)
    except Ended as ended:
        return None, ended.reason
    except Fault as fault:
        first = fault.findings[0]
        if not isinstance(fault, ConfigFault) and not {f.code for f in fault.findings} <= MODEL_FAULTS:
            raise
        trial.set_user_attr("fault", first.code)
        return None, f"{first.code}: {first.found}"
    return (value, "") if math.isfinite(value) else (None, "its score is no number")


def _refuse_repeated(trial: optuna.Trial, folder: str) -> None:
    from competition.tuning import study

    before = study.same(trial.study, trial.number, folder)
    if before is not None:
        raise Repeated(before.number)


def _folds(search: Search, run: Run, trial: optuna.Trial, label: str) -> None:
    """Fits and scores fold after fold. Raises Ended by the rules of the search."""
    done: dict[str, float] = {}
    rule = search.run.tune.stop
    for n, split in enumerate(search.splits):
        halving = search.run.tune.halving and not any(map(math.isfinite, done.values()))
        epochs = Epochs(search, trial, run.task, halving)
        shown = fold_score(run, split, search.view, label, epochs)
        done[split.name] = shown
        trial.set_user_attr("folds", done)
        so_far = [search.signed(value) for value in done.values()]
        if math.isfinite(rules.mean(so_far)):
            _report(trial, search.signed(rules.mean(so_far)), 100 * (n + 1))
        if n + 1 < len(search.splits) and _hopeless(search, trial, so_far):
            raise Ended(f"after {n + 1} of {len(search.splits)} folds it is worse than the best trial ({rule})")


def _report(trial: optuna.Trial, shown: float, step: int) -> None:
    """To Optuna, once: a trial that was gone on with has said so before."""
    if step not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
        trial.report(shown, step)


@dataclass
class Epochs:
    """What a search does with the scores of a fold that is trained: on the first one that has a score the best third of
    the trials so far goes on, a third into its schedule.

    Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934) with one rung. Ours, for Optuna's counts a trial that
    was gone on with twice, and takes no part where a score is nan.
    """

    search: Search
    trial: optuna.Trial
    task: Any
    halving: bool
    ended: bool = False

    def heard(self, epoch: int, shown: float) -> None:
        """epoch: from 0; shown: its score, nan where it has none."""
        self.trial.set_user_attr("epoch", epoch)
        percent = math.ceil(100 * (epoch + 1) / self.task.epochs)
        if (
            not self.halving or percent >= 100 or not math.isfinite(shown)
        ):  # a whole fold is reported when it is predicted
            return
        _report(self.trial, shown, percent)
        if percent >= THIRD and "rung" not in self.trial.user_attrs:
            self.trial.set_user_attr("rung", shown)
            own = "own" in self.trial.user_attrs  # always whole: what a search is measured by
            self.ended = not (own or rules.promising(self.search.signed(shown), self._others()))

    def _others(self) -> list[float]:
        """The rungs of other values: of a trial that was gone on with one."""
        rungs = {t.user_attrs["folder"]: t.user_attrs["rung"]
                 for t in self.trial.study.get_trials(deepcopy=False) if "rung" in t.user_attrs}  # fmt: skip
        rungs.pop(self.trial.user_attrs["folder"], None)
        return [self.search.signed(rung) for rung in rungs.values()]


def _hopeless(search: Search, trial: optuna.Trial, so_far: Sequence[float]) -> bool:
    """What the rule of the search says, from the fold scores of the complete trials."""
    from optuna.trial import TrialState

    every = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ended = {t.user_attrs["folder"]: t for t in every}.values()  # the same values twice would say that nothing swings
    complete = [[search.signed(value) for value in t.user_attrs["folds"].values()] for t in ended]
    if search.run.tune.stop == "none" or not complete:
        return False
    if search.run.tune.stop == "forgiving":
        return rules.forgiving(so_far, max(complete, key=rules.mean))
    return rules.paired(so_far, complete)


def fold_score(run: Run, split: Split, view: str, label: str, epochs: Epochs | None = None) -> float:
    """Trains and predicts what is missing of one fold; its score as shown, in one view. epochs: of a trial."""
    data = load(run.competition)
    with held(artifacts.run_folder(run.name) / "locks" / split.name):
        if not predicted(run, split):
            folder = artifacts.run_folder(run.name) / split.name
            if not whole(folder):  # weights go with a trial that is not worth them
                train.fill_caches(run, stacked.seen(run, split), _heard)
                _fit(run, split, label, epochs)
            artifacts.drop_checkpoints(folder)  # a kill may have come between the fold's record and this
            _predict(run, split, view)
    metric, truth = data.problem.metric, data.train.truth
    assert truth is not None
    ids = folds.load(data).ids(split)[1]
    prediction = fold_predictions(run, split, "oof", view)
    return metric.shown(deciding.best_score(metric, pick(truth, ids), pick(prediction, ids)))


def predicted(run: Run, split: Split) -> bool:
    return (artifacts.run_folder(run.name) / split.name / "oof.parquet").exists()


def _predict(run: Run, split: Split, view: str) -> None:
    fold = train.open_fold(run, split)
    assert fold.valid is not None
    table = run.task.predict(fold.valid, replace(fold, progress=_heard), view)
    finite(table, run, split, view)
    artifacts.write_table(fold.folder / "oof.parquet", table.assign(**{VIEW: view}))


def whole(folder: Path) -> bool:
    """Whether a fold is trained and still has its weights."""
    path = folder / "fit.json"
    return path.exists() and all((folder / name).exists() for name in artifacts.read_json(path)["files"])


def _fit(run: Run, split: Split, label: str, epochs: Epochs | None) -> None:
    """The fold, trained. Raises Ended, Stopped."""
    report = epochs.heard if epochs else lambda epoch, shown: None
    try:
        train.fit_fold(run, split, train.Watch(label, report, lambda: bool(epochs and epochs.ended)))
    except Stopped:
        if stopping() or not (epochs and epochs.ended):
            raise
        artifacts.drop_checkpoints(artifacts.run_folder(run.name) / split.name)
        raise Ended("a third into its first fold it is not among the best third") from None


def _heard(done: int, total: int, text: str) -> None:
    """Progress that is not worth a line of its own among a hundred folds."""
    if stopping():
        raise Stopped(f"stopped while {text}")


def decided(run: Run, view: str, seed: int = 0) -> pd.DataFrame:
    """Out-of-fold predictions of the first repeat, by id, with the cut that the other folds choose: as a run is scored."""
    data = load(run.competition)
    table = folds.load(data)
    fold = scored_folds(table)
    assert data.train.truth is not None
    parts = [fold_predictions(run, replace(split, seed=seed), "oof", view) for split in first_repeat(table)]
    stack = {view: pick(pd.concat(parts), fold.index)}
    return decide.nested("views", stack, pick(data.train.truth, fold.index), fold, data.problem).decided


def score(run: Run, view: str, seed: int = 0) -> float:
    """Of a whole trial, over all rows together, as the competition shows it."""
    return pooled(run.competition, decided(run, view, seed))


def pooled(competition: str, prediction: pd.DataFrame) -> float:
    data = load(competition)
    assert data.train.truth is not None
    ids = scored_folds(folds.load(data)).index
    metric = data.problem.metric
    return metric.shown(metric.score(pick(data.train.truth, ids), pick(prediction, ids)))


def first_repeat(table: folds.FoldTable) -> list[Split]:
    return [split for split in table.splits if split.repeat == 0]


def drop_models(run: Path, splits: Sequence[Split]) -> None:
    """Weights of folds that will not be needed; their predictions and records stay."""
    for split in splits:
        for file in (run / split.name).glob("model*"):
            file.unlink(missing_ok=True)
        artifacts.drop_checkpoints(run / split.name)


def held(folder: Path) -> AbstractContextManager[None]:
    """A folder, as soon as no other process holds it: of two that try the same values the second finds them done."""
    return patient(lambda: locks.locked(folder, wait=1))


@contextmanager
def patient(opening: Callable[[], AbstractContextManager[Thing]]) -> Generator[Thing]:
    """What `opening` gives, once it is not refused as RUN-LOCKED. Raises Stopped, and every other Fault."""
    with ExitStack() as stack:
        while True:
            try:
                thing = stack.enter_context(opening())
                break
            except EnvironmentFault as fault:
                if fault.findings[0].code != "RUN-LOCKED":
                    raise
                if stopping():
                    raise Stopped("stopped while another process does the same") from None
        yield thing
