"""Items whose worker or node was lost: each begins again, from its checkpoints, for as long as that brings it further."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from competition import board
from competition.errors import EnvironmentFault, Fault, Finding

DEATHS = 10  # of one item in a row, each without a step further than any before
HELD = 180.0  # seconds that a file server may hold a lost node's locks (NFS: 90)


class Losses:
    """Of one call of `map`. names: of its items."""

    def __init__(self, call: int, names: Sequence[str]):
        self.call, self.names = call, names
        self.deaths: Counter[int] = Counter()
        self.furthest: dict[tuple[int, str], int] = {}
        self.when: dict[int, float] = {}
        self.workers: dict[int, str] = {}

    def heard(self, call: int, item: int, worker: str, kind: str, *values: Any) -> None:
        """An event of a worker; progress beyond all before makes good what was lost."""
        if call != self.call:
            return
        self.workers[item] = worker
        if kind == "show" and values[1] > self.furthest.get((item, values[0]), -1):
            self.furthest[item, values[0]] = values[1]
            self.deaths[item] = 0

    def again(self, item: int, why: str) -> None:
        """Notes a loss. Raises EnvironmentFault RUN-WORKER where another attempt would be in vain."""
        self.deaths[item] += 1
        self.when[item] = time.monotonic()
        where = f"process {self.workers[item]}" if item in self.workers else "a process that was beginning"
        if self.deaths[item] == DEATHS:
            raise EnvironmentFault(_in_vain(self.names[item], f"last {where}: {why}"))
        board.say(f"{self.names[item]}: {where} was lost ({why}); it goes on from its last checkpoint")

    def still_held(self, item: int, fault: Exception) -> bool:
        """Whether a lock that refuses the item may be that of the worker it lost."""
        lost = time.monotonic() - self.when.get(item, -HELD) < HELD
        return lost and isinstance(fault, Fault) and {f.code for f in fault.findings} == {"RUN-LOCKED"}


def _in_vain(name: str, found: str) -> Finding:
    return Finding(
        code="RUN-WORKER",
        what=f"{DEATHS} worker processes died, none a step further than those before",
        where=f"at work: {name}",
        found=found,
        risk="all that other workers did is kept",
        mend="for memory: a smaller `batch`, larger nodes, or fewer at once by `cpus`; the same command continues",
    )
