"""The engine of one machine: folds run in this process, or in several at once.

On a CPU one process a core with one thread each is 1.5 to 5 times as fast as one process with all threads (measured on
two busy cores; waiting threads must sleep, OMP_WAIT_POLICY=PASSIVE, set before torch is imported). On GPUs it is one
process each, or more where folds share one (packing.py).

Where the system has it, workers are forked from a server that has imported what folds need while this process looked at
the data (`expect`): on two cores 7 to 10 s of imports are paid once, not once more in each worker.
"""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from competition import board, engine, interrupt
from competition.engine import Demand, Engine, Item, Needs, Result, accelerators, cores, run, signalled
from competition.errors import EnvironmentFault, Finding, Stopped, examples

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows either ends a process at once
GIVING_WAY = 5  # nice of workers where there is a limit: the processes that write the CSVs in time come first
ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
START = "forkserver" if sys.platform == "linux" else "spawn"  # Apple's frameworks don't bear a fork


class Local(Engine):
    """Worker processes are kept for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: ProcessPoolExecutor | None = None
        self.size = 0
        self.events: Any = None

    def slots(self, demand: Demand) -> tuple[int, int]:
        gpus = accelerators() if demand.device != "cpu" else 0
        return demand.jobs or gpus or cores(), gpus

    def expect(self, items: int, modules: Sequence[str], demand: Demand) -> None:
        """A server to fork them from begins to import these modules meanwhile.

        It imports nothing where one already serves, nor where `map` will need no worker.
        """
        jobs, gpus = self.slots(demand)
        if START != "forkserver" or jobs == 1 or (items == 1 and gpus <= 1) or not items:
            return
        multiprocessing.get_context(START).set_forkserver_preload(list(modules))
        resource_tracker.ensure_running()  # which opens the mask of signals as it starts
        with beginning(ALONE):
            multiprocessing.forkserver.ensure_running()

    def everywhere(self, needs: Needs) -> None:
        """There is no other machine."""

    def map(self, job: Callable[[Item], Result], items: Sequence[Item], demand: Demand) -> list[Result]:
        """Processes at once: as many as `jobs`; None: one a GPU, or one a CPU core. Where workers may have to be killed,
        none works in this process.
        """
        jobs, gpus = self.slots(demand)
        alone = jobs == 1 or (len(items) == 1 and gpus <= 1)
        if alone and self.closing == math.inf:
            return [run(job, item, self.deadline, self.closing) for item in items]
        if self.size != (1 if alone else jobs) or self._dead():  # one may have died while it had nothing to do
            self._end()
            self._start(1 if alone else jobs, gpus, alone)
        assert self.pool is not None
        with board.forwarding(self.events):
            futures: list[Future] = []
            waiting: set[Future] = set()
            died: dict[int, int] = {}
            late = over = False
            while waiting or (len(futures) < len(items) and not over):
                while len(waiting) < self.size and len(futures) < len(items) and not over:
                    futures.append(self._submitted(job, items[len(futures)]))
                    waiting.add(futures[-1])
                ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                failed = [e for f in ended if (e := f.exception())]
                faults = [e for e in failed if not isinstance(e, Stopped)]  # workers hear the clock
                broken = any(isinstance(e, BrokenProcessPool) for e in faults)
                died = self._reaped() if broken else {}
                late = bool(waiting) and time.monotonic() >= self.closing
                over = bool(failed) or signalled() or late  # it is too late to begin another
                if signalled() or faults or late:
                    self._tell_workers(KILL if broken or late else signal.SIGTERM)
                    wait(waiting)
                    waiting = set()
                    self._end()  # workers that were told to stop take no more work
            if late:
                raise Stopped("time is up; a process that did not hear it was ended")
            return _results(futures, items, died)

    def _start(self, jobs: int, gpus: int, alone: bool) -> None:
        """No process begins before it has something to do. alone: it has all cores and GPUs, as this process
        would."""
        context = multiprocessing.get_context("spawn" if alone else START)  # what forks has the threads of one core
        self.events, slots = context.Queue(), context.Queue()
        for n in range(jobs):
            slots.put(n % gpus if gpus and not alone else None)
        surroundings = dict(os.environ) if alone else os.environ | ALONE
        given = (self.events, slots, surroundings, self.closing < math.inf)
        self.pool, self.size = ProcessPoolExecutor(jobs, context, _begin, given), jobs

    def _submitted(self, job: Callable[[Item], Result], item: Item) -> Future:
        """No more than there are workers, so that none waits that would have to be cancelled: of a pool that breaks, a
        cancelled future ends the thread that tells the others, which would be waited for without end."""
        assert self.pool is not None
        try:
            with interrupt.held_back():
                return self.pool.submit(run, job, item, self.deadline, self.closing)
        except BrokenProcessPool as e:  # since the last look at it
            future: Future = Future()
            future.set_exception(e)
            return future

    def _end(self) -> None:
        if self.pool:
            if self._dead():
                self._tell_workers(KILL)  # the pool would wait for ever for the others, who only note its SIGTERM
            self.pool.shutdown(cancel_futures=True)
        self.pool, self.size = None, 0
        self.events = None  # its semaphores are freed, though the process may end by _exit

    def _dead(self) -> dict[int, int]:
        """Process -> exit code of the workers that did not end by our SIGTERM, by which the pool ends the others."""
        processes = getattr(self.pool, "_processes", None) or {}
        codes = {pid: process.exitcode for pid, process in processes.items()}
        return {pid: code for pid, code in codes.items() if code not in (None, 0, -signal.SIGTERM)}

    def _reaped(self) -> dict[int, int]:
        """The same of a broken pool, whose own thread may be asking for the exit codes at this moment."""
        for _ in range(20):
            if died := self._dead():
                return died
            time.sleep(0.05)
        return {}

    def _tell_workers(self, number: signal.Signals) -> None:
        """A terminal's Ctrl-C reaches all; a SIGTERM or a fault reaches the workers through us."""
        for pid in list(getattr(self.pool, "_processes", None) or {}):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _results(futures: list[Future], items: Sequence[Any], died: dict[int, int]) -> list[Any]:
    """futures: of the first items, those that were begun."""
    faults = [e for f in futures if (e := f.exception())]
    faults.sort(key=lambda e: isinstance(e, Stopped))  # a fault stops the others: it comes first
    if faults and isinstance(faults[0], BrokenProcessPool):
        at_work = [item for item, f in zip(items, futures, strict=False) if f.exception()]
        raise EnvironmentFault(_worker_died(at_work, died)) from None
    if faults:
        raise faults[0]
    if len(futures) < len(items):
        raise Stopped("stopped before the next fold")
    return [f.result() for f in futures]


