"""The first training pictures as the network is given them: `make look RUN=leaves/baseline` -> look.png.

By the feed that trains fold 0, with augmentation, mixing and the targets that follow; before anything is trained.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from competition import artifacts, board, pseudo, rehearsal
from competition.boxes.sheet import COLOURS, GROUND, NAME, PAPER, colour
from competition.chart import png, shortened
from competition.config import Run, task_name
from competition.errors import ConfigFault, Finding
from competition.runs import Opened
from competition.task import Seen, Sight, Strip
from competition.train import check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, GAP = 13.0, 0.07  # inches: of the sheet, between two pictures
TOP, HEAD, FOOT, LINE = 0.45, 0.36, 0.34, 0.125  # inches: title, a strip's title, legend, a line of text
LETTER = 0.056  # inches: mean width of a letter of SMALL points
SMALL, LINES = 6.5, 4


def look(at: Opened) -> Path:
    """Draws look.png. Raises ConfigFault CFG-TASK, those of `pseudo.check` and of the task's `prepare`."""
    refuse(at.run)
    check(at)
    if at.run.pseudo:
        pseudo.check(at)
    split = at.table.splits[0]
    with rehearsal.fold_of(at.run, split) as fold:
        strips = at.run.task.strips(fold)
    path = at.folder / "look.png"
    title = f"{at.run.name}, {split.name}: what the network is given"
    artifacts.write_bytes(path, sheet(strips, at.data.problem.classes, title))
    board.say(f"{at.run.name}: {path}, {'; '.join(strip.title for strip in strips)}")
    return path


def refuse(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where the run learns from no pictures."""
    if isinstance(run.task, Seen) and run.preset is None:
        return
    what, where = "there are no training pictures to look at", f"RUN={run.name}"
    if run.members is not None and run.preset is None:
        raise ConfigFault(
            Finding("CFG-TASK", what, where, f"members: {', '.join(run.members)}", "RUN=<one of them with pictures>")
        )
    mend = (
        f"RUN=<a run of the task image or detection>; of tables make check COMP={run.competition} shows what goes in, and "
        f"make importance RUN={run.name} what it is worth once the run is trained"
    )
    raise ConfigFault(Finding("CFG-TASK", what, where, f"task: {task_name(run.task)}", mend))


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
