"""Folders that one process holds at a time: a run, a cache, the ledger; the others wait or are told who holds it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from competition import board, disk
from competition.errors import EnvironmentFault, Finding, Stopped

if TYPE_CHECKING:
    from filelock import FileLock

SOON = 1.0  # seconds of waiting that nobody is told of


@contextmanager
def locked(folder: Path, wait: float = 0) -> Generator[None]:
    """Holds `folder` for this process, waiting up to `wait` seconds (-1: for ever) and saying for whom.

    The kernel drops the lock with the process, so none is ever stale. Raises EnvironmentFault RUN-LOCKED; Stopped where a
    signal comes while it waits.
    """
    from filelock import FileLock  # a quarter of what `make compare` may take

    lock = FileLock(folder / ".lock")
    with disk.faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _take(lock, folder, wait)
    try:
        disk.sweep(folder)
        yield
    finally:
        lock.release()


def _take(lock: FileLock, folder: Path, wait: float) -> None:
    from filelock import Timeout

    from competition.engine import stopping

    began = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            waited = time.monotonic() - began
        if 0 <= wait <= waited:
            raise EnvironmentFault(_held(folder))
        if stopping():
            raise Stopped(f"stopped while waiting for {folder}")
        if waited > SOON:
            board.show(f"waiting for {folder}", int(waited), int(max(wait, waited + 1)), _holder(folder / ".lock"))
        time.sleep(0.05)


def _held(folder: Path) -> Finding:
    return Finding(
        code="RUN-LOCKED",
        what="another process works on these files",
        where=str(folder),
        found=_holder(folder / ".lock"),
        risk="two writers would mix their files",
        mend="wait for the other command, or stop it; a dead process holds no lock",
    )


def _holder(lock: Path) -> str:
    """Which process holds a lock file, where the system tells (Linux, and none of another machine or container)."""
    table, inode = Path("/proc/locks"), f":{lock.stat().st_ino}"
    held = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    processes = {words[4] for words in held if words[1] == "FLOCK" and words[5].endswith(inode)} - {"0", "-1"}
    named = ", ".join(f"{process}{_command(process)}" for process in sorted(processes))
    return f"process {named} holds its lock" if named else "its lock is held"


def _command(process: str) -> str:
    """What it was begun as, where that can be read; of other words than ours none are shown."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return ""
    return f" ({' '.join(words[words.index('competition') :][:3]).strip()})" if "competition" in words else ""