def _begin(events: Any, slots: Any, environment: dict[str, str], limited: bool) -> None:
    """In a new worker: its GPU, its signals, its surroundings, and its end when the parent is gone, whoever forked it."""
    attend()
    slot = slots.get()
    os.environ.update(environment)
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible(slot)
    if limited and hasattr(os, "nice"):
        os.nice(GIVING_WAY)
    board.listen_to(board.Outlet(events))


def attend() -> None:
    """In a process that was begun by `beginning`: hears its signals, and ends when its parent is gone."""
    for number in interrupt.heard():
        signal.signal(number, lambda *_: engine.stop())
    interrupt.mask("SIG_UNBLOCK")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def beginning(values: dict[str, str]) -> Generator[None]:
    """Processes that begin here have these surroundings, and miss no signal before they `attend`."""
    with interrupt.held_back(), environment(values):
        yield


@contextmanager
def environment(values: dict[str, str]) -> Generator[None]:
    """Processes that begin here inherit these."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def visible(slot: int) -> str:
    """The slot-th of the GPUs that this process may use, by the name that the driver knows it by."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[slot] if given else str(slot)


def _worker_died(items: Sequence[Any], died: dict[int, int]) -> Finding:
    ends = [f"process {pid} ended by {ending(code)}" for pid, code in died.items()]
    return Finding(
        code="RUN-WORKER",
        what="a worker process died",
        where="at work or waiting: " + examples([getattr(item, "name", item) for item in items]),
        found="; ".join(ends) or "killed by the system, most often for memory",
        risk="its last minute of training is lost, nothing else",
        mend='the same command continues; SET="jobs=1" or a smaller `batch` needs less memory, and shows which one it is',
    )


def ending(code: int) -> str:
    """Of an exit code: by which signal, and what that means most often."""
    if code >= 0:
        return f"exit code {code}"
    meaning = {KILL: ": most often the system's, for memory", signal.SIGSEGV: ": a fault within a library"}
    return signal.Signals(-code).name + meaning.get(signal.Signals(-code), "")
