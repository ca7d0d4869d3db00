"""What was found out about files, kept in a table beside the decoded pictures, so that each is looked at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from competition import artifacts, locks

STAMP = ["size", "time"]


def of_files(
    paths: Sequence[str], file: Path, columns: Sequence[str], look: Callable[[list[str]], pd.DataFrame]
) -> pd.DataFrame:
    """[paths, columns] by path, sorted. look: of the files that are new or changed by size or time; [those, columns]."""
    paths = sorted(set(paths))
    now = pd.DataFrame(map(_stamp, paths), columns=STAMP, index=pd.Index(paths, name="path", dtype="str"))
    with locks.locked(file.parent, wait=-1):
        known = artifacts.read_table(file) if file.exists() else pd.DataFrame(columns=[*STAMP, *columns])
        had = known.reindex(paths)
        stale = now.index[(had[STAMP] != now).any(axis=1)]
        if not len(stale):
            return had[list(columns)]
        rows = pd.concat([now.loc[stale], look(list(stale))], axis=1)
        fresh = rows if known.empty else pd.concat([known.drop(stale, errors="ignore"), rows])
        artifacts.write_table(file, fresh)
    return fresh.loc[paths, list(columns)]


def _stamp(path: str) -> tuple[int, int]:
    """Size and times of the last changes, of its rights too; -1 where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, times(found)


def times(found: os.stat_result) -> int:
    """Of the last change of content and of anything else, as one number: either may lie in the future, or be set back."""
    return (found.st_mtime_ns + found.st_ctime_ns) % 2**63
