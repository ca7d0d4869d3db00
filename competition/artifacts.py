"""Every file name and format of DESIGN 5, and the only code that writes them.

A file is written to a temporary name beside it, flushed to the disk and renamed, so that a kill or a full disk leaves
the old file or the new one, never a third (Pillai et al., OSDI 2014: the directory is flushed too).
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from competition.errors import EnvironmentFault, Finding

if TYPE_CHECKING:  # half a second of every command's start
    import pandas as pd

CONFIGS = Path("configs")
FOLDS = Path("folds")
RUNS = Path("runs")
SUBMISSIONS = Path("submissions")
LEDGER = SUBMISSIONS / "ledger.csv"
DIGEST_SIZE = 16
POSIX = os.name == "posix"
CHECKPOINTS = ("last.ckpt", "previous.ckpt", "epoch.ckpt")  # of a fold that is being trained; see checkpoint.save


def competition_yaml(competition: str) -> Path:
    return CONFIGS / competition / "competition.yaml"


def run_yaml(run: str) -> Path:
    return CONFIGS / f"{run}.yaml"


def fold_table(competition: str) -> Path:
    return FOLDS / f"{competition}.csv"


def run_folder(run: str) -> Path:
    return RUNS / run


def check_folder(competition: str) -> Path:
    """What `make check` found, for tools and to look at."""
    return RUNS / ".check" / competition


def cache_folder(competition: str) -> Path:
    """Decoded pictures, shared by all runs of a competition; may be deleted at any time."""
    return RUNS / ".cache" / competition


def again_folder(run: str) -> Path:
    """Where `make reproduce` makes a run again: configs/, folds/, runs/ and submissions/ of its own."""
    return RUNS / ".reproduce" / run


def submission_csv(run: str) -> Path:
    return SUBMISSIONS / f"{run}.csv"


def digest(*parts: bytes | str) -> str:
    """Hex BLAKE2b of the parts, each preceded by its length so that ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def file_digest(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=DIGEST_SIZE)).hexdigest()


def bytes_digest(content: bytes) -> str:
    """As `file_digest` of a file that holds them."""
    return hashlib.blake2b(content, digest_size=DIGEST_SIZE).hexdigest()


def table_digest(table: pd.DataFrame) -> str:
    """Of ids, columns and values, to the last bit; a parquet file holds the writer's version too."""
    from pandas.api.types import is_numeric_dtype

    columns = {"id": table.index} | {str(name): table[name] for name in table}
    content = [c.to_numpy().tobytes() if is_numeric_dtype(c) else json.dumps([*map(str, c)]) for c in columns.values()]
    return digest(*columns, *(str(c.dtype) for c in columns.values() if is_numeric_dtype(c)), *content)


@contextmanager
def disk_faults(path: Path) -> Generator[None]:
    """Turns the operating system's refusal to write `path` into a message with the mend."""
    try:
        yield
    except OSError as e:
        why = {
            errno.ENOSPC: ("ENV-DISK", "the disk is full", "free some space, then give the same command again"),
            errno.EDQUOT: (
                "ENV-DISK",
                "the disk quota is used up",
                "free some space, then give the same command again",
            ),
            errno.EFBIG: ("ENV-DISK", "the file size limit is reached", "raise the limit (ulimit -f), then try again"),
            errno.EROFS: ("ENV-DISK", "the disk is read-only", "run Podium from a folder that can be written"),
            errno.EACCES: ("ENV-PERM", "no permission to write", "give this user the right to write there"),
            errno.EPERM: ("ENV-PERM", "no permission to write", "give this user the right to write there"),
        }.get(e.errno or 0)
        if why is None:
            raise
        code, what, mend = why
        raise EnvironmentFault(
            Finding(
                code=code,
                what=what,
                where=str(path),
                found=str(e),
                risk="the file would be incomplete; what stood there before is untouched",
                mend=mend,
            )
        ) from None


