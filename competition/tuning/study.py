"""The study of a search: Optuna's, in a database that any number of processes and machines may share.

What a killed process was trying goes back into the queue once its heartbeat is missed; the number of trials that are asked
for counts those that came to an end, over the life of the study.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from competition import artifacts
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Finding, Stopped
from competition.tuning.space import Space, encoded

HEARTBEAT, GRACE = 15, 60  # seconds between two signs of life; without one after which a trial goes back into the queue
DEATHS = 3  # processes that may die with a trial before it is given up
LOCKED = 60  # seconds that a locked SQLite file is waited for
POLL = 1.0  # seconds between two looks at what others do
STARTUP = 10  # trials at random before a sampler learns from them
THIRD = 34  # percent of a schedule: Optuna's rung of successive halving; the next one would lie at 102
GRID = 2000  # points of a grid at most
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
HISTORY = "retry_history"  # Optuna's name for the numbers of the trials that this one repeats


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
            mend="a file that is no database: move it away, the folders of its trials are used again; a locked one: "
            "stop what holds it; a server: is it up, and its driver installed here?",
        )
    )


def shown(url: str) -> str:
    """The URL without its password, whatever else is wrong with it."""
    before, at, host = url.rpartition("@")
    return f"{before.partition('://')[0]}://***@{host}" if at else url


def storage(url: str) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options: dict[str, Any] = (
        {"connect_args": {"timeout": LOCKED}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=_died,
            )
        except ImportError as e:
            raise _store(url, str(e.__cause__ or e)) from None


def begin(
    name: str, url: str, greater: bool, identity: dict[str, Any], queue: Sequence[dict[str, Any]]
) -> optuna.Study:
    """The study, made or found; `queue` holds the values (as the study keeps them) that a new one begins with.

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
        for values in queue:
            study.enqueue_trial(values)
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
    """The study in a worker. Pruning by epochs is Optuna's asynchronous successive halving at one rung."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=THIRD, reduction_factor=3)
    return optuna.load_study(study_name=name, storage=storage(url), sampler=Numbered(sampler, seed), pruner=pruner)


class Numbered(BaseSampler):
    """A sampler whose seed depends on the number of the trial: a seeded one that starts anew repeats its first trials."""

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
        self.now = self.make(int(artifacts.digest(str(self.seed), str(trial.number))[:8], 16))
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


def free(study: optuna.Study, asked: int) -> bool:
    """Waits until a trial is there to be tried (True), or as many as asked for have come to an end (False).

    Whoever waits also looks for trials whose process is gone. Raises Stopped.
    """
    while True:
        if stopping():
            raise Stopped("the search stopped between two trials")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        states = Counter(trial.state for trial in trials(study))
        ended = sum(states[state] for state in ENDED)
        if ended >= asked:
            return False
        if ended + states[TrialState.RUNNING] < asked:
            return True
        time.sleep(POLL)


def surplus(study: optuna.Study, trial: FrozenTrial, asked: int) -> bool:
    """Whether another process took the last trial at the same moment: then the later one is not needed."""
    begun = [t for t in trials(study, *ENDED, TrialState.RUNNING) if t.datetime_start is not None]
    begun.sort(key=lambda t: (t.state not in ENDED, t.datetime_start, t.number))
    return trial.number not in [t.number for t in begun[:asked]]


def give_back(study: optuna.Study, trial: FrozenTrial, **attributes: Any) -> None:
    """Queues a trial that did not come to its end, as it stands: the next process goes on with its values and folds.

    Done twice it is queued once, so that a kill between this and the trial's FAIL does no harm.
    """
    if any((t.system_attrs.get(HISTORY) or [None])[-1] == trial.number for t in trials(study)):
        return
    history = [*trial.system_attrs.get(HISTORY, []), trial.number]
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs | {HISTORY: history} | attributes,
            intermediate_values=trial.intermediate_values,
        )
    )


def _died(study: optuna.Study, trial: FrozenTrial) -> None:
    """What becomes of a trial whose heartbeat was missed: it is queued, unless it kills every process that tries it."""
    deaths = trial.system_attrs.get("deaths", 0) + 1
    if deaths < DEATHS:
        give_back(study, trial, deaths=deaths)
