"""The command's files at a node that shares no disk with it, and what a fold writes there at the command: through Ray.

Only the command's folder counts. A node works on copies, which before each item become what the command has. An item writes
to the folders of its fold alone; they go to the command while it works and as it ends, each file whole. Nothing that a node
lacks is removed at the command but the checkpoints of a fold that it has ended.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from competition import artifacts, board, disk, engine, locks
from competition.engine import Needs
from competition.errors import EnvironmentFault, Fault, Finding, Stopped

PIECE = 16 << 20  # bytes that go at once
AHEAD = 4  # pieces that are asked for before the first is there
EVERY = 2.0  # seconds between two looks at what an item wrote
PATIENCE = 60.0  # seconds that the command may be out of reach
LAST, PREVIOUS, _ = artifacts.CHECKPOINTS
Stamp = tuple[int, int]  # size, nanoseconds of the last change
Piece = tuple[str, int, int]  # file, first byte, bytes


class Files:
    """The actor beside the command, in its folder. attempt: of an item; of a fold's folder the latest one alone writes."""

    def __init__(self, folder: Path) -> None:
        os.chdir(folder)
        self.attempts: dict[str, str] = {}
        self.arriving: dict[str, tuple[ExitStack, IO[bytes]]] = {}
        self.out = 0

    def handed_out(self) -> int:
        """Bytes."""
        return self.out

    def listed(self, paths: Sequence[Path], without: Collection[str]) -> dict[str, Stamp]:
        return walked(paths, without)

    def read(self, pieces: Sequence[Piece]) -> list[bytes]:
        self.out += sum(size for _, _, size in pieces)
        return [_part(*piece) for piece in pieces]

    def begin(self, folders: Sequence[Path], attempt: str) -> None:
        """What another attempt has not brought to its end is dropped."""
        for folder in map(str, folders):
            self.attempts[folder] = attempt
            for name in [name for name in self.arriving if name.startswith(f"{folder}/")]:
                stack, _ = self.arriving.pop(name)
                with suppress(Stopped):
                    stack.__exit__(Stopped, Stopped("of an attempt that was lost"), None)

    def write(self, folder: Path, attempt: str, name: str, start: int, content: bytes, last: bool) -> bool:
        """A piece of a file, from the first to the last; whether this attempt may write. Raises EnvironmentFault where the
        disk refuses."""
        if not self._may(folder, attempt, name):
            return False
        path = folder / name
        if str(path) not in self.arriving:
            if start:  # asked twice, and whole since the first time
                return True
            before = path.with_name(PREVIOUS) if path.name == LAST else None
            stack = ExitStack()
            self.arriving[str(path)] = stack, stack.enter_context(disk.writing(path, before))
        stack, file = self.arriving[str(path)]
        with disk.faults(path):
            file.seek(start)
            file.write(content)
        if last:
            del self.arriving[str(path)]
            stack.close()
        return True

    def remove(self, folder: Path, attempt: str, names: Sequence[str]) -> None:
        for name in names:
            if self._may(folder, attempt, name) and name in artifacts.CHECKPOINTS:
                (folder / name).unlink(missing_ok=True)

    def _may(self, folder: Path, attempt: str, name: str) -> bool:
        inside = Path(os.path.normpath(folder / name)).is_relative_to(folder)
        return inside and self.attempts.get(str(folder)) == attempt


def _part(name: str, start: int, size: int) -> bytes:
    with open(name, "rb") as file:
        file.seek(start)
        return file.read(size)


def walked(paths: Iterable[Path], without: Collection[str] = ()) -> dict[str, Stamp]:
    """Files, and those in folders, linked ones too, but for hidden ones and folders of these names. Raises OSError."""
    found: dict[str, Stamp] = {}

    def refuse(error: OSError) -> None:
        raise error

    for path in paths:
        if path.is_file():
            found[path.as_posix()] = _stamp(path)
        if not path.is_dir():
            continue
        seen: set[str] = set()
        for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True):
            real = os.path.realpath(folder)
            left_out = real in seen
            seen.add(real)
            folders[:] = [] if left_out else [n for n in folders if not n.startswith(".") and n not in without]
            for name in () if left_out else names:
                with suppress(FileNotFoundError):  # gone meanwhile, or a link to nothing
                    if not name.startswith("."):
                        found[Path(folder, name).as_posix()] = _stamp(Path(folder, name))
    return found


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@contextmanager
def copied(files: Any, book: Path, needs: Needs, own: str | None) -> Generator[None]:
    """In a worker, in the node's folder: within, an item has what it reads, and what it writes goes to the command.

    book: a folder of the node, for what it knows of its copies. own: the item's name, which folders of its fold have.
    """
    folders = [] if own is None else [folder / own for folder in needs.written]
    _take(files, book, needs, {*needs.folds} - {own})
    sending = Sending(files, folders)
    try:
        yield
    finally:
        sending.end()


