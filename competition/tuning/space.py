"""What a search tries: the run's `search:` or its task's default, each key checked against what the run takes there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from competition import artifacts, config, settings
from competition.config import COMMON, Run
from competition.errors import ConfigFault, Finding
from competition.keys import Kind
from competition.task import Searched
from competition.tuning.keys import Range

if TYPE_CHECKING:
    from optuna import Trial

DIGITS = 4  # of a number that is drawn, so that a file can hold it
INSIDE = 0.41421356  # of the way from low to high lies a number that is hardly ever whole
EXAMPLE = "search: {lr: {low: 1e-4, high: 1e-2, log: true}, model: [lightgbm, catboost]}"


@dataclass(frozen=True)
class Span:
    """Numbers from low to high, both included; whole: only whole ones."""

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def suggest(self, trial: Trial, key: str) -> float:
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(key, int(self.low), int(self.high), step=step, log=self.log)
        value = trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def encoded(self, value: Any) -> Any:
        """As the study keeps it; None where it is none of these numbers."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / (self.step or 1)
        if (self.step or self.whole) and abs(steps - round(steps)) > 1e-9:
            return None
        return int(value) if self.whole else float(value)

    def points(self) -> list[float] | None:
        """All of them, in order; None where there is no end."""
        if not self.whole and not self.step:
            return None
        step = self.step or 1
        count = int((self.high - self.low) / step + 1e-9) + 1
        values = [float(f"{self.low + n * step:.12g}") for n in range(count)]
        return [int(v) for v in values] if self.whole else values

    def least(self) -> float:
        return int(self.low) if self.whole else self.low

    def __str__(self) -> str:
        how = [", whole" * self.whole, f", step {self.step:g}" if self.step else "", ", log" * self.log]
        return f"{self.low:g} to {self.high:g}{''.join(how)}"


@dataclass(frozen=True)
class Choice:
    """Any values that a YAML file can hold. The study knows each by its JSON text, so that 1, 1.0 and true differ."""

    values: tuple[Any, ...]

    def suggest(self, trial: Trial, key: str) -> Any:
        return json.loads(trial.suggest_categorical(key, [json.dumps(v) for v in self.values]))

    def encoded(self, value: Any) -> str | None:
        text = json.dumps(value)
        return text if text in map(json.dumps, self.values) else None

    def points(self) -> list[Any]:
        return list(self.values)

    def least(self) -> Any:
        return self.values[0]

    def __str__(self) -> str:
        return " | ".join(v if isinstance(v, str) else json.dumps(v) for v in self.values)


Space = dict[str, Span | Choice]


def of(run: Run, kind: Kind) -> Space:
    """Raises ConfigFault: CFG-TASK where nothing can be searched, CFG-UNKNOWN, CFG-VALUE with every problem at once."""
    if run.task is None or run.preset is not None or not isinstance(run.task, Searched):
        what, found = "only a run of one model can be searched", "a blend, a preset or an import"
        raise ConfigFault(Finding("CFG-TASK", what, f"RUN={run.name}", found, "name a run with `task:` and its keys"))
    default = run.task.space(kind)
    entries = run.search or {k: Range(**v) if isinstance(v, dict) else tuple(v) for k, v in default.items()}
    if not entries:
        found, mend = "no `search:` in the run, and none is known for its model", EXAMPLE
        raise ConfigFault(Finding("CFG-REQUIRED", "nothing says what to search", _where(run), found, mend))
    space: Space = {}
    findings: list[Finding] = []
    for key, entry in entries.items():
        try:
            _searchable(run, key)
            space[key] = _checked(run, key, entry)
        except ConfigFault as fault:
            findings += fault.findings
    if findings:
        raise ConfigFault(*findings)
    return space


def run_of(parent: Run, name: str, values: dict[str, Any]) -> Run:
    """The parent with these values (dotted keys), under another name. Raises ConfigFault where they don't go together."""
    plain = own(parent)
    for key, value in values.items():
        settings.put(plain, tuple(key.split(".")), value)
    return config.make_run(name, plain)


