"""What a run is made of: what each test-time view or each member of a blend is worth, weights by fold, ways of blending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from competition import decide
from competition.report.blocks import Block, Cell, Chart, Column, Grid, Section
from competition.report.palette import BLUE, SHADES, VERMILLION, axis, figure, names, plain, rounded
from competition.report.subject import Subject
from competition.standings import Standing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BARS = 25  # that are drawn
NUMBERED = 60  # cells up to which each has its weight in it


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Nothing of a run with a single view."""
    if len(standing.scored["parts"]) < 2:
        return
    if blended(standing):
        yield Section("members", "What it is blended of", [*blocks(subject, standing)], standing.name)
    else:
        yield Section("views", "Test-time views", [*_parts(standing, "view")], standing.name)


def blended(standing: Standing) -> bool:
    """Whether its parts are runs."""
    return bool(standing.record.get("config", {}).get("members"))


def blocks(subject: Subject, standing: Standing) -> Iterator[Block]:
    """Of a blend."""
    yield from _parts(standing, "member")
    yield _weights(subject, standing)
    if standing.scored.get("methods"):
        yield _methods(standing.scored)


def local(standing: Standing, name: str) -> str:
    """A member without the name of the competition; a view as it is."""
    return name.removeprefix(standing.name.partition("/")[0] + "/")


def _parts(standing: Standing, noun: str) -> Iterator[Block]:
    score = standing.scored
    parts = {local(standing, name): values for name, values in score["parts"].items()}
    gains = {name: values["gain"] for name, values in parts.items() if values["gain"] is not None}
    order = sorted(gains, key=lambda name: -gains[name])
    best, worst = order[0], order[-1]
    text = (
        f"Without {best} the plain mean of all would be {_change(gains[best])} in {score['metric']}, without {worst} "
        f"{_change(gains[worst])}. Below 0 a {noun} does harm."
    )
    if len(order) > BARS:
        text += f" Drawn are the first {BARS} of {len(order)}."
    yield Chart(
        f"{best} {'adds most' if gains[best] > 0 else 'does least harm'}: {gains[best]:+.4f}",
        _gains(gains, order[:BARS]),
        text,
        110 + 26 * len(order[:BARS]),
    )
    columns = [
        Column(noun),
        Column("alone", 4, f"{score['metric']} of it alone"),
        Column("gain", 4, "what the plain mean of all loses without it; above 0 it helps"),
        Column("weight", 3, "in the final decision, fitted on all rows"),
    ]
    rows = [(name, values["alone"], values["gain"], values["weight"]) for name, values in parts.items()]
    yield Grid(f"Each {noun}", columns, rows, _beside(score))


def _change(gain: float) -> str:
    return f"{abs(gain):.4f} {'worse' if gain >= 0 else 'better'}"


def _beside(score: Mapping[str, Any]) -> str:
    better = "greater" if score["greater_is_better"] else "smaller"
    return (
        f"{score['metric']} of the plain mean {score['mean']:.4f}; with weights fitted on the other folds "
        f"{score['score']:.4f}, on all rows {score['in_sample']:.4f} (optimistic); {better} is better."
    )


def _gains(gains: Mapping[str, float], order: Sequence[str]) -> Figure:
    values = [gains[name] for name in order]
    bars = {
        "type": "bar", "orientation": "h", "x": rounded(values), "y": [*range(len(order))], "name": "gain",
        "marker": {"color": [BLUE if value >= 0 else VERMILLION for value in values]},
        "text": [plain(name) for name in order], "textposition": "none",
        "hovertemplate": "%{text} %{x:+.4~g}<extra></extra>",
    }  # fmt: skip
    down = {"range": [len(order) - 0.5, -0.5], "showgrid": False}
    return figure([bars], xaxis=axis("gain in the plain mean", zeroline=True), yaxis=axis("", **names(order), **down))


def _weights(subject: Subject, standing: Standing) -> Chart:
    """A shade for each member and fold, since a dozen members have more bars than can be told apart."""
    score = standing.scored
    by_fold = {k: decide.read(record, subject.problem).weights for k, record in score["weights_by_fold"].items()}
    members = [*score["parts"]]
    columns = by_fold | {"final": decide.read(score["decision"], subject.problem).weights}
    z = [[weights.get(name, 0.0) for weights in columns.values()] for name in members]
    last = {local(standing, name): weights[-1] for name, weights in zip(members, z, strict=True)}
    first = max(last, key=lambda name: last[name])
    kept = sum(weight > 0 for weight in last.values())
    text = f"{kept} of {len(members)} members have a weight; the greatest is of {first}, {last[first]:.3f}."
    apart = max(max(row[:-1]) - min(row[:-1]) for row in z)
    text += f" Fitted without a fold (final: on all rows), a weight differs by {apart:.3f} at most."
    cells = {
        "type": "heatmap", "x": [*range(len(columns))], "y": [*range(len(members))], "z": rounded(z, 3), "zmin": 0,
        "colorscale": SHADES, "showscale": False, "xgap": 1, "ygap": 1, "name": "weight",
        "text": [[plain(name)] * len(columns) for name in last], "hovertemplate": "%{text}<br>%{x} %{z:.3f}<extra></extra>",
    }  # fmt: skip
    texts = [(x, y, f"{z[y][x]:.2f}") for y in range(len(members)) for x in range(len(columns)) if z[y][x]]
    traces = [cells]
    if len(members) * len(columns) <= NUMBERED:
        x, y, said = zip(*texts, strict=True)
        traces.append({"type": "scatter", "mode": "text", "x": x, "y": y, "text": said, "hoverinfo": "skip"})
    drawn = figure(
        traces,
        xaxis=axis("fitted without", **names([*columns]), showgrid=False),
        yaxis=axis("", **names([*last]), range=[len(members) - 0.5, -0.5], showgrid=False),
        showlegend=False,
    )
    return Chart("Blend weights by fold", drawn, text, 130 + 28 * len(members))


def _methods(score: Mapping[str, Any]) -> Grid:
    columns = [
        Column("way of blending"),
        Column("nested", 4, "fitted on the other folds: the honest figure"),
        Column("in sample", 4, "fitted on the rows that it is scored on: optimistic"),
        Column("chosen", 0, f"in so many of {len(score['folds'])} refits without a fold"),
        Column("", help="whether all rows together chose it, or why it was left out"),
    ]
    return Grid("Ways of blending", columns, [_method(name, row) for name, row in score["methods"].items()])


def _method(name: str, row: Mapping[str, Any]) -> list[Cell]:
    if "left_out" in row:
        return [name, None, None, None, f"left out: {row['left_out']}"]
    return [name, row["nested"], row["in_sample"], len(row["folds"]), "the final one" if row["final"] else ""]
