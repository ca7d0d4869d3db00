"""What the screen shows: one line a piece of work with rate and time left, and sentences above it, from any process.

On a terminal the lines are redrawn in place (rich); elsewhere each is printed at most every few seconds. Everything said
also goes to the run's log file.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment

from competition import artifacts, disk
from competition.errors import EnvironmentFault, visible

PLAIN_SECONDS = 10.0


class Screen(Console):
    """A console on which text is nothing but text: names bring neither markup nor escape sequences. A pipe or a terminal
    that is gone ends what is shown, not the work: run folders keep a log.
    """

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(visible(part.text), part.style)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush it at its end


console = Screen(soft_wrap=True, highlight=False, markup=False, emoji=False)
_logs = True  # whether this process keeps what it says in the run folders
_events: Any = None  # in a worker process: the queue to the process that has the screen
_board: Board | None = None


class Board:
    """Draws the events of this process and of its workers."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False))  # fmt: skip
        self.rich = Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)
        self.tasks: dict[str, Any] = {}
        self.began: dict[str, tuple[float, int]] = {}
        self.done: dict[str, int] = {}
        self.printed: dict[str, float] = {}
        self.lock = threading.Lock()

    def show(self, name: str, done: int, total: int, text: str) -> None:
        with self.lock:
            if console.is_terminal:
                if name not in self.tasks:
                    self.tasks[name] = self.rich.add_task(name, total=total, text=text)
                self.rich.update(self.tasks[name], completed=done, total=total, text=text)
            else:
                self._print(name, done, total, text)

    def _print(self, name: str, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if done < self.done.get(name, 0):  # the next piece of work under this name
            self.began.pop(name, None)
        self.done[name] = done
        began, first = self.began.setdefault(name, (now, done))  # a resumed fold does not begin at 0
        if done < total and now - self.printed.get(name, began) < PLAIN_SECONDS:
            return
        self.printed[name] = now
        left = (now - began) * (total - done) / max(1, done - first)
        console.print(f"{name}  {done}/{total}  {text}" + (f"  {left:.0f} s left" if done < total else ""))


@contextmanager
def board() -> Generator[None]:
    """The screen for as long as the block runs. Nested calls share the outer one."""
    global _board
    if _board is not None:
        yield
        return
    _board = Board()
    try:
        with _board.rich:
            yield
    finally:
        _board = None


def show(name: str, done: int, total: int, text: str = "") -> None:
    """Progress of one piece of work."""
    if _events is not None:
        _events.put(("show", name, done, total, text))
    elif _board is not None:
        _board.show(name, done, total, text)


def say(text: str, log: Path | None = None) -> None:
    """One sentence for the user; `log` is the run folder whose log file keeps it."""
    if log is not None and _logs:
        path = log / "log.txt"
        with disk.faults(path), open(path, "a", encoding="utf-8", errors="backslashreplace") as f:
            f.write(f"{artifacts.now()} {visible(text)}\n")
    if _events is not None:
        _events.put(("say", text) if _logs else ("say", text, log))
    else:
        console.print(text)


def logs_are_kept(here: bool) -> None:
    """Called in a worker process: whether the run folders are here; else the command keeps what it says."""
    global _logs
    _logs = here


def listen_to(events: Any) -> None:
    """Called in a worker process: what it shows and says goes to the queue."""
    global _events
    _events = events


class Outlet:
    """What a worker process shows and says, with its number."""

    def __init__(self, events: Any):
        self.events, self.process = events, os.getpid()

    def put(self, event: tuple[Any, ...]) -> None:
        self.events.put((self.process, *event))


def works_on(name: str | None) -> None:
    """Called in a worker process: what it begins; None: it has ended."""
    if _events is not None:
        _events.put(("work", name))


@contextmanager
def forwarding(events: Any) -> Generator[None]:
    """Draws what worker processes put into the queue by their outlets, until the block ends; tells which are silent."""
    from competition.watchdog import Silence  # which speaks by this module

    done, silence = threading.Event(), Silence()

    def draw() -> None:
        while True:
            try:
                process, kind, *values = events.get(timeout=0.2)
            except queue.Empty:
                if done.is_set():
                    return
                for line in silence.told():
                    say(line)
                continue
            silence.heard(process, *values if kind == "work" else ())
            if kind != "work":
                _repeat(kind, *values)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _repeat(kind: str, *values: Any) -> None:
    """What a worker put in. Where the log takes no line it is shown all the same, with why."""
    try:
        (show if kind == "show" else say)(*values)
    except EnvironmentFault as fault:
        say(f"{values[0]}\n{fault}")


def spoken(seconds: float) -> str:
    """`0.4 s`, `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
