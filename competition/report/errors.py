"""Where a run is wrong, by class: confusion matrix, table of classes, calibration, ROC and precision against recall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from competition import adjustment, kinds
from competition.report import outcome
from competition.report.blocks import Block, Cell, Chart, Column, Grid, Prose, Section
from competition.report.outcome import Outcome
from competition.report.palette import (
    BLUE,
    GREY,
    RARE,
    VERMILLION,
    axis,
    colour,
    dash,
    figure,
    names,
    plain,
    rounded,
    short,
)  # fmt: skip
from competition.report.subject import Subject
from competition.standings import Standing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WHOLE, WORST = 30, 20  # classes up to which the matrix is whole; of a larger one, those that are shown
COUNTED = 12  # classes up to which each cell has its count in it
PAIRS = 30
CURVES = 6  # on a phone each has a line of the legend


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of kinds with classes or labels; nothing of the others."""
    if subject.problem.kind not in kinds.ANY_CLASS:
        return
    found = outcome.of(subject, standing)
    table = outcome.by_class(found)
    kind, ordinal = "class" if found.exclusive else "label", subject.problem.kind == "ordinal"
    blocks: list[Block] = [*_confusion(found)] if found.exclusive else []
    blocks += [_distances(found)] if ordinal else []
    blocks += [_classes(table, kind), *_decided(standing)]
    yield Section("confusion", f"By {kind}", blocks, standing.name)
    yield Section("calibration", "Calibration", [*_calibration(found)], standing.name)
    yield Section("roc", "ROC and precision", [*_ranked(found, table)], standing.name)


def _decided(standing: Standing) -> Iterator[Prose]:
    """What was done to probabilities before they became decisions."""
    last = adjustment.read(standing.scored.get("adjustment"))
    if last is not None:
        yield Prose([f"Adjusted by: {last}, fitted on all rows; the figures here are by what the other folds gave."])


def _confusion(found: Outcome) -> Iterator[Block]:
    counts = found.confusion
    wrong = counts - np.diag(counts.diagonal())
    places = np.arange(len(counts))
    if len(counts) > WHOLE:
        places = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:WORST])
    share = counts.trace() / max(1, counts.sum())
    text = f"{counts.trace():,} of {counts.sum():,} rows are right ({share:.2%})."
    pairs = _pairs(wrong)
    if len(pairs):
        true, said = pairs[0]
        most = f"most often {found.classes[true]} is taken for {found.classes[said]}, {wrong[true, said]:,} times"
        text = f"{text[:-1]}; {most}."
    title = f"Confusion: {share:.1%} of the rows are right"
    if len(places) < len(counts):
        title = f"Confusion of the {len(places)} classes with most mistakes, of {len(counts)}"
    shown, labels = counts[np.ix_(places, places)], [found.classes[place] for place in places]
    totals = counts.sum(axis=1)[places]
    yield Chart(title, _matrix(shown, totals, labels), text, 220 + 22 * max(6, len(places)))
    if len(counts) > WHOLE:
        yield _confused(found.classes, counts, pairs[:PAIRS])


def _pairs(wrong: np.ndarray) -> np.ndarray:
    """[k, 2] true and predicted class of mistakes that occur, the most frequent first."""
    order = np.argsort(-wrong, axis=None, kind="stable")
    order = order[wrong.ravel()[order] > 0]
    return np.column_stack(np.unravel_index(order, wrong.shape))


def _matrix(counts: np.ndarray, totals: np.ndarray, labels: Sequence[str]) -> Figure:
    """Shaded by the share of the true class, which of rare ones would not be seen in counts. totals: [true class] rows."""
    share = np.divide(counts, totals[:, None], out=np.zeros(counts.shape), where=totals[:, None] > 0)
    places = [*range(len(counts))]
    cells: dict[str, Any] = {
        "type": "heatmap", "x": places, "y": places, "z": rounded(share, 3), "customdata": counts.tolist(),
        "colorscale": RARE, "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1, "showscale": False, "name": "rows",
        "hovertemplate": "true %{y}<br>predicted %{x}<br>%{customdata} rows, %{z:.1%} of the true<extra></extra>",
    }  # fmt: skip
    if any(short(label) != plain(label) for label in labels):
        cells["text"] = [[f"true {plain(true)}<br>predicted {plain(said)}" for said in labels] for true in labels]
        cells["hovertemplate"] = "%{text}<br>%{customdata} rows, %{z:.1%} of the true<extra></extra>"
    traces = [cells] + ([_numbers(counts)] if len(counts) <= COUNTED else [])
    ticks = names(labels, 14)
    down = {"range": [len(counts) - 0.5, -0.5], "showgrid": False}
    across = {"range": [-0.5, len(counts) - 0.5], "showgrid": False}
    return figure(
        traces,
        xaxis=axis("predicted class", **ticks, **across),
        yaxis=axis("true class", **ticks, **down),
        showlegend=False,
    )


