"""One item, in a process of a node: its faults come back whole, and only what Ray itself raises means a loss."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from competition import board, engine, interrupt
from competition.cluster import nodes, sharing
from competition.cluster.post import Line
from competition.cluster.sharing import Home
from competition.errors import Fault, Stopped
from competition.split import Split


@dataclass(frozen=True)
class Outcome:
    """What an item returned, or what it raised."""

    value: Any = None
    raised: Exception | None = None


def work(post: Any, call: int, number: int, home: Home, job: Callable[[Any], Any], item: Any) -> Outcome:
    with _told_to_end(), Line(post, call, number):
        try:
            apart = nodes.ready(home)
            board.logs_are_kept(here=not apart)
            own = item.name if isinstance(item, Split) else None
            with sharing.at_item(home, apart, home.needs, own):
                ends = [time.monotonic() + seconds for seconds in ray.get(post.left.remote())]
                return Outcome(engine.run(job, item, *ends))
        except Exception as e:
            if not isinstance(e, (Fault, Stopped)):
                e.add_note(traceback.format_exc())  # its own stays here
            return Outcome(raised=e)


@contextmanager
def _told_to_end() -> Generator[None]:
    """A SIGTERM, as of a spot node that goes away: the item saves itself, then the process ends, and the item goes on
    elsewhere."""
    told = []

    def hear(number: int, frame: Any) -> None:
        told.append(number)
        engine.stop()

    before = signal.signal(signal.SIGTERM, hear)
    interrupt.mask("SIG_UNBLOCK")  # closed where this command began Ray
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if told:
            os._exit(128 + told[0])
