"""The end of a search: the best few on another seed, a score of the choice itself, and the winner as a run.

The best of many trials is the luckiest too: its score is optimistic. What the few score on another seed shows by how much;
the best mean of both seeds wins, so that the winner's figure there keeps a little of the luck of a few. Rows and folds are
the same. The nested score holds each fold's rows against the trial that is best on the other folds.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from competition import artifacts, config, disk, folds, pseudo, runs, settings, significance, stacked, train
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signalled
from competition.errors import ConfigFault, Finding, Stopped
from competition.folds import Split
from competition.task import pick
from competition.tuning import rules, study, trial
from competition.tuning.trial import Search

PARENT = "the run's own values"


@dataclass(frozen=True)
class Final:
    """Values that were trained again with another seed. score: as shown; folds: of each split, greater is better."""

    score: float
    folds: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """number, winner: of the trial that won, its values by dotted key. best: the best score of the search. other, parent: of
    the winner and of the run's own values on another seed, None where there was no time. gain: mean over folds of other's
    over parent's score, greater is better; error: of gain; says: 1 (better), -1 (worse) or 0 (within noise). nested: of
    choosing the best whole trial by the other folds. trials: different values. finalists: by number, both seeds' scores.
    """

    number: int
    winner: dict[str, Any]
    best: float
    other: float | None
    parent: float | None
    gain: float | None
    error: float | None
    says: int
    nested: float
    trials: int
    finalists: dict[int, tuple[float, float]]


def ranked(search: Search, complete: Sequence[Any]) -> list[Any]:
    """Best first, of equals the first drawn; of trials with the same values the first."""
    seen: dict[str, Any] = {}
    for one in sorted(complete, key=lambda t: (-search.signed(t.value), study.origin(t))):
        seen.setdefault(one.user_attrs["folder"], one)
    return list(seen.values())


def verify(search: Search, engine: Engine, complete: Sequence[Any], deadline: float) -> dict[int | str, Final]:
    """The best few trials (best first), by number, and the parent on another seed, if time allows. Raises Stopped where a
    signal asked for it.
    """
    few = complete[: search.run.tune.finalists]
    if not few:
        return {}
    again = {t.number: search.run_of(t.user_attrs["values"]) for t in few} | {PARENT: search.run_of({})}
    splits = [replace(split, seed=1) for split in search.splits]
    once = {run.name: run for run in again.values()}
    missing = [(run, split) for run in once.values() for split in splits if not trial.predicted(run, split)]
    if missing:
        search.say(f"training the best {len(few)} trials and {PARENT} on another seed: {len(missing)} folds")
        try:
            with engine.until(deadline):
                engine.map(functools.partial(_fold, search), missing, search.run.task.device, search.run.jobs)
        except Stopped:
            if signalled():
                raise
            search.say("time is up; the same command goes on with it")
            return {}
    return {
        name: Final(
            trial.score(run, search.view, seed=1),
            tuple(search.signed(trial.fold_score(run, split, search.view, run.name)) for split in splits),
        )
        for name, run in again.items()
    }


def _fold(search: Search, item: tuple[Run, Split]) -> None:
    run, split = item
    trial.fold_score(run, split, search.view, f"{search.run.name}: another seed, {run.name[-8:]}")


def result(search: Search, complete: Sequence[Any], tried: dict[int | str, Final], ended: int) -> Result:
    """complete: best first. The winner has the best mean of both seeds; without another seed it is the best trial."""
    few = [t for t in complete if t.number in tried]
    best = max(few, key=lambda t: search.signed(t.value + tried[t.number].score), default=complete[0])
    test = None
    if tried:
        winner, parent = (pd.Series(tried[name].folds) for name in (best.number, PARENT))
        test = significance.over_folds(parent, winner, _share(search))
    return Result(
        number=best.number,
        winner=best.user_attrs["values"],
        best=complete[0].value,
        other=tried[best.number].score if tried else None,
        parent=tried[PARENT].score if tried else None,
        gain=test.mean if test else None,
        error=test.error if test else None,
        says=test.says if test else 0,
        nested=nested(search, complete),
        trials=ended,
        finalists={t.number: (t.value, tried[t.number].score) for t in few},
    )


def _share(search: Search) -> float:
    """Held-out rows over training rows, the mean over folds."""
    table = folds.load(load(search.run.competition))
    sizes = [[len(ids) for ids in table.ids(split)] for split in search.splits]
    return float(np.mean([held / trained for trained, held in sizes]))


def nested(search: Search, complete: Sequence[Any]) -> float:
    """The score of choosing: the rows of each fold by the trial that is best on the other folds, pooled.

    Of complete trials only; with `stop:` a fold had its say in which those are, which makes this a little too good: in a
    simulation of 30 equally good trials by 0.27 of a fold score's standard deviation under `paired`.
    """
    scores = {t.number: [search.signed(t.user_attrs["folds"][s.name]) for s in search.splits] for t in complete}
    values = {t.number: t.user_attrs["values"] for t in complete}
    tables: dict[int, pd.DataFrame] = {}
    table, parts = folds.load(load(search.run.competition)), []
    for k, split in enumerate(search.splits):
        best = rules.best_without(scores, k)
        if best not in tables:
            tables[best] = trial.decided(search.run_of(values[best]), search.view)
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
    if not _ours(run, path):
        what, found = (
            "a file of that name exists that no search has written",
            path.read_text(encoding="utf-8").split("\n")[0],
        )
        mend = "give that file another name, or search from a run of another name"
        raise ConfigFault(Finding("CFG-EXISTS", what, str(path), found, mend))


def _ours(run: Run, path: Path) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8").startswith(marker(run))


def _name(search: Search, trained: Run) -> str:
    """`<run>-tuned`; `-tuned2` and so on where that has begun with the values of an earlier winner, which it keeps."""
    n, wanted = 1, runs.identity(trained, ("fit",))
    while True:
        name = tuned(search.run) + (str(n) if n > 1 else "")
        record = runs.recorded(name)
        held = record and runs.identity(config.make_run(name, record["config"]), ("fit",))
        if _ours(search.run, artifacts.run_yaml(name)) and held in (None, wanted):
            return name
        search.say(f"{artifacts.run_folder(name)} holds an earlier winner, which stays as it is")
        n += 1


def write(search: Search, result: Result, tried: dict[int | str, Final], metric: str) -> None:
    """Says what came out, and writes the winner as a run with its trained folds, unless it has the parent's values or is
    worse than they are.
    """
    said = sentence(search, result, metric)
    search.say(said)
    artifacts.write_json(search.folder / "tune.json", vars(result))
    trained = search.run_of(result.winner)
    if runs.identity(trained, ("fit",)) == runs.identity(search.run, ("fit",)):
        search.say("no trial is better than the run's own values; there is nothing to write")
        return
    if result.says < 0:
        search.say(
            "the best trial was the luckiest only: on another seed the run's own values are better; nothing written"
        )
        return
    run = config.load_run(_written(search, result, said, trained))
    assert runs.identity(run, ("fit",)) == runs.identity(trained, ("fit",)), f"{run.name} is not the trial that won"
    adopt(search, run, trained)
    if tried:
        for fold in search.folder.glob("*/fold*-seed1"):
            trial.drop_models(fold.parent, [replace(s, seed=1) for s in search.splits])
    search.say(f"next: make submission RUN={run.name}")


def _written(search: Search, result: Result, said: str, trained: Run) -> str:
    """The name of the winner's run, once its file is there."""
    before = settings.parse((runs.recorded(search.run.name) or {}).get("set", ""))
    own = _flat(search.run.task.model_dump(mode="json"))
    nested_: dict[str, Any] = {"extends": f"{search.run.name.partition('/')[2]}.yaml"}
    for key, value in (before | {k: v for k, v in result.winner.items() if own.get(k, ...) != v}).items():
        settings.put(nested_, tuple(key.split(".")), value)
    name = _name(search, trained)
    text = yaml.safe_dump(nested_, sort_keys=False, allow_unicode=True)
    artifacts.write_text(artifacts.run_yaml(name), f"{marker(search.run)}# Trial {result.number}. {said}\n{text}")
    search.say(f"wrote {artifacts.run_yaml(name)}")
    return name


