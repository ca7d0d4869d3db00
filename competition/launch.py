"""Starts the ranks of a fold: further processes of this machine, or those that torchrun has begun (torchrun.py).

    make train RUN=leaves/large SET="ranks=2"

Rank 0 is the process that would train the fold alone. A rank that dies ends the others; the same command goes on from the
last checkpoint.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from competition import engine, local, torchrun
from competition.errors import ConfigFault, EnvironmentFault, Fault, Finding, Stopped, visible
from competition.ranks import ALONE, Lost, Ranks, died, shared

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from competition.config import Run
    from competition.engine import Demand, Engine
    from competition.split import Split

HERE = "127.0.0.1"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if os.path.exists("/sys/class/net/lo") else {}  # else a name must be resolved
GRACE = 10.0  # seconds that a rank has to end, or to say why it ended


def demand(run: Run) -> Demand:
    """The run's, of its training: folds come one after another where ranks share each."""
    return replace(run.demand, jobs=1) if size_of(run.task) > 1 else run.demand


def check(run: Run, here: Engine) -> None:
    """Whether the run can be divided among so many ranks here. Raises ConfigFault CFG-VALUE, EnvironmentFault ENV-DEVICE."""
    from competition.knobs import Training

    size, task = size_of(run.task), run.task
    if size == 1:
        return
    if not isinstance(task, Training):
        raise ConfigFault(_bad("torchrun", f"WORLD_SIZE={size}; the run trains no network by steps", "no torchrun"))
    from competition.devices import device_of

    device, gpus, found = device_of(task.device).type, engine.accelerators(), []
    if (run.jobs or 1) > 1:
        found.append(_bad(f"jobs: {run.jobs}", "folds that ranks share come one after another", "jobs: null"))
    if not isinstance(here, local.Local):
        found.append(_bad("ENGINE=ray", "folds of a cluster are each in one process", "torchrun over its machines"))
    if task.batch < 2 * task.accumulate * size:
        least = f"batch: {2 * task.accumulate * size}, or fewer ranks"
        found.append(_bad(f"batch: {task.batch}", f"two rows in each piece of each of {size} ranks are wanted", least))
    if task.sync_bn and device != "cuda":
        found.append(
            _bad("sync_bn: true", f"torch synchronises batch norms on GPUs only, not on {device}", "sync_bn: false")
        )
    if found:
        raise ConfigFault(*found)
    if torchrun.launched() == 1 and (none := lacking(size, device, gpus)):
        raise EnvironmentFault(none)


def lacking(size: int, device: str, gpus: int) -> Finding | None:
    """What is wrong where each of so many ranks on this machine should have a GPU."""
    if device == "cpu" or (device == "cuda" and size <= gpus):
        return None
    found = (
        f"this machine has {gpus} GPU{'s' * (gpus != 1)}" if device == "cuda" else "ranks are for NVIDIA and AMD GPUs"
    )
    mend = f"ranks: {max(1, gpus)}, or torchrun over several machines (docs/ranks.md)"
    return torchrun.no_gpu(f"key ranks: {size}", found, mend)


def _bad(where: str, found: str, mend: str) -> Finding:
    return Finding("CFG-VALUE", "a fold can't be divided among ranks so", f"key {where}", found, mend)


def only_alone(run: Run) -> None:
    """Raises ConfigFault CFG-VALUE for a search: its trials, each on a GPU, are side by side."""
    if size_of(run.task) > 1:
        found = f"ranks: {size_of(run.task)}; trials of a search are side by side, each in one process"
        mend = f"ranks: 1 in {run.name} while it is searched; <run>-tuned may have them again"
        raise ConfigFault(Finding("CFG-VALUE", "a search has no ranks", "key ranks", found, mend))


def size_of(task: Any) -> int:
    """Ranks of a fold of this task: torchrun's, or as many as `ranks` says."""
    return torchrun.launched() if torchrun.launched() > 1 else getattr(task, "ranks", 1)


@contextmanager
def together(run: Run, split: Split) -> Generator[Ranks]:
    """The first of the fold's ranks, the others at work on the same fold. Raises their faults, and RUN-WORKER."""
    size = size_of(run.task)
    if size == 1:
        yield ALONE
        return
    with (
        torchrun.called(run, split, size) if torchrun.launched() > 1 else _started(run, split, size) as ranks,
        shared(run.task, size),
    ):
        try:
            yield ranks
        finally:
            ranks.leave()


