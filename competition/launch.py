"""Starts the ranks of a fold: further processes of this machine (`ranks: 4`), or those that torchrun has begun.

    make train RUN=leaves/large SET="ranks=2"
    torchrun --nnodes 2 --nproc-per-node 4 ... -m competition train leaves/large --fold 0

Rank 0 is the process that would train the fold alone. A rank that dies ends the others; the same command goes on from the
last checkpoint.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from competition import engine
from competition.errors import ConfigFault, EnvironmentFault, Fault, Finding, Stopped, visible
from competition.ranks import ALONE, Lost, Ranks, first_line

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from torch.distributed import Store

    from competition.config import Run
    from competition.knobs import Training
    from competition.split import Split

HERE = "127.0.0.1"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if os.path.exists("/sys/class/net/lo") else {}  # else a name must be resolved
OVER = "over"  # in torchrun's store: there is nothing more to train
GRACE = 10.0  # seconds that a rank has to end, or to say why it ended


def launched() -> int:
    """How many processes torchrun has begun, 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


@contextmanager
def places() -> Generator[bool]:
    """Of a command that torchrun may have begun: whether this process is to `follow` another one, which does the work.

    Each has a GPU of its machine. At the end of the first one's block the others are told that there is no more.
    """
    if launched() == 1:
        yield False
        return
    place, given = int(os.environ.get("LOCAL_RANK", "0")), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given and place >= len(given.split(",")):
        raise EnvironmentFault(
            _no_gpu(f"LOCAL_RANK={place}", f"CUDA_VISIBLE_DEVICES={given}", "a smaller --nproc-per-node")
        )
    if any(map(os.path.exists, engine.DRIVERS)):
        os.environ["CUDA_VISIBLE_DEVICES"] = engine.visible(place)
    first = os.environ["RANK"] == "0"
    try:
        yield not first
    finally:
        if first:
            _dismiss()


def at_once(run: Run) -> int | None:
    """`jobs` of the run's training: folds come one after another where ranks share each."""
    return 1 if size_of(run.task) > 1 else run.jobs


def check(run: Run) -> None:
    """Whether the run can be divided among so many ranks here. Raises ConfigFault CFG-VALUE, EnvironmentFault ENV-DEVICE."""
    from competition.knobs import Training

    size, task = size_of(run.task), run.task
    if size == 1:
        return
    if not isinstance(task, Training):
        raise ConfigFault(_bad("torchrun", f"WORLD_SIZE={size}; the run trains no network by steps", "no torchrun"))
    from competition.loop import device_of

    device, gpus, found = device_of(task.device).type, engine.accelerators(), []
    if (run.jobs or 1) > 1:
        found.append(_bad(f"jobs: {run.jobs}", "folds that ranks share come one after another", "jobs: null"))
    if task.batch < 2 * task.accumulate * size:
        least = f"batch: {2 * task.accumulate * size}, or fewer ranks"
        found.append(_bad(f"batch: {task.batch}", f"two rows in each piece of each of {size} ranks are wanted", least))
    if task.sync_bn and device != "cuda":
        found.append(
            _bad("sync_bn: true", f"torch synchronises batch norms on GPUs only, not on {device}", "sync_bn: false")
        )
    if found:
        raise ConfigFault(*found)
    if launched() == 1 and (none := lacking(size, device, gpus)):
        raise EnvironmentFault(none)


def lacking(size: int, device: str, gpus: int) -> Finding | None:
    """What is wrong where each of so many ranks on this machine should have a GPU."""
    if device == "cpu" or (device == "cuda" and size <= gpus):
        return None
    found = (
        f"this machine has {gpus} GPU{'s' * (gpus != 1)}" if device == "cuda" else "ranks are for NVIDIA and AMD GPUs"
    )
    mend = f"ranks: {max(1, gpus)}, or torchrun over several machines (docs/ranks.md)"
    return _no_gpu(f"key ranks: {size}", found, mend)


def _no_gpu(where: str, found: str, mend: str) -> Finding:
    return Finding("ENV-DEVICE", "there is no GPU for each rank", where, found, mend)


