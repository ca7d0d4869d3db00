"""A command in a process below this one ends once this one is gone: a SIGKILL tells nobody."""

from __future__ import annotations

import os
import runpy
import signal
import threading
import time
from collections.abc import Callable


def end_with(parent: int, end: Callable[[], object]) -> None:
    """Calls `end` once that process, which began this one, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        end()

    threading.Thread(target=watch, daemon=True).start()


def run(parent: int) -> None:
    """`python -m competition` with the words of this process, which is told to stop where its parent is gone."""
    end_with(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    runpy.run_module("competition", run_name="__main__")