def own(run: Run) -> dict[str, Any]:
    """The values that a run gives itself, in the form of its file, but for further seeds and a refit."""
    above = run.model_dump(mode="json", include={"seed", "jobs", "pseudo"})
    return {"task": config.task_name(run.task)} | above | run.task.model_dump(mode="json", exclude_unset=True)


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """What is drawn or was queued; a number that the run itself has (attribute "own") is not rounded."""
    return {key: entry.suggest(trial, key) for key, entry in space.items()} | trial.user_attrs.get("own", {})


def size(space: Space) -> int | None:
    """How many different values there are; None where there is no end of them."""
    count = 1
    for entry in space.values():
        points = entry.points()
        if points is None:
            return None
        count *= len(points)
    return count


def values_of(run: Run, space: Space, kind: Kind) -> dict[str, Any]:
    """What the run itself has for the keys of the space, or nearly, where it leaves them to a library."""
    begins = run.task.begins(kind)
    found = {key: begins[key] for key in space if key in begins}
    for key in space:
        value: Any = run.task.model_dump(mode="json")
        for part in key.split("."):
            value = value.get(part, ...) if isinstance(value, dict) else ...
        if value is not ...:
            found[key] = value
    return found


def encoded(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """As the study keeps them; those outside of the space are missing."""
    kept = {key: space[key].encoded(value) for key, value in values.items()}
    return {key: value for key, value in kept.items() if value is not None}


def plain(space: Space) -> dict[str, Any]:
    """As JSON has it: what a study is known by."""
    return {key: asdict(entry) for key, entry in space.items()}


def _searchable(run: Run, key: str) -> None:
    top, parts = key.partition(".")[0], run.parts()
    if top not in parts:
        _takes(run, key, None)
    part = parts[top]
    if top in (*COMMON, "task"):
        why = "stands above what a model is made of" if top != "seed" else "chooses by luck, not by worth"
    elif part == "machine":
        why = "is of the machine, and changes no score"
    elif part == "predict":
        why = "is of prediction: views and fusion are chosen on OOF for every run, without training"
    else:
        return
    raise ConfigFault(_bad(run, key, f"{key} {why}", f"leave {key} out of `search:`"))


def _checked(run: Run, key: str, entry: Range | tuple[Any, ...]) -> Span | Choice:
    """The entry with its type, once each end and choice makes a run."""
    if isinstance(entry, tuple):
        if any(isinstance(value, dict) for value in entry):
            raise ConfigFault(_bad(run, key, "a choice is a mapping", f"search its keys: {key}.<name>"))
        texts = [json.dumps(value) for value in entry]
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise ConfigFault(_bad(run, key, f"{twice} stands twice", "leave one of them out"))
        for value in entry:
            _takes(run, key, value)
        return Choice(entry)
    inside = entry.low + (entry.high - entry.low) * INSIDE
    whole = entry.whole
    if whole is None:
        whole = not _accepts(run, key, inside) or (isinstance(run.task, Searched) and run.task.whole(key))
    span = Span(entry.low, entry.high, entry.log, entry.step, whole)
    for value in (entry.low, entry.high, *((entry.step,) if entry.step else ())):
        if whole and value != int(value):
            raise ConfigFault(_bad(run, key, f"{value:g}: {key} takes whole numbers only", "give whole numbers"))
    number = int if whole else float
    for value in (entry.low, entry.high, *(span.points() or [inside])[1:2]):
        _takes(run, key, number(value))
    return span


def _accepts(run: Run, key: str, value: Any) -> bool:
    try:
        run_of(run, run.name, {key: value})
    except ConfigFault:
        return False
    return True


def _takes(run: Run, key: str, value: Any) -> None:
    """Raises ConfigFault, naming `search.<key>`, where the run can't have this value."""
    try:
        run_of(run, run.name, {key: value})
    except ConfigFault as fault:
        one = fault.findings[0]
        raise ConfigFault(
            Finding(
                one.code, "a value that would be tried is none of this key's", _where(run, key), one.found, one.mend
            )
        ) from None


def _bad(run: Run, key: str, found: str, mend: str) -> Finding:
    return Finding("CFG-VALUE", "this can't be searched", _where(run, key), found, mend)


def _where(run: Run, key: str = "") -> str:
    return f"{artifacts.run_yaml(run.name)}, key search{key and '.'}{key}"
