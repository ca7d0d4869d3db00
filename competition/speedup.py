"""How much faster one way of doing the same is than another: measured in turns, told as ratios within a turn.

Rates on a machine that others use drift by half within minutes; a ratio within a second or two hardly does, and least of all
that of the processor's seconds, which others' work does not count in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from competition import board
from competition.engine import stopping
from competition.errors import Stopped
from competition.runs import Opened

TURNS, SECONDS = 9, 0.3  # a way's share of a turn
Rate = dict[str, Any]


def measure(ways: Mapping[str, Callable[[], Any]], batch: int, label: str) -> list[Rate]:
    """Of each way: way, batch, per_second (median); ratio and cpu_ratio to the first way, by the clock and by the seconds of
    the processor, of all threads (median, least and greatest of the turns).

    ways: calls that take `batch` pictures. Raises Stopped.
    """
    turns = np.array([_turn(ways, label, n) for n in range(TURNS)])  # [turns, ways, 2] seconds of a call
    faster = turns[:, :1] / turns
    board.show(label, TURNS, TURNS, "turns")
    return [
        {"way": way, "batch": batch, "per_second": round(batch / float(np.median(turns[:, n, 0])), 1)}
        | {"ratio": _spread(faster[:, n, 0]), "cpu_ratio": _spread(faster[:, n, 1])}
        for n, way in enumerate(ways)
    ]


def _spread(ratios: np.ndarray) -> list[float]:
    return [round(float(f(ratios)), 3) for f in (np.median, np.min, np.max)]


def _turn(ways: Mapping[str, Callable[[], Any]], label: str, n: int) -> list[tuple[float, float]]:
    if stopping():
        raise Stopped(f"{label} stopped")
    board.show(label, n, TURNS, "turns")
    return [_seconds(call) for call in ways.values()]


def _seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Of a call by the clock and by the processor, after one whose caches are cold and beside which the last way's threads
    still wait."""
    call()
    began, worked, calls, passed = time.perf_counter(), time.process_time(), 0, 0.0
    while passed < SECONDS:
        call()
        calls, passed = calls + 1, time.perf_counter() - began
    return passed / calls, (time.process_time() - worked) / calls


def show(at: Opened, record: dict[str, Any]) -> None:
    """The table on the screen."""
    kind = f"{record['backbone']}, pictures of {record['side']}, {record['threads']} threads"
    table = Table("way", title=f"{at.run.name} {record['fold']}: {kind}")
    for name in ("batch", "images/s", "times as fast", "by CPU seconds"):
        table.add_column(name, justify="right")
    for rate in record["rates"]:
        ratios = ("{:.2f} ({:.2f} to {:.2f})".format(*rate[name]) for name in ("ratio", "cpu_ratio"))
        table.add_row(rate["way"], str(rate["batch"]), f"{rate['per_second']:.4g}", *ratios)
    board.console.print(table)
