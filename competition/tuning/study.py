"""The study of a search: Optuna's, in a database that any number of processes and machines may share.

What a killed process was trying goes back into the queue once its heartbeat is missed; the number of trials that are asked
for counts different values that came to an end, over the life of the study.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from competition import artifacts, board, watchdog
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Finding, Stopped
from competition.tuning.space import Space, encoded

HEARTBEAT, GRACE = (
    60,
    180,
)  # seconds between two signs of life; without one after which a trial goes back into the queue
DEATHS = 3  # processes that may die with a trial, none of them further than the one before, until it is given up
REPEATS = 30  # trials in a row that bring values which have come to an end before the search ends
FAULTS = 10  # trials in a row that end with the same fault, and none with a score, before the search ends
LOCKED = 60  # seconds that a locked SQLite file is waited for
POLL = 1.0  # seconds between two looks at what others do
STARTUP = 10  # trials at random before a sampler learns from them
GRID = 2000  # points of a grid at most
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
HISTORY = "retry_history"  # Optuna's name for the numbers of the trials that this one repeats
BEATS = "beats"  # attribute: the number of the trial whose heartbeat has begun; a copy has that of its original
SEEN = "same as"  # attribute of a trial whose values had come to an end: the number of the one that did


def database(folder: Path) -> str:
    return f"sqlite:///{(folder / 'study.db').absolute()}"


@contextmanager
def storage_faults(url: str) -> Generator[None]:
    """Turns what a database refuses into HPO-STORE; a password is not shown."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as e:
        raise _store(url, str(e.__cause__ or e)) from None


def _store(url: str, cause: str) -> EnvironmentFault:
    return EnvironmentFault(
        Finding(
            code="HPO-STORE",
            what="the database of the search can't be used",
            where=f"key tune.storage: {shown(url)}",
            found=cause.split("\n")[0].replace(url, shown(url)),
            risk="no trial was lost that had come to an end",
            mend="a file that is no database, or one of another version of Optuna that you can't take: move it away, the "
            "folders of its trials are used again; a locked one: stop what holds it; a server: is it up, and its driver "
            "installed here?",
        )
    )


def shown(url: str) -> str:
    """The URL without its password, whatever else is wrong with it."""
    before, at, host = url.rpartition("@")
    return re.sub(r"(password=)[^&]*", r"\1***", f"{before.partition('://')[0]}://***@{host}" if at else url)


def address(text: str) -> str:
    """The URL that `tune.storage` means: itself, or of `env:NAME` the value of that variable. Raises ConfigFault."""
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not os.environ.get(name):
        what, mend = "the variable that holds the database's URL is not set", f"export {name}=postgresql://..."
        raise ConfigFault(Finding("CFG-VALUE", what, "key tune.storage", text, mend))
    return os.environ[name]


