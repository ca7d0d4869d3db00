"""What hosts check of a cell of boxes: whole boxes, known labels, scores, edges within the picture."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from zoo import judging


def boxes(
    submission: Path,
    side: float,
    labels: Collection[str] = (),
    sizes: bool = False,
    nothing: str | None = None,
    ending: str = "",
) -> list[str]:
    """Complaints on the last cells of a submission: `[label] score x y x y`, or `x y width height` with `sizes`.

    side: of every picture. labels: empty where a box names none. nothing: the cell that a picture without boxes must have;
    None: an empty one. ending: of the ids of the rows that are looked at.
    """
    rows = [row for row in judging.rows(submission)[1:] if row[0].endswith(ending)]
    return [f"{row[0]}: {row[-1]!r}" for row in rows if not _right(row[-1], side, labels, sizes, nothing)]


def _right(cell: str, side: float, labels: Collection[str], sizes: bool, nothing: str | None) -> bool:
    if cell == (nothing or ""):
        return True
    words, size = cell.split(" "), 6 if labels else 5
    found = [words[n : n + size] for n in range(0, len(words), size)]
    return all(len(box) == size and _is_box(box[-5:], side, sizes) and set(box[:-5]) <= set(labels) for box in found)


def _is_box(words: list[str], side: float, sizes: bool) -> bool:
    try:
        score, x, y, *far = map(float, words)
    except ValueError:
        return False
    end = (x + far[0], y + far[1]) if sizes else tuple(far)
    return 0 <= score <= 1 and 0 <= x < end[0] <= side + 1e-3 and 0 <= y < end[1] <= side + 1e-3
