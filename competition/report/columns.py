"""What each column is worth to a run, from the importance.csv that `make importance RUN=` leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition import runs
from competition.report.blocks import Block, Chart, Column, Grid, Prose, Section
from competition.report.palette import BLUE, GREEN, GREY, axis, figure, names, plain, rounded
from competition.report.subject import Subject
from competition.standings import Standing
from competition.task import Explained

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DRAWN = 25


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of runs whose importance was told, or could be."""
    path = subject.folder(standing) / "importance.csv"
    if path.exists():
        worth = pd.read_csv(path, dtype={"column": str}, keep_default_na=False, na_values={"permutation": "", "std": "",
                            "shap": ""}).set_index("column")  # fmt: skip
        yield Section(
            "columns", "What columns are worth", [*_blocks(worth, subject.problem.metric.name)], standing.name
        )
    elif _explained(subject, standing):
        line = f"make importance RUN={standing.name} tells what each column is worth."
        yield Section("columns", "What columns are worth", [Prose([line])], standing.name)


def _explained(subject: Subject, standing: Standing) -> bool:
    run = runs.made(standing.name)
    return run is not None and run.members is None and isinstance(run.task, Explained) and bool(
        run.task.reads(subject.problem))  # fmt: skip


def _blocks(worth: pd.DataFrame, metric: str) -> Iterator[Block]:
    for key, spread, label, shade in (
        ("permutation", "std", f"{metric} lost when shuffled", BLUE),
        ("shap", None, "mean |SHAP|, in the model's raw output", GREEN),
    ):
        values = worth[key].dropna().sort_values(ascending=False, kind="stable")
        if len(values):
            spreads = worth[spread].reindex(values.index) if spread else None
            yield _chart(values, spreads, label, shade)
    columns = [
        Column("column"),
        Column("permutation", 5, f"how much worse {metric} gets when the column is shuffled"),
        Column("± over folds", 5, "standard deviation"),
        Column("mean |SHAP|", 5, "in the model's raw output"),
    ]
    rows = [[str(name), *(None if np.isnan(v) else float(v) for v in values)] for name, values in worth.iterrows()]
    yield Grid("Each column", columns, rows, "Columns that tell the same hide each other.")


def _chart(values: pd.Series, spread: pd.Series | None, label: str, shade: str) -> Chart:
    first = ", ".join(f"{name} {value:.4g}" for name, value in values.head(3).items())
    some = f", the first {DRAWN} of {len(values)} columns" if len(values) > DRAWN else ""
    title = f"{values.index[0]} is worth most ({'SHAP' if spread is None else 'shuffled'})"
    drawn = _bars(values[:DRAWN], spread, label, shade)
    return Chart(title, drawn, f"{label}{some}: {first}.", 110 + 22 * min(DRAWN, len(values)))


def _bars(values: pd.Series, spread: pd.Series | None, label: str, shade: str) -> Figure:
    bars = {
        "type": "bar", "orientation": "h", "x": rounded(values), "y": [*range(len(values))], "name": "worth",
        "marker": {"color": shade}, "text": [plain(name) for name in values.index], "textposition": "none",
        "hovertemplate": "%{text} %{x:.4~g}<extra></extra>",
    }  # fmt: skip
    if spread is not None:
        errors = rounded(spread[: len(values)].fillna(0))
        bars["error_x"] = {"type": "data", "array": errors, "color": GREY, "thickness": 1.5, "width": 3}
    down = {"range": [len(values) - 0.5, -0.5], "showgrid": False}
    return figure([bars], xaxis=axis(label, zeroline=True), yaxis=axis("", **names([*values.index]), **down))
