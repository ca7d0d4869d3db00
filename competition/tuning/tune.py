"""Searches over a run's settings: `make tune RUN=leaves/baseline [TRIALS=30] [TIME=2h]`. How: docs/search.md.

Workers of one command and commands on several machines are the same thing: each takes the next trial of the study until as
many as asked for have come to an end. Then the best is trained again with another seed, and written as a run.
"""

from __future__ import annotations

import functools
import json
import math
import random
import time as clock
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from competition import artifacts, board, elsewhere, launch, pseudo, runs, train
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signalled
from competition.errors import EnvironmentFault, Finding, Stopped
from competition.tracking import follow
from competition.tuning import draws, finals, report, space, store, study, trial
from competition.tuning.trial import Search

TRIALS = 30  # where neither TRIALS= nor TIME= says otherwise
UNBOUNDED = 10**6
SHARE = 0.75  # of the time is for trials, the rest for the best one on another seed


def tune(run: Run, engine: Engine, asked: int | None = None, seconds: float | None = None) -> None:
    """asked: trials over the life of the study; None: 30, or as many as the time allows; a grid has an end of its own.

    Raises Fault, and Stopped where a signal asked for it or time is up before a trial is whole.
    """
    finals.check_file(run)
    launch.only_alone(run)
    began = clock.monotonic()
    problem = load(run.competition).problem
    search = _begin(run, space.of(run, problem.kind))
    bounded = seconds is None and run.tune.sampler != "grid"
    limit = min(asked or (TRIALS if bounded else UNBOUNDED), space.size(search.space) or UNBOUNDED)
    for key, entry in search.space.items():
        search.say(f"tries {key}: {entry}")
    engine.everywhere(replace(elsewhere.needs(runs.look(run)), folds=frozenset()))
    ends = (math.inf, math.inf) if seconds is None else (began + SHARE * seconds, began + seconds)
    if len(study.distinct(_all(search))) < limit:
        _trials(search, engine, limit, ends[0])
    ended = _all(search)
    if len(study.distinct(ended)) < limit and (why := study.exhausted(ended)):
        search.say(why)
    complete = _complete(search, ended)
    _drop_spent(search, complete, [t for t in study.distinct(ended) if t.state is TrialState.PRUNED])
    with trial.held(search.folder / "locks" / "end"):  # commands of one search may end together
        tried = finals.verify(search, engine, complete, ends[1])
        result = finals.result(search, complete, tried, len(study.distinct(ended)))
        report.write(search, ended, problem.metric.name)
        finals.write(search, result, tried, problem.metric.name)


def _all(search: Search) -> list[FrozenTrial]:
    with store.faults(search.url):
        return study.found(search.run.name, search.url)


def _begin(run: Run, tried: space.Space) -> Search:
    """The search, its study made or found; one process at a time."""
    beside = run.model_copy(update={"name": f"{run.name}~tune"})
    with trial.patient(lambda: runs.opened(beside, wait=1)) as at:
        train.prepare(at)
        inputs = artifacts.read_json(at.folder / "run.json")["inputs"]
        if run.pseudo:
            pseudo.keep(at)
            inputs = artifacts.digest(inputs, pseudo.content(at))
        splits, metric = trial.first_repeat(at.table), at.data.problem.metric
        random.Random(run.seed).shuffle(splits)
        search = Search(
            run=run,
            space=tried,
            splits=tuple(splits),
            basis=artifacts.digest(at.data.hash, at.table.hash, inputs),
            greater=metric.greater,
            url=store.address(run.tune.storage) if run.tune.storage else store.database(at.folder),
        )
        fixed = space.run_of(run, run.name, {key: entry.least() for key, entry in tried.items()})
        parts = fixed.parts()
        identity = {
            "search space": space.plain(tried),
            "settings": {k: v for k, v in fixed.config().items() if parts.get(k, "fit") == "fit"},
            "metric": f"{metric.name} {at.data.metric_hash}",
            "data": at.data.hash,
            "fold table": at.table.hash,
            "pictures or functions of yours": inputs,
        }
        queue = _queue(search)
        follow(at, [*tried])
        with store.faults(search.url):
            begun = study.begin(run.name, search.url, metric.greater, json.loads(json.dumps(identity)), queue)
            study.check_shared(begun, search.folder, search.url)
    return search


def _queue(search: Search) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The parent's own values, then, of a grid, every point; with the attributes of their trials."""
    kind = load(search.run.competition).problem.kind
    values = space.values_of(search.run, search.space, kind)
    own = space.encoded(search.space, values)
    first = (own, {"own": {key: values[key] for key in own}})
    missing = [key for key in search.space if key not in own]
    if search.run.tune.sampler == "grid":
        points = draws.grid(search.space, search.run.seed)
        return [first] * (own in points) + [(point, {}) for point in points if point != own]
    if own and missing:
        search.say(f"the first trial has the run's own values, and drawn ones for {', '.join(missing)}")
    return [first] if own else []


def _trials(search: Search, engine: Engine, asked: int, deadline: float) -> None:
    """Trials until `asked` have come to an end or time is up. Raises Stopped where a signal asked for it."""
    if engine.hosts > 1 and search.url.startswith("sqlite"):
        raise EnvironmentFault(_of_one_machine(search, engine.hosts))
    workers = range(min(asked, engine.slots(search.run.demand)[0]))
    try:
        with engine.until(deadline):
            engine.map(functools.partial(work, search, asked), workers, search.run.demand)
    except Stopped:
        if signalled():
            raise
        search.say("the time for trials is up")