@contextmanager
def writing(path: Path, before: Path | None = None) -> Generator[IO[bytes]]:
    """An open binary file that becomes `path` when the block ends well, and vanishes when it does not.

    before: what the file that stood there becomes. Raises EnvironmentFault when the disk is full or the folder can't be
    written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        try:
            with _held(temporary) as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
                if before is not None and path.exists():
                    os.replace(path, before)
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_names(path.parent)


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
            fcntl.flock(file, fcntl.LOCK_EX)
            if temporary.exists():  # else it was swept between the two
                yield file
                return


def sweep(folder: Path, name: str = "") -> None:
    """Removes the temporary files, or those of one file, that killed processes left behind in `folder`."""
    for stale in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
        with suppress(OSError), open(stale, "rb") as file:  # held by another, or another's
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    with writing(path) as f:
        f.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises EnvironmentFault CKPT-CORRUPT where the file is gone or can't be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as e:
        raise EnvironmentFault(corrupt(path, str(e))) from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as parquet, its index (the ids) included, with checksums: without, 1,719 of 5,346 flipped bytes changed what
    was read of a small table and nothing was noticed, with them 38 of 5,404, all in the footer.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, write_page_checksum=True)
    write_bytes(path, buffer.getvalue())


def read_table(path: Path) -> pd.DataFrame:
    """Raises EnvironmentFault CKPT-CORRUPT where the file is gone or is not what was written."""
    import pandas as pd

    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, ValueError, KeyError, TypeError) as e:  # all that pyarrow and pandas raise for flipped bytes
        raise EnvironmentFault(corrupt(path, str(e))) from None


def write_sealed(path: Path, write: Callable[[IO[bytes]], object], before: Path | None = None) -> None:
    """Writes what `write` puts out, preceded by its digest: neither torch.save nor safetensors notices a flipped byte.

    before: as of `writing`.
    """
    buffer = io.BytesIO()
    write(buffer)
    payload = buffer.getbuffer()
    with writing(path, before) as f:
        f.write(hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest())
        f.write(payload)


def drop_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def read_sealed(path: Path) -> io.BytesIO:
    """The payload of a sealed file. Raises EnvironmentFault CKPT-CORRUPT where it is not what was written."""
    data = path.read_bytes()
    seal, payload = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    found = hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest()
    if seal != found:
        raise EnvironmentFault(corrupt(path, f"{len(data):,} bytes, digest {found.hex()}, expected {seal.hex()}"))
    return io.BytesIO(payload)


def intact(path: Path, expected: str) -> None:
    """Raises EnvironmentFault CKPT-CORRUPT where a file is gone or has another digest."""
    found = file_digest(path) if path.is_file() else None
    if found != expected:
        raise EnvironmentFault(corrupt(path, f"digest {found}, expected {expected}" if found else "no such file"))


def corrupt(path: Path, found: str) -> Finding:
    return Finding(
        code="CKPT-CORRUPT",
        what="a file of this run is not what was written",
        where=str(path),
        found=found.split("\n")[0][:300],
        risk="damaged weights load without an error and predict nonsense",
        mend=_remade(path),
    )


def _remade(path: Path) -> str:
    """What to delete, so that the same command makes the file anew and as little as can be beside it."""
    fold = path.parent.name.startswith("fold")
    score = (path.parent.parent if fold else path.parent) / "score.json"
    predicted = path.parent / "predicted.json"
    again = "and give the same command again"
    if RUNS / ".cache" in path.parents:
        return f"delete {path.parent} {again}: it is made anew"
    if path.name == "run.json":
        return f"bring it back from a copy; or delete {path.parent} {again}: the run is trained anew"
    if path.suffix == ".parquet" or path in (predicted, score):
        delete = next((p for p in (predicted, score) if p.exists()), path)
        return f"delete {delete} {again}: it is made anew"
    return f"delete {path.parent} {again}: that fold is trained anew"


@contextmanager
def locked(folder: Path, wait: float = 0) -> Generator[None]:
    """Holds `folder` for this process, waiting up to `wait` seconds (-1: for ever).

    The kernel drops the lock with the process, so none is ever stale. Raises EnvironmentFault RUN-LOCKED.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=wait)
    try:
        with disk_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise EnvironmentFault(
            Finding(
                code="RUN-LOCKED",
                what="another process works on this run",
                where=str(folder),
                found=_holder(folder / ".lock"),
                risk="two writers would mix their files",
                mend="wait for the other command, or stop it; a dead process holds no lock",
            )
        ) from None
    try:
        sweep(folder)
        yield
    finally:
        lock.release()


def _holder(lock: Path) -> str:
    """Which process holds a lock file, where the system tells (Linux, and none of another machine or container)."""
    table, inode = Path("/proc/locks"), f":{lock.stat().st_ino}"
    held = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    processes = {words[4] for words in held if words[1] == "FLOCK" and words[5].endswith(inode)} - {"0", "-1"}
    return f"process {', '.join(sorted(processes))} holds its lock" if processes else "its lock is held"


def git_sha() -> str | None:
    """The commit of the working tree, `+` behind it where files differ; None outside a repository."""
    sha = _git("rev-parse", "--short=12", "HEAD")
    return (
        None
        if sha is None
        else sha.decode().strip() + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    )


def committed(sha: str | None, path: Path) -> bytes | None:
    """What a file below this folder held in the commit of a `git_sha`, None where git has no such file."""
    return _git("show", f"{sha.rstrip('+')}:./{path}") if sha else None


def _git(*words: str) -> bytes | None:
    import subprocess

    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def now() -> str:
    """Local time with its zone, to the second: a stamp for people, never used to decide what is stale."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
