"""Results computed a bounded number of steps ahead, in order: the whole of our data loading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from competition.engine import accelerators, cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor, job: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """`pool.map`, at most `depth` results ahead of the reader: `map` itself would compute and hold them all."""
    items = iter(items)
    waiting: deque[Future[Result]] = deque(pool.submit(job, item) for item in islice(items, depth))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(job, item) for item in islice(items, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def feeders(workers: int | None, device: str) -> int:
    """Threads that prepare batches: as asked, else none on a CPU and a GPU's part of the cores beside one."""
    if workers is not None:
        return workers
    share = cores() // max(1, accelerators()) - 1  # less the thread that drives it
    return min(8, max(1, share)) if device == "cuda" else 0
