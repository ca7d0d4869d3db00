"""Is B better than A? `make compare A=leaves/small B=leaves/large` -> a verdict, and a picture in A's run folder.

Three tests of the difference of two out-of-fold scores: over folds, over rows, and beside what seeds alone do. "Better" is
said where all of them say so (DESIGN 8).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from competition import artifacts, board, chart, config, decide, folds, runfolder, runs, significance
from competition.artifacts import read_json, read_table
from competition.data import Data, load
from competition.engine import signals, stopping
from competition.errors import ConfigFault, DataFault, Finding, Stopped, nearest
from competition.folds import FoldTable
from competition.predict import cover
from competition.scoring import decided, headline, scored_folds
from competition.significance import OverFolds, OverRows, OverSeeds, digits
from competition.task import Problem, pick

Said = OverFolds | OverRows | OverSeeds | None
VERDICTS = {1: "B is better", 0: "within noise", -1: "A is better"}


@dataclass(frozen=True)
class Side:
    """One of the two runs. record: its score.json. prediction: out of fold, with the cuts of each fold, as it is scored.
    by_fold: scores, greater is better.
    """

    name: str
    record: dict[str, Any]
    prediction: pd.DataFrame
    by_fold: pd.Series

    @property
    def seeds(self) -> int:
        return max(1, len(self.record.get("seeds") or ()))


@dataclass(frozen=True)
class Comparison:
    """difference: B's score less A's, of all rows together, greater is better; so are the tests'. units: what the
    bootstrap drew. floor: the noise floor of the competition and the runs it is known from.
    """

    a: Side
    b: Side
    problem: Problem
    difference: float
    folds: OverFolds | None
    rows: OverRows | None
    seeds: OverSeeds | None
    units: str
    floor: tuple[float, int] | None

    @property
    def tests(self) -> tuple[Said, ...]:
        return (self.folds, self.rows, *([self.seeds] if self.seeds else ()))

    @property
    def says(self) -> int:
        return significance.verdict(self.difference, *self.tests)

    @property
    def error(self) -> float:
        """The larger of the standard errors over folds and over rows; nan where neither is known."""
        return max((test.error for test in (self.folds, self.rows) if test), default=math.nan)

    @property
    def verdict(self) -> str:
        by = f"{digits(abs(self.difference), self.error)} ± {digits(self.error, self.error)}"
        metric, ahead = self.problem.metric.name, self.b if self.difference > 0 else self.a
        behind = self.a if ahead is self.b else self.b
        if self.says:
            return f"{ahead.name} is better than {behind.name} by {by} ({metric}), beyond the noise"
        if not self.difference:
            return f"within noise: {self.b.name} and {self.a.name} have the same score ({metric})"
        return f"within noise: {by} ({metric}), {ahead.name} ahead of {behind.name}"


def compare(a: str, b: str) -> Comparison:
    """Both runs' scores, and the tests of their difference.

    Raises ConfigFault (CFG-VALUE, CFG-MISSING, RUN-PARTIAL, RUN-STALE), DataFault (RUN-DATA, RUN-FOLDS, OOF-COVER), Stopped.
    """
    _check_names(a, b)
    data = load(a.partition("/")[0])
    table = folds.load(data)
    first, second = _sides((a, b), data, table)
    problem, fold, metric = data.problem, scored_folds(table), data.problem.metric
    assert data.train.truth is not None
    truth = pick(data.train.truth, fold.index)
    difference = metric.sign * (second.record["score"] - first.record["score"])
    unit, units = _units(data, fold.index)
    scores = [significance.score_of(problem, truth, side.prediction, fold.index) for side in (first, second)]
    floor = noise_floor(data, table)
    return Comparison(
        first,
        second,
        problem,
        difference,
        folds=significance.over_folds(first.by_fold, second.by_fold, table.share),
        rows=significance.over_rows(*scores, unit, functools.partial(_progress, f"{b} against {a}")),
        seeds=floor and OverSeeds(difference, floor[0] * (1 / first.seeds + 1 / second.seeds) ** 0.5),
        units=units,
        floor=floor,
    )


def noise_floor(data: Data, table: FoldTable) -> tuple[float, int] | None:
    """(standard deviation between seeds, runs that it is of) of the runs of this data, fold table and metric that have two
    or more seeds; None without any."""
    folders = [runfolder.read(name) for name in runfolder.names(data.name)]
    whole = [f for f in folders if f.whole and f.scored["metric"] == data.problem.metric.name]
    same = [
        f.scored.get("seeds") or {} for f in whole if (f.record["data"], f.record["folds"]) == (data.hash, table.hash)
    ]
    seeds = [[*scores.values()] for scores in same if len(scores) > 1]
    return (significance.noise(seeds), len(seeds)) if seeds else None


def tell(a: str, b: str, as_json: bool) -> None:
    """The comparison on the screen, or its record; and its picture."""
    if as_json:
        with signals():
            found = compare(a, b)
        print(json.dumps(record(found) | {"picture": str(draw(found))}, indent=1))
        return
    with board.board(), signals():
        found = compare(a, b)
    board.say(found.verdict)
    for letter, side in zip("AB", (found.a, found.b), strict=True):
        board.say(f"{letter} {side.name}: {headline(side.record)}")
    board.console.print(as_table(found))
    for note in notes(found):
        board.say(note)
    board.say(f"drew {draw(found)}")


def draw(found: Comparison) -> Path:
    """Fold scores of both and the resampled difference, as runs/<A>/compare-<B>.png."""
    metric, seeds = found.problem.metric, found.seeds.least if found.seeds else None
    scores = pd.DataFrame({side.name: metric.sign * side.by_fold for side in (found.a, found.b)})
    path = artifacts.run_folder(found.a.name) / f"compare-{found.b.name.partition('/')[2]}.png"
    artifacts.write_bytes(path, chart.comparison(scores, found.rows, found.difference, seeds, found.verdict, metric))
    return path


def record(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values; `difference`, `mean` and `interval` are above 0 where B is better."""
    tests = {"folds": found.folds, "rows": found.rows, "seeds": found.seeds}
    values = {name: None if test is None else _plain(test) for name, test in tests.items()}
    return {
        "a": found.a.name,
        "b": found.b.name,
        "metric": found.problem.metric.name,
        "greater_is_better": found.problem.metric.greater,
        "scores": {side.name: side.record["score"] for side in (found.a, found.b)},
        "difference": found.difference,
        "error": None if math.isnan(found.error) else found.error,
        "better": {1: found.b.name, 0: None, -1: found.a.name}[found.says],
        "verdict": found.verdict,
        **values,
        "units": found.units,
        "noise_floor": found.floor and {"std": found.floor[0], "runs": found.floor[1]},
        "notes": notes(found),
    }


