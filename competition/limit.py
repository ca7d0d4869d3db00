"""`TIME=9h` of a submission: how its time is divided. All clocks are `time.monotonic`, which processes of a machine share.

It counts from the start of the process, imports included. Training ends early enough that predictions, the decisions on
them and the CSV are made within it; at the very end the process is ended from outside (overtime.py).
"""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from competition.errors import ConfigFault, Finding

if TYPE_CHECKING:
    from competition.config import Run

MARGIN = 2.0  # seconds at least, for the end of the processes themselves
SHARE = 0.03  # of the limit that workers have to save themselves, and that decisions have, within these seconds:
SAVING, DECIDING = (3.0, 60.0), (4.0, 120.0)
SLOW = 0.5  # of the time from the start to the first CSV, which the last one takes: on a busy machine or of many rows, more
_began: float | None = None
_margin = MARGIN


@dataclass(frozen=True)
class Limit:
    """run: the one that is submitted. time: as TIME= has it. last: seconds that the last CSV takes, from predictions."""

    run: Run
    time: str
    began: float
    seconds: float
    margin: float = MARGIN
    last: float = 0.0

    @property
    def ends(self) -> float:
        """When the process is ended, whatever it does."""
        return self.began + self.seconds - self.margin

    @property
    def deciding(self) -> float:
        """Until when decisions may be fitted: the CSV is still to be written."""
        return self.ends - 1 - self.last / 2

    @property
    def closing(self) -> float:
        """When the last worker is ended, and what there is becomes a submission."""
        return self.ends - _within(DECIDING, SHARE * self.seconds) - self.last

    @property
    def training(self) -> float:
        """When folds at work save themselves."""
        return self.closing - _within(SAVING, SHARE * self.seconds)

    def measured(self, more: float = 0.0) -> Limit:
        """Once the first CSV is there. more: seconds that the last one takes beside."""
        return replace(self, last=SLOW * (clock.monotonic() - self.began) + more)


def of(run: Run, time: str) -> Limit:
    """Raises ConfigFault CFG-VALUE."""
    from competition.config import seconds

    try:
        allowed = seconds(time)
    except ValueError as e:
        raise ConfigFault(wrong(time, str(e))) from None
    if not allowed:
        raise ConfigFault(wrong(time, "no time at all"))
    return Limit(run, time, clock.monotonic() if _began is None else _began, allowed, _margin)


def wrong(time: str, found: str) -> Finding:
    return Finding("CFG-VALUE", "the command has a mistake", f"TIME={time}", found, "TIME=90s, TIME=10m, TIME=9h")


def begin(at: float, margin: float) -> None:
    """The process began at that moment, and is ended `margin` seconds before its limit; without this call a limit counts
    from when it is asked for."""
    global _began, _margin
    _began, _margin = at, margin


def _within(bounds: tuple[float, float], seconds: float) -> float:
    return min(max(bounds[0], seconds), bounds[1])
