"""Pictures small enough for a page: WebP of a few kilobytes, or why a picture can't be shown."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from competition.badpictures import PROBLEMS
from competition.boxes.sheet import Judged
from competition.decoding import BadPicture, Reading, decode, read
from competition.report.boxed import drawn

if TYPE_CHECKING:
    from competition.task import Rows

SIDE, BOXED = 176, 256  # pixels of the longer side; with boxes on it
BYTES, LAYER_BYTES = 4200, 2600  # of one; 36 with layers are under 250 kB
QUALITIES = (75, 55, 35, 20, 8)  # of WebP: the first that is small enough


@dataclass(frozen=True)
class Thumbnail:
    """picture: WebP, None where there is none, then missing says why."""

    picture: bytes | None
    missing: str = ""


@functools.lru_cache(maxsize=4096)  # runs share most of their worst rows; 17 MB
def of_file(path: str, reading: Reading) -> Thumbnail:
    """A picture file of a competition, "": one that can't be used."""
    try:
        return Thumbnail(webp(scaled(decode(_content(path), SIDE, reading), SIDE), BYTES))
    except BadPicture as e:
        return Thumbnail(None, told(e))


def with_boxes(rows: Rows, judged: Judged, name: str, classes: tuple[str, ...], reading: Reading) -> Thumbnail:
    """The picture of one of `rows` with its boxes, as on a run's worst.png."""
    assert rows.pictures is not None and rows.sizes is not None
    try:
        picture = scaled(decode(_content(rows.pictures[name]), BOXED, reading), BOXED)
    except BadPicture as e:
        return Thumbnail(None, told(e))
    picture = drawn(picture, rows.sizes.loc[name, "width"], judged, name, classes)
    return Thumbnail(webp(picture, BYTES + LAYER_BYTES))


def layer(content: bytes, under: bytes) -> bytes | None:
    """A second picture in the shape of a thumbnail, as WebP; None where it is no picture."""
    try:
        picture = decode(content, SIDE)
    except BadPicture:
        return None
    height, width = decode(under, SIDE).shape[:2]
    return webp(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), LAYER_BYTES)


def told(why: BadPicture) -> str:
    return f"{why.code}: {PROBLEMS[why.code][0]}: {why.found}"


def scaled(picture: np.ndarray, side: int) -> np.ndarray:
    """Its longer side at most `side` pixels; a tiny one grows by a whole factor, so that its pixels stay squares."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return np.kron(picture, np.ones((side // longer, side // longer, 1), np.uint8))
    size = max(1, round(width * side / longer)), max(1, round(height * side / longer))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def webp(picture: np.ndarray, most: int) -> bytes:
    """uint8 RGB [h, w, 3] as WebP of at most `most` bytes, or of the lowest quality."""
    content = b""
    for quality in QUALITIES:
        done, buffer = cv2.imencode(
            ".webp", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality]
        )
        assert done, f"a picture of shape {picture.shape} can't be encoded"
        content = buffer.tobytes()
        if len(content) <= most:
            break
    return content


def _content(path: str) -> bytes:
    """Raises BadPicture."""
    if not path:
        raise BadPicture("IMG-MISSING", "its row has no picture that can be used")
    return read(path)