def _plain(test: OverFolds | OverRows | OverSeeds) -> dict[str, Any]:
    values: dict[str, Any] = {"says": VERDICTS[test.says], "error": test.error}
    if isinstance(test, OverFolds):
        differences = {f"fold{k}": None if np.isnan(d) else float(d) for k, d in test.differences.items()}
        return values | {"mean": test.mean, "p": test.p, "won": test.won, "differences": differences}
    if isinstance(test, OverRows):
        return values | {"interval": list(test.interval), "draws": len(test.draws), "undefined": test.undefined}
    return values


def as_table(found: Comparison) -> Table:
    """One line a test. All figures are how much B is better."""
    table = Table("test", "B is better by", "±", "found", "verdict", title=f"{found.problem.metric.name}, B against A")
    finest = min((test.error for test in found.tests if test), default=math.nan)

    def add(name: str, test: Said, mean: float, text: str) -> None:
        if test is not None:
            table.add_row(name, _signed(mean, finest), digits(test.error, finest), text, VERDICTS[test.says])
        else:
            table.add_row(name, "", "", text, "can't tell")

    over, rows, seeds = found.folds, found.rows, found.seeds
    if over:
        add("folds", over, over.mean, f"B won {over.won} of {over.count}, p {over.p:.2g}")
    else:
        add("folds", None, 0.0, f"fewer than {significance.FEWEST} folds have a score")
    if rows:
        low, high = (_signed(end, finest) for end in rows.interval)
        add("rows", rows, found.difference, f"95% within {low} to {high}")
    else:
        add("rows", None, 0.0, "hardly any resample has a score")
    if seeds:
        add("seeds", seeds, found.difference, f"better from {digits(seeds.least, finest)} up")
    return table


def notes(found: Comparison) -> list[str]:
    """What the figures must be read with."""
    told = [
        f"folds: paired t-test, corrected for shared training rows, two-sided, better from p < {significance.LEVEL} on",
        f"rows: bootstrap of {found.units}; ± is a standard error, in the verdict the larger of folds' and rows'",
    ]
    if found.folds:
        undefined = [f"fold{k}" for k, d in found.folds.differences.items() if np.isnan(d)]
        if undefined:
            told.append(f"the metric is undefined on {', '.join(undefined)}; the test over folds leaves that out")
        if found.folds.count == significance.FEWEST:
            told.append(f"{found.folds.count} folds are few: the test over them sees only very even differences")
    if found.rows:
        if len(found.rows.draws) + found.rows.undefined < significance.DRAWS:
            told.append(f"time was up after {len(found.rows.draws):,} of {significance.DRAWS:,} resamples")
        if found.rows.undefined:
            told.append(f"{found.rows.undefined:,} resamples have no score and are left out")
    if found.floor is None:
        told.append('noise floor: not known; `make submission RUN=... SET="seeds=3"` measures it')
    else:
        std, count = found.floor
        told.append(
            f"noise floor: ± {digits(std, std)} (standard deviation between seeds, {count} run{'s'[: count > 1]})"
        )
    return told


