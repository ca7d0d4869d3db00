"""A limit that holds whatever the work does: it runs in a process below this one, which ends it when time is up.

This process imports little and waits. What is ended loses nothing: the CSV is in place, folds have checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from competition import limit

SLOW = 4  # times the start of this process that ending all may take: 0.5 s, on a machine with ten times its work 6 s
DYING = 1.0  # seconds at most that ended processes are waited for
watched = False  # whether this is the process below


def watch(run: str, allowed: str, began: float) -> int:
    """Gives the words of this process to one below it; returns its exit code, or that of a submission in time."""
    from competition import artifacts, errors, kept  # noqa: F401  # now, for at the end there is no time

    began = min(began, _started())
    margin = limit.MARGIN + SLOW * (time.monotonic() - began)
    code = f"from competition import overtime; overtime.below({os.getpid()}, {began!r}, {margin!r})"
    words = [sys.executable, "-c", code, *sys.argv[1:]]
    with subprocess.Popen(words, process_group=0) as process:
        _forward(process)
        ends = _ends(began, allowed, margin)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return _exit_code(process.wait(None if ends is None else max(0.0, ends - time.monotonic())))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        told = _told(run, allowed)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DYING)
        process.returncode = process.returncode or 0  # `with` would wait for a process that the kernel can't end yet
    return told


def below(parent: int, began: float, margin: float) -> None:
    """In the process below: it is gone as soon as the one above is."""
    global watched
    import runpy

    from competition.below import end_with

    watched = True
    limit.begin(began, margin)
    end_with(parent, lambda: os._exit(1))
    runpy.run_module("competition", run_name="__main__")


def _started() -> float:
    """When the kernel began this process, by `time.monotonic`; where it does not tell, infinity."""
    try:
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return math.inf
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


def _forward(process: subprocess.Popen[bytes]) -> None:
    """Signals are for the process below, which has a group of its own, so that each reaches it once."""

    def tell(number: int, frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, tell)


def _ends(began: float, allowed: str, margin: float) -> float | None:
    """None where TIME= is wrong, which the process below tells."""
    from competition.config import seconds

    try:
        return began + seconds(allowed) - margin
    except ValueError:
        return None


def _exit_code(code: int) -> int:
    """As a shell has it of a process that a signal ended."""
    return 128 - code if code < 0 else code


def _told(run: str, allowed: str) -> int:
    """What is there when the process below had to be ended, and the exit code."""
    from competition import artifacts, kept
    from competition.errors import EnvironmentFault, Finding

    path = artifacts.submission_csv(run)
    if path.exists():
        state = kept.state(run)  # its row of the ledger is entered when it is uploaded
        made = "as it stood" if state is None else state["told"]
        print(f"TIME={allowed} is up, the work was ended: {path} ({made}); the same command goes on", flush=True)
        return 0
    found, mend = "data were not read, or the first CSV not written", f"more time; make plan RUN={run} says how much"
    fault = EnvironmentFault(Finding("RUN-BUDGET", "time is up and there is no submission", str(path), found, mend))
    print(fault, file=sys.stderr, flush=True)
    return fault.exit_code
