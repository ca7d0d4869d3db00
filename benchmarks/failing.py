"""A disk that fails at a chosen call, put between a process and the files below its folder; the product has no hook for it.

Every call that changes a file is counted: open for writing, write, flush, reserve, rename, link, make and cut, and of SQLite
the statements that change something, which fail by the texts that SQLite has for a full and for a broken disk.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

OF_PATHS = ("replace", "rename", "link", "symlink", "mkdir", "truncate", "open")
OF_FILES = ("fsync", "fdatasync", "ftruncate", "posix_fallocate", "write")
FULL = (errno.ENOSPC, errno.EDQUOT)
KINDS = {
    "write": ("write", "posix_fallocate", "truncate", "ftruncate", "sql"),
    "fsync": ("fsync", "fdatasync"),
    "rename": ("replace", "rename", "link", "symlink"),
    "open": ("open", "mkdir", "unlink", "rmdir"),
}
REMOVING = ("unlink", "rmdir")  # a full disk does not fail in these, nor in opening a folder
CHANGING = ("insert", "update", "delete", "create", "replace", "alter", "drop")
SQLITE = {errno.ENOSPC: "database or disk is full", errno.EDQUOT: "database or disk is full", errno.EIO: "disk I/O error",
          errno.EACCES: "attempt to write a readonly database"}  # fmt: skip


class Disk:
    """Fails the call number `at` of `kinds` below `folder` with `number`, and all after it, of any kind, where `stays` says
    so. at: 0: none.
    """

    def __init__(
        self,
        folder: Path,
        at: int = 0,
        number: int = errno.EIO,
        stays: bool = False,
        kinds: Collection[str] = tuple(KINDS),
    ):
        self.folder, self.at, self.number, self.stays = str(folder.resolve()), at, number, stays
        self.counted = {name for kind in kinds for name in KINDS[kind]}
        self.count, self.failed = 0, ""
        self.real_open = builtins.open

    def fails(self, name: str, path: Any) -> bool:
        """Counts a call."""
        if not self.inside(path):
            return False
        self.count += name in self.counted
        if not self.failed and (not self.at or self.count < self.at or name not in self.counted):
            return False
        if self.failed and not self.stays:
            return False
        self.failed = self.failed or f"{name} {self.named(path)}"
        return True

    def inside(self, path: Any) -> bool:
        return os.path.abspath(self.named(path)).startswith(self.folder)

    def named(self, path: Any) -> str:
        return os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fsdecode(path)

    def refuse(self, path: Any) -> OSError:
        return OSError(self.number, os.strerror(self.number), path if isinstance(path, str | os.PathLike) else None)

    def install(self) -> None:
        """In a process that ends soon: nothing is put back."""
        for name in (*OF_PATHS, *OF_FILES, *(REMOVING if self.number not in FULL else ())):
            setattr(os, name, self._guarded(name, getattr(os, name)))
        builtins.open = io.open = self._open  # ty: ignore[invalid-assignment]
        sqlite3.dbapi2.connect = sqlite3.connect = self._connect  # ty: ignore[invalid-assignment, unresolved-attribute]

    def _guarded(self, name: str, call: Any) -> Any:
        def guarded(path: Any, *rest: Any, **more: Any) -> Any:
            reads = name == "open" and not rest[0] & (os.O_WRONLY | os.O_RDWR)
            reads = reads and (self.number in FULL or not os.path.isdir(path))
            if not reads and self.fails(name, path):
                raise self.refuse(path)
            return call(path, *rest, **more)

        return guarded

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
              newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or isinstance(file, int) or not self.inside(file):
            return self.real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if self.fails("open", file):
            raise self.refuse(file)
        raw = Raw(self, file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline)

    def _connect(self, database: Any, *words: Any, **more: Any) -> sqlite3.Connection:
        disk = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *values: Any) -> Any:
                if sql.lstrip().lower().startswith(CHANGING):
                    disk.refuse_sql(database)
                return super().execute(sql, *values)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def commit(self) -> None:
                disk.refuse_sql(database)
                super().commit()

        return Connection(database, *words, **more)

    def refuse_sql(self, database: Any) -> None:
        if self.fails("sql", database):
            raise sqlite3.OperationalError(SQLITE[self.number])


class Raw(io.FileIO):
    """A file whose failing write has written the first half."""

    def __init__(self, disk: Disk, path: Any, mode: str):
        super().__init__(path, mode)
        self.disk = disk

    def write(self, data: Any) -> int:
        if self.disk.fails("write", self.name):
            super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
            raise self.disk.refuse(self.name)
        return super().write(data)

    def truncate(self, size: Any = None) -> int:
        if self.disk.fails("truncate", self.name):
            raise self.disk.refuse(self.name)
        return super().truncate(size)
