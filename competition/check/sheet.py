"""check.png: what `make check` found, to look at: charts of sizes, classes and drift, and a strip of pictures a note."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from competition import shaped
from competition.chart import BLACK, BLUE, GREY, ORANGE, png, shortened
from competition.check.facts import Facts
from competition.check.labels import count
from competition.check.notes import Note
from competition.check.shift import DRIFT, NOUNS, Source
from competition.data import Data
from competition.decoding import BadPicture, Reading, decode, read
from competition.split import truth_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 8  # pictures of a strip
STRIPS = 12
LETTERS, LINES, SMALL = 26, 4, 7.5  # above a picture's width, for what is told, in points
INCHES, WIDE = 1.5, 1.62  # of a picture's side, and with the room between two
CHARTS, MARGIN, CAPTION, LINE = 3.6, 0.95, 0.33, 0.135  # inches: the charts' row, left of each; of captions, of a line
TILE = CAPTION + INCHES + 0.15
SIDE = 180  # pixels
POINTS = 3000  # pictures that the chart of sizes shows
CLASSES = 20
Put = Callable[[float, float, float, float], "Axes"]
COLOURS = {"error": "#c8403a", "warn": "#c8861e", "info": "#6b7280"}


def draw(data: Data, facts: Facts | None, sources: Sequence[Source], notes: Sequence[Note]) -> bytes:
    """A PNG. notes: the worst first; those with pictures get a strip each."""
    from matplotlib.figure import Figure

    strips = packed([note for note in notes if note.tiles])[:STRIPS]
    told = [[_told(note) for note in strip] for strip in strips]
    heads = [LINE * max(map(len, lines)) for lines in told]
    width, height = ACROSS * WIDE, CHARTS + sum(head + TILE for head in heads)
    figure = Figure(figsize=(width, height))

    def put(left: float, top: float, wide: float, high: float) -> Axes:
        """Axes at this place in inches, from the left upper corner: a layout engine takes 20 times as long."""
        return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))

    figure.text(
        0.5, 1 - 0.1 / height, f"{data.name}: {title(notes)}", ha="center", va="top", fontsize=12, parse_math=False
    )
    _charts(put, width, data, facts, sources)
    top = CHARTS
    for strip, lines, head in zip(strips, told, heads, strict=True):
        _strip(data, put, top, head, strip, lines)
        top += head + TILE
    return png(figure)


def packed(notes: Sequence[Note]) -> list[list[Note]]:
    """Strips of notes, in their order, that have no more pictures than go side by side."""
    strips: list[list[Note]] = []
    for note in notes:
        if not strips or sum(len(n.tiles) for n in [*strips[-1], note]) > ACROSS:
            strips.append([])
        strips[-1].append(note)
    return strips


def title(notes: Sequence[Note]) -> str:
    counts = {severity: sum(note.severity == severity for note in notes) for severity in COLOURS}
    told = [f"{n} {severity}" for severity, n in counts.items() if n]
    return ", ".join(told) or "nothing to tell"


def _charts(put: Put, width: float, data: Data, facts: Facts | None, sources: Sequence[Source]) -> None:
    charts = [lambda axes: _target(axes, data)]
    if facts is not None and len(facts.whole):
        charts.insert(0, lambda axes: _sizes(axes, data, facts))
    if sources:
        charts.append(lambda axes: _drift(axes, sources))
    each = width / len(charts)
    for n, chart in enumerate(charts):
        axes = put(n * each + MARGIN, 0.65, each - MARGIN - 0.15, CHARTS - 1.25)
        chart(axes)
        axes.tick_params(labelsize=8, length=0)
        axes.spines[["top", "right"]].set_visible(False)


def _sizes(axes: Axes, data: Data, facts: Facts) -> None:
    for name, rows, shade in (("train", data.train, BLUE), ("test", data.test, ORANGE)):
        if rows.pictures is None:
            continue
        table = facts.whole.loc[facts.whole.index.isin(rows.pictures), ["width", "height"]]
        table = table.sample(min(POINTS, len(table)), random_state=0)
        counts = table.value_counts().rename("n").reset_index()
        axes.scatter(counts["width"], counts["height"], s=6 + 240 * counts["n"] / max(1, len(table)), color=shade,
                     alpha=0.5, linewidths=0, label=name)  # fmt: skip
    axes.set_xlabel("width", fontsize=8)
    axes.set_ylabel("height", fontsize=8)
    axes.set_title("sizes of the pictures, in pixels (area: share)", fontsize=9)
    axes.margins(0.15)
    axes.set_xlim(left=max(0, axes.get_xlim()[0]))
    axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))
    axes.legend(fontsize=8, frameon=False, markerscale=0.7)


def _target(axes: Axes, data: Data) -> None:
    if data.config.kind == "regression":
        target = truth_of(data.train).iloc[:, 0]
        axes.hist(target, bins=40, color=BLUE)
        axes.set_title(f"{shortened(str(target.name))} in train", fontsize=9, parse_math=False)
        return
    counts = count(data).sort_values(ascending=False)
    shown = counts.head(CLASSES)[::-1]
    axes.barh(range(len(shown)), shown, color=BLUE, height=0.7)
    axes.set_yticks(range(len(shown)), [shortened(str(name), 18) for name in shown.index], parse_math=False)
    for place, n in enumerate(shown):
        axes.text(n, place, f" {n:,.0f}", fontsize=7, va="center")
    more = f", the first {CLASSES} of {len(counts)}" if len(counts) > CLASSES else ""
    what = "boxes" if data.config.kind == "boxes" else "rows"
    axes.set_title(f"classes in train, {what}{more}", fontsize=9)
    axes.margins(x=0.15)


def _drift(axes: Axes, sources: Sequence[Source]) -> None:
    auc = [source.told.auc for source in sources]
    shades = [ORANGE if value > DRIFT else BLUE for value in auc]
    axes.barh(range(len(auc)), np.subtract(auc, 0.5), left=0.5, color=shades, height=0.6)
    names = [textwrap.fill(NOUNS[source.name], 14) for source in sources]
    axes.set_yticks(range(len(auc)), names)
    for place, source in enumerate(sources):
        by = f"{source.told.auc:.3f}" + (f", by {shortened(source.told.by[0], 20)}" if source.told.by else "")
        at = max(0.5, source.told.auc) + 0.01 if source.told.auc < DRIFT else 0.51
        axes.text(at, place, by, fontsize=7.5, va="center", color=BLACK, parse_math=False)
    axes.axvline(0.5, color=GREY, linewidth=1)
    axes.axvline(DRIFT, color=BLACK, linewidth=0.8, linestyle=":")
    axes.set_xlim(0.4, 1)
    axes.set_ylim(len(auc) - 0.4, -0.6)
    axes.set_title(f"test told from train: AUC (0.5: none; dotted: {DRIFT})", fontsize=9)


def _strip(data: Data, put: Put, top: float, head: float, notes: Sequence[Note], told: Sequence[list[str]]) -> None:
    at = 0
    for note, lines in zip(notes, told, strict=True):
        for n, (path, caption) in enumerate(note.tiles):
            axes = put((at + n) * WIDE + 0.06, top + head + CAPTION, INCHES, INCHES)
            axes.set_axis_off()
            axes.imshow(_picture(path, data.problem.reading), interpolation="bilinear")
            caption = "\n".join(shortened(line, LETTERS) for line in caption.split("\n"))
            axes.set_title(caption, fontsize=6.5, pad=2, parse_math=False)
            if n == 0:
                axes.text(0, 1 + (head + CAPTION) / INCHES, "\n".join(lines), transform=axes.transAxes, va="top",
                          fontsize=SMALL, color=COLOURS[note.severity], parse_math=False)  # fmt: skip
        at += len(note.tiles)


def _told(note: Note) -> list[str]:
    """Lines as wide as the note's pictures."""
    count = f" ({note.count:,})" if note.count else ""
    return textwrap.wrap(
        f"{note.code}{count}  {note.what}", LETTERS * len(note.tiles), max_lines=LINES, placeholder=" ..."
    )


def _picture(path: str, reading: Reading) -> np.ndarray:
    """[SIDE, SIDE, 3], grey where it can't be read."""
    try:
        return shaped.fitted(decode(read(path), SIDE, reading), (SIDE, SIDE), "pad")
    except BadPicture:
        return np.full((SIDE, SIDE, 3), shaped.GREY, np.uint8)
