"""Out-of-fold boxes drawn on their pictures, those that went worst first: worst.png of a run.

Drawn without a display and without matplotlib's global state.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES
from competition.image import cache
from competition.task import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILES, ACROSS = 12, 3
INCHES, DPI = 4.4, 110  # of a tile's width: 484 pixels
IOU = 0.5
GROUND, PAPER, TRUE, MISSED = "#1b1d20", "#f2f2f2", "#ffffff", "#ffe600"
COLOURS = ("#00d0ff", "#ff5db1", "#58f05a", "#ff9a2e", "#b08cff", "#ff5a4d", "#2fe0b5", "#6f9bff")
DASHES = (0, (3, 2))
LETTERS = 7.5  # points


@dataclass(frozen=True)
class Judged:
    """Boxes of many pictures, matched class by class at IoU 0.5.

    truth: table of boxes, crowds left out, with `found`, whether a prediction matched. prediction: table of boxes of at
    least the threshold's score with `right`, whether it matched; those on crowds are left out.
    """

    truth: pd.DataFrame
    prediction: pd.DataFrame
    threshold: float


def judge(truth: pd.DataFrame, prediction: pd.DataFrame) -> Judged:
    """The threshold is the score from which on predictions have the greatest F1 over all boxes together."""
    truth = truth[~truth["crowd"]]
    of = _matched(truth, prediction)
    threshold = best_threshold(prediction["score"].to_numpy(), of >= 0, len(truth))
    kept = prediction["score"].to_numpy() >= threshold
    found = np.zeros(len(truth), bool)
    found[of[kept & (of >= 0)]] = True
    return Judged(truth.assign(found=found), prediction.assign(right=of >= 0)[kept], threshold)


def _matched(truth: pd.DataFrame, prediction: pd.DataFrame) -> np.ndarray:
    """[predictions] position of the true box that each matches, -1 where none."""
    of = np.full(len(prediction), -1)
    keys = [pd.MultiIndex.from_arrays([t.index, t["label"]]) for t in (truth, prediction)]
    places = [
        pd.Series(np.arange(len(k))).groupby([k.get_level_values(0), k.get_level_values(1)]).indices for k in keys
    ]
    for key, mine in places[1].items():
        theirs = places[0].get(key)
        if theirs is None:
            continue
        a, b = prediction[list(EDGES)].to_numpy()[mine], truth[list(EDGES)].to_numpy()[theirs]
        side = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
        shared = side.clip(0).prod(2)
        area = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
        ious = shared / (area[0][:, None] + area[1] - shared)
        for i in np.argsort(-prediction["score"].to_numpy()[mine], kind="stable"):
            j = ious[i].argmax()
            if ious[i, j] >= IOU:
                of[mine[i]] = theirs[j]
                ious[:, j] = -1
    return of


def best_threshold(score: np.ndarray, right: np.ndarray, boxes: int) -> float:
    """The score with the greatest 2 right / (predictions + boxes) of predictions from it up; 1 where none is right."""
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    f1 = 2 * right.cumsum() / (np.arange(1, len(score) + 1) + boxes)
    f1[:-1][score[:-1] == score[1:]] = 0  # equal scores are all in or all out
    return float(score[f1.argmax()]) if right.any() else 1.0


def by_picture(judged: Judged, ids: pd.Index) -> pd.DataFrame:
    """[ids] right, wrong and missed boxes, and f1 = 2 right / (2 right + wrong + missed), 1 where there is nothing.

    The worst first; of equal f1 the one with more faults.
    """
    truth, prediction = judged.truth, judged.prediction
    table = pd.DataFrame(
        {
            "right": prediction.index[prediction["right"]].value_counts(),
            "wrong": prediction.index[~prediction["right"]].value_counts(),
            "missed": truth.index[~truth["found"]].value_counts(),
        }
    )
    table = table.reindex(ids).fillna(0).astype(int)
    faults = table["wrong"] + table["missed"]
    table["f1"] = (2 * table["right"] / (2 * table["right"] + faults)).fillna(1.0)
    return table.iloc[np.lexsort((-faults, table["f1"]))]


def sheet(rows: Rows, judged: Judged, classes: tuple[str, ...], title: str) -> bytes:
    """A PNG of the worst pictures of `rows`, at most 12, each with its boxes, its id and its counts.

    Raises BadPicture where one can't be read.
    """
    from matplotlib.figure import Figure

    assert rows.pictures is not None
    worst = by_picture(judged, rows.ids).head(TILES)
    pictures = [cache.decode(Path(rows.pictures[name]).read_bytes(), round(INCHES * DPI)) for name in worst.index]
    across, down = min(ACROSS, len(worst)), math.ceil(len(worst) / ACROSS)
    tall = float(np.median([len(picture) / picture.shape[1] for picture in pictures]))
    size = (INCHES * across, (INCHES * tall + 0.35) * down + 1.0)
    figure = Figure(figsize=size, dpi=DPI, facecolor=GROUND, layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold", color=PAPER, parse_math=False)
    for axes in figure.subplots(down, across, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (name, counts), picture in zip(figure.axes, worst.iterrows(), pictures):
        _tile(axes, rows, judged, str(name), picture, classes)
        _caption(axes, str(name), counts)
    _legend(figure, classes, judged.threshold)
    return png(figure)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
    return buffer.getvalue()


def colour(label: str, classes: tuple[str, ...]) -> str:
    return COLOURS[classes.index(label) % len(COLOURS)]


def _tile(axes: Axes, rows: Rows, judged: Judged, name: str, picture: np.ndarray, classes: tuple[str, ...]) -> None:
    """Boxes are in pixels of the original picture, whatever size was decoded."""
    assert rows.sizes is not None
    width, height = rows.sizes.loc[name, ["width", "height"]]
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="bilinear")
    truth, prediction = (table[table.index == name] for table in (judged.truth, judged.prediction))
    for box in truth[truth["found"]].itertuples():
        _frame(axes, box, TRUE, 0.8)
    for box in prediction.sort_values("score").itertuples():  # the surest on top
        shade = colour(box.label, classes)
        _frame(axes, box, shade, 1.6, "-" if box.right else DASHES)
        _note(axes, box, f"{box.score:.2f}".lstrip("0") if len(classes) <= len(COLOURS) else box.label, shade)
    for box in truth[~truth["found"]].itertuples():
        _frame(axes, box, MISSED, 1.6)
        _note(axes, box, box.label, MISSED, below=True)


def _frame(axes: Axes, box, shade: str, width: float, style="-") -> None:
    """A rectangle on a dark border, or it would vanish on bright ground."""
    from matplotlib.patches import Rectangle

    place, wide, high = (box.x_min, box.y_min), box.x_max - box.x_min, box.y_max - box.y_min
    axes.add_patch(Rectangle(place, wide, high, fill=False, edgecolor="black", linewidth=width + 1.2, alpha=0.6))
    axes.add_patch(Rectangle(place, wide, high, fill=False, edgecolor=shade, linewidth=width, linestyle=style))


def _note(axes: Axes, box, text: str, shade: str, below: bool = False) -> None:
    """A label at the box's left upper (or lower) corner, inside, where no picture ends."""
    y, align = (box.y_max, "bottom") if below else (box.y_min, "top")
    axes.text(box.x_min, y, text, fontsize=LETTERS, color="black", va=align, ha="left", clip_on=True, parse_math=False,
              bbox={"facecolor": shade, "edgecolor": "none", "pad": 0.8, "alpha": 0.85})  # fmt: skip


def _caption(axes: Axes, name: str, counts: pd.Series) -> None:
    text = f"{name}   F1 {counts['f1']:.2f}   {counts['right']:.0f} right, {counts['wrong']:.0f} wrong, "
    axes.set_title(text + f"{counts['missed']:.0f} missed", fontsize=10, color=PAPER, loc="left", parse_math=False)


def _legend(figure: Figure, classes: tuple[str, ...], threshold: float) -> None:
    from matplotlib.lines import Line2D

    def line(shade: str, text: str, style="-", width: float = 2.0) -> Line2D:
        return Line2D([], [], color=shade, linestyle=style, linewidth=width, label=text)

    lines = [line(TRUE, "truth that was found", width=0.8), line(MISSED, "truth that was missed, with its class")]
    lines += [line(PAPER, "prediction that is right, with its score"), line(PAPER, "wrong prediction", DASHES)]
    lines += [line(colour(label, classes), label) for label in classes[: len(COLOURS)]]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=10, labelcolor=PAPER, frameon=False,
                  title=f"predictions of score {threshold:.2f} or more, matched at IoU {IOU}",
                  title_fontproperties={"size": 10}).get_title().set_color(PAPER)  # fmt: skip
