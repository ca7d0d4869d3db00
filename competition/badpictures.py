"""Pictures that can't be used: how a user is told, and what becomes of their rows (`bad` in competition.yaml's `image:`).

runs/.cache/<competition>/bad<mark>.parquet   path -> size and time of the file, code and finding; empty: it can be used
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from competition import artifacts, board, remembered
from competition.decoding import MAX_PIXELS, TINY, BadPicture, Reading, decode, read
from competition.errors import DataFault, Finding, Stopped, examples, nearest
from competition.prefetch import ahead
from competition.tables import IMAGE_SUFFIXES
from competition.task import Rows

Policy = Literal["refuse", "drop", "placeholder"]
SIDE = 32  # pictures are decoded, not kept: the smallest side is the quickest
PROBLEMS = {
    "IMG-MISSING": ("pictures are missing", "mend `image:` (folder, file extension) or fetch the files"),
    "IMG-UNICODE": (
        "pictures have the table's name, written by other Unicode characters (NFC and NFD)",
        "rename the files to the table's form: convmv -f utf8 -t utf8 --nfc -r --notest FOLDER (or --nfd)",
    ),
    "IMG-NAME": ("file names are too long", "shorten them: a name has 255 bytes at most"),
    "IMG-NOTFILE": ("pictures are no plain files", "replace the link, folder or device by the picture itself"),
    "IMG-PERM": ("pictures can't be read", "give this user the right to read them: chmod -R u+rX on the data folder"),
    "IMG-READ": (
        "pictures can't be read from their disk",
        "see whether that is sound (dmesg tells), or fetch them again",
    ),
    "IMG-EMPTY": ("picture files are empty", "fetch them again"),
    "IMG-NOTIMAGE": (
        "files are no pictures",
        "fetch them again (an error page or a Git LFS pointer was saved instead?)",
    ),
    "IMG-HUGE": (f"pictures have over {MAX_PIXELS:,} pixels", "scale them down first"),
    "IMG-TINY": (f"pictures have a side of less than {TINY} pixels", "fetch them again, or scale them up"),
    "IMG-DEPTH": (
        "pictures have more than 8 bits a channel",
        "say how they become 8 bits by `depth` in `image:`: scale (the whole range of the type; of floats 0..1), clip, or "
        "the range that matters, [low, high]",
    ),
    "IMG-TRUNC": ("pictures are cut short", "fetch them again"),
    "IMG-CORRUPT": ("pictures can't be decoded", "fetch them again"),
}
RISK = "those rows would be trained on or predicted from nothing"
POLICY = "; or leave their rows out by `bad: drop` in `image:` (training rows), `bad: placeholder` (test rows too)"


def refuse(bad: list[tuple[str, BadPicture]]) -> None:
    """Raises DataFault with one finding for each kind of problem."""
    if bad:
        raise DataFault(*findings(bad))


def findings(bad: Iterable[tuple[str, BadPicture]]) -> list[Finding]:
    """One for each kind of problem."""
    return [
        Finding(
            code=code,
            what=f"{len(items)} {PROBLEMS[code][0]}" if len(items) > 1 else PROBLEMS[code][0],
            where=examples(items, 20),
            found=next(iter(items.values())),
            risk=RISK,
            mend=PROBLEMS[code][1] + POLICY,
        )
        for code, items in by_kind(bad).items()
    ]


def by_kind(bad: Iterable[tuple[str, BadPicture]]) -> dict[str, dict[str, str]]:
    """Code -> path -> what was found; of a missing picture also what lies there under nearly its name."""
    found: dict[str, dict[str, str]] = {}
    for path, problem in bad:
        code, hint = _resembling(path) if problem.code == "IMG-MISSING" else (problem.code, "")
        found.setdefault(code, {})[path] = problem.found + hint
    return found


def _resembling(path: str) -> tuple[str, str]:
    """The code of a missing file, and what lies there under nearly its name."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        above = Path(folder).parent
        near = nearest(Path(folder).name, [p.name for p in above.iterdir() if p.is_dir()]) if above.is_dir() else ""
        return "IMG-MISSING", f"; there is no folder {folder!r}; {near}"
    for other in os.listdir(folder):
        if unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", name):
            return "IMG-UNICODE", f": {name!a} in the table, {other!a} on the disk"
        if _stem(other) == _stem(name):
            ending = f", so end the template in `image:` by {Path(other).suffix!r}"
            return "IMG-MISSING", f"; {other!r} is there" + (ending if Path(other).suffix != Path(name).suffix else "")
    return "IMG-MISSING", ""


def _stem(name: str) -> str:
    """Without what a template may add or lack: any suffixes of pictures, in lower case."""
    stem, suffix = os.path.splitext(name.lower())
    return _stem(stem) if suffix in IMAGE_SUFFIXES else stem + suffix


def left_out(
    name: str, parts: dict[str, Rows], policy: Policy, reading: Reading
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """The rows of train, test and unlabeled without those whose pictures can't be used, and a note for each kind of problem.

    A test row stays, its picture is "" then. Raises DataFault where the policy does not allow that, or it is over half of
    a part: then it is the path that is wrong.
    """
    if policy == "refuse":
        return parts, ()
    bad = find(name, [path for rows in parts.values() if rows.pictures is not None for path in rows.pictures], reading)
    notes = []
    for part, rows in parts.items():
        assert rows.pictures is not None
        lost = rows.pictures[rows.pictures.isin(bad)]
        told = findings((path, bad[path]) for path in lost)
        if len(lost) > len(rows) / 2 or (told and part == "test" and policy == "drop"):
            raise DataFault(*told)
        if part == "test":
            parts[part] = replace(rows, pictures=rows.pictures.mask(rows.pictures.isin(bad), ""))
        elif len(lost):
            parts[part] = rows.take(rows.ids[~rows.ids.isin(lost.index)])
        fate = "they get the mean of the training labels" if part == "test" else "their rows are left out"
        notes += [f"{f.code}: {part}: {f.what}, {fate} (image: bad: {policy}): {f.where}" for f in told]
    return parts, tuple(notes)


def find(name: str, paths: Sequence[str], reading: Reading) -> dict[str, BadPicture]:
    """The pictures that can't be used, by path. Each is decoded once, and again when it changes."""

    def one(path: str) -> tuple[str, str]:
        try:
            decode(read(path), SIDE, reading)
        except BadPicture as e:
            return e.code, e.found
        return "", ""

    def look(stale: list[str]) -> pd.DataFrame:
        from competition.engine import stopping

        rows = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for found in ahead(pool, one, stale, 256):
                rows.append(found)
                board.show(f"{name}: pictures", len(rows), len(stale), "looking for bad ones")
                if stopping():
                    raise Stopped("stopped while looking for bad pictures")
        return pd.DataFrame(rows, columns=["code", "found"], index=stale)

    file = artifacts.cache_folder(name) / f"bad{reading.mark}.parquet"
    table = remembered.of_files(paths, file, ["code", "found"], look)
    return {path: BadPicture(*row) for path, *row in table[table["code"] != ""].itertuples()}
