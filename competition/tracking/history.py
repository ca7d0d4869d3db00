"""The history of a fold, `history.jsonl`: a line an epoch, on the disk before training goes on, and lines of single steps
between; the truth that services mirror.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from competition import artifacts, disk

NAME = "history.jsonl"
LOST = "is not what was written and is left out; no weights and no score depend on it"


class History:
    """Appends to `fold<k>/history.jsonl`. A fold that is resumed, or goes back, first drops the lines of steps that are done
    again."""

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self.last = math.inf

    def log(self, step: int, values: dict[str, Any]) -> None:
        """step: optimizer steps done; values: plain numbers and text. A line of a step alone waits for the next other line
        to be forced onto the disk: it alone may be lost, where the power fails."""
        line = {"step": step, **values}
        with disk.faults(self.path):
            if _place(line) < self.last:
                self._drop_from(line)
            self.last = _place(line)
            with open(self.path, "a", encoding="utf-8", newline="\n") as f:
                f.write(_written(line))
                f.flush()
                if not _of_a_step(line):
                    os.fsync(f.fileno())

    def _drop_from(self, first: dict[str, Any]) -> None:
        """Other notes of the same place are kept: of what was the matter when the fold went on before."""

        def stays(line: dict[str, Any]) -> bool:
            place = _place(line)
            return place < _place(first) or (place == _place(first) and "note" in line and line != first)

        kept = [line for line in read(self.path, steps=True) if stays(line)]
        artifacts.write_text(self.path, "".join(map(_written, kept)))


def read(path: Path, steps: bool = False) -> list[dict[str, Any]]:
    """The whole lines of a history; a last line that a kill cut short is left out, and for each line that is not what was
    written there is a note. steps: those of single steps too."""
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else [], 1):
        try:
            lines.append(artifacts.parse_json(text))
        except (ValueError, RecursionError):
            lines.append(
                {"step": lines[-1]["step"] if lines else 0, "note": f"CKPT-CORRUPT: line {number} of {NAME} {LOST}"}
            )
    return [line for line in lines if steps or not _of_a_step(line)]


def _written(line: dict[str, Any]) -> str:
    return json.dumps(artifacts.sealed(line)) + "\n"


def _of_a_step(line: dict[str, Any]) -> bool:
    return "train_loss" in line and "epoch" not in line


def _place(line: dict[str, Any]) -> float:
    """A note comes before the line of its step."""
    return line["step"] - 0.5 * ("note" in line)
