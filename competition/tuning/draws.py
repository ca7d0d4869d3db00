"""What a search tries next, and in which order: its samplers, the points of a grid, trials that were cut short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from competition import artifacts
from competition.errors import ConfigFault, Finding
from competition.tuning.space import Space, encoded

STARTUP = 10  # trials at random before a sampler learns from them
GRID = 2000  # points of a grid at most
HISTORY = "retry_history"  # Optuna's name for the numbers of the trials that this one repeats


def trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states or None)


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
