"""Tables that no single CSV holds: `read: file.py:function` returns them, and they become a folder like any other.

    runs/.cache/<competition>/read/   train.csv, test.csv, sample_submission.csv, as the function returned them;
                                      data -> the folder as downloaded; whatever the function wrote besides (pictures);
                                      done.json, written last

The function is `read(data: Path, into: Path) -> tuple[DataFrame, DataFrame, DataFrame]`: the downloaded folder, to be left
as it is; the folder above, to write into; training rows, test rows and the sample submission. It is called again when its
file, or a file or folder right below the downloaded one, has changed.
"""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

import pandas as pd

from competition import artifacts, board, disk, hooks, locks
from competition.errors import ConfigFault, DataFault, Finding

NAMES = ("train.csv", "test.csv", "sample_submission.csv")


def folder(competition: str, data: Path, reference: str) -> Path:
    """The folder, made where it is not there yet. reference: `file.py:function`. Raises ConfigFault HOOK-*, DataFault."""
    home, into = artifacts.competition_yaml(competition).parent, artifacts.cache_folder(competition) / "read"
    if into.resolve().is_relative_to(data.resolve()):
        mend = "give the competition a folder of its own, and name that"
        raise ConfigFault(
            Finding(
                "CFG-VALUE", "the data folder holds this project", f"{home}/competition.yaml", f"data: {data}", mend
            )
        )
    present(competition, data)
    function = hooks.find(reference, home, "read")
    now = {"read": reference, "file": artifacts.digest(hooks.content(reference, home)), "data": _listing(data)}
    with locks.locked(into, wait=-1):
        if not (into / "done.json").exists() or artifacts.read_json(into / "done.json") != now:
            board.say(f"{competition}: {reference} reads {data}")
            _empty(into)
            disk.link(into / "data", data.resolve())
            for name, table in zip(NAMES, _called(function, data, into, f"{home}/{reference}"), strict=True):
                artifacts.write_text(into / name, table.to_csv(index=False, lineterminator="\n"))
            artifacts.write_json(into / "done.json", now)
    return into


def present(competition: str, data: Path) -> Path:
    """The same folder as downloaded. Raises DataFault DATA-FOLDER where it is not there."""
    if data.is_dir():
        return data
    mend = "unpack the competition there, or mend `data:`"
    where, found = str(artifacts.competition_yaml(competition)), f"data: {data}"
    raise DataFault(Finding("DATA-FOLDER", "the data folder is missing", where, found, mend))


def _listing(data: Path) -> list[list[Any]]:
    """Name, size and time of what stands right below a folder, but for links that lead nowhere; a folder's time changes with
    the names in it.
    """
    found = [(path.name, path.stat()) for path in sorted(data.iterdir()) if path.exists()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]


def _empty(into: Path) -> None:
    for path in into.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _called(function: Any, data: Path, into: Path, where: str) -> tuple[pd.DataFrame, ...]:
    """What the user's function returns. Raises ConfigFault HOOK-ERROR, HOOK-READ."""
    try:
        tables = function(data, into)
    except Exception as e:  # whatever the user's function raises
        line = traceback.extract_tb(e.__traceback__)[-1]
        found = f"{type(e).__name__}: {e} ({Path(line.filename).name}, line {line.lineno})"
        raise ConfigFault(Finding("HOOK-ERROR", "a function of yours fails", where, found, "mend that function")) from e
    if not (isinstance(tables, tuple) and len(tables) == 3 and all(isinstance(t, pd.DataFrame) for t in tables)):
        found = ", ".join(type(t).__name__ for t in tables) if isinstance(tables, tuple) else type(tables).__name__
        mend = "return train, test, sample"
        raise ConfigFault(Finding("HOOK-READ", "the function returns no three tables", where, found, mend))
    return tables
