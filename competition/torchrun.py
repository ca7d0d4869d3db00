"""The ranks of a fold where torchrun has begun the processes, on one machine or on several.

    torchrun --nnodes 2 --nproc-per-node 4 ... -m competition train leaves/large --fold 0

The first process does what `make train` does, and calls the others to each fold by torchrun's store.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from competition import engine, local
from competition.errors import ConfigFault, EnvironmentFault, Finding, Stopped
from competition.ranks import Lost, Ranks, died, first_line, shared
from competition.split import Split

if TYPE_CHECKING:
    from torch.distributed import Store

    from competition.config import Run

OVER = "over"  # in torchrun's store: there is nothing more to train
GRACE = 10.0  # seconds that the others have to hear that there is nothing more


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
            no_gpu(f"LOCAL_RANK={place}", f"CUDA_VISIBLE_DEVICES={given}", "a smaller --nproc-per-node")
        )
    if given != "" and any(map(os.path.exists, engine.DRIVERS)):  # empty: no GPU is wanted
        os.environ["CUDA_VISIBLE_DEVICES"] = local.visible(place)
    first = os.environ["RANK"] == "0"
    try:
        yield not first
    finally:
        if first:
            _dismiss()


def only_training(verb: str) -> None:
    """Raises ConfigFault CFG-VALUE for another verb below torchrun, which would be done as often as there are processes."""
    if launched() > 1 and verb != "train":
        found = f"the verb {verb} in {launched()} processes"
        mend = f"torchrun for `train`; then `python -m competition {verb} ...` by itself"
        raise ConfigFault(Finding("CFG-VALUE", "torchrun is for training", "RANK and WORLD_SIZE", found, mend))


def no_gpu(where: str, found: str, mend: str) -> Finding:
    """That ranks are more than GPUs."""
    return Finding("ENV-DEVICE", "there is no GPU for each rank", where, found, mend)


@contextmanager
def called(run: Run, split: Split, size: int) -> Generator[Ranks]:
    """torchrun's other processes, called to the fold."""
    import torch.distributed as dist

    number = _store().add("folds", 1)
    order = {"run": run.name, "config": run.config(), "split": asdict(split)}
    _store().set(f"fold {number}", json.dumps(order))
    try:
        yield Ranks(0, size, dist.PrefixStore(f"ranks of {number}", _store()), stops)
    except (Lost, dist.DistError) as lost:  # of a layer that talks to other ranks, too
        raise EnvironmentFault(died(split.name, first_line(lost))) from None


def follow() -> None:
    """What torchrun's other processes do: train along whatever folds the first one trains. Raises Stopped and faults."""
    from competition import board, config

    store = _store()
    try:
        with board.board(), engine.signals():
            for number in itertools.count(1):
                order = _order(f"fold {number}")
                if order is None:
                    break
                run = config.make_run(order["run"], order["config"])
                _along(run, Split(**order["split"]), number)
    finally:
        with suppress(RuntimeError):  # the first one is gone, and waits for nobody
            store.add("left", 1)


def _along(run: Run, split: Split, number: int) -> None:
    import torch.distributed as dist

    from competition.train import train_along

    ranks = Ranks(int(os.environ["RANK"]), launched(), dist.PrefixStore(f"ranks of {number}", _store()), stops)
    try:
        with shared(run.task, ranks.size):
            train_along(run, split, ranks)
    except (Lost, dist.DistError) as lost:
        raise EnvironmentFault(died(split.name, first_line(lost))) from None


def _order(name: str) -> dict[str, Any] | None:
    """What the first process has to be done under this name, None where there is nothing more. Raises Stopped."""
    try:
        while not _store().check([OVER]):
            if _store().check([name]):
                return json.loads(_store().get(name))
            stops()
            time.sleep(0.1)
    except RuntimeError as e:
        raise EnvironmentFault(died(f"before {name}", first_line(e))) from None
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


def stops() -> None:
    """Raises Stopped where this process was asked to end."""
    if engine.stopping():
        raise Stopped("stopped before the other ranks were there")
