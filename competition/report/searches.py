"""The searches of a competition: their trials in order, what the score depends on, and the values of all trials at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import artifacts, chart
from competition.report.blocks import Block, Cell, Chart, Column, Grid, Prose, Section
from competition.report.palette import (
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    axis,
    counted,
    figure,
    names,
    plain,
    rounded,
    short,
)
from competition.report.subject import Subject

TOLD = {
    "number",
    "state",
    "folds",
    "score",
    "seconds",
    "reason",
    "same as",
}  # columns of trials.csv beside keys and folds
FOLD = re.compile(r"fold\d+(-.*)?")
LINES = 60  # of trials at once, the best
WIDE = 100.0  # greatest over smallest value, from which on a key is drawn by its logarithm


def sections(subject: Subject) -> Iterator[Section]:
    """Of the searches that came to an end; nothing where there is none."""
    folders = sorted((artifacts.RUNS / subject.data.name).glob("*~tune"))
    if folders:
        blocks = [block for folder in folders for block in _search(folder, subject)]
        yield Section("searches", "Searches", blocks)


def _search(folder: Path, subject: Subject) -> Iterator[Block]:
    run = f"{subject.data.name}/{folder.name.removesuffix('~tune')}"
    path = folder / "trials.csv"
    trials = pd.read_csv(path) if path.exists() else pd.DataFrame({"state": []})
    if not (trials["state"] == "complete").any():
        yield Prose([f"The search of {run} has not come to an end: make tune RUN={run} goes on."])
        return
    metric = subject.problem.metric
    folds = [name for name in trials.columns if FOLD.fullmatch(name)]
    keys = [name for name in trials.columns if name not in TOLD and name not in folds]
    trials = trials.assign(level=chart.levels(trials, folds, metric.greater))
    name = folder.name.removesuffix("~tune")
    yield _history(name, trials, len(folds), metric.name, metric.greater)
    if worth := _worth(folder):
        yield _importances(name, worth)
    elif len(keys) > 1:
        yield Prose([f"{name}: what the score depends on is told from 8 different whole trials on."])
    if len(keys) > 1:
        yield _parallel(name, trials, keys, metric.name, metric.greater)
    yield _trials(name, trials, keys)


def _history(name: str, trials: pd.DataFrame, folds: int, metric: str, greater: bool) -> Chart:
    whole, cut = trials[trials["state"] == "complete"], trials[trials["state"] == "pruned"].dropna(subset="level")
    best = whole["level"].cummax() if greater else whole["level"].cummin()
    at = whole.loc[whole["level"].idxmax() if greater else whole["level"].idxmin()]
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "best so far", "x": whole["number"].tolist(), "y": rounded(best, 5),
         "line": {"color": ORANGE, "shape": "hv", "width": 2}, "hoverinfo": "skip"},
        {"type": "scatter", "mode": "markers", "name": "all folds", "x": whole["number"].tolist(),
         "y": rounded(whole["level"], 5), "marker": {"color": BLUE, "size": 8},
         "hovertemplate": "trial %{x}<br>%{y}<extra></extra>"},
    ]  # fmt: skip
    if len(cut):
        traces.append({
            "type": "scatter", "mode": "markers", "name": "stopped, by the same folds of the best",
            "x": cut["number"].tolist(), "y": rounded(cut["level"], 5), "customdata": cut["folds"].tolist(),
            "marker": {"color": GREY, "size": 8, "symbol": "circle-open"},
            "hovertemplate": f"trial %{{x}}, stopped after %{{customdata}} of {folds} folds<br>%{{y}}<extra></extra>",
        })  # fmt: skip
    drawn = figure(traces, xaxis=axis("trial", **counted(int(trials["number"].max()))), yaxis=axis(metric))
    stopped = (trials["state"] == "pruned").sum()
    text = (
        f"Search of {name}: {len(whole)} whole and {stopped} stopped trials; the best is number {at['number']:.0f} with "
        f"{metric} {at['level']:.4f} (optimistic, for it was chosen by this score); "
        f"{'greater' if greater else 'smaller'} is better."
    )
    return Chart(f"{name}: trials in their order", drawn, text)


def _worth(folder: Path) -> Mapping[str, float]:
    path = folder / "importances.json"
    return artifacts.read_json(path) if path.exists() else {}


def _importances(name: str, worth: Mapping[str, float]) -> Chart:
    keys = [*worth]
    bars = {
        "type": "bar", "orientation": "h", "x": rounded([*worth.values()]), "y": [*range(len(keys))], "name": "share",
        "marker": {"color": BLUE}, "text": [plain(key) for key in keys], "textposition": "none",
        "hovertemplate": "%{text} %{x:.1%}<extra></extra>",
    }  # fmt: skip
    down = {"range": [len(keys) - 0.5, -0.5], "showgrid": False}
    drawn = figure([bars], xaxis=axis("share (PED-ANOVA)", tickformat=".0%"), yaxis=axis("", **names(keys), **down))
    text = (
        "What being among the best trials depends on: " + ", ".join(f"{key} {v:.0%}" for key, v in worth.items()) + "."
    )
    return Chart(f"{name}: {keys[0]} matters most", drawn, text, 110 + 26 * len(keys))


def _parallel(name: str, trials: pd.DataFrame, keys: Sequence[str], metric: str, greater: bool) -> Chart:
    """A line a whole trial over keys, each from its smallest to its greatest value. Lines of plotly's own parallel
    coordinates are WebGL's: a browser without it shows none, and they have no hover.
    """
    whole = trials[trials["state"] == "complete"].sort_values("score", ascending=not greater, kind="stable")
    best = whole.head(LINES)
    places = {key: _places(best[key]) for key in keys} | {metric: _places(best["score"])}
    traces = []
    for n, (row, trial) in reversed([*enumerate(best.iterrows())]):
        said = "<br>".join(f"{plain(key)} {plain(_value(trial[key]))}" for key in keys)
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": "", "y": [*range(len(places))],
            "x": rounded([values[row] for values in places.values()], 3), "showlegend": False, "marker": {"size": 4},
            "text": f"trial {trial['number']:.0f}, {plain(metric)} {trial['score']:.4f}<br>{said}",
            "hovertemplate": "%{text}<extra></extra>", "opacity": 1.0 if n == 0 else round(0.6 - 0.45 * n / len(best), 2),
            "line": {"color": BLUE if n else VERMILLION, "width": 1.5 if n else 3},
        })  # fmt: skip
    ends = [f"{short(key)}<br>{_ends(best[key])}" for key in keys] + [f"{plain(metric)}<br>{_ends(best['score'])}"]
    down = {"tickvals": [*range(len(ends))], "ticktext": ends, "range": [len(ends) - 0.6, -0.4]}
    across = {"range": [-0.03, 1.03], "showticklabels": False}
    top = best.iloc[0]
    text = f"The best trial, drawn thick, has {', '.join(f'{key} {_value(top[key])}' for key in keys)}."
    if len(whole) > len(best):
        text += f" Drawn are the best {len(best)} of {len(whole)} whole trials."
    drawn = figure(traces, xaxis=axis("", **across), yaxis=axis("", **down))
    return Chart(f"{name}: values of each trial", drawn, text, 120 + 52 * len(ends))


def _numbers(values: pd.Series) -> pd.Series | None:
    """As numbers, None where some are words."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.astype(float) if numbers.notna().eq(values.notna()).all() and values.dtype != bool else None


