"""The history of a fold: one JSON line an epoch, on the disk before training goes on; the truth that services mirror."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from competition import artifacts


class History:
    """Appends to `fold<k>/history.jsonl`. A resumed fold first drops the lines that its checkpoint does not cover."""

    def __init__(self, folder: Path):
        self.path = folder / "history.jsonl"
        self.opened = False

    def log(self, step: int, values: dict[str, Any]) -> None:
        """step: optimizer steps done; values: plain numbers and text."""
        with artifacts.disk_faults(self.path):
            if not self.opened:
                self._drop_from(step)
            with open(self.path, "a") as f:
                f.write(json.dumps({"step": step, **values}) + "\n")
                f.flush()
                os.fsync(f.fileno())

    def _drop_from(self, step: int) -> None:
        self.opened = True
        kept = [line for line in read(self.path) if line["step"] < step]
        artifacts.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a history; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
