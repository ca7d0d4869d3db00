"""One call of `Engine.map` on a cluster: hands items out, takes what comes back, begins anew what was lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from competition import board
from competition.cluster import nodes, room
from competition.cluster.losses import Losses
from competition.cluster.post import Feed
from competition.cluster.sharing import Home
from competition.cluster.worker import work
from competition.engine import Demand, signalled
from competition.errors import EnvironmentFault, Fault, Stopped

WAIT = 0.5  # seconds between two looks at signals and the clock
PATIENCE = 20.0  # seconds without a node that has room, until that is told


class Call:
    def __init__(self, number: int, post: Any, home: Home, job: Callable[[Any], Any], items: Sequence[Any], demand: Demand,
                 deadline: float, closing: float):  # fmt: skip
        self.number, self.post, self.items, self.demand = number, post, items, demand
        self.deadline, self.closing = deadline, closing
        self.losses = Losses(number, [str(getattr(item, "name", item)) for item in items])
        self.feed = Feed(post, self.losses.heard)
        self.given = home, job
        self.worker = ray.remote(work).options(
            num_cpus=demand.cpus,
            num_gpus=room.gpus(demand),
            max_retries=0,  # we know better which item is worth it
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": room.surroundings(demand)},
        )
        self.queue = deque(range(len(items)))
        self.waiting: dict[Any, int] = {}
        self.values: dict[int, Any] = {}
        self.raised: list[Exception] = []
        self.asked = self.told = False  # to stop; that it is over
        self.room = time.monotonic()  # when some node had room last

    def results(self) -> list[Any]:
        """In the order of the items. Raises the first Fault, Stopped."""
        with board.forwarding(self.feed):
            while self.waiting or (self.queue and not self._over()):
                self._hand_out()
                for ref in ray.wait([*self.waiting], timeout=WAIT)[0] if self.waiting else ():
                    self._take(self.waiting.pop(ref), ref)
                if self.waiting and self._over():
                    self._stop()
        if faults := sorted(
            self.raised, key=lambda e: isinstance(e, Stopped)
        ):  # a fault stops the others: it comes first
            raise faults[0]
        if len(self.values) < len(self.items):
            raise Stopped("stopped before the next fold")
        return [self.values[n] for n in range(len(self.items))]

    def _over(self) -> bool:
        """Whether it is too late to begin another."""
        return bool(self.raised) or signalled() or time.monotonic() >= min(self.deadline, self.closing)

    def _hand_out(self) -> None:
        """No more than there is room for, so that few begin only to hear that they are to stop; one always, for which a
        cluster that grows makes room."""
        there = room.slots(self.demand)
        self._wait_for_room(there)
        while self.queue and len(self.waiting) < max(1, self.demand.jobs or there) and not self._over():
            n = self.queue.popleft()
            self.waiting[self.worker.remote(self.post, self.number, n, *self.given, self.items[n])] = n

    def _wait_for_room(self, there: int) -> None:
        if there:
            self.room = time.monotonic()
        elif time.monotonic() - self.room > PATIENCE:
            self.room = float("inf")
            board.say(
                "no node that is left has room for a fold: it waits for one to join; Ctrl-C stops, nothing is lost"
            )

    def _take(self, n: int, ref: Any) -> None:
        """What came of an item."""
        try:
            outcome = ray.get(ref)
        except RayError as e:
            if (
                isinstance(e, RayTaskError) and not self._over()
            ):  # none of an item, and not cancelled: it could not begin
                self.raised.append(EnvironmentFault(nodes.cannot_begin("that was given a fold", nodes.last_line(e))))
            else:
                self._lost(n, nodes.last_line(e))
        else:
            if outcome.raised is None:
                self.values[n] = outcome.value
            elif self.losses.still_held(n, outcome.raised):
                self.queue.append(n)
            else:
                self.raised.append(outcome.raised)

    def _lost(self, n: int, why: str) -> None:
        if worker := self.losses.workers.get(n):
            self.feed.ended(worker)
        if self._over():
            self.raised.append(Stopped("stopped; a worker was lost meanwhile"))
            return
        try:
            self.losses.again(n, why)
            self.losses.workers.pop(n, None)
            self.queue.appendleft(n)
        except Fault as e:
            self.raised.append(e)

    def _stop(self) -> None:
        """Asks those at work to save themselves; ends them once it is too late. Raises Stopped then.

        Those whose time is up know that, and may have something to do until they are ended (early.py). An item that has not
        begun may wait for a node for ever, and nobody hears for it."""
        if not self.asked and (signalled() or any(not isinstance(e, Stopped) for e in self.raised)):
            self.asked = True
            self.post.stop.remote(self.number)
        if not self.told:
            self.told = True
            for ref, n in self.waiting.items():
                if n not in self.losses.workers:
                    ray.cancel(ref)
        if time.monotonic() >= self.closing:
            for ref in self.waiting:
                ray.cancel(ref, force=True)
            raise Stopped("time is up; a process that did not hear it was ended")
