"""The study of a search: Optuna's, in a database that any number of processes and machines may share.

What a killed process was trying goes back into the queue once its heartbeat is missed; the number of trials that are asked
for counts different values that came to an end, over the life of the study.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from competition import artifacts, board
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Finding, Stopped
from competition.tuning import store
from competition.tuning.draws import HISTORY, InOrder, Numbered, origin, trials

DEATHS = 3  # processes that may die with a trial, none of them further than the one before, until it is given up
REPEATS = 30  # trials in a row that bring values which have come to an end before the search ends
FAULTS = 10  # trials in a row that end with the same fault, and none with a score, before the search ends
POLL = 1.0  # seconds between two looks at what others do
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
BEATS = "beats"  # attribute: the number of the trial whose heartbeat has begun; a copy has that of its original
SEEN = "same as"  # attribute of a trial whose values had come to an end: the number of the one that did
MARK = "folder"  # attribute of a study: what stands in `mark.json` of the folder with its trials


def begin(
    name: str, url: str, greater: bool, identity: dict[str, Any], queue: Sequence[tuple[dict[str, Any], dict[str, Any]]]
) -> optuna.Study:
    """The study, made or found; `queue` holds the values (as the study keeps them) that a new one begins with, and the
    user attributes of each.

    Raises ConfigFault HPO-MISMATCH where a study of that name is of other settings. The caller holds its folder's lock.
    """
    with store.alone(url):
        return _begun(name, url, greater, identity, queue)


def _begun(
    name: str, url: str, greater: bool, identity: dict[str, Any], queue: Sequence[tuple[dict[str, Any], dict[str, Any]]]
) -> optuna.Study:
    direction = "maximize" if greater else "minimize"
    study = optuna.create_study(
        study_name=name,
        storage=store.opened(url),
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
        where=f"{name}, {store.shown(url)}",
        found=f"{there} there, {now} now",
        risk="trials that can't be compared would be mixed; nothing was changed",
        mend=f"restore the {key}; or search anew under another run (a file that `extends:` this one), or without the "
        "database: trials of the same settings and data are not trained again",
    )


def join(name: str, url: str, sampler: str, seed: int) -> optuna.Study:
    """The study in a worker."""
    return InOrder(name, store.opened(url, store.GONE), Numbered(sampler, seed), optuna.pruners.NopPruner())


def found(name: str, url: str) -> list[FrozenTrial]:
    """The trials of a study that has begun."""
    return trials(optuna.load_study(study_name=name, storage=store.opened(url, store.GONE)))


def check_shared(study: optuna.Study, folder: Path, url: str) -> None:
    """Raises EnvironmentFault HPO-STORE where a server's study has its trials in another folder than this one.

    Whoever comes first leaves a mark in both.
    """
    if not store.of_a_server(url):
        return
    file, mark = folder / "mark.json", study.user_attrs.get(MARK)
    if mark is None:
        mark = uuid.uuid4().hex
        artifacts.write_json(file, {"mark": mark})
        study.set_user_attr(MARK, mark)
    there = artifacts.read_json(file)["mark"] if file.exists() else None
    if there != mark:
        raise EnvironmentFault(
            Finding(
                code="HPO-STORE",
                what="this search has begun in a folder that is not this one",
                where=f"{folder}, {store.shown(url)}",
                found="no mark of it here" if there is None else "the mark of another search here",
                risk="trials of other machines would have no folder here",
                mend="machines that share `tune.storage` share the folder runs/ too: put it, or a link to it, on one disk; "
                "what was deleted comes back by a search under another run, or in another database",
            )
        )


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
        while not ended.wait(store.HEARTBEAT):
            with suppress(
                StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError, Stopped
            ):  # one may be missed
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
    one by whoever sees it, and so is missed like any other. What Optuna has failed is copied by whoever sees it without
    a copy, for a process may die between the two as well; where two see it there are two copies, and the second finds the
    values tried.
    """
    for t in trials(study, TrialState.RUNNING):
        if t.user_attrs.get(BEATS) != t.number:
            with suppress(UpdateFinishedTrialError):
                _beat(study, t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for t in trials(study, TrialState.FAIL):
        if SEEN not in t.user_attrs and not _copied(study, t):
            _died(study, t)


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
    if _copied(study, trial):
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


def _copied(study: optuna.Study, trial: FrozenTrial) -> bool:
    return any((t.system_attrs.get(HISTORY) or [None])[-1] == trial.number for t in trials(study))


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
