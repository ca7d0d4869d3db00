"""Out-of-fold boxes drawn on their pictures, those that went worst first, and the scores of each class.

`draw` leaves worst.png, precision_recall.png and by_class.csv in a run's folder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from competition import artifacts
from competition.boxes.curves import curves
from competition.boxes.matching import Matches, match
from competition.boxes.scores import SIZES, by_class
from competition.chart import DPI, png, shortened
from competition.decoding import PLAIN, Reading, decode, read
from competition.task import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from competition.data import Data

TILES, ACROSS = 12, 3
INCHES = 3.7  # of a tile's width: 481 pixels
IOU = 0.5
GROUND, PAPER, TRUE, MISSED = "#1b1d20", "#f2f2f2", "#ffffff", "#ffe600"
COLOURS = ("#00d0ff", "#ff5db1", "#58f05a", "#ff9a2e", "#b08cff", "#ff5a4d", "#2fe0b5", "#6f9bff")
DASHES = (0, (3, 2))
LETTERS = 6.5  # points
NAME = 12  # letters of a class
MEAN = "(mean)"  # over classes, the last line of by_class.csv


@dataclass(frozen=True)
class Judged:
    """Boxes of many pictures, matched class by class at IoU 0.5.

    truth: table of boxes, crowds left out, with `found`, whether a prediction matched. prediction: table of boxes of at
    least the threshold's score with `right`, whether it matched; those on crowds are left out.
    """

    truth: pd.DataFrame
    prediction: pd.DataFrame
    threshold: float


def draw(data: Data, ids: pd.Index, oof: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes both pictures and the table into a run's folder and returns their paths.

    ids: the training pictures that were predicted out of fold. oof: their table of boxes. Raises BadPicture.
    """
    rows, classes, name = data.train.take(ids), data.problem.classes, f"{data.name}/{folder.name}"
    assert rows.truth is not None and data.config.boxes is not None
    matches = match(rows.truth, oof)
    judged = judge(rows.truth, oof, matches)
    title = f"{name}: the worst out-of-fold pictures of {len(rows):,}"
    files = {
        "worst.png": sheet(rows, judged, classes, title, data.problem.reading),
        "precision_recall.png": curves(matches, classes, judged.threshold, f"{name}, out of fold"),
        "by_class.csv": class_table(rows.truth, oof, matches, classes).to_csv(lineterminator="\n").encode(),
    }
    for file, content in files.items():
        artifacts.write_bytes(folder / file, content)
    return [folder / file for file in files]


def class_table(
    truth: pd.DataFrame, prediction: pd.DataFrame, matches: Matches, classes: tuple[str, ...]
) -> pd.DataFrame:
    """[classes and their mean] boxes, the true ones; COCO's ap (mean over IoU 0.50:0.95), ap50, and ap of small to large
    boxes, 0..1; nan where there is no true box, which the mean passes over. boxes of the mean: all of them.
    """
    table = by_class(matches).rename(columns={"map": "ap", "map50": "ap50"})[["boxes", "ap", "ap50"]]
    for size, area in SIZES.items():
        table[f"ap_{size}"] = by_class(match(truth, prediction, area=area))["map"]
    table = table.reindex(pd.Index(classes, name="class"))
    table = table.assign(boxes=table["boxes"].fillna(0))
    mean = table.mean().to_frame(MEAN).T.assign(boxes=table["boxes"].sum())
    return pd.concat([table, mean]).astype({"boxes": int}).rename_axis("class")


def judge(truth: pd.DataFrame, prediction: pd.DataFrame, matches: Matches) -> Judged:
    """What `matches` says of each box. The threshold gives the greatest F1 over all boxes together."""
    half = matches.at(IOU)
    threshold = best_threshold(half)
    half = half.above(threshold)
    counted = ~half.ignored[0]
    right = half.hit[0, counted]
    found = np.zeros(len(truth), bool)
    found[half.box[0, half.hit[0]]] = True
    crowd = truth["crowd"].to_numpy(bool)
    return Judged(truth.assign(found=found)[~crowd], prediction.iloc[half.row[counted]].assign(right=right), threshold)


def best_threshold(matches: Matches) -> float:
    """The score from which on predictions have the greatest F1 at the first IoU; 1 where none of them is right."""
    counted = ~matches.ignored[0]
    score, hit = matches.score[counted], matches.hit[0, counted]
    order = np.argsort(-score, kind="stable")
    score, hit = score[order], hit[order]
    f1 = 2 * hit.cumsum() / (np.arange(1, len(score) + 1) + len(matches.true_label))
    f1[:-1][score[:-1] == score[1:]] = 0  # equal scores are all in or all out
    return float(score[f1.argmax()]) if hit.any() else 1.0


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


