"""One way in which a competition's files, or the machine, are broken, and what Podium owes its user then."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from competition import cli
from competition.errors import Fault, Stopped

Make = Callable[..., str]  # the fixture `competition` of conftest.py
PARTS = ("where:", "found:", "risk:", "mend:")


@dataclass(frozen=True)
class Case:
    """row: of the catalogue. build: makes the competition `toy` in the current folder and breaks it. act: arguments of
    `python -m competition`, or a function, whose Fault is told as that command tells it.

    kind: error: the code with all five parts, and nothing is written; warning: the code, and the work is done; handled:
    the work is done as stated. said: words of the message. holds: looks at what is there afterwards.
    """

    row: int
    name: str
    build: Callable[[Make], object]
    act: tuple[str, ...] | Callable[[], object]
    kind: Literal["error", "warning", "handled"]
    code: str = ""
    exit: int = 0
    said: Sequence[str] = ()
    holds: Callable[[], object] | None = None
    slow: bool = False

    @property
    def title(self) -> str:
        return f"{self.row} {self.name}"


_made: dict[str, dict[Path, bytes]] = {}


def tables_of(make: Make, kind: str, **keys: object) -> None:
    """The competition `toy` of this kind without its pictures, made once and written again from memory."""
    made = _made.setdefault(f"{kind} {keys}", {})
    if not made:
        make(kind, columns=True, image=None, **keys)
        shutil.rmtree("data/images")
        made.update({path: path.read_bytes() for path in Path().rglob("*") if path.is_file()})
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(act: tuple[str, ...] | Callable[[], object]) -> int:
    """The exit code of a command, or of a function as the command would end."""
    if isinstance(act, tuple):
        return cli.main(act)
    try:
        act()
    except (Fault, Stopped) as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    return 0


def inputs() -> str:
    """The digest of every file, link and folder that a user has written."""
    found = hashlib.blake2b()
    for top in ("data", "configs"):
        for path in sorted(Path(top).rglob("*")):
            kind = os.lstat(path)
            found.update(os.fsencode(path) + stat.filemode(kind.st_mode).encode())
            if stat.S_ISREG(kind.st_mode):
                found.update(path.read_bytes())
            elif stat.S_ISLNK(kind.st_mode):
                found.update(os.fsencode(os.readlink(path)))
    return found.hexdigest()


def leftovers() -> list[Path]:
    """Files that a command that has failed must not leave behind."""
    half = [p for p in Path().rglob("*") if p.name.endswith(".tmp")]
    return half + [p for p in Path("submissions").rglob("*.csv") if p.name != "ledger.csv"]


def tally(cases: Iterable[Case]) -> dict[str, int]:
    """How many inputs are tried; how many end in one clear error, with a warning, or as stated."""
    kinds = Counter(case.kind for case in cases)
    return {"tried": kinds.total(), **{kind: kinds[kind] for kind in ("error", "warning", "handled")}}