def _numbers(counts: np.ndarray) -> dict[str, Any]:
    """Words of the page's own colour, which a heatmap's cells don't have: it takes its shades for opaque."""
    y, x = np.nonzero(counts)
    texts = [f"{counts[place]:,}" for place in zip(y, x, strict=True)]
    return {"type": "scatter", "mode": "text", "x": x.tolist(), "y": y.tolist(), "text": texts, "hoverinfo": "skip"}


def _confused(classes: Sequence[str], counts: np.ndarray, pairs: np.ndarray) -> Grid:
    totals = counts.sum(axis=1)
    rows = [(classes[t], classes[s], int(counts[t, s]), float(counts[t, s] / totals[t])) for t, s in pairs]
    columns = [
        Column("true class"),
        Column("predicted class"),
        Column("rows", 0),
        Column("share", 3, "of the rows of the true class"),
    ]
    return Grid("The most frequent mistakes", columns, rows)


def _distances(found: Outcome) -> Grid:
    """How far off the predicted level is, by how many rows."""
    off = np.abs(found.truth.argmax(axis=1) - found.said.argmax(axis=1))
    counts = np.bincount(off, minlength=1)
    within = counts.cumsum() / max(1, counts.sum())
    rows = [(k, int(n), float(n / max(1, len(off))), float(within[k])) for k, n in enumerate(counts)]
    columns = [
        Column("off by", 0, "levels between the true and the predicted one"),
        Column("rows", 0),
        Column("share", 3),
    ]
    return Grid("How far off", [*columns, Column("within", 3, "share of rows that are off by so much or less")], rows)


def _classes(table: pd.DataFrame, kind: str) -> Grid:
    columns = [
        Column(kind),
        Column("rows", 0, f"of which the {kind} is true"),
        Column("predicted", 0, f"rows for which the {kind} is predicted"),
        Column("precision", 3, "share of those predicted that are right"),
        Column("recall", 3, "share of those true that are found"),
        Column("F1", 3, "harmonic mean of precision and recall"),
        Column("AUC", 4, f"how well the probability of this {kind} ranks its rows before all others"),
        Column("log loss", 4, "mean of its rows" if kind == "class" else "mean over all rows"),
    ]
    return Grid(f"Each {kind}", columns, [_row(name, values) for name, values in table.iterrows()])


def _row(name: Any, values: pd.Series) -> list[Cell]:
    counts = {"rows", "said"}
    cells = [None if np.isnan(v) else int(v) if key in counts else float(v) for key, v in values.items()]
    return [str(name), *cells]


def _calibration(found: Outcome) -> Iterator[Block]:
    drawn = {"as predicted": found.raw, "calibrated": found.probability} if found.raw is not None else {
        "as predicted": found.probability}  # fmt: skip
    bins = {name: outcome.reliability(*outcome.confidence(found, p)) for name, p in drawn.items()}
    errors = {name: outcome.calibration_error(table) for name, table in bins.items()}
    what = "each label" if not found.exclusive else "the likeliest class"
    if found.exclusive and len(found.classes) == 2:
        what = f"class {found.classes[1]}"
    told = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
    surest = next(reversed(bins.values())).iloc[-1]
    text = (
        f"Expected calibration error {told}. Of the surest {surest['rows']:,.0f}, predicted with probability "
        f"{surest['p']:.3f} on average, {surest['true']:.3f} are."
    )
    title = f"How often {what} is true, by its probability"
    yield Chart(title, _reliability(bins, errors), text)


