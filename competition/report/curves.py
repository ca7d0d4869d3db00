"""How the folds of a run were trained, from their history.jsonl: loss, validation score and rate by epoch; score by fold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.mistakes import number
from competition.report.blocks import Block, Chart, Column, Grid, Prose, Section
from competition.report.palette import BLUE, GREY, axis, colour, counted, dash, figure, names, plain, rounded, thinned
from competition.report.subject import Subject
from competition.scoring import seeds_apart
from competition.standings import Standing
from competition.tracking import read

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

History = list[dict[str, Any]]
NOTES = 20  # lines of a run
WORDED = 8  # points with their figures beside them


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    histories = of_folds(subject.folder(standing))
    yield Section("curves", "Learning curves", [*_curves(subject, standing, histories)], standing.name)
    yield Section("folds", "Score by fold", [*_folds(subject, standing)], standing.name)


def of_folds(folder: Path) -> dict[str, History]:
    """The whole lines of each fold's history, folds in their order; of folds that have one."""
    paths = sorted(folder.glob("fold*/history.jsonl"), key=lambda path: _order(path.parent.name))
    return {path.parent.name: read(path) for path in paths}


def _order(name: str) -> list[str]:
    """fold10 after fold9."""
    return [part.zfill(9) for part in re.split(r"(\d+)", name)]


def _curves(subject: Subject, standing: Standing, histories: Mapping[str, History]) -> Iterator[Block]:
    """By epoch where there are any; else what a library's own loop tells of its models."""
    epochs = {fold: [line for line in lines if "epoch" in line] for fold, lines in histories.items()}
    epochs = {fold: lines for fold, lines in epochs.items() if lines}
    parts = [(fold, line) for fold, lines in histories.items() for line in lines if "part" in line]
    if epochs:
        yield from _by_epoch(epochs, subject.problem.metric.name)
    elif parts:
        yield Prose(["Its models learn by rounds of their library, which writes no line an epoch."])
        yield _models(parts)
    elif standing.record.get("config", {}).get("members"):
        yield Prose(["It trains nothing of its own: the curves are those of its members."])
    else:
        yield Prose(["No fold of it has a history of its training."])
    notes = [f"{fold}: {line['note']}" for fold, lines in histories.items() for line in lines if "note" in line]
    if notes:
        more = [f"and {len(notes) - NOTES} more, in history.jsonl of the folds"] if len(notes) > NOTES else []
        yield Prose([*notes[:NOTES], *more], listed=True)


def _by_epoch(epochs: Mapping[str, History], metric: str) -> Iterator[Chart]:
    last = [lines[-1] for lines in epochs.values()]
    ends = [line["loss"] for line in last if "loss" in line]
    count = f"{len(epochs)} fold{'s' * (len(epochs) > 1)}"
    if ends:
        text = f"Training loss of {count}: {min(ends):.4g} to {max(ends):.4g} at the end, after {_span(last)} epochs."
        yield Chart("Training loss by epoch", lines(epochs, "loss", "training loss"), text)
    valid = [[line["valid"] for line in some if "valid" in line] for some in epochs.values()]
    scores = [values[-1] for values in valid if values]
    if scores:
        text = f"Validation {metric} of {count}, of one view: {min(scores):.4g} to {max(scores):.4g} at the end."
        yield Chart(f"Validation {metric} by epoch", lines(epochs, "valid", f"validation {metric}"), text)
    rates = {tuple((line["epoch"], line["lr"]) for line in some if "lr" in line): some for some in epochs.values()}
    if any(rates):
        top = max(line["lr"] for some in epochs.values() for line in some if "lr" in line)
        one = {"every fold": next(iter(rates.values()))} if len(rates) == 1 else epochs
        yield Chart("Learning rate by epoch", lines(one, "lr", "rate"), f"The learning rate is {top:.3g} at most.", 200)


def _span(some: Sequence[Mapping[str, Any]]) -> str:
    low, high = (pick(line["epoch"] for line in some) for pick in (min, max))
    return f"{low}" if low == high else f"{low} to {high}"


