"""Where a run is wrong, of values: predicted against true, what is left over, and the table of each target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from competition.kinds import VALUES
from competition.mistakes import number
from competition.report.blocks import Block, Chart, Column, Grid, Prose, Section
from competition.report.palette import BLUE, GREY, axis, colour, figure, logged, plain, rounded
from competition.report.subject import Subject
from competition.standings import Standing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 1500  # of all targets together: 60 kB of the page, and a phone still scrolls
TARGETS = 4  # that are drawn, those of least R²
BARS = 40
TENTHS = 10


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of values; nothing of other kinds."""
    if subject.problem.kind not in VALUES:
        return
    true, said = subject.truth.astype(float), subject.decided(standing).astype(float)
    table = by_target(true, said)
    drawn = [*table["R²"].fillna(1.0).sort_values(kind="stable").index[:TARGETS]]
    blocks: list[Block] = [_targets(table)]
    if len(drawn) < len(table):
        blocks.append(Prose([f"Drawn are the {len(drawn)} of {len(table)} targets with the least R²."]))
    some = _drawn(true.index, POINTS // len(drawn))
    if len(some) < len(true):
        blocks.append(
            Prose([f"Points are {len(some):,} of {len(true):,} rows, drawn at random; tables have all rows."])
        )
    for target in drawn:
        blocks += _of_target(target, true[target], said[target], some, subject.problem.metric.name.endswith("rmsle"))
    yield Section("residuals", "Residuals", blocks, standing.name)


def _drawn(ids: pd.Index, most: int) -> pd.Index:
    """The same ones for every run, so that two can be compared."""
    if len(ids) <= most:
        return ids
    return ids[np.sort(np.random.default_rng(0).permutation(len(ids))[:most])]


def by_target(true: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """[targets] RMSE, MAE, R² (nan where all rows have one value), bias (mean of predicted less true), median |error|."""
    off = said - true
    spread = ((true - true.mean()) ** 2).sum()
    r2 = 1 - (off**2).sum() / spread.where(spread > 0)
    columns = {"RMSE": (off**2).mean() ** 0.5, "MAE": off.abs().mean(), "R²": r2, "bias": off.mean()}
    return pd.DataFrame(columns | {"median": off.abs().median()})


def by_tenth(true: pd.Series, said: pd.Series) -> pd.DataFrame:
    """[at most 10] rows, from, to, bias, RMSE, of rows in the order of what is true; equal values stay together."""
    off = said - true
    place = pd.qcut(true, min(TENTHS, len(true)), duplicates="drop", labels=False) if true.nunique() > 1 else true * 0
    groups = pd.DataFrame({"true": true, "off": off, "square": off**2}).groupby(place.to_numpy())
    mean = groups.mean()
    columns = {"rows": groups.size(), "from": groups["true"].min(), "to": groups["true"].max(), "bias": mean["off"]}
    return pd.DataFrame(columns | {"RMSE": mean["square"] ** 0.5}).reset_index(drop=True)


def _targets(table: pd.DataFrame) -> Grid:
    columns = [
        Column("target"), Column("RMSE", help="root of the mean squared error"), Column("MAE", help="mean |error|"),
        Column("R²", 4, "1: all of the variance is told, 0: no more than by the mean"),
        Column("bias", help="mean of what is predicted less what is true"), Column("median |error|"),
    ]  # fmt: skip
    rows = [[str(name), *(None if v is None else v for v in rounded(values))] for name, values in table.iterrows()]
    return Grid("Each target", columns, rows)


def _of_target(target: str, true: pd.Series, said: pd.Series, some: pd.Index, logs: bool) -> Iterator[Block]:
    off = said - true
    rmse, bias = float((off**2).mean() ** 0.5), float(off.mean())
    correlation = true.corr(said) if true.nunique() > 1 and said.nunique() > 1 else float("nan")
    told = f"correlation {correlation:.4f}" if np.isfinite(correlation) else "one of the two is constant"
    x, y = true[some], said[some]
    logs = logs and bool((true > 0).all() and (said > 0).all())
    yield Chart(
        f"{target}: predicted against true",
        _against(x, y, logs),
        f"Predicted against true {target}: {told}, root mean squared error {number(rmse)}.",
    )
    middle = float(off.abs().median())
    yield Chart(
        f"{target}: residuals against predicted",
        _left_over(y, off[some]),
        f"Residuals (predicted less true) of {target}: mean {number(bias)}, half of them within ± {number(middle)}.",
    )
    low, high = np.percentile(off, [5, 95])
    yield Chart(
        f"{target}: how residuals spread",
        _spread(off),
        f"Nine of ten residuals of {target} lie between {number(low)} and {number(high)}; all, {number(off.min())} to "
        f"{number(off.max())}.",
        240,
    )
    columns = [Column("true from"), Column("to"), Column("rows", 0), Column("bias"), Column("RMSE")]
    rows = [
        [*rounded([row["from"], row["to"]]), int(row["rows"]), *rounded([row["bias"], row["RMSE"]])]
        for _, row in by_tenth(true, said).iterrows()
    ]
    yield Grid(f"{target}: error by tenths of what is true", columns, rows)


def _against(true: pd.Series, said: pd.Series, logs: bool) -> Figure:
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    line = {"type": "scatter", "mode": "lines", "x": rounded(ends), "y": rounded(ends), "hoverinfo": "skip",
            "line": {"color": GREY, "dash": "dash", "width": 1}, "name": "equal"}  # fmt: skip
    points = _points(true, said) | {
        "text": [plain(name) for name in true.index],
        "hovertemplate": "%{text}<br>true %{x}<br>predicted %{y}<extra></extra>",
    }
    kind = logged(*ends) if logs else {}
    return figure([points, line], xaxis=axis("true", **kind), yaxis=axis("predicted", **kind), showlegend=False)


def _left_over(said: pd.Series, off: pd.Series) -> Figure:
    points = _points(said, off) | {"hovertemplate": "predicted %{x}<br>residual %{y}<extra></extra>"}
    return figure([points], xaxis=axis("predicted"), yaxis=axis("predicted less true", zeroline=True))


def _points(x: pd.Series, y: pd.Series) -> dict[str, Any]:
    """Faint, so that a crowd is darker."""
    return {"type": "scatter", "mode": "markers", "x": rounded(x), "y": rounded(y), "name": "rows",
            "marker": {"color": BLUE, "size": 5, "opacity": 0.45}}  # fmt: skip


def _spread(off: pd.Series) -> Figure:
    counts, edges = np.histogram(off, bins=BARS)
    bars = {
        "type": "bar", "x": rounded((edges[:-1] + edges[1:]) / 2), "y": counts.tolist(), "name": "rows",
        "width": float(np.diff(edges).mean()), "marker": {"color": colour(0)},
        "hovertemplate": "residual near %{x}<br>%{y} rows<extra></extra>",
    }  # fmt: skip
    return figure([bars], xaxis=axis("predicted less true"), yaxis=axis("rows"))
