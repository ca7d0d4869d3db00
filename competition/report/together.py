"""How alike the runs of a competition are, by their out-of-fold predictions: what a blend can hope for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from competition.report.blocks import Block, Chart, Prose, Section
from competition.report.palette import SHADES, axis, figure, names, plain, rounded
from competition.report.subject import Subject

NUMBERED = 6  # runs up to which each cell has its figure in it


def sections(subject: Subject) -> Iterator[Section]:
    yield Section("alike", "How alike the runs are", [*_alike(subject)])


def _alike(subject: Subject) -> Iterator[Block]:
    if len(subject.chosen) < 2:
        yield Prose(["There are no two runs with a score to compare."])
        return
    if subject.problem.kind == "boxes":
        yield Prose(
            ["Boxes of two runs are no pairs to correlate; the table of a blend's members says what each adds."]
        )
        return
    said = correlation([subject.decided(standing) for standing in subject.chosen])
    wrong = correlation([subject.decided(standing) - subject.truth for standing in subject.chosen])
    labels = [standing.run for standing in subject.chosen]
    yield _matrix(said, wrong, labels)


def correlation(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """[runs, runs] Pearson's, over all cells, each column less its mean: levels of targets and classes count for nothing.

    nan with a run that says the same of every row.
    """
    cells = np.stack([(table - table.mean()).to_numpy(float).ravel() for table in tables])
    size = np.sqrt((cells**2).sum(axis=1))
    both = np.outer(size, size)
    return np.divide(cells @ cells.T, both, out=np.full(both.shape, np.nan), where=both > 0).clip(-1, 1)


def _matrix(said: np.ndarray, wrong: np.ndarray, labels: Sequence[str]) -> Chart:
    apart = np.where(np.triu(np.ones(said.shape, bool), 1) & np.isfinite(said), said, np.inf)
    a, b = map(int, np.unravel_index(apart.argmin(), apart.shape))
    text = "No two of them vary: there is no correlation."
    if np.isfinite(apart).any():
        text = (
            f"Least alike are {labels[a]} and {labels[b]}: their out-of-fold predictions correlate by {said[a, b]:.3f}, "
            f"their errors by {_told(wrong[a, b])}. The less errors correlate, the more a blend gains."
        )
    places = [*range(len(labels))]
    low = float(np.nanmin(said)) if np.isfinite(said).any() else 0.0
    hover = [[f"{plain(x)}<br>{plain(y)}<br>errors {_told(wrong[i, j])}" for j, x in enumerate(labels)]
             for i, y in enumerate(labels)]  # fmt: skip
    traces: list[dict] = [{
        "type": "heatmap", "x": places, "y": places, "z": rounded(said), "colorscale": SHADES, "zmax": 1, "text": hover,
        "zmin": round(max(-1.0, low - 0.1 * (1 - low) - 0.01), 3), "showscale": False, "xgap": 1, "ygap": 1, "name": "",
        "hovertemplate": "%{text}<br>predictions %{z:.4f}<extra></extra>",
    }]  # fmt: skip
    if len(labels) <= NUMBERED:
        x, y = np.meshgrid(places, places)
        figures = [_told(value) for value in said.ravel()]
        traces.append({"type": "scatter", "mode": "text", "x": x.ravel().tolist(), "y": y.ravel().tolist(),
                       "text": figures, "hoverinfo": "skip"})  # fmt: skip
    ticks, ends = names(labels, 14), [-0.5, len(labels) - 0.5]
    drawn = figure(
        traces,
        xaxis=axis("", **ticks, range=ends, showgrid=False),
        yaxis=axis("", **ticks, range=ends[::-1], showgrid=False),
        showlegend=False,
    )
    return Chart("Correlation of out-of-fold predictions", drawn, text, 160 + 34 * len(labels))


def _told(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "none"