@contextmanager
def _started(run: Run, split: Split, size: int) -> Generator[Ranks]:
    import torch.distributed as dist

    from competition.train import needed

    store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    multiprocessing.get_context(local.START).set_forkserver_preload(needed(run))  # paid once, not in every fold
    others = [_Other(run, split, rank, size, store.port) for rank in range(1, size)]

    def waiting() -> None:
        if engine.stopping():
            raise Stopped(f"{split.name} stopped before its ranks were there")
        if dead := [other for other in others if not other.process.is_alive()]:
            raise Lost(f"{len(dead)} of {size} were never there")

    ranks = Ranks(0, size, store, waiting)
    threading.Thread(target=_guard, args=(others, ranks, split), daemon=True).start()
    try:
        with local.environment(LOOPBACK):
            yield ranks
    except RuntimeError as e:  # of a layer that talks to other ranks, too
        if isinstance(e, Lost) or any(other.process.exitcode for other in others):
            raise _why(others, str(e), split) from None
        raise
    finally:
        _end([other.process for other in others])


def _guard(others: Sequence[_Other], ranks: Ranks, split: Split) -> None:
    """Ends this process where a rank has failed and training neither goes on nor ends: it may wait within a GPU's driver,
    which no error reaches. Where all end well, as after a stop, this one has time for its checkpoint."""
    every = at_work = [other.process for other in others]
    while at_work and not any(process.exitcode for process in every):
        wait([process.sentinel for process in at_work])
        at_work = [process for process in at_work if process.exitcode is None]
    if any(process.exitcode for process in every) and not ranks.left.wait(3 * GRACE):
        print(visible(str(_why(others, "it did not end by itself", split))), file=sys.stderr, flush=True)
        os._exit(EnvironmentFault.exit_code)


class _Other:
    """A further rank on this machine. A fault of its comes by `outcome`."""

    def __init__(self, run: Run, split: Split, rank: int, size: int, port: int):
        self.rank = rank
        self.outcome, told = multiprocessing.Pipe(duplex=False)
        on_gpu = run.task.device != "cpu" and engine.accelerators()
        surroundings = LOOPBACK | ({"CUDA_VISIBLE_DEVICES": local.visible(rank)} if on_gpu else {})
        given = (run, split, rank, size, port, surroundings, told)
        self.process = multiprocessing.get_context(local.START).Process(target=_follow, args=given, daemon=True)
        with local.beginning(local.ALONE):
            self.process.start()
        told.close()

    def fault(self) -> Fault | None:
        """What it said of its end; None where it was ended before it could."""
        try:
            return self.outcome.recv() if self.outcome.poll() else None
        except EOFError:
            return None


def _follow(
    run: Run, split: Split, rank: int, size: int, port: int, surroundings: dict[str, str], told: Connection
) -> None:
    """A further rank, from its first line to its last."""
    local.attend()
    os.environ.update(surroundings)
    import torch.distributed as dist

    from competition.train import train_along

    ranks = Ranks(rank, size, dist.TCPStore(HERE, port, is_master=False), torchrun.stops)
    try:
        with shared(run.task, size):
            train_along(run, split, ranks)
    except Stopped:
        ranks.leave()
    except Fault as fault:
        told.send(fault)
        os._exit(fault.exit_code)
    except Lost:
        os._exit(EnvironmentFault.exit_code)  # rank 0 says it


def _why(others: Sequence[_Other], error: str, split: Split) -> Fault:
    """The fault of a rank that said one, else which died, and how."""
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        if fault := next((f for other in others if (f := other.fault())), None):
            return fault
        codes = {other.rank: other.process.exitcode for other in others}
        if any(code not in (None, 0, EnvironmentFault.exit_code) for code in codes.values()):
            break
        time.sleep(0.05)
    ended = {rank: code for rank, code in codes.items() if code not in (None, 0, EnvironmentFault.exit_code)}
    told = [f"rank {rank} ended by {local.ending(code)}" for rank, code in ended.items()]
    return EnvironmentFault(died(split.name, "; ".join(told) or error))


def _end(processes: Sequence[BaseProcess]) -> None:
    """They end by themselves, since what ends rank 0 ends them; those that don't are killed."""
    for process in processes:
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()
