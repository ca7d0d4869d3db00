"""Whether a node has the command's folder on a disk that both mount, or works on copies in its own folder (copies.py)."""

from __future__ import annotations

import getpass
import os
import socket
import stat
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from competition import artifacts, disk
from competition.cluster import copies
from competition.engine import Needs
from competition.errors import EnvironmentFault, Finding

TOKENS = artifacts.RUNS / ".cluster"
SCRATCH = "PODIUM_SCRATCH"  # of a node: a folder on a disk of its own, where it works whatever it shares
SHARE = "a disk that every node mounts at the same path spares that (NFS: with `lookupcache=positive`): docs/cluster.md"


@dataclass(frozen=True)
class Home:
    """Where the command works, as its nodes know it.

    machine: its name; token: a folder in it that the command holds locked; files: the actor that hands its files out;
    versions: which nodes must have. checked: nodes that were found alike; apart: those of them that work on copies. needs:
    of the items at hand; wanted: of all so far, which a node that joins late has met first.
    """

    folder: Path
    machine: str
    token: Path
    files: Any
    versions: dict[str, str]
    checked: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    needs: Needs | None = None
    wanted: tuple[Needs, ...] = ()


@contextmanager
def home(begin: Callable[[Path], Any], versions: dict[str, str]) -> Generator[Home]:
    """This command's, for as long as the block runs. begin: begins the actor that hands its files out."""
    from filelock import FileLock

    with disk.faults(TOKENS):
        TOKENS.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=TOKENS) as folder, FileLock(Path(folder) / ".lock"):
            here = Path.cwd()
            yield Home(here, socket.gethostname(), Path(folder).absolute(), begin(here), versions)


def tried(home: Home, node: str, address: str) -> str | None:
    """In a worker: why its node works on copies; None: it has the command's folder."""
    from filelock import FileLock, Timeout

    if SCRATCH in os.environ:
        return f"{SCRATCH}={os.environ[SCRATCH]}"
    try:
        os.chdir(home.folder)
        (home.token / node).write_text(address)
        FileLock(home.token / ".lock").acquire(timeout=0)
    except Timeout:  # as it should be
        return None
    except OSError as e:
        return str(e)
    return f"{home.token}: it takes a lock there that the command holds"


def enter(home: Home, apart: bool) -> None:
    """In a worker: the folder where its items work."""
    with disk.faults(home.folder):
        os.chdir(_own(home) if apart else home.folder)


def at_item(home: Home, apart: bool, needs: Needs | None, own: str | None) -> AbstractContextManager[None]:
    """In a worker that has entered: within, an item has what it needs, and what it writes comes to the command. own: the
    name that folders of its fold have; None: it writes nothing."""
    if not apart:
        return nullcontext()
    assert needs is not None, "items of no run that every node was told of"
    return copies.copied(home.files, _top(home) / "books", needs, own)


def _top(home: Home) -> Path:
    """A node's folder for this command's. Raises EnvironmentFault where others could write to it: what lies there is run."""
    user = os.getuid() if disk.POSIX else getpass.getuser()
    scratch = Path(os.environ.get(SCRATCH) or Path(gettempdir()) / f"podium-{user}")
    if not scratch.is_absolute():
        raise EnvironmentFault(_unsafe(scratch, "no absolute path"))
    with disk.faults(scratch):
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = scratch.lstat()
    if stat.S_ISLNK(there.st_mode) or (disk.POSIX and (there.st_uid != user or there.st_mode & 0o022)):
        raise EnvironmentFault(_unsafe(scratch, "a link, another user's, or others may write to it"))
    return scratch / artifacts.digest(home.machine, str(home.folder))[:8]


def _unsafe(scratch: Path, found: str) -> Finding:
    mend = f"chmod go-w, or export {SCRATCH}=/<a folder of yours> before `ray start`"
    return Finding("RAY-NODE", "copies would not be safe in a node's folder", str(scratch), found, mend)


def _own(home: Home) -> Path:
    """Where a node's items work: the command's path, below its own folder; so relative paths lead out of it as they do
    there."""
    own = _top(home) / home.folder.relative_to(home.folder.anchor)
    own.mkdir(parents=True, exist_ok=True)
    return own
