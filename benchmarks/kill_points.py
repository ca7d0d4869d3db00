"""The process that `kill_loop` kills: a command in a fork of a server that has imported everything, ended at a named point.

The points lie around the product's own calls (a file's write, fsync, rename, a checkpoint, a line of history, a commit of
SQLite), which are wrapped here, from outside, before the command begins.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm  # noqa: F401
import matplotlib.figure  # noqa: F401
import sklearn.linear_model  # noqa: F401
import sqlalchemy.dialects.sqlite
import sqlalchemy.engine.default

from competition import artifacts, checkpoint, cli, interrupt, loop, meter, stages  # noqa: F401
from competition.detection import fitting as _detection  # noqa: F401
from competition.image import fitting as _image  # noqa: F401
from competition.tabular import fitting as _tabular  # noqa: F401
from competition.tabular.models import lightgbm as _trees  # noqa: F401
from competition.tracking import History
from competition.tuning import study
from competition.tuning import tune as _tune  # noqa: F401

FILES = ("fit.json", "oof.parquet", "test.parquet", "predicted.json", "score.json", "weights.json", "ledger.csv",
         "run.json", "tune.json", "pictures.npy", "last.ckpt", "previous.ckpt", "trials.csv")  # fmt: skip
QUICK = {(checkpoint, "SAVE_SHARE"): 1.0, (study, "HEARTBEAT"): 1, (study, "GRACE"): 3, (study, "POLL"): 0.1}


@dataclass
class Points:
    """Counts how often each is passed; at the `number`-th time of the one named `name` the process gets `end`."""

    name: str = ""
    number: int = 0
    end: int = signal.SIGKILL
    passed: Counter[str] = field(default_factory=Counter)

    def at(self, name: str) -> None:
        self.passed[name] += 1
        if name == self.name and self.passed[name] == self.number:
            Path("signalled").write_text(str(time.monotonic()))
            os.killpg(0, self.end)
            if self.end == signal.SIGKILL:
                time.sleep(60)  # the signal is on its way

    def around(self, owner: Any, attribute: str, names: Callable[..., list[str]]) -> None:
        """Points before and after each call of `owner.attribute`; names(*arguments): what they are called."""
        call = getattr(owner, attribute)

        @functools.wraps(call)
        def wrapped(*arguments: Any, **keys: Any) -> Any:
            for name in names(*arguments):
                self.at(f"before {name}")
            result = call(*arguments, **keys)
            for name in names(*arguments):
                self.at(f"after {name}")
            return result

        setattr(owner, attribute, wrapped)

    def install(self) -> None:
        self.around(os, "fsync", lambda file: ["fsync of a folder" if _is_folder(file) else "fsync"])
        self.around(os, "replace", lambda there, to: ["rename", *_named(Path(to))])
        self.around(loop, "save", lambda *_: ["checkpoint"])
        self.around(History, "log", lambda *_: ["history line"])
        self.around(meter.Meter, "add", lambda *_: ["step"])
        self.around(meter.Meter, "close", lambda *_: ["epoch end"])
        self.around(sqlalchemy.engine.default.DefaultDialect, "do_commit", lambda *_: ["commit"])
        artifacts.open = functools.partial(_open, self)  # ty: ignore[unresolved-attribute]


def _named(path: Path) -> list[str]:
    if path.name in FILES:
        return [path.name]
    return ["submission"] if path.parent.parent == artifacts.SUBMISSIONS else []


def _is_folder(file: int) -> bool:
    return stat.S_ISDIR(os.fstat(file).st_mode)


class _Torn(io.BufferedRandom):
    """A file whose writes can end halfway."""

    points: Points

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        super().write(content[: len(content) // 2])
        self.flush()
        self.points.at("amid a write")
        return len(content) // 2 + super().write(content[len(content) // 2 :])


def _open(points: Points, path: Any, mode: str = "r", **keys: Any) -> Any:
    if mode != "w+b":
        return open(path, mode, **keys)
    file = _Torn(io.FileIO(path, "w+"))
    file.points = points
    return file


def read_passed(folder: Path) -> dict[str, int]:
    return json.loads((folder / "passed.json").read_text())


def quicken() -> None:
    """Checkpoints as often as they can be, and trials of the dead looked for at once: more falls between two kills."""
    for (module, name), value in QUICK.items():
        setattr(module, name, value)


def run(folder: Path, words: list[str], points: Points) -> None:
    """A child of the fork server: the command in `folder`, in a process group of its own, its words in out.txt, err.txt."""
    os.setsid()
    os.chdir(folder)
    for stream, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    quicken()
    points.install()
    interrupt.remember()
    Path("begun").touch()
    code = cli.main(words)
    Path("passed.json").write_text(json.dumps(points.passed))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)
