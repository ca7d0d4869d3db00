"""The end of a search: the best trials on another seed, an honest score of the choice itself, and the winner as a run.

The best of many trials is the luckiest too: its score is optimistic. That of the same values on another seed is not, and
the nested score holds each fold's rows against the trial that is best on the other folds.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from competition import artifacts, config, decide, folds, pseudo, runs, train
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signalled
from competition.errors import ConfigFault, Finding, Stopped
from competition.folds import Split
from competition.task import pick
from competition.tuning import rules, trial
from competition.tuning.trial import Search

PARENT = "the run's own values"


@dataclass(frozen=True)
class Final:
    """Values that were trained again with another seed. score: as shown; folds: of each split, greater is better."""

    values: dict[str, Any]
    score: float
    folds: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """winner: values by dotted key; best: the score of its trial, other and parent: on another seed, None where time was
    up before; verdict: of other against parent. nested: of choosing the best by the other folds.
    """

    number: int
    winner: dict[str, Any]
    best: float
    other: float | None
    parent: float | None
    verdict: str
    nested: float
    trials: int


def ranked(search: Search, complete: Sequence[Any]) -> list[Any]:
    """Best first; of trials with the same values the first."""
    seen: dict[str, Any] = {}
    for one in sorted(complete, key=lambda t: (-search.signed(t.value), t.number)):
        seen.setdefault(one.user_attrs["folder"], one)
    return list(seen.values())


def verify(search: Search, engine: Engine, complete: Sequence[Any], deadline: float) -> dict[str, Final]:
    """The parent and the best trials on another seed, as far as time allows. Raises Stopped where a signal asked for it."""
    chosen = {f"trial {t.number}": t.user_attrs["values"] for t in complete[: search.run.tune.finalists]}
    if not chosen:
        return {}
    again = {name: search.trial(values) for name, values in {PARENT: {}, **chosen}.items()}
    splits = [replace(split, seed=1) for split in search.splits]
    missing = [(run, split) for run in again.values() for split in splits if not trial.predicted(run, split)]
    if missing:
        search.say(f"training {len(chosen)} finalists and {PARENT} on another seed: {len(missing)} folds")
        try:
            with engine.until(deadline):
                engine.map(functools.partial(_fold, search), missing, search.run.task.device, search.run.jobs)
        except Stopped:
            if signalled():
                raise
            search.say("time is up; the same command goes on with the finalists")
    return {
        name: Final(
            chosen.get(name, {}),
            trial.score(run, search.view, seed=1),
            tuple(search.signed(trial.fold_score(run, split, search.view, run.name)) for split in splits),
        )
        for name, run in again.items()
        if all(trial.predicted(run, split) for split in splits)
    }


def _fold(search: Search, item: tuple[Run, Split]) -> None:
    run, split = item
    trial.fold_score(run, split, search.view, f"{search.run.name}: finalist {run.name[-8:]}")


def result(search: Search, complete: Sequence[Any], tried: dict[str, Final], ended: int) -> Result:
    """The winner: the finalist with the best mean over both seeds; without finalists the best trial."""
    first = {f"trial {t.number}": t for t in complete}
    parent = tried.get(PARENT)
    scores = {name: (first[name].value + final.score) / 2 for name, final in tried.items() if name != PARENT}
    name = max(scores, key=lambda n: search.signed(scores[n])) if scores else next(iter(first))
    other = tried.get(name)
    return Result(
        number=first[name].number,
        winner=first[name].user_attrs["values"],
        best=first[name].value,
        other=None if other is None else other.score,
        parent=None if parent is None else parent.score,
        verdict=_verdict(other, parent),
        nested=nested(search, complete),
        trials=ended,
    )


def _verdict(winner: Final | None, parent: Final | None) -> str:
    if winner is None or parent is None:
        return "not compared on another seed yet"
    a, b = pd.Series(winner.folds), pd.Series(parent.folds)
    if decide.beyond_noise(a, b):
        return "better beyond noise"
    return "worse beyond noise" if decide.beyond_noise(b, a) else "within noise"


def nested(search: Search, complete: Sequence[Any]) -> float:
    """The score of choosing: the rows of each fold by the trial that is best on the other folds, pooled.

    Of complete trials only: one that was stopped may have been stopped by this fold.
    """
    scores = {t.number: [search.signed(t.user_attrs["folds"][s.name]) for s in search.splits] for t in complete}
    values = {t.number: t.user_attrs["values"] for t in complete}
    tables: dict[int, pd.DataFrame] = {}
    table, parts = folds.load(load(search.run.competition)), []
    for k, split in enumerate(search.splits):
        best = rules.best_without(scores, k)
        if best not in tables:
            tables[best] = trial.decided(search.trial(values[best]), search.view)
        parts.append(pick(tables[best], table.ids(split)[1]))
    return trial.pooled(search.run.competition, pd.concat(parts))


def tuned(run: Run) -> str:
    return f"{run.name}-tuned"


def marker(run: Run) -> str:
    """The first line of a file that a search may renew."""
    return f"# Written by `make tune RUN={run.name}`, which renews this file.\n"


def check_file(run: Run) -> None:
    """Raises ConfigFault CFG-EXISTS where the winner's file is one that was made by hand."""
    path = artifacts.run_yaml(tuned(run))
    if path.exists() and not path.read_text().startswith(marker(run)):
        what, found = "a file of that name exists that no search has written", path.read_text().split("\n")[0]
        mend = "give that file another name, or search from a run of another name"
        raise ConfigFault(Finding("CFG-EXISTS", what, str(path), found, mend))