def _bad(where: str, found: str, mend: str) -> Finding:
    return Finding("CFG-VALUE", "a fold can't be divided among ranks so", f"key {where}", found, mend)


def only_alone(run: Run) -> None:
    """Raises ConfigFault CFG-VALUE for a search: its trials, each on a GPU, are side by side."""
    if size_of(run.task) > 1:
        found = f"ranks: {size_of(run.task)}; trials of a search are side by side, each in one process"
        mend = f"ranks: 1 in {run.name} while it is searched; <run>-tuned may have them again"
        raise ConfigFault(Finding("CFG-VALUE", "a search has no ranks", "key ranks", found, mend))


def only_training(verb: str) -> None:
    """Raises ConfigFault CFG-VALUE for another verb below torchrun, which would be done as often as there are processes."""
    if launched() > 1 and verb != "train":
        found = f"the verb {verb} in {launched()} processes"
        mend = f"torchrun for `train`; then `python -m competition {verb} ...` by itself"
        raise ConfigFault(Finding("CFG-VALUE", "torchrun is for training", "RANK and WORLD_SIZE", found, mend))


def size_of(task: Any) -> int:
    """Ranks of a fold of this task: torchrun's, or as many as `ranks` says."""
    return launched() if launched() > 1 else getattr(task, "ranks", 1)


@contextmanager
def together(run: Run, split: Split) -> Generator[Ranks]:
    """The first of the fold's ranks, the others at work on the same fold. Raises their faults, and RUN-WORKER."""
    size = size_of(run.task)
    if size == 1:
        yield ALONE
        return
    with _called(run, split, size) if launched() > 1 else _started(run, split, size) as ranks, _shared(run.task, size):
        try:
            yield ranks
        finally:
            ranks.leave()


