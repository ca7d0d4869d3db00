"""Precision against recall of each class, as small multiples: precision_recall.png of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition.boxes.matching import Matches
from competition.boxes.scores import average_precision, by_class, curve
from competition.chart import BLACK, BLUE, GREY, ORANGE, png, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS, ACROSS = 12, 4
INCHES = 2.6  # of a panel
IOU = 0.5


def curves(matches: Matches, classes: tuple[str, ...], threshold: float, title: str) -> bytes:
    """A PNG with a panel a class at IoU 0.5, those of least AP first where there are more than 12.

    matches: at COCO_IOUS. threshold: the score whose precision and recall are marked.
    """
    from matplotlib.figure import Figure

    scores = by_class(matches)
    shown = [label for label in classes if label in scores.index and scores.loc[label, "boxes"] > 0]
    if len(shown) > PANELS:
        shown = list(scores.loc[shown].sort_values("map50", kind="stable").index)
    rest, shown = shown[PANELS:], shown[:PANELS]
    across = max(1, min(ACROSS, len(shown)))
    down = max(1, math.ceil(len(shown) / across))
    figure = Figure(figsize=(max(INCHES * across, 5.5), INCHES * down + 1.0), layout="constrained")
    head = f"{title}: mAP {average_precision(matches):.3f}, mAP50 {average_precision(matches.at(IOU)):.3f}"
    figure.suptitle(head, fontsize=11, fontweight="bold", parse_math=False)
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, label in zip(panels, shown):
        _panel(axes, curve(matches, label, IOU), scores.loc[label], label, threshold)
    figure.supxlabel(_foot(scores, rest, threshold), fontsize=8.5, parse_math=False)
    figure.supylabel("precision", fontsize=9)
    return png(figure)


def _panel(axes: Axes, points: pd.DataFrame, score: pd.Series, label: str, threshold: float) -> None:
    """The curve, and below it the area that AP measures: at each recall the best precision there or later."""
    axes.set_axis_on()
    text = f"AP50 {score['map50']:.3f}, AP {score['map']:.3f}, {score['boxes']:,.0f} boxes"
    axes.set_title(f"{shortened(label)}\n{text}", fontsize=8.5, parse_math=False)
    recall, precision = (points[name].to_numpy() for name in ("recall", "precision"))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    axes.fill_between(np.append(0, recall), np.append(best[:1], best), step="pre", color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(recall, precision, color=BLACK, linewidth=1)
    said = int((points["score"] >= threshold).sum())
    if said:
        axes.plot(recall[said - 1], precision[said - 1], "o", color=ORANGE, markeredgecolor=BLACK, markersize=7)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8, color=GREY)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _foot(scores: pd.DataFrame, rest: list[str], threshold: float) -> str:
    text = f"recall, at IoU {IOU}; the dot stands for predictions of score {threshold:.2f} or more"
    if not rest:
        return text
    ends = scores.loc[rest, "map50"]
    return f"{text}\nleast AP50 first; {len(rest)} more, AP50 {ends.min():.3f} to {ends.max():.3f}: see by_class.csv"