def lines(epochs: Mapping[str, History], key: str, label: str) -> Figure:
    """A line a fold; dots where there are few epochs, of which some may lack the value."""
    traces = []
    for n, (fold, some) in enumerate(epochs.items()):
        known = [line for line in some if line.get(key) is not None]
        kept = [known[place] for place in thinned(len(known))]
        traces.append({
            "type": "scatter", "mode": "lines+markers" if len(kept) <= 40 else "lines", "name": plain(fold),
            "x": [line["epoch"] for line in kept], "y": rounded([line[key] for line in kept]),
            "line": {"color": colour(n), "dash": dash(n), "width": 2}, "marker": {"size": 5},
            "hovertemplate": f"epoch %{{x}}<br>{label} %{{y:.4~g}}",
        })  # fmt: skip
    last = max(line["epoch"] for some in epochs.values() for line in some)
    return figure(traces, xaxis=axis("epoch", **counted(last)), yaxis=axis(label), hovermode="x")


def _models(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Grid:
    rows = []
    for fold, line in parts:
        rounds = [output["rounds"] for output in line.get("outputs", []) if output.get("rounds") is not None]
        said = str(rounds[0]) if len(rounds) == 1 else f"{min(rounds)} to {max(rounds)}" if rounds else None
        told = [line.get(key) for key in ("part", "model", "rows", "features", "seconds")]
        rows.append([fold, *told, said])
    columns = [
        Column("fold"), Column("part", 0, "of the bag, each stopped by other rows"), Column("model"),
        Column("rows", 0, "that it is fitted on"), Column("features", 0),
        Column("seconds", 1),
        Column("rounds", help="of boosting, or epochs of a network, chosen by rows that the fold's score never sees"),
    ]  # fmt: skip
    return Grid("Models of each fold", columns, rows)


def _folds(subject: Subject, standing: Standing) -> Iterator[Block]:
    metric = subject.problem.metric
    known = {fold: score for fold, score in standing.folds.items() if score is not None}
    if standing.score is None or not known:
        yield Prose(["No fold of it has a score of its own."])
        return
    better = "greater" if metric.greater else "smaller"
    worst, best = (pick(known, key=lambda fold: metric.sign * known[fold]) for pick in (min, max))
    text = f"{metric.name} of all rows {standing.score:.4f}; worst fold {worst} {known[worst]:.4f}, best {best} " + (
        f"{known[best]:.4f}; {better} is better."
    )
    if len(known) < len(standing.folds):
        text += f" Without a score: {', '.join(fold for fold in standing.folds if fold not in known)}."
    yield Chart(f"{metric.name} of each fold", _points(known, standing.score, metric.name), text, 280)
    if seeds := standing.scored.get("seeds"):
        yield Prose([f"{metric.name} of {seeds_apart([*seeds.values()])}"])


def _points(known: Mapping[str, float], pooled: float, metric: str) -> Figure:
    """Not bars, which begin at 0 and hide the differences."""
    places = [*range(len(known))]
    dots = {
        "type": "scatter", "mode": "markers+text" if len(known) <= WORDED else "markers", "name": "fold", "x": places,
        "y": rounded([*known.values()]), "text": [*map(_told, known.values())], "cliponaxis": False,
        "textposition": "top center", "marker": {"color": BLUE, "size": 10}, "hovertemplate": "%{x} %{y:.4f}<extra></extra>",
    }  # fmt: skip
    line = {
        "type": "scatter", "mode": "lines", "name": f"all rows {pooled:.4f}", "x": [-0.5, len(known) - 0.5],
        "y": rounded([pooled] * 2, 6), "line": {"color": GREY, "dash": "dash", "width": 2}, "hoverinfo": "skip",
    }  # fmt: skip
    return figure([line, dots], xaxis=axis("", **names([*known]), range=[-0.5, len(known) - 0.5]), yaxis=axis(metric))


def _told(score: float) -> str:
    """Four digits, the last of which may be 0."""
    return number(score) if abs(score) >= 1000 else f"{score:#.4g}"
