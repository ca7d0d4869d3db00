"""The seam between the stages and what runs their folds: `Engine.map(job, items, demand)`. Stages don't know which.

Two implementations: processes of this machine (local.py), and a Ray cluster (cluster/).
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from competition import board, interrupt
from competition.errors import Stopped
from competition.limit import Limit

Item = TypeVar("Item")
Result = TypeVar("Result")
_stop = threading.Event()
_deadline = _closing = math.inf  # of the work at hand, by this machine's `time.monotonic`
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True)
class Demand:
    """What an item of `map` takes. jobs: items at once; None: as many as there is room for. cpus, gpus: what of a cluster
    is an item's, fractions too; gpus None: one, where `device` wants one and the cluster has any.
    """

    device: str = "auto"
    jobs: int | None = None
    cpus: float = 1
    gpus: float | None = None


@dataclass(frozen=True)
class Needs:
    """What a machine has before it works on a run. check: is done there, and raises what is wrong; fill: makes what lies
    beside the files, such as caches, where they are the machine's own. read: files and folders that an item reads; written:
    folders in which it reads all but the folders of other folds, and writes to those named as its own; folds: their names,
    none where items write all over, which takes a disk that all share.
    """

    check: Callable[[], object]
    fill: Callable[[], object]
    read: tuple[Path, ...]
    written: tuple[Path, ...]
    folds: frozenset[str]


def stopping() -> bool:
    """True once a signal asked this process to end or time is up; long work polls it, saves itself and raises Stopped."""
    return _stop.is_set() or time.monotonic() >= _deadline


def signalled() -> bool:
    """True where a signal, not the clock, asked for the end."""
    return _stop.is_set()


def stop() -> None:
    """Asks the work of this process to end."""
    _stop.set()


def go_on() -> None:
    """Takes `stop` back."""
    _stop.clear()


def closing() -> float:
    """When this process is ended though it works, by its `time.monotonic`."""
    return _closing


@contextmanager
def signals() -> Generator[None]:
    """Ctrl-C, SIGTERM and a closed terminal (SIGHUP, unless `nohup` had it passed over) set the flag; a second one ends the
    process at once. Raises KeyboardInterrupt for one that came before and was lost.
    """

    def handle(number: int, frame: Any) -> None:
        if _stop.is_set():
            os._exit(128 + number)
        _stop.set()
        board.say("stopping after this step; once more to quit at once")

    before = {s: signal.signal(s, handle) for s in interrupt.heard()}
    try:
        if interrupt.came:
            raise KeyboardInterrupt
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()


class Engine(ABC):
    """One for a command. hosts: machines that it works on."""

    hosts = 1

    def __init__(self) -> None:
        self.deadline = self.closing = math.inf
        self.limit: Limit | None = None  # of the whole command

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    @contextmanager
    def until(self, deadline: float, closing: float = math.inf) -> Generator[None]:
        """What is done and mapped within is stopped at `deadline`, by `time.monotonic`: the clock of the day may jump. A
        worker that has not ended by `closing` is killed. Of nested calls the earlier times count."""
        global _deadline
        before = self.deadline, self.closing, _deadline
        self.deadline, self.closing = min(deadline, self.deadline), min(closing, self.closing)
        _deadline = min(deadline, _deadline)
        try:
            yield
        finally:
            self.deadline, self.closing, _deadline = before

    @abstractmethod
    def slots(self, demand: Demand) -> tuple[int, int]:
        """How many items `map` runs at once, and on how many GPUs of this machine that they may share as they like."""

    @abstractmethod
    def expect(self, items: int, modules: Sequence[str], demand: Demand) -> None:
        """Workers for so many items will be needed, and these modules in them."""

    @abstractmethod
    def everywhere(self, needs: Needs) -> None:
        """Of the items that follow, on every other machine. Raises what the check raises there."""

    @abstractmethod
    def map(self, job: Callable[[Item], Result], items: Sequence[Item], demand: Demand) -> list[Result]:
        """The results in the order of the items.

        The first fault stops what is at work and is raised; so is Stopped, once a signal asked for it or time is up.
        """

    @abstractmethod
    def _end(self) -> None:
        """Lets the workers go."""


def run(job: Callable[[Item], Result], item: Item, deadline: float, closing: float) -> Result:
    """One item, in a worker. Raises Stopped where it is not to begin any more."""
    global _deadline, _closing
    before, (_deadline, _closing) = (_deadline, _closing), (deadline, closing)
    try:
        if stopping():
            raise Stopped("stopped before the next fold")
        board.works_on(str(getattr(item, "name", item)))
        return job(item)
    finally:
        board.works_on(None)
        _deadline, _closing = before


def accelerators() -> int:
    """GPUs of this process; Apple's counts as one. Without a driver torch, which takes seconds, need not be asked."""
    if sys.platform == "linux" and not any(map(os.path.exists, DRIVERS)):
        return 0
    import torch

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def gpus() -> list[str]:
    """Names of the GPUs of this process."""
    if not accelerators():
        return []
    import torch

    return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] or ["Apple"]


def threads() -> int:
    """Those that a sum is divided among in this process, of which its last bits depend; a worker has one (`local.ALONE`)."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or cores())


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