def _of_one_machine(search: Search, hosts: int) -> Finding:
    """SQLite's locks do not hold on a network's file system, says its documentation (sqlite.org/faq.html, question 5)."""
    what, found = "the database of the search is a file, and its trials run on several machines", f"{hosts} machines"
    mend = "tune.storage: postgresql://..., which all of them reach (docs/search.md)"
    return Finding("HPO-STORE", what, f"key tune.storage: {store.shown(search.url)}", found, mend)


def work(search: Search, asked: int, number: int) -> None:
    """What each worker does: trial after trial, until as many as asked for have come to an end, whoever did them."""
    with store.faults(search.url):
        joined = study.join(search.run.name, search.url, search.run.tune.sampler, search.run.seed)
        study.check_shared(joined, search.folder, search.url)
        while study.free(joined, asked):
            one(search, joined, asked, f"{search.run.name}: worker {number + 1}")


def one(search: Search, joined: optuna.Study, asked: int, label: str) -> None:
    """The next trial, to its end; what stops it puts it back into the queue."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)  # it is beaten below
        taken = joined.ask()
    number = taken.number
    with study.beating(joined, number):
        try:
            if study.surplus(joined, _frozen(joined, number), asked):
                _return(joined, number)
                return
            value, reason = trial.evaluate(search, taken, label)
            taken.set_user_attr("reason", reason)
        except UpdateFinishedTrialError:  # taken for dead while this process slept: its copy finds the folds done
            return
        except trial.Repeated as repeated:
            taken.set_user_attr(study.SEEN, repeated.number)
            joined.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            search.say(f"trial {number} has the values of trial {repeated.number}, and is not counted")
            return
        except BaseException:
            _return(joined, number)
            raise
        joined.tell(number, value, state=TrialState.PRUNED if value is None else None, skip_if_finished=True)
    _told(search, joined, asked, number)


def _return(joined: optuna.Study, number: int) -> None:
    study.give_back(joined, _frozen(joined, number))
    joined.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def _told(search: Search, joined: optuna.Study, asked: int, number: int) -> None:
    """One line, the progress of the study, and only the weights of the best."""
    every = study.trials(joined)
    this, ended = every[number], study.distinct(every)
    report.listed(search, every)
    values = ", ".join(f"{key} {value}" for key, value in this.user_attrs["values"].items())
    end = f"{this.value:.4f}" if this.state is TrialState.COMPLETE else this.user_attrs["reason"]
    search.say(f"trial {number}: {end} ({values})")
    best = finals.ranked(search, [t for t in ended if t.state is TrialState.COMPLETE])
    pruned = sum(t.state is TrialState.PRUNED for t in ended)
    text = f"pruned {pruned}" + (f", best {best[0].value:.4f}" if best else "")
    total = len(ended) + 1 if asked == UNBOUNDED else max(asked, len(ended))
    board.show(f"{search.run.name}: trials", len(ended), total, text)
    _drop_spent(search, best, [t for t in ended if t.state is TrialState.PRUNED])


def _drop_spent(search: Search, best: list[Any], pruned: list[Any]) -> None:
    """The weights of all trials but the best: of those before, too, whose process may have died before it did so."""
    for t in (*best[max(1, search.run.tune.finalists) :], *pruned):
        if "folder" in t.user_attrs:
            trial.drop_models(search.folder / t.user_attrs["folder"], search.splits)


def _frozen(joined: optuna.Study, number: int) -> Any:
    return study.trials(joined)[number]


def _complete(search: Search, ended: list[Any]) -> list[Any]:
    """The trials with a score, best first. Raises EnvironmentFault HPO-NONE, or Stopped where none has ended."""
    complete = finals.ranked(search, [t for t in ended if t.state is TrialState.COMPLETE])
    if complete:
        _there(search, complete)
        return complete
    reasons = Counter(t.user_attrs.get("reason", "") for t in ended if t.state is TrialState.PRUNED)
    if not reasons or any(not t.state.is_finished() for t in _all(search)):
        raise Stopped("time is up before one trial was whole")
    reason, times = reasons.most_common(1)[0]
    raise EnvironmentFault(
        Finding(
            code="HPO-NONE",
            what="no trial has a score",
            where=str(search.folder),
            found=f"{sum(reasons.values())} trials ended early, {times} of them with: {reason}",
            risk="there is nothing to choose from",
            mend="narrow `search:` to values that the machine and the model can take, and try one by hand: "
            f"make train RUN={search.run.name}",
        )
    )


def _there(search: Search, complete: list[Any]) -> None:
    """Raises EnvironmentFault HPO-STORE where the predictions of a trial are not on this machine."""
    gone = [folder for t in complete if not _predicted(search, folder := t.user_attrs["folder"])]
    if gone:
        raise EnvironmentFault(
            Finding(
                code="HPO-STORE",
                what="trials that the database knows have no folder here",
                where=str(search.folder),
                found=f"{len(gone)} of {len(complete)} are missing or not whole: {', '.join(gone[:5])}",
                risk="without their predictions there is no score of the choice; nothing was lost",
                mend="machines that share `tune.storage` share the folder runs/ too: put it, or a link to it, on one disk; "
                "what was deleted comes back by a search under another run",
            )
        )


def _predicted(search: Search, folder: str) -> bool:
    return all((search.folder / folder / split.name / "oof.parquet").exists() for split in search.splits)
