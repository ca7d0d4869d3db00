"""The leaderboard on the page: all runs as `make compare COMP=` ranks them, their scores by fold, and CV against public."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from competition import board, leaderboard, ranking
from competition.report.blocks import Block, Cell, Chart, Column, Grid, Prose, Section
from competition.report.palette import BLUE, GREY, VERMILLION, axis, figure, names, plain, rounded
from competition.report.subject import Subject
from competition.significance import decimals
from competition.standings import NOISE, Standing

DRAWN = 40  # runs whose folds are drawn
ROW = 22  # pixels of each
SEEN = 6  # significant digits of a score: 0.998765


def sections(subject: Subject) -> Iterator[Section]:
    """`leaderboard`, and `public` where the ledger has public scores."""
    scored = [s for s in subject.standings if s.state == "scored"]
    others = [s for s in subject.standings if s.state != "scored"]
    runs, advice = tuple(s.run for s in subject.standings), ranking.advice(subject.data.name, subject.standings)
    told = [line if line.startswith(runs) else f"{line[0].upper()}{line[1:]}" for line in advice]
    blocks: list[Block] = [Prose([f"{line}." for line in told])]
    if scored:
        blocks += [_grid(scored), _by_fold(subject, scored)]
    if others:
        blocks.append(_without(others))
    yield Section("leaderboard", "Leaderboard", blocks)
    rows = leaderboard.scored(subject.data)
    if rows["cv"].notna().any():
        yield Section("public", "CV against the public leaderboard", [*_public(subject, rows)])


def _grid(scored: Sequence[Standing]) -> Grid:
    best, places = scored[0], decimals(ranking.precision(scored))
    columns = [
        Column("run"),
        Column("task"),
        Column("CV", places, "nested score over all rows that are scored"),
        Column("± folds", places, "standard deviation of the folds' scores"),
        Column("gap", places, f"how much worse it is than {best.run}"),
        Column("± gap", places, "standard error of the gap, over folds that share training rows"),
        Column("the gap is", help=f"within noise: below {NOISE:g} standard errors"),
        Column("time", help="of training all folds, of what the run is made of too", read=board.spoken),
        Column("parameters", help="of one fold's model", read=ranking.amount),
        Column("epochs", 0),
        Column("public", places, "score of its last submission on the public leaderboard"),
        Column("private", places, "the same on the private one"),
    ]
    rows = [_row(standing, best) for standing in scored]
    known = [n for n in range(len(columns)) if any(row[n] not in (None, "") for row in rows)]
    note = "`make compare A= B=` tests two runs closely." if len(scored) > 1 else ""
    return Grid("Runs", [columns[n] for n in known], [[row[n] for n in known] for row in rows], note)


def _row(s: Standing, best: Standing) -> list[Cell]:
    figures = (s.score, s.std, s.gap, s.error, s.public, s.private)
    score, std, gap, error, public, private = rounded([_or_nan(value) for value in figures], SEEN)
    told = "" if s is best or s.error is None else "within noise" if s.level else "beyond noise"
    beside = [None, None, told] if s is best else [gap, error, told]
    return [s.run, s.task, score, std, *beside, s.seconds, s.parameters, s.epochs, public, private]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _by_fold(subject: Subject, scored: Sequence[Standing]) -> Chart:
    shown, metric = scored[:DRAWN], subject.problem.metric
    folds = [
        (place, fold, value) for place, s in enumerate(shown) for fold, value in s.folds.items() if value is not None
    ]
    hover = "%{text}: %{x}<extra></extra>"
    traces = [
        {"type": "scatter", "mode": "markers", "name": "a fold", "x": rounded([value for *_, value in folds], SEEN),
         "y": [place for place, *_ in folds], "marker": {"color": GREY, "size": 7, "opacity": 0.6},
         "text": [f"{plain(shown[place].run)} {fold}" for place, fold, _ in folds], "hovertemplate": hover},
        {"type": "scatter", "mode": "markers", "name": "all rows", "x": rounded([_or_nan(s.score) for s in shown], SEEN),
         "y": [*range(len(shown))], "marker": {"color": BLUE, "size": 10, "symbol": "diamond"},
         "text": [plain(s.run) for s in shown], "hovertemplate": hover},
    ]  # fmt: skip
    drawn = figure(
        traces,
        xaxis=axis(f"{metric.name}, {'greater' if metric.greater else 'smaller'} is better"),
        yaxis=axis("", **names([s.run for s in shown]), range=[len(shown) - 0.5, -0.5]),
    )
    ends = " to ".join(f"{s.run} ({s.score:.6g})" for s in dict.fromkeys((shown[0], shown[-1])))
    luck = "the spread of a run's folds shows how much of a difference may be luck"
    text = f"{metric.name} {'from' if len(shown) > 1 else 'of'} {ends}; {luck}."
    if len(scored) > DRAWN:
        text += f" The {len(scored) - DRAWN} runs behind them are in the table only."
    return Chart("Score by fold", drawn, text, 110 + ROW * len(shown))


def _without(others: Sequence[Standing]) -> Grid:
    columns = [Column("run"), Column("state"), Column("why, and how to mend it")]
    rows = [[s.run, s.state, s.note] for s in others]
    return Grid("Runs without a comparable score", columns, rows, "None of their figures counts beside the others'.")


def _public(subject: Subject, rows: pd.DataFrame) -> Iterator[Block]:
    both, metric = rows[rows["cv"].notna()], subject.problem.metric
    if len(both) < 2:
        (one,) = both[["run", "cv", "public"]].to_numpy()
        yield Prose(
            [f"{one[0]} has CV {one[1]:.6g} and public {one[2]:.6g}; a second submission with both is drawn beside it."]
        )
        return
    bars = {"type": "data", "array": rounded(both["cv_std"].fillna(0), SEEN), "color": GREY, "thickness": 1}
    traces = [{
        "type": "scatter", "mode": "markers", "x": rounded(both["cv"], SEEN), "y": rounded(both["public"], SEEN),
        "text": [plain(run.partition("/")[2]) for run in both["run"]], "error_x": bars,
        "marker": {"color": VERMILLION, "size": 10}, "hovertemplate": "%{text}<br>CV %{x}<br>public %{y}<extra></extra>",
    }]  # fmt: skip
    drawn = figure(traces, xaxis=axis(f"CV {metric.name}"), yaxis=axis(f"public {metric.name}"))
    text = f"{len(both)} submissions of the ledger, with the spread over folds as bars. {leaderboard.agreement(rows)}."
    yield Chart("CV and public score", drawn, text)
    yield Prose(leaderboard.advice(rows, subject.data), listed=True)
