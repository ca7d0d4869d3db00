"""Boxes drawn on a picture of a few hundred pixels, as on a run's worst.png but a hundred times as fast."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from competition.boxes.sheet import MISSED, NAME, TRUE, Judged, colour
from competition.boxes.table import EDGES
from competition.chart import shortened

LETTERS = 10  # pixels
DASH, GAP = 5, 4
BLACK = "#000000"
LEGEND = (
    "White: truth that was found. Yellow: truth that was missed. Coloured by class: predictions that count, dashed where"
    " they are wrong."
)
Corners = tuple[float, float, float, float]


def drawn(picture: np.ndarray, width: float, judged: Judged, name: str, classes: tuple[str, ...]) -> np.ndarray:
    """The picture `name`, uint8 RGB [h, w, 3], with its boxes; missed and wrong ones with their class.

    width: of the original in pixels, which boxes are in.
    """
    image = Image.fromarray(picture)
    draw, scale = ImageDraw.Draw(image), picture.shape[1] / width
    truth, prediction = (table[table.index == name] for table in (judged.truth, judged.prediction))
    prediction = prediction.sort_values("score", kind="stable")  # the surest on top
    missed, wrong = truth[~truth["found"]], prediction[~prediction["right"]]
    for corners, _ in _scaled(truth[truth["found"]], scale):
        _frame(draw, corners, TRUE, 1)
    for corners, label in _scaled(prediction[prediction["right"]], scale):
        _frame(draw, corners, colour(label, classes), 2)
    for table, dashed in ((wrong, True), (missed, False)):
        for corners, label in _scaled(table, scale):
            shade = colour(label, classes) if dashed else MISSED
            _frame(draw, corners, shade, 2, dashed)
            _name(draw, corners, shortened(label, NAME), shade, image.size, below=not dashed)
    return np.asarray(image)


def _scaled(boxes: pd.DataFrame, scale: float) -> Iterator[tuple[Corners, str]]:
    for box, label in zip(boxes[[*EDGES]].to_numpy(float) * scale, boxes["label"], strict=True):
        yield (box[0], box[1], box[2], box[3]), label


def _frame(draw: ImageDraw.ImageDraw, corners: Corners, shade: str, width: int, dashed: bool = False) -> None:
    """On a dark border, or it would vanish on bright ground."""
    left, top, right, bottom = corners
    draw.rectangle((left - 1, top - 1, max(left, right) + 1, max(top, bottom) + 1), outline=BLACK, width=width + 1)
    if not dashed:
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=shade, width=width)
        return
    for x in np.arange(left, right, DASH + GAP):
        for y in (top, bottom):
            draw.line((x, y, min(x + DASH, right), y), fill=shade, width=width)
    for y in np.arange(top, bottom, DASH + GAP):
        for x in (left, right):
            draw.line((x, y, x, min(y + DASH, bottom)), fill=shade, width=width)


def _name(
    draw: ImageDraw.ImageDraw, corners: Corners, text: str, shade: str, size: tuple[int, int], below: bool
) -> None:
    """Above or below the box's left edge; inside where the picture ends."""
    left, top, _, bottom = corners
    x = max(0, min(left, size[0] - draw.textlength(text, _font())))
    y = min(bottom + 1, size[1] - LETTERS - 2) if below else max(top - LETTERS - 2, 0)
    draw.rectangle(draw.textbbox((x, y), text, _font()), fill=shade)
    draw.text((x, y), text, BLACK, _font())


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu, which has the letters of most scripts; Pillow's own has those of Latin."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", LETTERS)
