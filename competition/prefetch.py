"""Results computed a bounded number of steps ahead, in order: the whole of our data loading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from competition import watchdog
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


def in_turn(make: Callable[[int], Result], steps: range, workers: int, about: Callable[[int], str]) -> Iterator[Result]:
    """What `make` makes of each step, in order; by `workers` threads ahead of the reader, or between its own steps.

    about(step): what is said of a step that is stuck.
    """
    pace = watchdog.Pace()

    def watched(step: int) -> Result:
        with watchdog.at(lambda: f"the batch of step {step + 1}, {about(step)}", pace):
            return make(step)

    if not workers:
        yield from map(watched, steps)
        return
    with ThreadPoolExecutor(workers, "feed") as pool:
        yield from ahead(pool, watched, steps, 2 * workers)


def order(rows: int, steps: int, batch: int, odds: np.ndarray | None, key: Sequence[int]) -> np.ndarray:
    """Positions of an epoch's rows, [steps, batch]: a permutation, whose odd rest waits an epoch, or draws by `odds`.

    key: what the draw depends on, and nothing else.
    """
    rng, n = np.random.default_rng(key), steps * batch
    drawn = rng.permutation(rows)[:n] if odds is None else rng.choice(rows, n, p=odds)
    return drawn.reshape(steps, batch)


def feeders(workers: int | None, device: str) -> int:
    """Threads that prepare batches: as asked, else none on a CPU and a GPU's part of the cores beside one."""
    if workers is not None:
        return workers
    share = cores() // max(1, accelerators()) - 1  # less the thread that drives it
    return min(8, max(1, share)) if device == "cuda" else 0
