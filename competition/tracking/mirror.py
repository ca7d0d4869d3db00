"""The mirror: a process of its own that follows run folders and tells services what is new, `python -m
competition.tracking.mirror`.

Training never waits for it. Each line of its input says which run to follow (told.py); at the end of its input, which comes
too when the process that trains is killed, it tells the rest and ends, by itself where nobody waits for it. What it has to
say goes to its output, as events of the board.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, TextIO

from competition import board
from competition.engine import stopping
from competition.tracking import choice
from competition.tracking.service import Service
from competition.tracking.tail import Tail
from competition.tracking.told import Followed

POLL = 1.0  # seconds
SETTLE = 1.0  # seconds, twice what W&B's client takes to write what it was told
NICE = 19  # of two busy cores it then takes under 1%; 10 would take 5%
LIMIT = 600.0  # seconds to end within, uploads of weights included; nobody waits for it


class Outlet:
    """Takes the place of the queue of `board.listen_to`. Where the process that trains was killed, nobody listens."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lock = stream, threading.Lock()

    def put(self, event: tuple) -> None:
        with self.lock, suppress(BrokenPipeError):
            print(json.dumps(event), file=self.stream, flush=True)


class Mirror:
    """asked: which mode of W&B, None where the environment and the network say; patience: seconds that its end waits for
    another mirror, that of the command before, to leave a folder."""

    def __init__(self, asked: str | None = None, patience: float = math.inf) -> None:
        self.asked, self.patience = asked, patience
        self.tails: dict[str, Tail] = {}
        self.services: dict[str, Service] = {}
        self.failed: list[str] = []

    def follow(self, told: Followed) -> None:
        if told.run not in self.tails:
            self.tails[told.run] = Tail(told, self._service(told.service))
        import competition.tracking.summary  # noqa: F401  seconds, which the end of a short training need not wait for

    def poll(self) -> None:
        for name, tail in list(self.tails.items()):
            self._try(name, tail.poll)

    def close(self) -> None:
        """What is left, to its end."""
        for n, (name, tail) in enumerate(list(self.tails.items())):
            board.show("telling", n, len(self.tails), name)
            self._try(name, lambda tail=tail: self._end(tail))
        for service in self.services.values():
            service.close()
        for tail in self.tails.values():
            tail.forget()

    def _end(self, tail: Tail) -> None:
        began = time.monotonic()
        while not tail.poll() and time.monotonic() - began < self.patience and not stopping():
            time.sleep(0.2)
        tail.close()

    def abandon(self) -> None:
        """In the midst of its work: what services were told by now is on the disk in a moment, and is not told again."""
        tails = list(self.tails.values())
        time.sleep(SETTLE)
        for tail in tails:
            tail.forget(whole=False)

    def left(self) -> list[str]:
        """Runs that are not told to their end."""
        return self.failed + [name for name, tail in self.tails.items() if not tail.done]

    def _try(self, name: str, step: Any) -> None:
        """A run that can't be told is left alone, for nothing may stop training, and `make sync` tells it later."""
        try:
            step()
        except Exception as e:
            self.tails.pop(name).drop()
            self.failed.append(name)
            board.say(f"warning: {name} is not mirrored: {choice.reason(e)}; nothing else is lost, make sync goes on")

    def _service(self, name: str) -> Service:
        if name not in self.services:
            self.services[name] = self._wandb() if name == "wandb" else _tensorboard()
        return self.services[name]

    def _wandb(self) -> Service:
        choice.quiet()
        import wandb  # noqa: F401  seconds, as above

        from competition.tracking.wandbs import ROOT, Wandb

        mode, why = (self.asked, "") if self.asked else choice.mode()
        if self.asked is None:
            told = f"W&B: logged offline below {ROOT}" + f" ({why})" * bool(why) + "; make sync uploads it"
            board.say("W&B: logged online" if mode == "online" else told)
        return Wandb(mode == "online")


def _tensorboard() -> Service:
    from competition.tracking.tensorboards import ROOT, TensorBoard

    board.say(f"TensorBoard: tensorboard --logdir {ROOT}")
    return TensorBoard()


def listen(lines: TextIO, told: queue.Queue[Followed | None], mirror: Mirror, outlet: Outlet) -> None:
    """Hands on what is asked for; from the end of the input on, the process has its limit left."""
    for line in lines:
        told.put(Followed(**json.loads(line)))
    told.put(None)
    time.sleep(LIMIT)
    try:
        mirror.abandon()
    finally:
        leave(mirror, outlet)


def work(mirror: Mirror, told: queue.Queue[Followed | None]) -> None:
    while True:
        try:
            new = told.get(timeout=POLL)
        except queue.Empty:
            mirror.poll()
            continue
        if new is None:
            return mirror.close()
        mirror.follow(new)


def leave(mirror: Mirror, outlet: Outlet) -> None:
    outlet.put(("left", mirror.left()))
    os._exit(0)  # a client that waits for its server would not let Python end


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):  # Windows has none
        os.nice(NICE)
    outlet = Outlet(os.fdopen(os.dup(1), "w"))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what libraries print is for nobody
    os.dup2(nothing, 2)
    board.listen_to(outlet)
    mirror, told = Mirror(), queue.Queue()
    threading.Thread(target=listen, args=(sys.stdin, told, mirror, outlet), daemon=True).start()
    try:
        work(mirror, told)
    except Exception as e:
        board.say(f"warning: the mirror fails: {choice.reason(e)}; nothing else is lost, make sync goes on")
    leave(mirror, outlet)


if __name__ == "__main__":
    main()