def _signed(value: float, error: float) -> str:
    return f"{'+' if value >= 0 else ''}{digits(value, error)}"


def _progress(label: str, done: int, total: int, text: str) -> None:
    board.show(label, done, total, text)
    if stopping():
        raise Stopped("stopped while rows were resampled")


def _units(data: Data, ids: pd.Index) -> tuple[np.ndarray, str]:
    """Of each row the number of what is drawn with it, and what that is."""
    group = data.config.folds.group
    if group:
        codes, names = pd.factorize(data.train.table[group].loc[ids])
        return codes, f"{len(names):,} groups of {group!r}"
    return np.arange(len(ids)), f"{len(ids):,} {'pictures' if data.problem.kind == 'boxes' else 'rows'}"


def _check_names(a: str, b: str) -> None:
    for name in (a, b):
        config.check_name(name)
    where = f"A={a} B={b}"
    if a == b:
        found, mend = "the same run twice", f"B={a.partition('/')[0]}/<another run>"
        raise ConfigFault(Finding("CFG-VALUE", "a run can't be compared with itself", where, found, mend))
    if a.partition("/")[0] != b.partition("/")[0]:
        what, mend = "runs of two competitions have no common score", "name two runs of one competition"
        raise ConfigFault(Finding("CFG-VALUE", what, where, f"{a.partition('/')[0]} and {b.partition('/')[0]}", mend))


def _sides(names: tuple[str, str], data: Data, table: FoldTable) -> list[Side]:
    missing = [finding for name in names for finding in _without_score(name)]
    if missing:
        raise ConfigFault(*missing)
    other = [finding for name in names for finding in _of_other(name, data, table)]
    if other:
        raise DataFault(*other)
    return [_side(name, data, scored_folds(table)) for name in names]


def _without_score(name: str) -> Iterator[Finding]:
    folder = artifacts.run_folder(name)
    begun = runs.recorded(name) is not None
    if not begun and not artifacts.run_yaml(name).exists():
        yield Finding("CFG-MISSING", "there is no such run", name, "neither a run file nor a run folder", _near(name))
    elif not all((folder / file).exists() for file in ("score.json", "oof.parquet")):
        mend = f"make {'predict' if begun else 'submission'} RUN={name}"
        yield Finding("RUN-PARTIAL", "the run has no score yet", f"{name}", f"no score.json in {folder}", mend)


def _near(name: str) -> str:
    competition = name.partition("/")[0]
    there = {f"{competition}/{path.stem}" for path in (artifacts.CONFIGS / competition).glob("*.yaml")}
    there |= {f"{competition}/{path.parent.name}" for path in artifacts.RUNS.glob(f"{competition}/*/score.json")}
    return nearest(name, sorted(there - {f"{competition}/competition"}))


def _of_other(name: str, data: Data, table: FoldTable) -> Iterator[Finding]:
    made = runs.recorded(name)
    assert made is not None
    for code, what, then, now in (
        ("RUN-DATA", "data", made["data"], data.hash),
        ("RUN-FOLDS", "fold table", made["folds"], table.hash),
    ):
        if then != now:
            risk = "scores of other rows or folds can't be compared row by row"
            mend = f"train {name} anew (AS=), or restore the {what}"
            yield Finding(code, f"the run is of another {what}", name, f"hash {then} there, {now} now", mend, risk)


def _side(name: str, data: Data, fold: pd.Series) -> Side:
    """Raises DataFault OOF-COVER, ConfigFault RUN-STALE where the predictions don't give the score that is written."""
    folder, metric = artifacts.run_folder(name), data.problem.metric
    score, plain = read_json(folder / "score.json"), read_table(folder / "oof.parquet")
    cover({"oof.parquet": plain}, fold.index, name)
    assert data.train.truth is not None
    truth = pick(data.train.truth, fold.index)
    prediction = decided(score, plain, fold)
    again = metric.shown(metric.score(truth, prediction))
    if score["metric"] != metric.name or not math.isclose(again, score["score"], rel_tol=1e-9, abs_tol=1e-12):
        found = f"{score['metric']} {score['score']:.6f} there, {metric.name} {again:.6f} of its predictions"
        risk, mend = "two figures would be compared that mean different things", f"make predict RUN={name}"
        raise ConfigFault(Finding("RUN-STALE", "the score is an older one", f"{folder}", found, mend, risk))
    return Side(name, score, prediction, decide.fold_scores(metric, truth, prediction, fold))