def sheet(rows: Rows, judged: Judged, classes: tuple[str, ...], title: str, reading: Reading = PLAIN) -> bytes:
    """A PNG of the worst pictures of `rows`, at most 12 of those that are there, with their boxes, ids and counts.

    reading: how the files become the pixels that the boxes are of. Raises BadPicture.
    """
    from matplotlib.figure import Figure

    assert rows.pictures is not None
    worst = by_picture(judged, rows.ids[rows.pictures.map(lambda path: Path(path).is_file())]).head(TILES)
    pictures = [decode(read(rows.pictures[name]), round(INCHES * DPI), reading) for name in worst.index]
    down = max(1, math.ceil(len(worst) / ACROSS))
    tall = float(np.median([len(picture) / picture.shape[1] for picture in pictures] or [1.0]))
    size = (INCHES * ACROSS, (INCHES * tall + 0.25) * down + 0.9)
    figure = Figure(figsize=size, facecolor=GROUND, layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold", color=PAPER, parse_math=False)
    for axes in figure.subplots(down, ACROSS, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (name, counts), picture in zip(figure.axes, worst.iterrows(), pictures):
        _tile(axes, rows, judged, str(name), picture, classes)
        _caption(axes, str(name), counts)
    _legend(figure, classes, judged.threshold)
    return png(figure)


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
        _note(axes, box, _said(box, classes), shade)
    for box in truth[~truth["found"]].itertuples():
        _frame(axes, box, MISSED, 1.6)
        _note(axes, box, shortened(box.label, NAME), MISSED, below=True)


def _said(box, classes: tuple[str, ...]) -> str:
    """The score where the colour tells the class, else the class."""
    return f"{box.score:.2f}".lstrip("0") if len(classes) <= len(COLOURS) else shortened(box.label, NAME)


def _frame(axes: Axes, box, shade: str, width: float, style="-") -> None:
    """A rectangle on a dark border, or it would vanish on bright ground."""
    from matplotlib.patches import Rectangle

    place, wide, high = (box.x_min, box.y_min), box.x_max - box.x_min, box.y_max - box.y_min
    axes.add_patch(Rectangle(place, wide, high, fill=False, edgecolor="black", linewidth=width + 1, alpha=0.6))
    axes.add_patch(Rectangle(place, wide, high, fill=False, edgecolor=shade, linewidth=width, linestyle=style))


def _note(axes: Axes, box, text: str, shade: str, below: bool = False) -> None:
    """A label above (or below) the box's left edge, its right one near the picture's; inside where the picture ends."""
    (_, width), (height, _) = axes.get_xlim(), axes.get_ylim()
    if below:
        y, align = min(box.y_max, height), "top" if box.y_max < 0.95 * height else "bottom"
    else:
        y, align = max(box.y_min, 0), "bottom" if box.y_min > 0.05 * height else "top"
    x, side = (max(box.x_min, 0), "left") if box.x_min < 0.8 * width else (min(box.x_max, width), "right")
    axes.text(x, y, text, fontsize=LETTERS, va=align, ha=side, clip_on=True, parse_math=False,
              bbox={"facecolor": shade, "edgecolor": "none", "pad": 0.6, "alpha": 0.85})  # fmt: skip


def _caption(axes: Axes, name: str, counts: pd.Series) -> None:
    text = f"{name}   F1 {counts['f1']:.2f}   {counts['right']:.0f} right, {counts['wrong']:.0f} wrong, "
    axes.set_title(text + f"{counts['missed']:.0f} missed", fontsize=8.5, color=PAPER, loc="left", parse_math=False)


def _legend(figure: Figure, classes: tuple[str, ...], threshold: float) -> None:
    from matplotlib.lines import Line2D

    def line(shade: str, text: str, style="-", width: float = 2.0) -> Line2D:
        return Line2D([], [], color=shade, linestyle=style, linewidth=width, label=text)

    told = len(classes) <= len(COLOURS)
    lines = [line(TRUE, "truth that was found", width=0.8), line(MISSED, "truth that was missed, with its class")]
    lines += [line(PAPER, f"prediction that is right, with its {'score' if told else 'class'}")]
    lines += [line(PAPER, "wrong prediction", DASHES)]
    lines += [line(colour(label, classes), shortened(label)) for label in classes if told]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=8.5, labelcolor=PAPER, frameon=False,
                  title=f"predictions of score {threshold:.2f} or more, matched at IoU {IOU}",
                  title_fontproperties={"size": 8.5}).get_title().set_color(PAPER)  # fmt: skip
