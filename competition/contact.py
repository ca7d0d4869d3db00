"""A contact sheet: strips of small pictures with what is told of each, and boxes on them, as one PNG."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from competition.boxes.sheet import COLOURS, GROUND, NAME, PAPER, colour
from competition.chart import png, shortened
from competition.task import Sight, Strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, GAP = 13.0, 0.07  # inches: of the sheet, between two pictures
TOP, HEAD, FOOT, LINE = 0.45, 0.36, 0.34, 0.125  # inches: title, a strip's title, legend, a line of text
LETTER = 0.056  # inches: mean width of a letter of SMALL points
SMALL, LINES = 6.5, 4


def sheet(strips: Sequence[Strip], classes: tuple[str, ...], title: str) -> bytes:
    """A PNG of the strips below each other, with a legend of the boxes' colours."""
    from matplotlib.figure import Figure

    rows = [row for strip in strips for row in rows_of(strip)]
    boxes = any(sight.boxes for strip in strips for sight in strip.sights)
    height = TOP + sum(row.height for row in rows) + FOOT * boxes
    figure = Figure(figsize=(WIDE, height), facecolor=GROUND)
    figure.text(0.5, 1 - 0.1 / height, shortened(title, 150), ha="center", va="top", fontsize=12, fontweight="bold",
                color=PAPER, parse_math=False)  # fmt: skip
    top = TOP
    for row in rows:
        _row(figure, row, top, height, classes)
        top += row.height
    if boxes and len(classes) <= len(COLOURS):
        _legend(figure, classes)
    return png(figure)


@dataclass(frozen=True)
class Row:
    """Pictures side by side; title: above them, empty below a strip's first row. across: how many would fit."""

    title: str
    sights: Sequence[Sight]
    across: int

    @property
    def side(self) -> float:
        """Inches, of a picture's width."""
        return (WIDE - GAP) / self.across - GAP

    def told(self, sight: Sight) -> list[str]:
        """Its text in lines that fit below it."""
        if not sight.text:
            return []
        letters = int(self.side / LETTER)
        lines = [part for line in sight.text.split("\n") for part in textwrap.wrap(line, letters) or [""]]
        return lines[: LINES - 1] + [shortened(" ".join(lines[LINES - 1 :]), letters)] * (len(lines) >= LINES)

    @property
    def tall(self) -> float:
        """Inches, of most pictures' height; one that stands among others that lie is made narrower."""
        return self.side * statistics.median_high(
            sight.pixels.shape[0] / sight.pixels.shape[1] for sight in self.sights
        )

    @property
    def height(self) -> float:
        text = LINE * max(len(self.told(sight)) for sight in self.sights)
        return HEAD * bool(self.title) + self.tall + text + 2 * GAP


def rows_of(strip: Strip) -> list[Row]:
    starts = range(0, len(strip.sights), strip.across)
    return [
        Row("" if start else strip.title, strip.sights[start : start + strip.across], strip.across) for start in starts
    ]


def _row(figure: Figure, row: Row, top: float, height: float, classes: tuple[str, ...]) -> None:
    if row.title:
        figure.text(GAP / WIDE, 1 - (top + 0.12) / height, shortened(row.title, 160), va="top", fontsize=9.5,
                    color=PAPER, parse_math=False)  # fmt: skip
        top += HEAD
    for n, sight in enumerate(row.sights):
        left, shape = GAP + n * (row.side + GAP), sight.pixels.shape[0] / sight.pixels.shape[1]
        wide = min(row.side, row.tall / shape)
        tall = wide * shape
        place = (left / WIDE, 1 - (top + tall) / height, wide / WIDE, tall / height)
        _sight(figure.add_axes(place), sight, classes)
        figure.text(left / WIDE, 1 - (top + tall + 0.04) / height, "\n".join(row.told(sight)), va="top",
                    fontsize=SMALL, color=PAPER, parse_math=False)  # fmt: skip


def _sight(axes: Axes, sight: Sight, classes: tuple[str, ...]) -> None:
    from matplotlib.patches import Rectangle

    axes.set_axis_off()
    high, wide = sight.pixels.shape[:2]
    axes.imshow(sight.pixels, extent=(0, wide, high, 0), aspect="auto")
    for (x_min, y_min, x_max, y_max), name in sight.boxes:
        shade, sides = colour(name, classes), ((x_min, y_min), x_max - x_min, y_max - y_min)
        for edge, width in (("black", 2.0), (shade, 1.2)):
            axes.add_patch(Rectangle(*sides, fill=False, edgecolor=edge, linewidth=width))
        if len(classes) > len(COLOURS):
            axes.text(x_min, y_min, shortened(name, NAME), fontsize=SMALL - 1, va="bottom", clip_on=True, color=shade,
                      parse_math=False)  # fmt: skip


def _legend(figure: Figure, classes: tuple[str, ...]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour(name, classes), linewidth=2, label=shortened(name)) for name in classes]
    figure.legend(handles=lines, loc="lower center", ncols=len(lines), fontsize=8.5, labelcolor=PAPER, frameon=False)
