"""CV against the public leaderboard: `make leaderboard COMP=leaves` prints the ledger's rows that have a public score, draws
them, and says which two submissions to choose at the end.

Ranks are compared by Spearman's coefficient. With few rows it says hardly anything, and so do we.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from competition import artifacts, board, chart, hostread, ledger
from competition.data import Data, load
from competition.errors import DataFault, Finding
from competition.hostread import floats

FEW = 4  # rows: under them a rank correlation is not computed; 4 rows in order by chance: 1 in 24
DRAWS = 2_000
WIDE = 1.0  # of an interval's width, from which on it leaves open whether CV helps at all
DEVIATIONS = 2.0  # standard errors of CV that are taken for noise
LIKE = 0.995  # correlation of two submissions from which on the second is hardly a second chance


@dataclass(frozen=True)
class Agreement:
    """rank: Spearman's coefficient, 1 where the better CV always has the better public score; low, high: 95% of its
    bootstrap over rows. None of them where too few rows differ."""

    rows: int
    rank: float | None = None
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if self.rank is None:
            return (
                f"{self.rows} rows have a CV and a public score; from {FEW} different ones on their ranks are compared"
            )
        text = f"Spearman {self.rank:.2f} (95% within {self.low:.2f} to {self.high:.2f}, {self.rows} rows)"
        if self.low > 0:
            return f"{text}: a better CV goes with a better public score"
        open_end = "too few rows to tell whether CV and public score go together"
        apart = "CV and public score don't go together; look at the folds (groups, time, leaks) before you trust either"
        return f"{text}: {apart if self.high - self.low < WIDE and self.rank < 0.3 else open_end}"


def tell(competition: str) -> None:
    """Raises DataFault LEDGER-ROW where no row of the competition has a public score."""
    data = load(competition)
    rows = scored(data)
    if rows.empty:
        found = f"no row of {competition} with the metric {data.problem.metric.name} has a public score"
        mend = "make upload FILE=... WAIT=1, or make score FILE=submissions/<name>/<run>.csv PUBLIC="
        what = "there is nothing to compare"
        raise DataFault(Finding("LEDGER-ROW", what, str(artifacts.LEDGER), found, mend))
    board.console.print(_table(rows, data))
    board.say(str(agreement(rows)))
    for sentence in advice(rows, data):
        board.say(sentence)
    if np.isnan(rows["cv"]).all():
        return
    path = artifacts.RUNS / competition / "leaderboard.png"
    artifacts.write_bytes(path, chart.leaderboard(rows, data.problem.metric, f"{competition}: CV and public score"))
    board.say(f"drew {path}")


def scored(data: Data) -> pd.DataFrame:
    """The ledger's rows of this competition and metric with a public score, best CV first: run, cv, cv_std, public, private;
    of a run with several rows the last. Rows of other data or folds are among them: their CV is another, but theirs.
    """
    table = pd.DataFrame(ledger.read(), columns=list(ledger.COLUMNS), dtype=str)
    known = table["metric"].isin([data.problem.metric.name, ""]) & (table["competition"] == data.name)
    numbers = table[["cv", "cv_std", "public", "private"]].apply(floats).astype(float)
    rows = pd.concat([table[["run"]], numbers], axis=1)[known & np.isfinite(numbers["public"])]
    rows = rows.drop_duplicates("run", keep="last")
    return rows.sort_values("cv", ascending=not data.problem.metric.greater, kind="stable").reset_index(drop=True)


def agreement(rows: pd.DataFrame) -> Agreement:
    """Of the rows that have a CV. Both scores have the metric's direction, so 1 is agreement whichever that is."""
    both = rows[np.isfinite(rows["cv"])]
    cv, public = both["cv"].to_numpy(), both["public"].to_numpy()
    if min(len(np.unique(cv)), len(np.unique(public))) < FEW:
        return Agreement(len(both))
    some = np.random.default_rng(0).integers(len(cv), size=(DRAWS, len(cv)))
    found = _spearman(cv[some], public[some])
    low, high = np.nanquantile(found, [0.025, 0.975])  # nan: a draw of one row again and again
    return Agreement(len(both), float(_spearman(cv[None], public[None])[0]), float(low), float(high))


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[draws] correlation of the ranks in each row of a and b, [draws, rows]; nan where all are equal."""
    from scipy.stats import rankdata

    x, y = (rankdata(side, axis=1) - (side.shape[1] + 1) / 2 for side in (a, b))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)


def advice(rows: pd.DataFrame, data: Data) -> list[str]:
    """Which two submissions to choose: the best CV; beside it the best public score among those whose CV is not worse
    beyond noise, or, where that is the same, the one of them that differs most."""
    both, metric = rows[np.isfinite(rows["cv"])], data.problem.metric
    if len(both) < 2:
        return [f"choose {run}: it is the only one with a CV and a public score" for run in both["run"]]
    first = both.iloc[0]
    error = first["cv_std"] / math.sqrt(data.config.folds.n)
    near = both[(both["cv"] - first["cv"]).abs() <= DEVIATIONS * error] if error > 0 else both
    told = [f"choose {first['run']}: the best CV, {first['cv']:.6g}"]
    best = both.sort_values("public", ascending=not metric.greater, kind="stable").iloc[0]
    if best["run"] not in set(near["run"]):
        told.append(
            f"not {best['run']}, though its public score is the best: its CV is worse than noise allows "
            f"({best['cv']:.6g}, ± {DEVIATIONS * error:.2g}), so its luck is more likely the public rows'"
        )
    if len(near) < 2:
        return [*told, "no other one has a CV within its noise; the second may be anything that is made in another way"]
    second, why, same = _beside(first["run"], near, data)
    told.append(f"and {second}: {why}")
    if np.isnan(same):
        told.append(f"how much the two differ can't be told: {_file(first['run'])} or {_file(second)} is not there")
    elif same > LIKE:
        told.append(f"the two are nearly the same ({same:.4f} alike): they will rise or fall together")
    else:
        told.append(f"the two are {same:.4f} alike")
    return told


def _beside(first: str, near: pd.DataFrame, data: Data) -> tuple[str, str, float]:
    """The second submission, why, and how alike the two are. near: rows whose CV is within noise, best CV first."""
    top = near.sort_values("public", ascending=not data.problem.metric.greater, kind="stable").iloc[0]
    alike = {run: likeness(data, first, run) for run in near["run"] if run != first}
    if top["run"] != first:
        second, why = top["run"], f"the best public score, {top['public']:.6g}, of those whose CV is within noise"
    elif np.isnan([*alike.values()]).all():
        second, why = next(iter(alike)), "the best CV after it"
    else:
        second = min(alike, key=lambda run: np.nan_to_num(alike[run], nan=math.inf))
        why = "the first has the best public score too; of those whose CV is within noise this differs most from it"
    return second, why, alike[second]


def likeness(data: Data, a: str, b: str) -> float:
    """How alike two submissions are, at most 1: the mean correlation of their columns of numbers, or the share of equal
    cells of text; nan where a file is gone or is of other rows."""
    files = [_file(run) for run in (a, b)]
    if not all(file.is_file() for file in files):
        return math.nan
    one, two = (hostread.parse(f.read_bytes(), hostread.delimiter_of(f), str(f)) for f in files)
    if isinstance(one, Finding) or isinstance(two, Finding):
        return math.nan
    if list(one) != list(two) or data.sample_id not in one or len(one) != len(two):
        return math.nan
    one, two = (t.sort_values(data.sample_id, kind="stable").drop(columns=data.sample_id) for t in (one, two))
    return float(np.mean([_alike(one[c].reset_index(drop=True), two[c].reset_index(drop=True)) for c in one]))


def _alike(a: pd.Series, b: pd.Series) -> float:
    x, y = floats(a), floats(b)
    if x.isna().any() or y.isna().any() or x.nunique() < FEW or y.nunique() < FEW:
        return float((a == b).mean())
    return float(np.corrcoef(x, y)[0, 1])


def _file(run: str) -> Path:
    return artifacts.submission_csv(run)


def _table(rows: pd.DataFrame, data: Data) -> Table:
    metric = data.problem.metric
    table = Table(title=f"{data.name}: {metric.name}, {'greater' if metric.greater else 'smaller'} is better")
    for column, justify in (("run", "left"), ("CV", "right"), ("public", "right"), ("private", "right")):
        table.add_column(column, justify=justify)
    for run, cv, std, *scores in rows.itertuples(index=False):
        spread = f" ± {std:.4f}" if np.isfinite(std) else ""
        table.add_row(run, f"{_shown(cv)}{spread}" if np.isfinite(cv) else "unknown", *map(_shown, scores))
    return table


def _shown(score: float) -> str:
    return f"{score:.5f}" if np.isfinite(score) else ""
