"""What long work is stuck on: a batch, a picture's file, a database, a worker process that says nothing.

Nothing is ended by it. Where something takes far longer than it should, one line says what it is, for how long, in which
thread, and where that stands; said again whenever the time has doubled. A thread looks every few seconds, only while
there is something to look at.

    with watchdog.at(lambda: f"reading {path}"): ...
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition import board

if TYPE_CHECKING:
    from sqlalchemy import Engine

LEAST, TIMES = 30.0, 20  # seconds, and medians, after which a piece of work counts as stuck
SILENT = 600.0  # seconds without a word from a worker: a forest's trees or a validation may take minutes
LOOK = 2.0  # seconds between two looks
KEPT = 50  # durations that a median is of
FRAMES = 3  # of a stack that are told
HERE = Path(__file__).resolve().parent


class Pace:
    """How long pieces of one kind take, so that slow work is not called stuck."""

    def __init__(self) -> None:
        self.taken: deque[float] = deque(maxlen=KEPT)

    def limit(self) -> float:
        return max(LEAST, TIMES * statistics.median([*self.taken])) if self.taken else LEAST


class at:
    """A piece of work, watched while the block runs, by whichever thread.

    about(): what it is, asked only when it is stuck. pace: of its kind; None: half a minute is too long.
    """

    __slots__ = ("about", "began", "pace", "said", "thread")

    def __init__(self, about: Callable[[], str], pace: Pace | None = None):
        self.about, self.pace, self.said = about, pace, 0.0
        self.thread, self.began = threading.get_ident(), time.monotonic()

    def __enter__(self) -> None:
        _works[id(self)] = self
        if not _looks:
            _start()

    def __exit__(self, *exc: object) -> None:
        del _works[id(self)]
        if self.pace:
            self.pace.taken.append(time.monotonic() - self.began)

    def told(self, now: float) -> str | None:
        """The line, when it is time for one: once, and whenever the time has doubled."""
        taken = now - self.began
        if taken < max(2 * self.said, self.pace.limit() if self.pace else LEAST):
            return None
        self.said = taken
        name = next((t.name for t in threading.enumerate() if t.ident == self.thread), "that has ended")
        return f"stuck for {board.spoken(taken)}: {self.about()}, in thread {name} at {stack(self.thread)}"


_works: dict[int, at] = {}
_lock = threading.Lock()
_looks = False


def _start() -> None:
    global _looks
    with _lock:
        if not _looks:
            _looks = True
            threading.Thread(target=_look, name="watchdog", daemon=True).start()


def _look() -> None:
    """Ends once there was nothing to look at for a while."""
    global _looks
    idle = 0.0
    while True:
        time.sleep(LOOK)
        works = list(_works.values())
        idle = 0.0 if works else idle + LOOK
        for line in filter(None, [work.told(time.monotonic()) for work in works]):
            board.say(line)
        with _lock:
            _looks = idle < LEAST
            _looks = _looks or bool(_works)  # what came meanwhile saw that somebody looks
            if not _looks:
                return


def stack(thread: int) -> str:
    """Where a thread stands: its innermost line, and those of ours that led there."""
    frame, lines = sys._current_frames().get(thread), []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if not lines or HERE in path.parents:
            lines.append(f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(lines[:FRAMES]) or "its end"


def statements(engine: Engine, about: Callable[[], str]) -> None:
    """Watches what is asked of a database: it may wait for the lock of a file, or for a server."""
    from sqlalchemy import event

    asked = threading.local()  # by thread, for one beats while another asks

    def before(*_: Any) -> None:
        asked.work = at(about)
        asked.work.__enter__()

    def after(*_: Any) -> None:
        if work := asked.__dict__.pop("work", None):
            work.__exit__(None, None, None)

    for name, heard in (("before_cursor_execute", before), ("after_cursor_execute", after), ("handle_error", after)):
        event.listen(engine, name, heard)


class Silence:
    """Which worker processes are at work, and since when each has said nothing."""

    def __init__(self) -> None:
        self.works: dict[int, tuple[str, float, float]] = {}  # what, heard last, seconds until a line is due

    def heard(self, process: int, *work: str | None) -> None:
        """work: the name of what it begins, None at its end; none where it speaks of something else."""
        name = work[0] if work else self.works.get(process, (None,))[0]
        self.works.pop(process, None)
        if name is not None:
            self.works[process] = (name, time.monotonic(), SILENT)

    def told(self) -> list[str]:
        """The lines that are due."""
        due = {p: (name, last, taken) for p, (name, last, limit) in self.works.items()
               if (taken := time.monotonic() - last) >= limit}  # fmt: skip
        self.works |= {process: (name, last, 2 * taken) for process, (name, last, taken) in due.items()}
        return [f"{name} has said nothing for {board.spoken(taken)}: its process {process} may be stuck"
                for process, (name, _, taken) in due.items()]  # fmt: skip
