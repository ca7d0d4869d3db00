"""What the processes that one fold is divided among tell each other, by torch.distributed.

Each rank computes its rows of the same batches. Gradients, loss and the batch norms' running figures are summed over
ranks, so all hold the same state, take the same decisions and make the same step. What is decided goes by gloo, from CPU to
CPU; what lies on GPUs goes by NCCL. Rank 0 alone reads and writes the fold's folder.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from competition import artifacts, engine
from competition.errors import EnvironmentFault, Finding

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributed import Store

    from competition.knobs import Training

# Seconds that a rank waits for one that is there and says nothing: rank 0 validates alone, of large pictures for hours. One
# that is gone is noticed at once.
TIMEOUT = 6 * 3600.0
MEETING = 1800.0  # seconds until all ranks of a fold are there
PART = 2**25  # numbers that are summed at a time, 128 MB: so much memory is taken beside the gradients


class Lost(RuntimeError):
    """Another rank is gone, or hangs."""


class Ranks:
    """One process of those that a fold is divided among; alone (size 1) it says and hears nothing.

    store: where all of them meet. waiting(): called while others are not there yet, may raise.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, store: Store | None = None, waiting: Callable[[], None] = lambda: None
    ):
        self.rank, self.size, self.store, self.waiting = rank, size, store, waiting
        self.left = threading.Event()

    def part(self, rows: int) -> slice:
        """This rank's rows of a batch of so many: as many as any other's, or one more."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def join(self, device: torch.device, facts: dict[str, str]) -> None:
        """Waits until all are there. facts: what must be the same everywhere. Raises EnvironmentFault ENV-RANKS, Lost."""
        if self.size == 1:
            return
        import torch.distributed as dist

        assert self.store is not None
        _refuse_others(self._met(self.store, facts | {"device": device.type}))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, timeout = dist.PrefixStore("group", self.store), timedelta(seconds=TIMEOUT)
        self._heard(
            dist.init_process_group, backend, store=store, rank=self.rank, world_size=self.size, timeout=timeout
        )

    def _met(self, store: Store, facts: dict[str, str]) -> dict[str, dict[str, str]]:
        """The facts of every rank, once all are there. Raises Lost where one does not come, or the store is gone."""
        there, ends = [f"rank {rank}" for rank in range(self.size)], time.monotonic() + MEETING
        self._heard(store.set, there[self.rank], json.dumps(facts))
        while not self._heard(store.check, there):
            self.waiting()
            if time.monotonic() > ends:
                absent = [name for name in there if not self._heard(store.check, [name])]
                raise Lost(f"never there: {', '.join(absent)}")
            time.sleep(0.02)
        return {name: json.loads(self._heard(store.get, name)) for name in there}

    def leave(self) -> None:
        """No rank needs another one any more. Only then is it said: the way out may hang, too."""
        try:
            if self.size > 1:
                import torch.distributed as dist

                if dist.is_initialized():
                    dist.destroy_process_group()
        finally:
            self.left.set()

    def most(self, values: Sequence[int]) -> list[int]:
        """The largest that any rank has, of each."""
        if self.size == 1:
            return list(map(int, values))
        import torch
        import torch.distributed as dist

        found = torch.tensor([int(value) for value in values])
        self._heard(dist.all_reduce, found, dist.ReduceOp.MAX)
        return found.tolist()

    def any(self, flag: bool) -> bool:
        return bool(self.most([flag])[0])

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Writes into each float32 tensor its sum over ranks, the same bits in all of them.

        In parts whose layout never changes: DDP's own buckets follow the order in which the first gradients came, so that
        more than two ranks would add in another order after a resume.
        """
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        part: list[Tensor] = []
        for n, tensor in enumerate(tensors):
            part.append(tensor)
            if n + 1 == len(tensors) or sum(t.numel() for t in part) + tensors[n + 1].numel() > PART:
                flat = torch.cat([t.reshape(-1) for t in part])
                self._heard(dist.all_reduce, flat)
                for own, summed in zip(part, flat.split([t.numel() for t in part]), strict=True):
                    own.copy_(summed.view(own.shape))
                part = []

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Writes into each float32 tensor its mean over ranks."""
        import torch

        if self.size > 1 and tensors:
            torch._foreach_div_(list(tensors), self.size)
            self.add(tensors)

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Writes rank 0's into each."""
        import torch.distributed as dist

        for tensor in tensors if self.size > 1 else ():
            self._heard(dist.broadcast, tensor, 0)

    def told(self, values: Any, device: torch.device) -> Any:
        """Rank 0's, in every rank: tensors, numbers and text; tensors of the others on `device`."""
        if self.size == 1:
            return values
        import torch

        file = io.BytesIO()
        torch.save(values if self.rank == 0 else None, file)
        content = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        (length,) = self.most([len(content) if self.rank == 0 else 0])
        content = content if self.rank == 0 else torch.empty(length, dtype=torch.uint8)
        self.spread([content])
        if self.rank == 0:
            return values
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location=device, weights_only=True)

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """That of each rank. tensor: on the CPU, of the same shape everywhere."""
        import torch
        import torch.distributed as dist

        found = [torch.empty_like(tensor) for _ in range(self.size)]
        self._heard(dist.all_gather, found, tensor)
        return found

    def _heard(self, say: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Raises Lost for whatever error the network's library has."""
        try:
            return say(*values, **named)
        except RuntimeError as e:
            raise Lost(first_line(e)) from None


ALONE = Ranks()


def seed_apart(ranks: Ranks, *key: Any) -> None:
    """Random draws within the network (dropout) of their own for each rank but the first, which has those of one alone."""
    import torch

    if ranks.rank:
        torch.manual_seed(int(artifacts.digest(*map(str, key), f"rank {ranks.rank}")[:15], 16))


def first_line(error: Exception) -> str:
    """Of a library's message, which goes on with its own stack."""
    return str(error).split("\n")[0].strip()[:200]


def _refuse_others(found: dict[str, dict[str, str]]) -> None:
    first, *others = found
    differing = [
        f"{key}: {found[first].get(key)} at {first}, {found[name].get(key)} at {name}"
        for name in others
        for key in found[first]
        if found[name].get(key) != found[first][key]
    ]
    if differing:
        raise EnvironmentFault(
            Finding(
                code="ENV-RANKS",
                what="the ranks of a fold have not the same before them",
                where="torchrun or `ranks`",
                found="; ".join(differing),
                mend="give all machines one shared project folder, the same versions and the same kind of device",
            )
        )


@contextmanager
def shared(task: Training, size: int) -> Generator[None]:
    """On a CPU the ranks of this machine share its cores."""
    import torch

    from competition.devices import device_of

    before, together = torch.get_num_threads(), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if device_of(task.device).type == "cpu":
        torch.set_num_threads(max(1, engine.cores() // together))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def died(where: str, found: str) -> Finding:
    """Of a rank."""
    return Finding(
        code="RUN-WORKER",
        what="a rank of a fold died or says nothing",
        where=where,
        found=found,
        risk="the steps since the last checkpoint are lost, nothing else",
        mend="the same command continues; fewer `ranks`, or a smaller `batch`, need less memory",
    )