def _take(files: Any, book: Path, needs: Needs, without: Collection[str]) -> None:
    """Makes the copies what the command has. Raises Stopped, EnvironmentFault."""
    paths = [*needs.read, *needs.written]
    with locks.locked(book, wait=-1), disk.faults(book):
        there: dict[str, Stamp] = _asked(files.listed, paths, without)
        here, lines = walked(paths, without), book / "book.json"
        known: dict[str, list[int]] = artifacts.read_json(lines) if lines.exists() else {}
        new = [name for name, stamp in there.items() if known.get(name) != [*stamp, *here.get(name, ())]]
        try:
            for name in _fetched(files, {name: there[name][0] for name in new}):
                known[name] = [*there[name], *_stamp(Path(name))]
            for name in here.keys() - there.keys():
                Path(name).unlink(missing_ok=True)
                known.pop(name, None)
        finally:
            if new:
                artifacts.write_json(lines, known)


def _fetched(files: Any, sizes: dict[str, int]) -> Iterator[str]:
    """Writes the files, whose sizes are given, and yields the name of each that is whole."""
    waiting, asked = deque(_grouped(sizes)), deque[tuple[list[Piece], Any]]()
    done, total = 0, sum(sizes.values())
    while waiting or asked:
        while waiting and len(asked) < AHEAD:
            asked.append((waiting[0], files.read.remote(waiting.popleft())))
        group, first = asked.popleft()
        for (name, start, size), content in zip(group, _asked(files.read, group, first=first), strict=True):
            if len(content) < size:
                raise EnvironmentFault(_changed(name))
            path = Path(name)
            part = path.with_name(f".{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                file.write(content)
            done += size
            if start + size == sizes[name]:
                os.replace(part, path)
                yield name
        board.show("files of the command", done >> 20, total >> 20, "MB taken")
        if engine.stopping():
            raise Stopped("stopped while a node took the files of the command")


def _grouped(sizes: dict[str, int]) -> Iterator[list[Piece]]:
    """Pieces of at most `PIECE` bytes, small ones together; a file's in their order, of an empty file one."""
    group: list[Piece] = []
    for name, size in sizes.items():
        for start in range(0, max(1, size), PIECE):
            piece = name, start, min(PIECE, size - start)
            if group and sum(size for _, _, size in group) + piece[2] > PIECE:
                yield group
                group = []
            group.append(piece)
    if group:
        yield group


def _changed(name: str) -> Finding:
    found = "it is shorter than it was a moment before"
    mend = "leave data and configurations as they are while nodes work; the same command continues"
    return Finding("RAY-FILES", "a file changed while a node took it", name, found, mend)


class Sending:
    """What an item writes into these folders goes to the command, in the order in which it was written."""

    def __init__(self, files: Any, folders: Sequence[Path]):
        self.files, self.folders, self.attempt = files, folders, uuid.uuid4().hex
        self.sent = walked(folders)
        _asked(files.begin, folders, self.attempt)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """All that is left. Raises Stopped where the command is gone, or another attempt has begun; Fault."""
        self.over.set()
        self.thread.join()
        self._send()
        for folder in self.folders:
            gone = [name for name in artifacts.CHECKPOINTS if not (folder / name).exists()]
            _asked(self.files.remove, folder, self.attempt, gone)

    def _go_on(self) -> None:
        while not self.over.wait(EVERY):
            with suppress(OSError, Fault, Stopped):  # what can't be sent now is sent, or told, at the end
                self._send()

    def _send(self) -> None:
        now = walked(self.folders)
        new = [name for name, stamp in now.items() if self.sent.get(name) != stamp and Path(name).name != PREVIOUS]
        for name in sorted(new, key=lambda name: now[name][1]):
            with suppress(FileNotFoundError):  # a checkpoint that became an older one meanwhile
                self._send_file(name)
                self.sent[name] = now[name]

    def _send_file(self, name: str) -> None:
        folder = next(folder for folder in self.folders if Path(name).is_relative_to(folder))
        inner = Path(name).relative_to(folder).as_posix()
        with open(name, "rb") as file:
            start, content = 0, file.read(PIECE)
            while True:
                following = file.read(PIECE)
                if not _asked(self.files.write, folder, self.attempt, inner, start, content, not following):
                    engine.stop()
                    raise Stopped(f"{folder} was given to another worker")
                if not following:
                    return
                start, content = start + len(content), following


def _asked(method: Any, *given: Any, first: Any = None) -> Any:
    """What the actor answers; it may be asked twice. first: the reference of a call that was made before. Raises what it
    raised; Stopped where the command is gone."""
    import ray  # which reads what nodes ask for as it is imported (choice.py)
    from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

    ends, reference = time.monotonic() + PATIENCE, first
    while True:
        try:
            return ray.get(reference or method.remote(*given))
        except ActorUnavailableError:
            if time.monotonic() > ends:
                raise Stopped("the command can't be reached") from None
            reference = None
            time.sleep(EVERY)
        except RayActorError:
            raise Stopped("the command is gone") from None
        except RayTaskError as e:
            raise e.cause from None