def sentence(search: Search, result: Result, metric: str) -> str:
    parts = [f"{metric}: best of {result.trials} trials {result.best:.4f} (optimistic)"]
    if result.other is not None and result.parent is not None:
        won = f"trial {result.number}, the best mean of two seeds among {len(result.finalists)}"
        parts.append(f"on another seed {result.other:.4f} ({won}), {PARENT} {result.parent:.4f}: {_verdict(result)}")
    elif search.run.tune.finalists:
        parts.append("not compared on another seed yet")
    stopped = "" if search.run.tune.stop == "none" else ", a little too good: stopped ones take no part"
    return "; ".join([*parts, f"nested {result.nested:.4f} (among whole trials{stopped})"])


def _verdict(result: Result) -> str:
    if result.gain is None or result.error is None:
        return "too few folds to compare"
    if result.gain == 0:
        return "within noise"
    word = "better" if result.gain > 0 else "worse"
    by = f"{word} by {abs(result.gain):.4f} ± {result.error:.4f} over folds"
    return by if result.says else f"within noise ({by})"


def adopt(search: Search, run: Run, trained: Run) -> None:
    """The winner's trained folds become the run's, so that they are not paid for twice; of both seeds, should it take
    `seeds: 2`.
    """
    both = [*search.splits, *(replace(split, seed=1) for split in search.splits)]
    source = artifacts.run_folder(trained.name)
    with trial.patient(lambda: runs.opened(run, wait=1)) as at:
        if stacked.given(run):
            stacked.copy(trained, at)
        train.prepare(at)
        if run.pseudo:
            pseudo.copy(trained, at)
        found = [split for split in both if trial.whole(source / split.name) and not train.done(run, split)]
        for split in found:
            with disk.faults(target := at.folder / split.name):
                _copy_fold(source / split.name, target)
        at.say(f"took over {len(found)} trained folds from {source}")


def _copy_fold(source: Path, target: Path) -> None:
    """All or nothing of what is trained; predictions are of other views."""
    partial = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for file in source.iterdir():
            if file.name not in ("oof.parquet", ".lock"):
                shutil.copy2(
                    file, partial
                )  # `copytree` raises an error of its own, which does not say that a disk is full
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested values, the inner mappings too."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat
