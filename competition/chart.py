"""Charts as PNG, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from competition.metrics import Metric
    from competition.rates import Curve
    from competition.significance import OverRows

DPI = 130
LETTERS = 30  # of a name
BLUE, ORANGE, GREY, BLACK = "#7ba3d4", "#e0a05c", "#8a8f98", "#333333"


def importance(worth: pd.DataFrame, title: str, metric: str) -> bytes:
    """worth: [columns] permutation, std and shap, the best first. SHAP has a panel of its own where there is any."""
    from matplotlib.figure import Figure

    panels = 2 if worth["shap"].notna().any() else 1
    figure = Figure(figsize=(2.2 + 4.4 * panels, 1.5 + 0.28 * len(worth)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    bars(
        axes[0],
        worth["permutation"],
        worth["std"],
        f"how much worse {metric} gets when shuffled (± std over folds)",
        BLUE,
    )
    if panels == 2:
        bars(axes[1], worth["shap"], None, "mean |SHAP|, in the model's raw output", ORANGE)
    axes[0].set_yticks(range(len(worth)), [shortened(str(name)) for name in worth.index], parse_math=False)
    axes[0].set_ylim(len(worth) - 0.4, -0.6)  # the first on top
    return png(figure)


def comparison(
    scores: pd.DataFrame, rows: OverRows | None, difference: float, seeds: float | None, title: str, metric: Metric
) -> bytes:
    """Fold scores of two runs in pairs; the resampled difference beside 0 and beside what seeds alone do.

    scores: [folds, 2] as the competition shows them. difference: above 0 the second is better. seeds: half the width of
    what they may do; None where it is not known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    figure.suptitle(title, fontsize=11, fontweight="bold", parse_math=False)
    _pairs(left, scores, metric.greater)
    left.set_ylabel(f"{metric.name}, {'greater' if metric.greater else 'smaller'} is better", fontsize=9)
    if rows is not None:
        low, high = rows.interval
        right.hist(rows.draws, bins=30, color=BLUE)
        right.axvspan(low, high, ymax=0.03, color=BLACK, label="95% of them")
    if seeds is not None:
        right.axvspan(-seeds, seeds, color=GREY, alpha=0.25, linewidth=0, zorder=0, label="what seeds alone do")
    right.axvline(0, color=BLACK, linewidth=1.5)
    right.axvline(difference, color=ORANGE, linewidth=2, label="difference of the scores")
    second = shortened(str(scores.columns[1]))
    right.set_xlabel(f"how much better {second} is, over resampled rows", fontsize=9, parse_math=False)
    right.set_yticks([])
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.tick_params(labelsize=9, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return png(figure)


def _pairs(axes: Axes, scores: pd.DataFrame, greater: bool) -> None:
    """A line a fold from the first run to the second, and one of their means."""
    better = (scores.iloc[:, 1] - scores.iloc[:, 0]) * (1 if greater else -1)
    place = _apart(scores.iloc[:, 1].to_numpy(float), 0.045 * np.nanmax([np.ptp(scores.dropna().to_numpy()), 1e-12]))
    for (fold, ends), gain, height in zip(scores.iterrows(), better, place):
        colour = BLUE if gain > 0 else ORANGE if gain < 0 else GREY
        axes.plot([0, 1], ends, "o-", color=colour, linewidth=1.5, markersize=5)
        axes.text(1.06, height, f"fold {fold}", fontsize=8, va="center")
    axes.plot([0, 1], scores.dropna().mean(), "--", color=BLACK, linewidth=2)
    axes.set_title(
        f"blue where {shortened(str(scores.columns[1]))} is better; dashed the mean", fontsize=8.5, parse_math=False
    )
    axes.set_xticks([0, 1], [shortened(str(name)) for name in scores], parse_math=False)
    axes.set_xlim(-0.25, 1.45)
    axes.grid(axis="y", alpha=0.3)


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Heights of labels, moved up where they would be nearer than `gap` to the one below."""
    placed = heights.copy()
    order = np.argsort(heights)
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def leaderboard(rows: pd.DataFrame, metric: Metric, title: str) -> bytes:
    """Public score against CV and its spread, a point a run. rows: run, cv, cv_std, public, best CV first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axis = figure.subplots()
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    known = rows[np.isfinite(rows["cv"])]
    spread = np.nan_to_num(known["cv_std"].to_numpy(float))
    axis.errorbar(known["cv"], known["public"], xerr=spread, fmt="none", ecolor=GREY, elinewidth=0.8, capsize=2)
    axis.plot(known["cv"], known["public"], "o", color=BLUE, markersize=6)
    heights = _apart(known["public"].to_numpy(float), 0.04 * max(float(np.ptp(known["public"])), 1e-12))
    for name, x, height in zip(known["run"], known["cv"], heights, strict=True):
        short = shortened(str(name).partition("/")[2] or str(name))
        axis.annotate(short, (x, height), (6, 3), textcoords="offset points", fontsize=8, parse_math=False)
    if len(known):
        axis.plot(*known.iloc[0][["cv", "public"]], "o", color=ORANGE, markersize=6, label="best CV")
    better = "greater" if metric.greater else "smaller"
    axis.set_xlabel(f"CV ({metric.name}, {better} is better) ± spread over folds", fontsize=9, parse_math=False)
    axis.set_ylabel("public score", fontsize=9)
    axis.tick_params(labelsize=9, length=0)
    axis.margins(0.12)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    return png(figure)


def rates(curve: Curve, own: float, title: str) -> bytes:
    """The loss of a range test against the rate; the steepest descent, the least and the run's own rate are marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    axis.plot(curve.rates, curve.losses, color=GREY, alpha=0.5, linewidth=0.8, label="each step")
    axis.plot(curve.rates, curve.smooth, color=BLUE, linewidth=2, label="smoothed")
    axis.axvline(own, color=BLACK, linestyle=":", linewidth=1.2, label=f"the run's lr, {own:g}")
    for at, name, mark in ((curve.steepest, "falls fastest", "o"), (curve.least, "least", "v")):
        if at is not None:
            label = f"{name}, {curve.rates[at]:.1e}"
            axis.plot(curve.rates[at], curve.smooth[at], mark, color=ORANGE, markersize=8, label=label)
    low, high = curve.smooth.min(), curve.smooth[: (curve.least or 0) + 1].max()
    axis.set_ylim(low - 0.15 * (high - low), high + 0.5 * (high - low))
    axis.set_xscale("log")
    axis.set_xlabel("learning rate", fontsize=9)
    axis.set_ylabel("training loss", fontsize=9)
    axis.tick_params(labelsize=9, length=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    return png(figure)


def levels(trials: pd.DataFrame, folds: Sequence[str], greater: bool) -> pd.Series:
    """Of complete trials the score; of stopped ones the best, and how much their folds differ from the same of the best.

    Their plain mean would tell which folds they have, easy or hard ones. folds: the columns of fold scores.
    """
    scores = trials[[*folds]].astype(float)
    whole = trials["score"].where(trials["state"] == "complete")
    best = whole.idxmax() if greater else whole.idxmin()
    return whole.fillna(whole[best] + (scores - scores.loc[best]).mean(axis=1))


def history(axis, trials: pd.DataFrame, folds: int, metric: str, greater: bool) -> None:
    """Trials of a search in their order: number, state, folds, level. Stopped ones are hollow, labelled by their folds."""
    whole, cut = trials[trials["state"] == "complete"], trials[trials["state"] == "pruned"]
    best = whole["level"].cummax() if greater else whole["level"].cummin()
    axis.step(whole["number"], best, where="post", color=ORANGE, linewidth=1.5, label="best so far")
    axis.plot(whole["number"], whole["level"], "o", color=BLUE, markersize=5, label="all folds, rows pooled")
    some, none = cut[cut["level"].notna()], cut[cut["level"].isna()]
    if len(some):
        label = "stopped, by its difference from the best on the same folds"
        axis.plot(some["number"], some["level"], "o", color=GREY, markerfacecolor="none", markersize=5, label=label)
    for number, level, done in some[["number", "level", "folds"]].itertuples(index=False):
        axis.annotate(f"{done}/{folds}", (number, level), (0, 5), textcoords="offset points", ha="center", fontsize=6)
    if len(none):
        at, label = np.full(len(none), 0.02), "ended without a fold"
        axis.plot(none["number"], at, "x", color=GREY, markersize=4, transform=axis.get_xaxis_transform(), label=label)
    axis.set_xlabel("trial", fontsize=9)
    axis.set_ylabel(f"{metric} ({'greater' if greater else 'smaller'} is better)", fontsize=9)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize=8, frameon=False)
    axis.tick_params(labelsize=9, length=0)
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """A PNG file of the figure, on its own ground."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names in scripts that the font lacks: boxes
        figure.savefig(buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor())
    return buffer.getvalue()


def bars(axis, values: pd.Series, spread: pd.Series | None, label: str, colour: str) -> None:
    """Horizontal bars, one a row, and thin lines for their spread."""
    errors = None if spread is None else np.nan_to_num(spread.to_numpy(float))
    axis.barh(range(len(values)), np.nan_to_num(values.to_numpy(float)), xerr=errors, color=colour, height=0.7,
              error_kw={"ecolor": BLACK, "capsize": 2, "elinewidth": 1})  # fmt: skip
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel(label, fontsize=9)
    axis.tick_params(labelsize=9, length=0)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


def shortened(name: str, letters: int = LETTERS) -> str:
    """Its beginning and its end."""
    half = letters // 2
    return name if len(name) <= letters else f"{name[: half - 1]}…{name[-half:]}"
