"""What hosts check of an uploaded CSV, by the standard library alone: header, ids, numbers, rows that sum to 1, names."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Judge = Callable[[Path, Path], list[str]]  # (submission, the competition's folder) -> complaints


def rows(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.reader(f))


def form(submission: Path, sample: Path, keys: int = 1) -> list[str]:
    """Complaints on the header and the ids (the first `keys` cells of a row): the sample's, each once, in any order."""
    (header, *body), (wanted, *asked) = rows(submission), rows(sample)
    if header != wanted:
        return [f"header {header}, not {wanted}"]
    found, ids = sorted(tuple(r[:keys]) for r in body), sorted(tuple(r[:keys]) for r in asked)
    ragged = [r for r in body if len(r) != len(header)]
    return ["ids are not the sample's"] * (found != ids) + [f"a row of {len(r)} cells: {r}" for r in ragged]


def numbers(submission: Path, low: float = -math.inf, high: float = math.inf, keys: int = 1) -> list[str]:
    """Complaints on cells that are no finite numbers within low..high."""
    return [
        f"{row[0]}: {cell!r} is not within {low}..{high}"
        for row in rows(submission)[1:]
        for cell in row[keys:]
        if not _within(cell, low, high)
    ]


def sums(submission: Path, tolerance: float = 1e-6) -> list[str]:
    """Complaints on rows whose cells do not sum to 1."""
    totals = {row[0]: math.fsum(map(float, row[1:])) for row in rows(submission)[1:]}
    return [f"{id} sums to {total}" for id, total in totals.items() if abs(total - 1) > tolerance]


def names(submission: Path, allowed: Iterable[str], separator: str = "", lengths: Sequence[int] = (1,)) -> list[str]:
    """Complaints on the last cells: names of `allowed`, none twice, as many as `lengths` says, divided by `separator`."""
    known, found = set(allowed), []
    for row in rows(submission)[1:]:
        words = row[-1].split(separator) if separator else [row[-1]]
        words = [word for word in words if word] if separator else words
        if len(words) not in lengths or len(set(words)) < len(words) or not set(words) <= known:
            found.append(f"{row[0]}: {row[-1]!r}")
    return found


def _within(cell: str, low: float, high: float) -> bool:
    try:
        return math.isfinite(float(cell)) and low <= float(cell) <= high
    except ValueError:
        return False
