"""The YAML files that a user writes, read, overridden and checked; and the run, typed (competition.yaml: keys.py)."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from competition import artifacts, hooks, secret, settings, validation, yaml
from competition.errors import ConfigFault, Finding, nearest
from competition.keys import Competition, Pseudo, Strict, fit, machine, predict
from competition.tuning.keys import Entry, Tune, flattened

# Keys of every run, above the task's own.
COMMON = ("members", "preset", "method", "time", "seed", "seeds", "refit", "pseudo", "jobs", "search", "tune")
TASKS = {
    "image": "competition.image.task:ImageTask",
    "detection": "competition.detection.task:DetectionTask",
    "tabular": "competition.tabular.task:TabularTask",
    "imported": "competition.imported:ImportedTask",
    "soup": "competition.soup:SoupTask",
}


PART = re.compile(r"\w[\w.+~-]*")
NAMED = "both are of letters, digits, _, -, . and begin with a letter, digit or _"


class Run(Strict):
    """`configs/<name>/<run>.yaml`: one model configuration (`task:` and its knobs) or a blend (`members:`)."""

    name: str  # <competition>/<run>; from the file's place, not from its text
    task: Any = None  # the task object, made of the remaining keys
    members: Annotated[tuple[str, ...], Field(min_length=2)] | None = fit(
        None, "runs that are blended, as <competition>/<run>; instead of `task`"
    )
    preset: str | None = fit(
        None, "a portfolio of the task's models, the most valuable first, blended; tabular: quick, good or best"
    )
    method: Literal[
        "auto", "mean", "convex", "greedy", "rank", "geometric", "power", "per_class", "ridge", "logistic", "lightgbm"
    ] = fit(
        "auto",
        "how members become one: mean; convex: weighted mean; greedy: members selected by the metric itself; rank: mean of "
        "ranks; geometric or power mean; per_class: a weight for each class; ridge, logistic, lightgbm: a second model on "
        "their predictions; auto: the simplest of the best on held-out folds",
    )
    time: str | None = machine(
        None, "how long a preset may train (`10m`, `2h`), what is done by then is kept; null: the preset's own"
    )
    seed: int = fit(0, "master seed; every random draw of the run is derived from it", ge=0)
    seeds: int = predict(1, "times that every fold is fitted, each from a seed of its own; the mean is taken", ge=1)
    refit: Literal["beside", "only"] | None = predict(
        None,
        "models of all rows as well, one a seed, for test alone; beside: each counts as much as a fold's model; only: test "
        "is theirs. The score stays that of the folds' models",
    )
    pseudo: Pseudo | None = fit(None, "unlabelled rows to learn from, as another run labels them; a run, or a section")
    jobs: int | None = machine(None, "folds at once; null: one a GPU, or one a CPU core", ge=1)
    search: dict[str, Entry] = machine(
        {},
        "keys that `make tune` tries: `{lr: {low: 1e-4, high: 3e-3, log: true}, augment: [light, medium]}`; {}: the task's",
    )
    tune: Tune = machine(Tune(), "how `make tune` searches")

    @field_validator("pseudo", mode="before")
    @classmethod
    def _pseudo_run(cls, value: Any) -> Any:
        return {"run": value} if isinstance(value, str) else value

    @field_validator("members", mode="before")
    @classmethod
    def _member_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("search", mode="before")
    @classmethod
    def _dotted_keys(cls, value: Any) -> Any:
        return flattened(value)

    @model_validator(mode="after")
    def _preset_of_a_task(self) -> Run:
        if self.preset is not None and self.task is None:
            raise ValueError("preset: takes the models of a task; with members: there is none")
        if self.method != "auto" and self.members is None:
            raise ValueError("method: is how members become one, and a run of one model has none")
        if self.time is not None and self.preset is None:
            raise ValueError("time: bounds the models of a preset, and there is none")
        if self.search and (self.task is None or self.preset is not None):
            raise ValueError("search: tries settings of one model; a blend or a preset has none of its own")
        learning = {"seeds": self.seeds > 1, "refit": self.refit, "pseudo": self.pseudo}
        idle = next((key for key, given in learning.items() if given), None)
        if idle and not getattr(self.task, "learns", self.task is not None):
            raise ValueError(f"{idle}: is for a run that learns; give it to the runs that this one is made of")
        return self

    @field_validator("time", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if value is not None:
            seconds(value)
        return value

    @property
    def competition(self) -> str:
        return self.name.partition("/")[0]

    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain values, in the form of the YAML file."""
        common = {"seed": self.seed, "jobs": self.jobs} | ({} if self.task is None else self.fitted())
        if self.preset is not None:
            common |= {"preset": self.preset, "method": self.method, "time": self.time}
        elif self.members is not None:
            return {"members": list(self.members), "method": self.method, **common}
        return {"task": task_name(self.task), **common, **self.task.model_dump(mode="json")}

    def fitted(self) -> dict[str, Any]:
        """How its task is fitted, beyond the task's own keys."""
        return self.model_dump(mode="json", include={"seeds", "refit", "pseudo"})

    def parts(self) -> dict[str, str]:
        """Key -> fit | predict | machine."""
        models = [Run] if self.task is None else [Run, type(self.task)]
        return {"task": "fit"} | {
            key: str(field.json_schema_extra["part"])
            for model in models
            for key, field in model.model_fields.items()
            if isinstance(field.json_schema_extra, dict)
        }


