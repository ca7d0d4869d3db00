"""What the command and its workers tell one another: progress and sentences one way, the request to stop the other.

An actor beside the command holds both. Workers ask it twice a second, so that one that works hears within that time, and
one that is cut off from the command saves itself. Clocks of machines differ: only seconds that are left are told.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from competition import board, engine

EVERY = 0.5  # seconds
LINES = 100_000  # workers that may ask at once
Event = tuple[Any, ...]


class Post:
    """The actor. Calls of `map` are numbered; an item's events are (call, item, worker, kind, ...)."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ends = (math.inf, math.inf)
        self.stopped = -1

    async def begin(self, deadline: float, closing: float) -> None:
        """Seconds that are left of the call that begins."""
        now = time.monotonic()
        self.ends = now + deadline, now + closing

    async def stop(self, call: int) -> None:
        self.stopped = call

    async def left(self) -> tuple[float, float]:
        now = time.monotonic()
        return self.ends[0] - now, self.ends[1] - now

    async def tell(self, call: int, events: list[Event]) -> bool:
        """Takes a worker's events; whether its call is to end."""
        self.events += events
        return call <= self.stopped

    async def take(self) -> list[Event]:
        taken, self.events = self.events, []
        return taken


class Line:
    """A worker's end, for one item: what `board` puts in comes out at the command; a request to stop becomes the flag."""

    def __init__(self, post: Any, call: int, item: int):
        self.post, self.call, self.item = post, call, item
        self.worker = f"{os.getpid()} on {ray.util.get_node_ip_address()}"
        self.events: list[Event] = []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Line:
        engine.go_on()
        self._exchange()
        board.listen_to(self)
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join()
        self._exchange()
        board.listen_to(None)

    def put(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)

    def _ask(self) -> None:
        while not self.over.wait(EVERY):
            self._exchange()

    def _exchange(self) -> None:
        with self.lock:
            told, self.events = self.events, []
        some = [(self.call, self.item, self.worker, *event) for event in _latest(told)]
        try:
            if ray.get(self.post.tell.remote(self.call, some)):
                engine.stop()
        except ActorUnavailableError:  # for a moment: it asks again
            with self.lock:
                self.events = told + self.events
        except RayActorError:  # the command is gone
            engine.stop()


def _latest(events: list[Event]) -> list[Event]:
    """Without progress that was outrun by later progress of the same piece of work."""
    return [*{event[:2] if event[0] == "show" else n: event for n, event in enumerate(events)}.values()]


class Feed:
    """The command's end, read by `board.forwarding`. heard(call, item, worker, kind, ...): is called with every event."""

    def __init__(self, post: Any, heard: Any):
        self.post, self.heard, self.events = post, heard, queue.SimpleQueue()

    def get(self, timeout: float) -> Event:
        """(worker, kind, ...). Raises queue.Empty."""
        if self.events.empty():
            self._fetch()
        if self.events.empty():
            time.sleep(timeout)
        return self.events.get_nowait()

    def ended(self, worker: str) -> None:
        """It is gone, and nobody waits to hear from it."""
        self.events.put((worker, "work", None))

    def _fetch(self) -> None:
        try:
            for event in ray.get(self.post.take.remote()):
                self.heard(*event)
                self.events.put(event[2:])
        except RayActorError:  # which `map` notices
            return
