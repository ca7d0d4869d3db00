"""Where folds run: in this process, or in several at once. Stages call `map(job, items)` and don't know which.

On a CPU one process a core with one thread each is 1.5 to 5 times as fast as one process with all threads (measured on
two busy cores; waiting threads must sleep, OMP_WAIT_POLICY=PASSIVE, set before torch is imported). On GPUs it is one
process each.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from competition import board
from competition.errors import EnvironmentFault, Finding, Stopped

Item = TypeVar("Item")
Result = TypeVar("Result")
_stop = threading.Event()
ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def stopping() -> bool:
    """True once a signal asked this process to end; long work polls it, saves itself and raises Stopped."""
    return _stop.is_set()


@contextmanager
def signals() -> Generator[None]:
    """Ctrl-C and SIGTERM set the flag; a second one ends the process at once."""

    def handle(number: int, frame: Any) -> None:
        if _stop.is_set():
            os._exit(128 + number)
        _stop.set()
        board.say("stopping after this step; once more to quit at once")

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()


class Engine:
    """`jobs`: processes at once; None: one a GPU, or one a CPU core. Processes are kept for the next call."""

    def __init__(self, jobs: int | None = None):
        self.jobs = jobs
        self.pool: ProcessPoolExecutor | None = None
        self.size = 0

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def map(self, job: Callable[[Item], Result], items: Sequence[Item], device: str = "auto") -> list[Result]:
        """The results in the order of the items. The first fault ends what has not begun and is raised."""
        gpus = _gpus() if device in ("auto", "cuda") else 0
        jobs = min(len(items), self.jobs or gpus or cores())
        if jobs <= 1:
            return [self._here(job, item) for item in items]
        if self.pool is None:
            self._start(jobs, gpus)
        assert self.pool is not None
        with board.forwarding(self.events):
            futures = [self.pool.submit(_run, job, item) for item in items]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                if stopping() or any(f.exception() for f in done):
                    self._tell_workers()
                    for future in waiting:
                        future.cancel()
                    wait(waiting)
                    waiting = set()
            return self._results(futures)

    def _here(self, job: Callable[[Item], Result], item: Item) -> Result:
        if stopping():
            raise Stopped("stopped before the next fold")
        return job(item)

    def _results(self, futures: list[Any]) -> list[Any]:
        faults = [f.exception() for f in futures if not f.cancelled() and f.exception()]
        faults.sort(key=lambda e: isinstance(e, Stopped))  # a fault stops the others: it comes first
        if faults and isinstance(faults[0], BrokenProcessPool):
            raise EnvironmentFault(_worker_died()) from None
        if faults:
            raise faults[0]
        if stopping() or any(f.cancelled() for f in futures):
            raise Stopped("stopped before the next fold")
        return [f.result() for f in futures]

    def _start(self, jobs: int, gpus: int) -> None:
        """Worker processes begin with an environment of their own; ours is as before once they run."""
        context = multiprocessing.get_context("spawn")
        self.events = context.Queue()
        slots = context.Queue() if gpus else None
        for n in range(jobs):
            if slots is not None:
                slots.put(n % gpus)
        mine = {} if gpus else ALONE
        before = {k: os.environ.get(k) for k in mine}
        os.environ.update(mine)
        try:
            self.pool = ProcessPoolExecutor(jobs, context, _begin, (self.events, slots, os.getpid()))
            for future in [self.pool.submit(os.getpid) for _ in range(jobs)]:
                future.result()
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)

    def _tell_workers(self) -> None:
        """A terminal's Ctrl-C reaches all; a SIGTERM or a fault reaches the workers through us."""
        for pid in list(getattr(self.pool, "_processes", None) or {}):
            os.kill(pid, signal.SIGTERM)


def _run(job: Callable[[Item], Result], item: Item) -> Result:
    if stopping():
        raise Stopped("stopped before the next fold")
    return job(item)


def _begin(events: Any, slots: Any, parent: int) -> None:
    """In a new worker: its GPU, its signals, and its end when the parent is gone."""
    if slots is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible(slots.get())
    board.listen_to(events)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _stop.set())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _visible(slot: int) -> str:
    """The slot-th of the GPUs that this process may use, by the name that the driver knows it by."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[slot] if given else str(slot)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _worker_died() -> Finding:
    return Finding(
        code="RUN-WORKER",
        what="a worker process died",
        where="one of the folds at work",
        found="killed by the system, most often for memory",
        risk="its last minute of training is lost, nothing else",
        mend='the same command continues; SET="jobs=1" or a smaller `batch` needs less memory',
    )