def _places(values: pd.Series) -> pd.Series:
    """0..1 between the least and the greatest, of words in their order; nan where a trial has no such value."""
    numbers = _numbers(values)
    if numbers is None:
        codes, _ = pd.factorize(values.astype("string"), sort=True)
        numbers = pd.Series(codes, values.index, dtype=float).where(codes >= 0)
    elif numbers.min() > 0 and numbers.max() / numbers.min() >= WIDE:
        numbers = np.log(numbers)
    low, span = numbers.min(), numbers.max() - numbers.min()
    return (numbers - low) / span if span > 0 else numbers * 0 + 0.5


def _ends(values: pd.Series) -> str:
    numbers = _numbers(values)
    if numbers is None:
        words = sorted(set(values.dropna().astype(str)))
        return short(", ".join(words), 26)
    return f"{_value(numbers.min())} … {_value(numbers.max())}"


def _value(value: Any) -> str:
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    return f"{value:.4g}" if np.isfinite(value) else "none"


def _trials(name: str, trials: pd.DataFrame, keys: Sequence[str]) -> Grid:
    columns = [Column("trial", 0), Column("state"), Column("score", 5, "of a stopped trial the mean of its folds"),
               Column("folds", 0), Column("seconds", 0), *(Column(key) for key in keys), Column("reason")]  # fmt: skip
    rows = []
    for _, t in trials.iterrows():
        cells: list[Cell] = [_value(t[key]) if _word(t[key]) else _known(t[key]) for key in keys]
        reason = t["reason"] if isinstance(t["reason"], str) else ""
        told = [t["state"], _known(t["score"]), int(t["folds"]), _known(t["seconds"])]
        rows.append([int(t["number"]), *told, *cells, reason])
    return Grid(f"{name}: trials", columns, rows)


def _word(value: Any) -> bool:
    return isinstance(value, str | bool | np.bool_)


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
