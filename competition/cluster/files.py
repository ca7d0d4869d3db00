"""The command's end of copies.py: hands files out to nodes that share no disk with it, and takes what their folds write."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from competition import artifacts, disk
from competition.errors import EnvironmentFault, Stopped

LAST, PREVIOUS, _ = artifacts.CHECKPOINTS
Stamp = tuple[int, int]  # size, nanoseconds of the last change
Piece = tuple[str, int, int]  # file, first byte, bytes


class Files:
    """The actor beside the command, in its folder. attempt: of an item; of a fold's folder the latest one alone writes."""

    def __init__(self, folder: Path) -> None:
        os.chdir(folder)
        self.attempts: dict[Path, str] = {}
        self.arriving: dict[str, tuple[ExitStack, IO[bytes]]] = {}
        self.out = 0

    def handed_out(self) -> int:
        """Bytes."""
        return self.out

    def listed(self, paths: Sequence[Path], without: Collection[str]) -> dict[str, Stamp]:
        return walked(paths, without)

    def read(self, pieces: Sequence[Piece]) -> list[bytes]:
        """Shorter, where the file is by now."""
        self.out += sum(size for _, _, size in pieces)
        return [_part(*piece) for piece in pieces]

    def begin(self, folders: Sequence[Path], attempt: str) -> None:
        """What another attempt has not brought to its end is dropped."""
        for folder in folders:
            self.attempts[folder] = attempt
            for name in [name for name in self.arriving if name.startswith(f"{folder}/")]:
                self._drop(name)

    def end(self, folders: Sequence[Path], attempt: str) -> None:
        for folder in folders:
            if self.attempts.get(folder) == attempt:
                del self.attempts[folder]

    def at_work(self) -> set[Path]:
        """Folders of folds that have begun at a node, and may have more there than here."""
        return {*self.attempts}

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
        try:
            with disk.faults(path):
                file.seek(start)
                file.truncate()
                file.write(content)
        except EnvironmentFault:
            self._drop(str(path))
            raise
        if last:
            del self.arriving[str(path)]
            stack.close()
        return True

    def remove(self, folder: Path, attempt: str, names: Sequence[str]) -> None:
        """Checkpoints, of a fold that is trained."""
        for name in names:
            if self._may(folder, attempt, name) and name in artifacts.CHECKPOINTS and (folder / "fit.json").exists():
                (folder / name).unlink(missing_ok=True)

    def _may(self, folder: Path, attempt: str, name: str) -> bool:
        inside = Path(os.path.normpath(folder / name)).is_relative_to(folder)
        return inside and self.attempts.get(folder) == attempt

    def _drop(self, name: str) -> None:
        stack, _ = self.arriving.pop(name)
        with suppress(Stopped, OSError, EnvironmentFault):
            stack.__exit__(Stopped, Stopped("of an attempt that was lost"), None)


def _part(name: str, start: int, size: int) -> bytes:
    try:
        with disk.faults(Path(name)), open(name, "rb") as file:
            file.seek(start)
            return file.read(size)
    except EnvironmentFault:
        if os.path.exists(name):
            raise
        return b""


def walked(paths: Iterable[Path], without: Collection[str] = ()) -> dict[str, Stamp]:
    """Files, and those in folders, linked ones too, but for hidden ones and these folders. Raises EnvironmentFault."""
    found: dict[str, Stamp] = {}

    def note(path: Path) -> None:
        with suppress(FileNotFoundError):  # gone meanwhile, or a link to nothing
            there = path.stat()
            if stat.S_ISREG(there.st_mode):
                found[path.as_posix()] = there.st_size, there.st_mtime_ns

    def refuse(error: OSError) -> None:
        raise error

    for path in paths:
        with disk.faults(path):
            note(path)
            seen: set[str] = set()
            for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True) if path.is_dir() else ():
                real, here = os.path.realpath(folder), Path(folder)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                folders[:] = [n for n in folders if not n.startswith(".") and (here / n).as_posix() not in without]
                for name in names:
                    if not name.startswith("."):
                        note(here / name)
    return found