def write(search: Search, result: Result, tried: dict[str, Final], metric: str) -> None:
    """Says what came out, and writes the winner as a run with its trained folds, unless it has the parent's values."""
    said = sentence(result, metric)
    search.say(said)
    artifacts.write_json(search.folder / "tune.json", vars(result))
    trained = search.trial(result.winner)
    if runs.identity(trained, ("fit",)) == runs.identity(search.run, ("fit",)):
        search.say("no trial is better than the run's own values; there is nothing to write")
        return
    before = config.parse_set((runs.recorded(search.run.name) or {}).get("set", ""))
    own = _flat(search.run.task.model_dump(mode="json"))
    nested_: dict[str, Any] = {"extends": f"{search.run.name.partition('/')[2]}.yaml"}
    for key, value in (before | {k: v for k, v in result.winner.items() if own.get(k, ...) != v}).items():
        config.put(nested_, tuple(key.split(".")), value)
    path, name = artifacts.run_yaml(tuned(search.run)), tuned(search.run)
    text = yaml.safe_dump(nested_, sort_keys=False, allow_unicode=True)
    artifacts.write_text(path, f"{marker(search.run)}# Trial {result.number}. {said}\n{text}")
    run = config.load_run(name)
    assert runs.identity(run, ("fit",)) == runs.identity(trained, ("fit",)), f"{path} is not the trial that won"
    search.say(f"wrote {path}")
    adopt(search, run, trained)
    for values in [{}, *(final.values for final in tried.values())]:
        trial.drop_models(artifacts.run_folder(search.trial(values).name), [replace(s, seed=1) for s in search.splits])
    search.say(f"next: make submission RUN={name}")


def sentence(result: Result, metric: str) -> str:
    parts = [f"{metric}: best of {result.trials} trials {result.best:.4f} (optimistic)"]
    if result.other is not None and result.parent is not None:
        parts.append(f"on another seed {result.other:.4f}, {PARENT} {result.parent:.4f}: {result.verdict}")
    else:
        parts.append(result.verdict)
    return "; ".join([*parts, f"nested {result.nested:.4f}"])


def adopt(search: Search, run: Run, trained: Run) -> None:
    """The winner's trained folds become the run's, so that they are not paid for twice; of both seeds, should it take
    `seeds: 2`.
    """
    record = runs.recorded(run.name)
    if record is not None:
        if runs.identity(config.make_run(run.name, record["config"]), ("fit",)) != runs.identity(run, ("fit",)):
            search.say(f"{artifacts.run_folder(run.name)} holds an earlier winner; remove it before you train this one")
        return
    both = [*search.splits, *(replace(split, seed=1) for split in search.splits)]
    whole = [split for split in both if _whole(artifacts.run_folder(trained.name) / split.name)]
    with runs.opened(run, wait=-1) as at:  # another command may end at the same moment
        train.prepare(at)
        if run.pseudo:
            pseudo.copy(trained, at)
        whole = [split for split in whole if not train.done(run, split)]
        for split in whole:
            source, target = artifacts.run_folder(trained.name) / split.name, at.folder / split.name
            partial = at.folder / f".{split.name}.tmp"
            shutil.rmtree(partial, ignore_errors=True)
            with artifacts.disk_faults(target):
                shutil.copytree(source, partial, ignore=shutil.ignore_patterns("oof.parquet", ".lock"))
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
        at.say(f"took over {len(whole)} trained folds from {artifacts.run_folder(trained.name)}")


def _whole(folder: Path) -> bool:
    """Whether a trained fold still has its weights."""
    path = folder / "fit.json"
    return path.exists() and all((folder / name).exists() for name in artifacts.read_json(path)["files"])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested values, the inner mappings too."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat
