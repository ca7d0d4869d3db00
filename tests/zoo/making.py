"""Tiny files of the zoo: CSVs and pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np


def table(path: Path, header: str, rows: Iterable[Sequence[object]], quoting: int = csv.QUOTE_MINIMAL) -> None:
    """A CSV; header: its names, divided by commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, quoting=quoting, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def picture(path: Path, brightness: int, seed: int, shape: tuple[int, int] = (40, 40)) -> None:
    """A noisy colour picture around `brightness` (0..255), by which its label can be told; its suffix is its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 31, (*shape, 3))
    cv2.imwrite(str(path), (brightness + noise).clip(0, 255).astype(np.uint8))


def pictures(folder: Path, names: Mapping[str, int], suffix: str, shape: tuple[int, int] = (40, 40)) -> None:
    """A picture for each name, of the brightness that stands there."""
    for seed, (name, brightness) in enumerate(names.items()):
        picture(folder / f"{name}{suffix}", brightness, seed, shape)
