"""How much faster one way of doing the same is than another: measured in turns, told as ratios within a turn.

Rates on a machine that others use drift by half within minutes; a ratio within a second or two hardly does.
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
    """Of each way way, batch, per_second (median), ratio (median, least and greatest of the turns) to the first way.

    ways: calls that take `batch` pictures. Raises Stopped.
    """
    turns = np.array([_turn(ways, batch, label, n) for n in range(TURNS)])
    ratios = turns / turns[:, :1]
    board.show(label, TURNS, TURNS, "turns")
    return [
        {"way": way, "batch": batch, "per_second": round(float(np.median(turns[:, n])), 1)}
        | {"ratio": [round(float(f(ratios[:, n])), 3) for f in (np.median, np.min, np.max)]}
        for n, way in enumerate(ways)
    ]


def _turn(ways: Mapping[str, Callable[[], Any]], batch: int, label: str, n: int) -> list[float]:
    if stopping():
        raise Stopped(f"{label} stopped")
    board.show(label, n, TURNS, "turns")
    return [batch / _seconds(call) for call in ways.values()]


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call, the mean of some, after one whose caches are cold and beside which the last way's threads still wait."""
    call()
    began, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        call()
        calls += 1
    return passed / calls


def show(at: Opened, record: dict[str, Any]) -> None:
    """The table on the screen."""
    kind = f"{record['backbone']}, pictures of {record['side']}, {record['threads']} threads"
    title = f"{at.run.name} {record['fold']}: {kind}"
    table = Table("way", title=title)
    for name in ("batch", "images/s", "ratio", "of turns"):
        table.add_column(name, justify="right")
    for rate in record["rates"]:
        middle, least, most = rate["ratio"]
        table.add_row(
            rate["way"], str(rate["batch"]), f"{rate['per_second']:.4g}", f"{middle:.2f}", f"{least:.2f} to {most:.2f}"
        )
    board.console.print(table)
