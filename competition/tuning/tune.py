"""Searches over a run's settings: `make tune RUN=leaves/baseline [TRIALS=30] [TIME=2h]`. How: docs/search.md.

Workers of one command and commands on several machines are the same thing: each takes the next trial of the study until as
many as asked for have come to an end. Then the best are trained again with another seed, and the winner is written as a run.
"""

from __future__ import annotations

import functools
import json
import math
import random
import time as clock
import warnings
from collections import Counter
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import FrozenTrial, TrialState

from competition import artifacts, board, pseudo, runs, train
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signalled, slots
from competition.errors import EnvironmentFault, Finding, Stopped
from competition.tuning import finals, report, space, study, trial
from competition.tuning.trial import Search

TRIALS = 30  # where neither TRIALS= nor TIME= says otherwise
UNBOUNDED = 10**6
SHARE = 0.75  # of the time is for trials, the rest for the finalists


def tune(run: Run, engine: Engine, asked: int | None = None, seconds: float | None = None) -> None:
    """asked: trials over the life of the study; None: 30, or as many as the time allows.

    Raises Fault, and Stopped where a signal asked for it or time is up before a trial is whole.
    """
    finals.check_file(run)
    began = clock.time()
    problem = load(run.competition).problem
    search, queued = _begin(run, space.of(run, problem.kind))
    limit = asked or (TRIALS if seconds is None else UNBOUNDED)
    if run.tune.sampler == "grid":
        limit = min(limit, queued)
    for key, entry in search.space.items():
        search.say(f"tries {key}: {entry}")
    ends = (math.inf, math.inf) if seconds is None else (began + SHARE * seconds, began + seconds)
    if sum(t.state in study.ENDED for t in _all(search)) < limit:
        _trials(search, engine, limit, ends[0])
    ended = _all(search)
    complete = _complete(search, ended)
    tried = finals.verify(search, engine, complete, ends[1])
    result = finals.result(search, complete, tried, sum(t.state in study.ENDED for t in ended))
    report.write(search, ended, problem.metric.name)
    finals.write(search, result, tried, problem.metric.name)


def _all(search: Search) -> list[FrozenTrial]:
    with study.storage_faults(search.url):
        return study.trials(optuna.load_study(study_name=search.run.name, storage=study.storage(search.url)))


def _begin(run: Run, tried: space.Space) -> tuple[Search, int]:
    """The search, its study made or found, and how many points its queue had; one process at a time."""
    beside = run.model_copy(update={"name": f"{run.name}~tune"})
    with runs.opened(beside, wait=-1) as at:
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
            url=run.tune.storage or study.database(at.folder),
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
        with study.storage_faults(search.url):
            study.begin(run.name, search.url, metric.greater, json.loads(json.dumps(identity)), queue)
    return search, len(queue)


def _queue(search: Search) -> list[dict[str, Any]]:
    """The parent's own values, then, of a grid, every point."""
    kind = load(search.run.competition).problem.kind
    own = space.encoded(search.space, space.values_of(search.run, search.space, kind))
    missing = [key for key in search.space if key not in own]
    if search.run.tune.sampler == "grid":
        points = study.grid(search.space, search.run.seed)
        return [own] * (own in points) + [point for point in points if point != own]
    if own and missing:
        search.say(f"the first trial has the run's own values, and drawn ones for {', '.join(missing)}")
    return [own] if own else []


def _trials(search: Search, engine: Engine, asked: int, deadline: float) -> None:
    """Trials until `asked` have come to an end or time is up. Raises Stopped where a signal asked for it."""
    task, jobs = search.run.task, search.run.jobs
    workers = range(min(asked, slots(task.device, jobs)[0]))
    try:
        with engine.until(deadline):
            engine.map(functools.partial(work, search, asked), workers, task.device, jobs)
    except Stopped:
        if signalled():
            raise
        search.say("the time for trials is up")


def work(search: Search, asked: int, number: int) -> None:
    """What each worker does: trial after trial, until as many as asked for have come to an end, whoever did them."""
    with study.storage_faults(search.url):
        joined = study.join(search.run.name, search.url, search.run.tune.sampler, search.run.seed)
        while study.free(joined, asked):
            one(search, joined, asked, f"{search.run.name}: worker {number + 1}")


def one(search: Search, joined: optuna.Study, asked: int, label: str) -> None:
    """The next trial, to its end; what stops it puts it back into the queue."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)  # it is beaten below
        taken = joined.ask()
    number = taken.number
    if study.surplus(joined, _frozen(joined, number), asked):
        study.give_back(joined, _frozen(joined, number))
        joined.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        return
    with get_heartbeat_thread(taken._trial_id, joined._storage):
        try:
            value, reason = trial.evaluate(search, taken, label)
            taken.set_user_attr("reason", reason)
        except UpdateFinishedTrialError:  # taken for dead while this process slept: its copy finds the folds done
            return
        except BaseException:
            study.give_back(joined, _frozen(joined, number))
            joined.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            raise
        joined.tell(number, value, state=TrialState.PRUNED if value is None else None, skip_if_finished=True)
    _told(search, joined, asked, number)


def _told(search: Search, joined: optuna.Study, asked: int, number: int) -> None:
    """One line, the progress of the study, and only the weights that finalists may need."""
    this, ended = _frozen(joined, number), study.trials(joined, *study.ENDED)
    values = ", ".join(f"{key} {value}" for key, value in this.user_attrs["values"].items())
    end = f"{this.value:.4f}" if this.state is TrialState.COMPLETE else this.user_attrs["reason"]
    search.say(f"trial {number}: {end} ({values})")
    best = finals.ranked(search, [t for t in ended if t.state is TrialState.COMPLETE])
    pruned = sum(t.state is TrialState.PRUNED for t in ended)
    text = f"pruned {pruned}" + (f", best {best[0].value:.4f}" if best else "")
    total = len(ended) + 1 if asked == UNBOUNDED else max(asked, len(ended))
    board.show(f"{search.run.name}: trials", len(ended), total, text)
    kept = {t.user_attrs["folder"] for t in best[: max(1, search.run.tune.finalists)]}
    spent = {t.user_attrs["folder"] for t in best} | {this.user_attrs.get("folder", "")}
    for folder in spent - kept - {""}:
        trial.drop_models(search.folder / folder, search.splits)


def _frozen(joined: optuna.Study, number: int) -> Any:
    return study.trials(joined)[number]


def _complete(search: Search, ended: list[Any]) -> list[Any]:
    """The trials with a score, best first. Raises EnvironmentFault HPO-NONE, or Stopped where none has ended."""
    complete = finals.ranked(search, [t for t in ended if t.state is TrialState.COMPLETE])
    if complete:
        return complete
    reasons = Counter(t.user_attrs.get("reason", "") for t in ended if t.state is TrialState.PRUNED)
    if not reasons:
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
