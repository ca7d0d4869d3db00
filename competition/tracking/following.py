"""The mirror as the process that trains sees it: begun when there is something to follow, told which runs, waited for at the
end for seconds; what takes longer it does in the background. Whatever becomes of it, training and its exit code stay as
they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import competition
from competition import board
from competition.engine import signalled
from competition.errors import Fault
from competition.tracking import choice, told

if TYPE_CHECKING:
    from competition.runs import Opened

WAIT = 5.0  # seconds at most for the end of the mirror; on an idle machine it takes 2 or 3
_following: Following | None = None


class Following:
    """One mirror for all that a command trains and scores."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.said: set[str] = set()
        self.left: list[str] | None = []

    def follow(self, at: Opened, keys: Sequence[str] | None) -> None:
        name, why = choice.service(at.data.config.tracking, os.environ)
        if why:
            self._say(why)
        if name is None:
            return
        try:
            self._send(told.of(at, name, keys).line())
        except (OSError, Fault) as e:
            why = choice.reason(e)
            self._say(
                f"warning: the mirror does not run ({why}); nothing else is lost, make sync tells what is missing"
            )

    def close(self) -> None:
        """Raises nothing; says what is left to `make sync`. Who stops the command waits for nothing."""
        if self.child is None or self.reader is None or self.child.stdin is None:
            return
        with suppress(OSError):  # it has ended before
            self.child.stdin.close()
        began = time.monotonic()
        while self.reader.is_alive() and (waited := time.monotonic() - began) < WAIT and not signalled():
            self.reader.join(0.1)
            if waited > 1:
                board.show("mirror", int(waited), int(WAIT), "seconds at most")
        if self.reader.is_alive():
            self._say("the mirror goes on in the background; should it be cut off, make sync goes on")
        elif self.left is None:
            code = self.child.wait()
            self._say(f"warning: the mirror ended early (exit code {code}); make sync tells what is missing")
        elif self.left:
            self._say(f"not mirrored to its end: {', '.join(self.left)}; make sync goes on")

    def _send(self, line: str) -> None:
        if self.child is None:
            self._start()
        assert self.child is not None and self.child.stdin is not None
        if self.child.poll() is None:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()

    def _start(self) -> None:
        """In a session of its own: a Ctrl-C is for training, and the mirror tells the rest."""
        root = str(Path(competition.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.left = None
        self.child = subprocess.Popen(
            [sys.executable, "-m", "competition.tracking.mirror"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child is not None and self.child.stdout is not None
        for line in self.child.stdout:
            kind, *values = json.loads(line)
            if kind == "left":
                self.left = values[0]
            else:
                (board.show if kind == "show" else board.say)(*values)

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            board.say(text)


@contextmanager
def following() -> Generator[None]:
    """What is followed within is mirrored; nested calls share the outer one."""
    global _following
    if _following is not None:
        yield
        return
    _following = Following()
    try:
        yield
    finally:
        try:
            _following.close()
        finally:
            _following = None


def follow(at: Opened, keys: Sequence[str] | None = None) -> None:
    """Has the run mirrored from now on, by the choice of its competition; keys: of a search, whose folder `at` is. Does
    nothing in a worker, or outside of `following`."""
    if _following is not None:
        _following.follow(at, keys)