def storage(url: str) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options: dict[str, Any] = (
        {"connect_args": {"timeout": LOCKED}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            made = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=_died,
            )
            watchdog.statements(made.engine, lambda: f"waiting for the database of the search, {shown(url)}")
            return made
        except ImportError as e:
            raise _store(url, str(e.__cause__ or e)) from None
        except RuntimeError as e:  # tables of another version of Optuna
            raise _store(url, str(e)) from None


def begin(
    name: str, url: str, greater: bool, identity: dict[str, Any], queue: Sequence[tuple[dict[str, Any], dict[str, Any]]]
) -> optuna.Study:
    """The study, made or found; `queue` holds the values (as the study keeps them) that a new one begins with, and the
    user attributes of each.

    Raises ConfigFault HPO-MISMATCH where a study of that name is of other settings. The caller holds its folder's lock.
    """
    direction = "maximize" if greater else "minimize"
    study = optuna.create_study(
        study_name=name,
        storage=storage(url),
        direction=direction,
        load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
    )
    there = study.user_attrs.get("identity")
    if there is None:
        for values, attributes in queue[len(trials(study)) :]:  # a killed process may have begun
            study.enqueue_trial(values, user_attrs=attributes)
        study.set_user_attr("identity", identity)
    elif there != identity:
        raise ConfigFault(*(_differs(name, url, key, there.get(key), identity.get(key)) for key in identity
                            if there.get(key) != identity.get(key)))  # fmt: skip
    return study


def _differs(name: str, url: str, key: str, there: Any, now: Any) -> Finding:
    if isinstance(there, dict) and isinstance(now, dict):
        keys = [k for k in there | now if there.get(k) != now.get(k)]
        there, now = ({k: values.get(k) for k in keys} for values in (there, now))
    return Finding(
        code="HPO-MISMATCH",
        what=f"the search under this name has another {key}",
        where=f"{name}, {shown(url)}",
        found=f"{there} there, {now} now",
        risk="trials that can't be compared would be mixed; nothing was changed",
        mend=f"restore the {key}; or search anew under another run (a file that `extends:` this one), or without the "
        "database: trials of the same settings and data are not trained again",
    )


def join(name: str, url: str, sampler: str, seed: int) -> optuna.Study:
    """The study in a worker."""
    return InOrder(name, storage(url), Numbered(sampler, seed), optuna.pruners.NopPruner())


class InOrder(optuna.Study):
    """A trial that was cut short is taken again in its own place, where Optuna takes it after all that was queued since."""

    def _pop_waiting_trial_id(self) -> int | None:
        for t in sorted(trials(self, TrialState.WAITING), key=origin):
            with suppress(UpdateFinishedTrialError):
                if self._storage.set_trial_state_values(t._trial_id, TrialState.RUNNING):
                    return t._trial_id
        return None


def origin(trial: FrozenTrial) -> int:
    """The number under which its values were drawn: of a copy, that of the first that had them."""
    return (trial.system_attrs.get(HISTORY) or [trial.number])[0]


class Numbered(BaseSampler):
    """A sampler whose seed depends on how many trials were drawn before: a seeded one that starts anew repeats its first
    trials, and the number counts the copies of trials that a stop or a fault cut short.
    """

    def __init__(self, kind: str, seed: int):
        make: dict[str, Callable[[int], BaseSampler]] = {
            "tpe": lambda s: TPESampler(seed=s, n_startup_trials=STARTUP, multivariate=True, constant_liar=True),
            "gp": lambda s: GPSampler(seed=s, n_startup_trials=STARTUP),
            "random": lambda s: RandomSampler(seed=s),
            "grid": lambda s: RandomSampler(seed=s),  # all of its points are in the queue
        }
        self.make, self.seed = make[kind], seed
        self.now = self.make(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        drawn = sum(origin(t) == t.number < origin(trial) for t in trials(study))
        self.now = self.make(int(artifacts.digest(str(self.seed), str(drawn))[:8], 16))
        self.now.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self.now.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.now.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self.now.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.now.after_trial(study, trial, state, values)


def grid(space: Space, seed: int) -> list[dict[str, Any]]:
    """Every combination, in random order. Raises ConfigFault CFG-VALUE where there is no end of them, or too many."""
    import itertools
    import random

    points = {key: entry.points() for key, entry in space.items()}
    endless = [key for key, values in points.items() if values is None]
    count = 1
    for values in points.values():
        count *= len(values or ())
    if endless or count > GRID:
        found = f"{', '.join(endless)}: any number of the range" if endless else f"{count:,} combinations"
        mend = f"give `step:` or a list of choices, {GRID:,} combinations at most; or sampler: tpe"
        raise ConfigFault(Finding("CFG-VALUE", "a grid has an end", "key tune.sampler: grid", found, mend))
    rows = [dict(zip(points, row)) for row in itertools.product(*(values or () for values in points.values()))]
    random.Random(seed).shuffle(rows)
    return [encoded(space, row) for row in rows]


def trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states or None)


def distinct(some: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that came to an end, of trials with the same values one: a complete one, else the first."""
    ended = [t for t in some if t.state in ENDED]
    kept: dict[str, FrozenTrial] = {}
    for t in sorted(ended, key=lambda t: (t.state is not TrialState.COMPLETE, t.number)):
        kept.setdefault(_key(t), t)
    return sorted(kept.values(), key=origin)


def _key(trial: FrozenTrial) -> str:
    """Of its values: the folder, or themselves where they make no run."""
    return trial.user_attrs.get("folder") or json.dumps(trial.params, sort_keys=True)


def same(study: optuna.Study, number: int, folder: str) -> FrozenTrial | None:
    """The trial of this folder that came to an end, if any but `number` did."""
    return next(
        (t for t in distinct(trials(study)) if t.user_attrs.get("folder") == folder and t.number != number), None
    )


def free(study: optuna.Study, asked: int) -> bool:
    """Waits until a trial is there to be tried (True), or as many as asked for have come to an end or further ones are
    of no use (False).

    Whoever waits also looks for trials whose process is gone. Raises Stopped.
    """
    while True:
        if stopping():
            raise Stopped("the search stopped between two trials")
        _bury(study)
        some = trials(study)
        ended = len(distinct(some))
        if ended >= asked or exhausted(some):
            return False
        if ended + sum(t.state is TrialState.RUNNING for t in some) < asked:
            return True
        time.sleep(POLL)


def exhausted(some: Sequence[FrozenTrial]) -> str | None:
    """Why further trials would be of no use: nothing new is drawn, or all end with the same fault."""
    over = [t for t in some if t.state.is_finished() and (t.state in ENDED or SEEN in t.user_attrs)]
    if len(over) >= REPEATS and all(SEEN in t.user_attrs for t in over[-REPEATS:]):
        return f"nothing new is drawn: the last {REPEATS} values had all been tried"
    faults = [t.user_attrs.get("fault") for t in distinct(some)][-FAULTS:]
    if len(faults) == FAULTS and faults[0] and len(set(faults)) == 1 and not _any_complete(some):
        return f"the first {FAULTS} trials have all ended with {faults[0]}"
    return None


def _any_complete(some: Sequence[FrozenTrial]) -> bool:
    return any(t.state is TrialState.COMPLETE for t in some)


@contextmanager
def beating(study: optuna.Study, number: int) -> Generator[None]:
    """Signs of life of a trial, the first at once, the last at the end of the block."""
    ended, trial = threading.Event(), trials(study)[number]
    _beat(study, trial)

    def go_on() -> None:
        while not ended.wait(HEARTBEAT):
            with suppress(StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError):  # one may be missed
                _beat(study, trial)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(study: optuna.Study, trial: FrozenTrial) -> None:
    """A sign of life of a trial. Optuna has no public way to its storage from a study, nor to a trial's id."""
    study._storage.record_heartbeat(trial._trial_id)  # ty: ignore[missing-attribute]
    study._storage.set_trial_user_attr(trial._trial_id, BEATS, trial.number)


def _bury(study: optuna.Study) -> None:
    """Queues the trials of processes that are gone.

    Optuna passes over a trial without a heartbeat. One whose process died between taking it and the first beat is given
    one by whoever sees it, and so is missed like any other.
    """
    for t in trials(study, TrialState.RUNNING):
        if t.user_attrs.get(BEATS) != t.number:
            with suppress(UpdateFinishedTrialError):
                _beat(study, t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def surplus(study: optuna.Study, trial: FrozenTrial, asked: int) -> bool:
    """Whether another process took the last trial at the same moment: then the later one is not needed."""
    some = trials(study)
    begun = [t for t in some if t.state is TrialState.RUNNING and t.datetime_start is not None]
    begun.sort(key=lambda t: (t.datetime_start, t.number))
    return trial.number not in [t.number for t in begun[: max(asked - len(distinct(some)), 0)]]


def give_back(study: optuna.Study, trial: FrozenTrial, **attributes: Any) -> None:
    """Queues a trial that did not come to its end, as it stands: the next process goes on with its values and folds."""
    _copy(study, trial, TrialState.WAITING, trial.user_attrs, attributes)


def _copy(
    study: optuna.Study, trial: FrozenTrial, state: TrialState, user: dict[str, Any], system: dict[str, Any]
) -> None:
    """Done twice there is one copy, so that a kill between this and the trial's FAIL does no harm."""
    if any((t.system_attrs.get(HISTORY) or [None])[-1] == trial.number for t in trials(study)):
        return
    history = [*trial.system_attrs.get(HISTORY, []), trial.number]
    study.add_trial(
        optuna.create_trial(
            state=state,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=user,
            system_attrs=trial.system_attrs | {HISTORY: history} | system,
            intermediate_values=trial.intermediate_values,
        )
    )


def _died(study: optuna.Study, trial: FrozenTrial) -> None:
    """What becomes of a trial whose heartbeat was missed: it is queued, unless it kills every process at the same place."""
    there = [len(trial.user_attrs.get("folds", {})), trial.user_attrs.get("epoch")]
    count, before = trial.system_attrs.get("deaths", [0, None])
    deaths = count + 1 if there == before else 1
    if deaths < DEATHS:
        give_back(study, trial, deaths=[deaths, there])
        return
    reason = f"given up: {DEATHS} processes died with it after {there[0]} folds, for memory most often"
    _copy(study, trial, TrialState.PRUNED, trial.user_attrs | {"reason": reason, "fault": "RUN-WORKER"}, {})
    board.say(f"{study.study_name}: trial {trial.number}: {reason}")
