"""Charts as PNG, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from competition.rates import Curve

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