def seconds(duration: str) -> float:
    """`90s`, `10m`, `1h30m`, `2d` as seconds. Raises ValueError."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    text = str(duration).replace(" ", "")
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ValueError(f"{duration!r} is not a time such as 90s, 10m or 1h30m")
    return sum(float(number) * units[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([smhd])", text))


def task_class(name: str) -> Any:
    module, attribute = TASKS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def task_name(task: BaseModel) -> str:
    return next(name for name in TASKS if task_class(name) is type(task))


def load_competition(name: str) -> Competition:
    """Reads configs/<name>/competition.yaml. Raises ConfigFault with every problem of the file at once."""
    if not PART.fullmatch(name):
        raise ConfigFault(
            validation.bad_value("COMP", name, "it names folders: letters, digits, _, - and .", "COMP=leaves")
        )
    path = artifacts.competition_yaml(name)
    return validation.validated(Competition, *_read(path), str(path))


def metric_hash(name: str, config: Competition) -> str:
    """Of all that a competition's score is made by, beside its rows: the metric, the user's own file of it, the prior."""
    content = hooks.content(config.metric.name, artifacts.competition_yaml(name).parent)
    return artifacts.digest(config.metric.model_dump_json(), content, json.dumps(config.prior))


def parse_competition(text: str, where: str) -> Competition:
    """The same from the text of such a file."""
    return validation.validated(Competition, *yaml.parse(text, where), where)


def check_name(name: str) -> None:
    parts = name.split("/")
    if len(parts) != 2 or not all(map(PART.fullmatch, parts)) or parts[1] == "competition":
        found = f"a run is named <competition>/<run>; {NAMED}"
        raise ConfigFault(validation.bad_value("RUN", name, found, "RUN=leaves/baseline"))


def load_run(
    name: str, overrides: str | dict[str, Any] = "", above: tuple[str, ...] = (), called: str | None = None
) -> Run:
    """`read_run`, and whether all that it is made of can be read too. Raises ConfigFault.

    above: the runs that this one was reached through, which it must not be one of. called: its name, where it will stand
    in a file of its own.
    """
    run = read_run(name, overrides)
    for key, member in made_of(run):
        owner = member.partition("+")[0]  # of a preset's model the preset, which gives it all that it is made of
        if owner in (*above, called or name):
            raise ConfigFault(made_of_itself(key, member, name))
        load_run(owner, above=(*above, called or name))
    return run


def read_run(name: str, overrides: str | dict[str, Any] = "") -> Run:
    """configs/<name>.yaml with `extends:` and then `overrides` (`a.b=1 c=x`), by itself. Raises ConfigFault."""
    check_name(name)
    values, origins = _read_extended(artifacts.run_yaml(name))
    for key, value in (settings.parse(overrides) if isinstance(overrides, str) else overrides).items():
        settings.put(values, tuple(key.split(".")), value)
        origins[tuple(key.split("."))] = f"SET {key}={value}"
    return make_run(name, values, origins)


def made_of_itself(key: str, member: str, name: str) -> Finding:
    return validation.bad_value(
        key, member, f"{name} is made of itself", f"name another run in {artifacts.run_yaml(name)}"
    )


def made_of(run: Run) -> list[tuple[str, str]]:
    """(key, run) of all that this one is made of: a blend's members, a soup's ingredients, whose predictions are
    columns of it, whose labels it learns from."""
    named = {"members": run.members or () if run.preset is None else ()}
    named |= {key: getattr(run.task, key, ()) for key in ("of", "runs")}
    parents = [("pseudo.run", run.pseudo.run)] if run.pseudo else []
    return [(key, name) for key, names in named.items() for name in names] + parents


def task_in_file(name: str) -> Any:
    """What `task:` says in a run's file, of which nothing is checked."""
    check_name(name)
    return _read_extended(artifacts.run_yaml(name))[0].get("task")


def expand(run: Run) -> dict[str, Run]:
    """The members of a run with a preset, `<run>+<member>`, in its order: its own values, then the preset's over them."""
    assert run.preset is not None and run.task is not None
    own = {"task": task_name(run.task), "seed": run.seed, "jobs": run.jobs} | run.fitted()
    own |= run.task.model_dump(mode="json", exclude_unset=True)
    portfolio = presets(run.task)[run.preset].members
    return {f"{run.name}+{m}": make_run(f"{run.name}+{m}", own | values) for m, values in portfolio.items()}