@contextmanager
def _shared(task: Training, size: int) -> Generator[None]:
    """On a CPU the ranks of this machine share its cores."""
    import torch

    from competition.loop import device_of

    before, together = torch.get_num_threads(), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if device_of(task.device).type == "cpu":
        torch.set_num_threads(max(1, engine.cores() // together))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _started(run: Run, split: Split, size: int) -> Generator[Ranks]:
    import torch.distributed as dist

    from competition.train import needed

    store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    multiprocessing.get_context(engine.START).set_forkserver_preload(needed(run))  # paid once, not in every fold
    others = [_Other(run, split, rank, size, store.port) for rank in range(1, size)]

    def waiting() -> None:
        if engine.stopping():
            raise Stopped(f"{split.name} stopped before its ranks were there")
        if dead := [other for other in others if not other.process.is_alive()]:
            raise Lost(f"{len(dead)} of {size} were never there")

    ranks = Ranks(0, size, store, waiting)
    threading.Thread(target=_guard, args=(others, ranks, split), daemon=True).start()
    try:
        with engine.environment(LOOPBACK):
            yield ranks
    except RuntimeError as e:  # of a layer that talks to other ranks, too
        if isinstance(e, Lost) or any(other.process.exitcode for other in others):
            raise _why(others, str(e), split) from None
        raise
    finally:
        _end([other.process for other in others])


def _guard(others: Sequence[_Other], ranks: Ranks, split: Split) -> None:
    """Ends this process where a rank is gone and training neither goes on nor ends: it may wait within a GPU's driver, which
    no error reaches."""
    wait([other.process.sentinel for other in others])
    if not ranks.left.wait(3 * GRACE):
        print(visible(str(_why(others, "it did not end by itself", split))), file=sys.stderr, flush=True)
        os._exit(EnvironmentFault.exit_code)


class _Other:
    """A further rank on this machine. A fault of its comes by `outcome`."""

    def __init__(self, run: Run, split: Split, rank: int, size: int, port: int):
        self.rank = rank
        self.outcome, told = multiprocessing.Pipe(duplex=False)
        on_gpu = run.task.device != "cpu" and engine.accelerators()
        surroundings = LOOPBACK | ({"CUDA_VISIBLE_DEVICES": engine.visible(rank)} if on_gpu else {})
        given = (run, split, rank, size, port, surroundings, told)
        self.process = multiprocessing.get_context(engine.START).Process(target=_follow, args=given, daemon=True)
        with engine.beginning(engine.ALONE):
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
    engine.attend()
    os.environ.update(surroundings)
    import torch.distributed as dist

    from competition.train import train_along

    ranks = Ranks(rank, size, dist.TCPStore(HERE, port, is_master=False), _stops)
    try:
        with _shared(run.task, size):
            train_along(run, split, ranks)
    except Stopped:
        ranks.leave()
    except Fault as fault:
        told.send(fault)
        os._exit(fault.exit_code)
    except Lost:
        os._exit(EnvironmentFault.exit_code)  # rank 0 says it


@contextmanager
def _called(run: Run, split: Split, size: int) -> Generator[Ranks]:
    """torchrun's other processes, called to the fold."""
    import torch.distributed as dist

    number = _store().add("folds", 1)
    _store().set(f"fold {number}", pickle.dumps((run, split)).hex())
    try:
        yield Ranks(0, size, dist.PrefixStore(f"ranks of {number}", _store()), _stops)
    except Lost as lost:
        raise EnvironmentFault(_died(split.name, str(lost))) from None


def follow() -> None:
    """What torchrun's other processes do: train along whatever folds the first one trains. Raises Stopped and faults."""
    import torch.distributed as dist

    from competition import board
    from competition.train import train_along

    with board.board(), engine.signals():
        for number in itertools.count(1):
            order = _order(f"fold {number}")
            if order is None:
                break
            run, split = pickle.loads(order)
            ranks = Ranks(int(os.environ["RANK"]), launched(), dist.PrefixStore(f"ranks of {number}", _store()), _stops)
            try:
                with _shared(run.task, ranks.size):
                    train_along(run, split, ranks)
            except Lost as lost:
                raise EnvironmentFault(_died(split.name, str(lost))) from None
    _store().add("left", 1)


def _order(name: str) -> bytes | None:
    """What the first process has to be done under this name, None where there is nothing more. Raises Stopped."""
    try:
        while not _store().check([OVER]):
            if _store().check([name]):
                return bytes.fromhex(_store().get(name).decode())
            _stops()
            time.sleep(0.1)
    except RuntimeError as e:
        raise EnvironmentFault(_died(f"before {name}", first_line(e))) from None
    return None


def _dismiss() -> None:
    """By the first of torchrun's processes, at its end."""
    _store().set(OVER, "")
    until = time.monotonic() + GRACE  # the store may lie in this process
    while _store().add("left", 0) < launched() - 1 and time.monotonic() < until:
        time.sleep(0.05)


@functools.cache
def _store() -> Store:
    """In which torchrun's processes meet, by MASTER_ADDR and MASTER_PORT."""
    from torch.distributed import rendezvous

    try:
        store, _, _ = next(rendezvous("env://"))
    except (RuntimeError, ValueError) as e:
        where = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        mend = "torchrun, which sets them, and an address that all machines reach"
        raise EnvironmentFault(
            Finding("ENV-RANKS", "the ranks of a fold can't meet", where, first_line(e), mend)
        ) from None
    return store


def _stops() -> None:
    if engine.stopping():
        raise Stopped("stopped before the other ranks were there")


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
    told = [f"rank {rank} ended by {engine.ending(code)}" for rank, code in ended.items()]
    return EnvironmentFault(_died(split.name, "; ".join(told) or error))


def _died(where: str, found: str) -> Finding:
    return Finding(
        code="RUN-WORKER",
        what="a rank of a fold died or says nothing",
        where=where,
        found=found,
        risk="the steps since the last checkpoint are lost, nothing else",
        mend="the same command continues; fewer `ranks`, or a smaller `batch`, need less memory",
    )


def _end(processes: Sequence[BaseProcess]) -> None:
    """They end by themselves, since what ends rank 0 ends them; those that don't are killed."""
    for process in processes:
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()
