"""A command as a machine sees it: its seconds, and the cores and the memory of all its processes together."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

EVERY = 0.5  # seconds between two looks at the memory


class Used(NamedTuple):
    """Exit code, seconds from start to end, seconds of processor cores, gigabytes at most."""

    code: int
    seconds: float
    cores: float
    memory: float


def family(pid: int, taken: dict[str, float]) -> float:
    """Gigabytes that a process and all below it hold now: their own pages, those that they share counted once, and the files
    (libraries, memory maps) of the process that maps most. What strangers map of the same files changes nothing.

    taken: by process, the seconds of cores so far; written. Who reaps a server's forks may never be reaped itself.
    """
    own, files, waiting = 0.0, 0.0, [pid]
    while waiting:
        place = Path(f"/proc/{waiting.pop()}")
        try:
            for children in place.glob("task/*/children"):  # a process is the child of the thread that made it
                waiting += [int(child) for child in children.read_text().split()]
            ticks = (place / "stat").read_text().rpartition(")")[2].split()[11:13]
            taken[place.name] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            sizes = numbers((place / "smaps_rollup").read_text())
            own += (sizes.get("Pss_Anon", 0) + sizes.get("Pss_Shmem", 0)) / 1e6
            files = max(files, numbers((place / "status").read_text()).get("RssFile", 0) / 1e6)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return own + files


def numbers(text: str) -> dict[str, int]:
    """Kilobytes by name, of lines such as `Pss_Anon:  120 kB`."""
    lines = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) for words in lines}


def run(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> Used:
    """Runs the command in the folder to its end, whatever it is; what it says is added to the log."""
    most, ended, taken = [0.0], threading.Event(), {}
    with open(log, "a") as told:
        began, before = time.monotonic(), ended_children()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=told, stderr=subprocess.STDOUT)

        def watch() -> None:
            while not ended.wait(EVERY):
                most[0] = max(most[0], family(process.pid, taken))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            code = process.wait()
            seconds = time.monotonic() - began
        finally:
            ended.set()
            thread.join()
            process.terminate()  # where we are stopped before it is
    return Used(code, seconds, max(ended_children() - before, sum(taken.values())), most[0])


def ended_children() -> float:
    """Seconds of processor cores that all children of this process took which have ended, with those below them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