def presets(task: Any) -> dict[str, Any]:
    """A task's portfolios by name; a task need not have any."""
    return getattr(task, "presets", {})


def member(run: Run, name: str) -> Run:
    """The member `<run>+<member>` of a run with a preset. Raises ConfigFault CFG-VALUE."""
    members = {} if run.preset is None else expand(run)
    if name not in members:
        short = [m.partition("+")[2] for m in members]
        found = f"{run.name} has " + (f"the members {', '.join(short)}" if members else "no preset, so no members")
        raise ConfigFault(validation.bad_value("RUN", name, found, nearest(name.partition("+")[2], short)))
    return members[name]


def make_run(name: str, values: dict[str, Any], origins: yaml.Origins | None = None) -> Run:
    """A run from plain values, such as those of run.json."""
    origins, path = origins or {}, artifacts.run_yaml(name)
    common = {k: v for k, v in values.items() if k in COMMON}
    if common.get("members") is not None:
        extra = [k for k in values if k not in common]
        if extra:
            raise ConfigFault(
                *(
                    validation.finding("CFG-UNKNOWN", (k,), origins, str(path), "a blend has no such key", common)
                    for k in extra
                )
            )
        return validation.validated(Run, {"name": name, **common}, origins, str(path))
    if str(values.get("task")) not in TASKS:
        found = f"task: {values['task']}" if "task" in values else "neither `task:` nor `members:`"
        raise ConfigFault(validation.finding("CFG-TASK", ("task",), origins, str(path), found, TASKS))
    knobs = {k: v for k, v in values.items() if k not in ("task", *COMMON)}
    task = validation.validated(
        task_class(values["task"]), knobs, origins, str(path), also=("task", "extends", *COMMON)
    )
    preset = common.get("preset")
    if preset is not None:
        if str(preset) not in presets(task):
            choices = presets(task) or None
            found = f"{preset!r}: " + ("unknown" if choices else f"the task {values['task']} has no presets")
            raise ConfigFault(validation.finding("CFG-VALUE", ("preset",), origins, str(path), found, choices, preset))
        clashing = [key for key in getattr(task, "chosen", ()) if key in knobs]
        if clashing:
            found = f"{clashing[0]}: {knobs[clashing[0]]}, which the models of `preset: {preset}` choose for themselves"
            mend = f"preset=null {clashing[0]}=... AS=<name>/<run>, a run of one model, to blend with this one"
            raise ConfigFault(
                replace(validation.finding("CFG-VALUE", (clashing[0],), origins, str(path), found, None), mend=mend)
            )
        common["members"] = [f"{name}+{member}" for member in presets(task)[preset].members]
    return validation.validated(Run, {"name": name, "task": task, **common}, origins, str(path))


def write_variant(parent: str, name: str, values: dict[str, Any]) -> Path:
    """Writes configs/<name>.yaml as `extends:` the parent plus `values`. An existing file must say the same."""
    import os

    import yaml as pyyaml

    check_name(name)
    path = artifacts.run_yaml(name)
    extends = os.path.relpath(artifacts.run_yaml(parent), path.parent)
    nested: dict[str, Any] = {"extends": extends}
    for key, value in values.items():
        settings.put(nested, tuple(key.split(".")), value)
    if path.exists():
        if yaml.read(path)[0] != nested:
            raise ConfigFault(
                Finding(
                    code="CFG-EXISTS",
                    what="a run of that name exists with other settings",
                    where=str(path),
                    found=path.read_text(encoding="utf-8").strip().replace("\n", "; "),
                    risk="its results would be of two configurations",
                    mend="choose another AS=, or remove that file and its run folder",
                )
            )
        return path
    load_run(parent, overrides=values, called=name)  # refuses what is misspelt before it stands in a file
    artifacts.write_text(path, pyyaml.safe_dump(nested, sort_keys=False, allow_unicode=True))
    return path


def _read(path: Path) -> tuple[dict[str, Any], yaml.Origins]:
    """As yaml.read. Raises SafetyFault SEC-SECRET too."""
    values, origins = yaml.read(path)
    secret.refuse(values, origins, str(path))
    return values, origins


def _read_extended(path: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], yaml.Origins]:
    values, origins = _read(path)
    parent = values.pop("extends", None)
    if parent is None:
        return values, origins
    above = (path.parent / str(parent)).resolve()
    if above in (*seen, path.resolve()):
        raise ConfigFault(validation.bad_value("extends", parent, f"{path} extends itself", "name another parent"))
    base, base_origins = _read_extended(
        above.relative_to(Path.cwd()) if above.is_relative_to(Path.cwd()) else above, (*seen, path.resolve())
    )
    return _merge(base, values), base_origins | origins


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        k: _merge(base[k], v) if isinstance(v, dict) and isinstance(base.get(k), dict) else v for k, v in over.items()
    }
    return base | both
