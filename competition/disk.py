"""How a file gets onto the disk: whole, or not at all; and what the operating system means when it refuses.

A file is written to a temporary name beside it, flushed to the disk and renamed, so that a kill or a full disk leaves
the old file or the new one, never a third (Pillai et al., OSDI 2014: the directory is flushed too).
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from competition.errors import EnvironmentFault, Finding

POSIX = os.name == "posix"

FREE = "free some space, then give the same command again"
ALLOW = "give this user the right to read and write there"
SOUND = (
    "see whether the disk is there and sound (dmesg tells), then give the same command again; or go on on another disk"
)
REFUSALS = {  # of the operating system: code, what, mend
    errno.ENOSPC: ("ENV-DISK", "the disk is full", FREE),
    errno.EDQUOT: ("ENV-DISK", "the disk quota is used up", FREE),
    errno.EFBIG: ("ENV-DISK", "the file size limit is reached", "raise the limit (ulimit -f), then try again"),
    errno.EROFS: ("ENV-DISK", "the disk is read-only", "run Podium from a folder that can be written"),
    errno.EACCES: ("ENV-PERM", "no permission", ALLOW),
    errno.EPERM: ("ENV-PERM", "no permission", ALLOW),
    errno.EMFILE: ("ENV-FILES", "too many files are open", "raise the limit (ulimit -n), then try again"),
    errno.ENFILE: ("ENV-FILES", "too many files are open", "end other programs, then try again"),
} | dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV), ("ENV-DISK", "the disk fails", SOUND))


@contextmanager
def faults(path: Path) -> Generator[None]:
    """Turns the operating system's refusal to write `path` into a message with the mend."""
    try:
        yield
    except OSError as e:
        if e.errno is None:  # a library's own, such as filelock's Timeout
            raise
        raise EnvironmentFault(refused(e, str(path))) from None


def refused(error: OSError, where: str) -> Finding:
    """What the operating system's refusal means, of a file or folder; `error` has a number."""
    code, what, mend = REFUSALS.get(error.errno or 0, REFUSALS[errno.EIO])
    risk = "none: each file is whole, as it was before or as it should become"
    return Finding(code=code, what=what, where=where, found=str(error), risk=risk, mend=mend)


def writable(folder: Path) -> None:
    """Raises EnvironmentFault ENV-PERM or ENV-DISK where nothing can be written there: told before hours of work, not after.

    A folder that is not there yet is made below the nearest one that is.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        number = errno.EROFS if _read_only(there) else errno.EACCES
        raise EnvironmentFault(refused(OSError(number, os.strerror(number)), str(folder)))


def _read_only(folder: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


@contextmanager
def writing(path: Path, before: Path | None = None) -> Generator[IO[bytes]]:
    """An open binary file that becomes `path` when the block ends well, and vanishes when it does not.

    before: what the file that stood there becomes. Raises EnvironmentFault when the disk is full or the folder can't be
    written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        try:
            with _held(temporary) as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
                if POSIX:  # while it is held, or another process might sweep it
                    _become(temporary, path, before)
            if not POSIX:  # Windows renames no file that is open
                _become(temporary, path, before)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_names(path.parent)


def _become(temporary: Path, path: Path, before: Path | None) -> None:
    if before is not None and path.exists():
        os.replace(path, before)
    os.replace(temporary, path)


def _flush_names(folder: Path) -> None:
    """A renamed file then keeps its name when the power fails. Windows opens no folder."""
    if not POSIX:
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def link(path: Path, to: Path) -> None:
    """A symbolic link to a file or a folder. Raises EnvironmentFault ENV-LINK where the system makes none."""
    try:
        path.symlink_to(to, target_is_directory=to.is_dir())
    except OSError as e:
        raise EnvironmentFault(
            Finding(
                code="ENV-LINK",
                what="the system makes no links here",
                where=str(path),
                found=str(e),
                mend="on Windows switch on the Developer Mode; else take a disk that has links",
            )
        ) from None


@contextmanager
def _held(temporary: Path) -> Generator[IO[bytes]]:
    """The file made, locked until it is closed: one that nobody holds is a dead process's."""
    while True:
        with open(temporary, "w+b") as file:
            _hold(file)
            if temporary.exists():  # else it was swept between the two
                yield file
                return


def _hold(file: IO[bytes], wait: bool = True) -> None:
    """Raises OSError where another process holds it. Windows removes no file that is open, so there nothing need be held."""
    if POSIX:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def sweep(folder: Path, name: str = "") -> None:
    """Removes the temporary files, or those of one file, that killed processes left behind in `folder`."""
    for stale in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
        with suppress(OSError), open(stale, "rb") as file:  # held by another, or another's
            _hold(file, wait=False)
            stale.unlink()