def _reliability(bins: dict[str, pd.DataFrame], errors: dict[str, float]) -> Figure:
    even = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "name": "well calibrated", "hoverinfo": "skip",
            "line": {"color": GREY, "dash": "dash", "width": 1}}  # fmt: skip
    traces = [even]
    for (name, table), shade in zip(bins.items(), (BLUE, VERMILLION)):
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": f"{name}, error {errors[name]:.3f}",
            "x": rounded(table["p"]), "y": rounded(table["true"]), "customdata": table["rows"].tolist(),
            "line": {"color": shade, "width": 2}, "marker": {"size": 7},
            "hovertemplate": "predicted %{x:.3f}<br>true %{y:.3f}<br>%{customdata} rows",
        })  # fmt: skip
    unit = {"range": [-0.02, 1.02]}
    return figure(traces, xaxis=axis("probability, mean of a bin", **unit), yaxis=axis("share that is true", **unit))


def _ranked(found: Outcome, table: pd.DataFrame) -> Iterator[Block]:
    """Of two classes the second's curve, with where it is decided; of more those that are ranked worst."""
    two, noun = found.exclusive and len(found.classes) == 2, "classes" if found.exclusive else "labels"
    known = table["auc"].iloc[1:] if two else table["auc"]
    worst = [*known.dropna().sort_values(kind="stable").index]
    if not worst:
        yield Prose(["No class has both rows that are of it and rows that are not: there is no curve."])
        return
    at = {name: place for place, name in enumerate(table.index)}
    lines = {
        name: outcome.ranked_curves(found.truth[:, at[name]], found.probability[:, at[name]]) for name in worst[:CURVES]
    }
    decided = _operating(found) if two else None
    mean = f"mean AUC {known.mean():.4f} over {len(worst)} {noun}" if len(worst) > 1 else f"AUC {known[worst[0]]:.4f}"
    of = f"the {CURVES} of {len(worst)} {noun} that are ranked worst" if len(worst) > CURVES else f"{', '.join(worst)}"
    lowest = f"; the lowest is of {worst[0]}, {known[worst[0]]:.4f}" if len(worst) > 1 else ""
    yield Chart(
        f"ROC: {mean}", _curves(lines, "roc", decided), f"Receiver operating curve of {of}: {mean}{lowest}.", 440
    )
    least = min(lines, key=lambda name: lines[name]["ap"])
    ap = f"average precision {lines[least]['ap']:.4f}" + (f" at the lowest, of {least}" if len(lines) > 1 else "")
    yield Chart(f"Precision against recall: {ap}", _curves(lines, "pr", decided), f"Of {of}: {ap}.", 440)


def _operating(found: Outcome) -> dict[str, tuple[float, float] | None]:
    """Where on each curve the decisions stand, which were each fold's own."""
    true, said = found.truth[:, 1], found.said[:, 1]
    right, recall = int((true * said).sum()), float((true * said).sum() / true.sum())
    false = float(((1 - true) * said).sum() / (1 - true).sum())
    return {"roc": (false, recall), "pr": (recall, right / said.sum()) if said.any() else None}


def _curves(
    lines: dict[str, dict[str, Any]], kind: str, decided: dict[str, tuple[float, float] | None] | None
) -> Figure:
    area = {"roc": "auc", "pr": "ap"}[kind]
    x, y = {"roc": ("false positive rate", "true positive rate"), "pr": ("recall", "precision")}[kind]
    traces: list[dict[str, Any]] = []
    for n, (name, values) in enumerate(lines.items()):
        traces.append({
            "type": "scatter", "mode": "lines", "name": f"{short(name, 14)} {values[area]:.3f}",
            "x": rounded(values[kind][0], 3), "y": rounded(values[kind][1], 3), "text": plain(name),
            "line": {"color": colour(n), "dash": dash(n), "width": 2},
            "hovertemplate": f"%{{text}}<br>{x} %{{x:.3f}}<br>{y} %{{y:.3f}}<extra></extra>",
        })  # fmt: skip
    if kind == "roc":
        traces.append({"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "name": "by chance",
                       "line": {"color": GREY, "dash": "dash", "width": 1}, "hoverinfo": "skip"})  # fmt: skip
    if decided and (point := decided[kind]):
        traces.append({"type": "scatter", "mode": "markers", "name": "as decided", "x": [point[0]], "y": [point[1]],
                       "marker": {"color": VERMILLION, "size": 11, "symbol": "diamond"}})  # fmt: skip
    unit = {"range": [-0.02, 1.02]}
    return figure(traces, xaxis=axis(x, **unit), yaxis=axis(y, **unit))
