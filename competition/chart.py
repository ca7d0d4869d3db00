"""Charts as PNG, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
