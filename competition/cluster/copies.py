"""The command's files at a node that shares no disk with it, and what a fold writes there at the command: through Ray.

Only the command's folder counts. A node works on copies, which become what the command has: what is read once for a run, the
run's folder before each item. An item writes to the folders of its fold alone; they go to the command while it works and as
it ends, each file whole. Nothing that a node lacks is removed at the command but the checkpoints of a fold that is trained.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from competition import artifacts, board, disk, engine, locks
from competition.cluster.files import PREVIOUS, Piece, Stamp, walked
from competition.engine import Needs
from competition.errors import EnvironmentFault, Fault, Finding, Stopped

PIECE = 16 << 20  # bytes that go at once
AHEAD = 4  # pieces that are asked for before the first is there
EVERY = 2.0  # seconds between two looks at what an item wrote
NOTED = 30.0  # seconds between two notes of what is there, while files are taken
PATIENCE = 60.0  # seconds that the command may be out of reach; after them the worker is lost
TRIES = 3  # where a file changes while it is taken


@contextmanager
def copied(files: Any, books: Path, needs: Needs, own: str | None) -> Generator[None]:
    """In a worker, in the node's folder: within, an item has the run's folder, and what it writes goes to the command.

    books: a folder of the node, for what it knows of its copies. own: the item's name, which folders of its fold have; None:
    no item's, but what all of them read is taken.
    """
    others = {folder / name for folder in needs.written for name in needs.folds - {own}}
    without = {folder.as_posix() for folder in others}
    done = [folder / "predicted.json" for folder in others - _asked(files.at_work)]  # by which a fold knows of others
    if own is None:
        _take(files, books, "read", needs.read, ())
        _take(files, books, "run", [*needs.written, *done], without)
        yield
        return
    folders, attempt = [folder / own for folder in needs.written], uuid.uuid4().hex
    _asked(files.begin, folders, attempt)  # first, so that a worker that was cut off changes nothing meanwhile
    _take(files, books, "run", [*needs.written, *done], without)
    sending = Sending(files, folders, attempt)
    try:
        yield
    finally:
        sending.end()


def _take(files: Any, books: Path, book: str, paths: Sequence[Path], without: Collection[str]) -> None:
    """Makes the copies what the command has. Raises Stopped, EnvironmentFault."""
    with locks.locked(books, wait=-1), disk.faults(books):
        for _ in range(TRIES):
            shrunk = _taken(files, books / f"{book}.json", paths, without)
            if shrunk is None:
                return
    raise EnvironmentFault(_changed(shrunk))


def _taken(files: Any, book: Path, paths: Sequence[Path], without: Collection[str]) -> str | None:
    """A file that has become shorter than it was listed a moment before, at which it ends; None: all are there."""
    there: dict[str, Stamp] = _asked(files.listed, paths, without)
    here, known = walked(paths, without), _read(book)
    for name in here.keys() - there.keys():
        Path(name).unlink(missing_ok=True)
        known.pop(name, None)
    new = {name: stamp[0] for name, stamp in there.items() if known.get(name) != [*stamp, *here.get(name, ())]}
    noted = time.monotonic()
    try:
        for name, whole in _fetched(files, new):
            if not whole:
                return name
            stat = Path(name).stat()
            known[name] = [*there[name], stat.st_size, stat.st_mtime_ns]
            if time.monotonic() > noted + NOTED:
                noted = time.monotonic()
                artifacts.write_text(book, json.dumps(known))
    finally:
        if new:
            artifacts.write_text(book, json.dumps(known))  # names that are no UTF-8 too


def _read(book: Path) -> dict[str, list[int]]:
    try:
        return json.loads(book.read_bytes())
    except (FileNotFoundError, ValueError):  # all is taken anew
        return {}


def _fetched(files: Any, sizes: dict[str, int]) -> Iterator[tuple[str, bool]]:
    """Writes the files, whose sizes are given, and yields each by its name, and whether it is whole."""
    waiting, asked = deque(_grouped(sizes)), deque[tuple[list[Piece], Any]]()
    done, total = 0, sum(sizes.values())
    while waiting or asked:
        while waiting and len(asked) < AHEAD:
            asked.append((waiting[0], files.read.remote(waiting.popleft())))
        group, first = asked.popleft()
        for (name, start, size), content in zip(group, _asked(files.read, group, first=first), strict=True):
            if len(content) < size:
                yield name, False
            path = Path(name)
            part = path.with_name(f".{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                file.write(content)
            done += size
            if start + size == sizes[name]:
                os.replace(part, path)
                yield name, True
        board.show("files of the command", done >> 20, total >> 20, "MB taken")
        if engine.stopping():
            raise Stopped("stopped while a node took the files of the command")


def _grouped(sizes: dict[str, int]) -> Iterator[list[Piece]]:
    """Pieces of at most `PIECE` bytes, small ones together; a file's in their order, of an empty file one."""
    group: list[Piece] = []
    held = 0
    for name, size in sizes.items():
        for start in range(0, max(1, size), PIECE):
            length = min(PIECE, size - start)
            if group and held + length > PIECE:
                yield group
                group, held = [], 0
            group.append((name, start, length))
            held += length
    if group:
        yield group


def _changed(name: str) -> Finding:
    found = f"each of {TRIES} times it was shorter than a moment before"
    mend = "leave data and configurations as they are while nodes work; the same command continues"
    return Finding("RAY-FILES", "a file changes while a node takes it", name, found, mend)


class Sending:
    """What an item writes into these folders goes to the command: what says that something is done after what was written
    for it, and checkpoints, which may be large, last."""

    def __init__(self, files: Any, folders: Sequence[Path], attempt: str):
        self.files, self.folders, self.attempt = files, folders, attempt
        self.sent = walked(folders)
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
        _asked(self.files.end, self.folders, self.attempt)

    def _go_on(self) -> None:
        while not self.over.wait(EVERY):
            with suppress(OSError, Fault, Stopped):  # what can't be sent now is sent, or told, at the end
                self._send()

    def _send(self) -> None:
        now = walked(self.folders)
        new = [name for name, stamp in now.items() if self.sent.get(name) != stamp and Path(name).name != PREVIOUS]
        for name in sorted(new, key=lambda name: (_turn(name), now[name][1])):
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


def _turn(name: str) -> int:
    return 2 if Path(name).name in artifacts.CHECKPOINTS else int(name.endswith(".json"))


def _asked(method: Any, *given: Any, first: Any = None) -> Any:
    """What the actor answers; it may be asked twice. first: the reference of a call that was made before. Raises what it
    raised; Stopped where the command is gone. Where it can't be reached for long this worker ends, and its item goes on
    elsewhere."""
    import ray  # which reads what nodes ask for as it is imported (choice.py)
    from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

    ends, reference = time.monotonic() + PATIENCE, first
    while True:
        try:
            return ray.get(reference or method.remote(*given))
        except RayTaskError as e:
            raise e.cause from None
        except RayError as e:
            if isinstance(e, RayActorError) and not isinstance(e, ActorUnavailableError):
                raise Stopped("the command is gone") from None
            if time.monotonic() > ends:
                os._exit(1)
            reference = None
            time.sleep(EVERY)
