"""Whether two files of predictions, submissions or weights are equal to the byte, within rounding, or different.

Within rounding: the same rows and the same text, whole numbers equal, and no other number apart by more than ROUNDING of
the largest value of its column there. A float32 has 24 bits (6e-8 of a value); sums that are divided otherwise lose a few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from competition import artifacts

Verdict = Literal["equal to the byte", "within rounding", "different"]
EQUAL, ROUNDED, DIFFERENT = VERDICTS = ("equal to the byte", "within rounding", "different")
ROUNDING = 1e-6
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Same:
    """what: the file's name. greatest: difference of two numbers, share: of the rows that are not equal (of weights: of
    tensors), None where it can't be told. note: what else is to say.
    """

    what: str
    verdict: Verdict
    greatest: float | None = 0.0
    share: float | None = 0.0
    note: str = ""


def worst(found: Sequence[Same]) -> Verdict:
    return max((one.verdict for one in found), key=VERDICTS.index)


def files(what: str, there: Path, here: Path, digest: str | None = None) -> Same:
    """Two files of one kind: parquet, CSV, safetensors, or any other, of which only the bytes count.

    there: of the run; here: made again. digest: what the run's card says of the first, as `digest_of` makes it; it counts
    where the file itself is gone or is another by now.
    """
    if not here.is_file():
        return Same(what, DIFFERENT, None, None, "it was not made again")
    if digest is not None and (not there.is_file() or digest_of(there) != digest):
        return by_digest(what, digest, here)
    if not there.is_file():
        return Same(what, DIFFERENT, None, None, f"{there} is gone, and the card has no digest of it")
    if there.read_bytes() == here.read_bytes():
        return Same(what, EQUAL)
    read = READ.get(there.suffix)
    if there.suffix != ".safetensors" and read is None:
        return Same(what, DIFFERENT, None, None)
    found = tables(what, read(there), read(here)) if read else weights(what, there, here)
    return replace(found, note="headers differ") if found.verdict == EQUAL else found


def by_digest(what: str, digest: str, here: Path) -> Same:
    note = "by the digest in its card; the run's own file is gone or another by now"
    return Same(what, EQUAL, note=note) if digest_of(here) == digest else Same(what, DIFFERENT, None, None, note)


def digest_of(path: Path) -> str:
    """Of a table's content, or of a file's bytes."""
    return (
        artifacts.table_digest(artifacts.read_table(path)) if path.suffix == ".parquet" else artifacts.file_digest(path)
    )


def tables(what: str, there: Any, here: Any) -> Same:
    """Two tables: [rows, columns] by id, in any order of ids; several rows of an id in their own order."""
    if not (there.index.is_unique and there.index.equals(here.index)):
        there, here = (_ordered(table) for table in (there, here))
    if [*there] != [*here] or not there.index.equals(here.index):
        return Same(what, DIFFERENT, None, None, f"other rows or columns: {there.shape} there, {here.shape} here")
    pairs = [(there[column], here[column]) for column in there]
    unequal = np.zeros(len(there), bool)
    within, greatest = True, 0.0
    for a, b in pairs:
        if not (is_numeric_dtype(a) and is_numeric_dtype(b)):
            apart = (a.astype(str) != b.astype(str)).to_numpy()
            within = within and not apart.any()
        else:
            x, y = a.to_numpy(float), b.to_numpy(float)
            apart = ~((x == y) | (np.isnan(x) & np.isnan(y)))
            away, close = _apart(x[apart], y[apart], _allowed(a, x))
            greatest, within = max(greatest, away), within and close
        unequal |= apart
    if not unequal.any() and all(a.dtype == b.dtype for a, b in pairs):
        return Same(what, EQUAL)
    known = greatest if np.isfinite(greatest) else None
    return Same(what, ROUNDED if within else DIFFERENT, known, float(unequal.mean()))


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """By id and by words beside it, such as the view; stable."""
    words = [column for column in table if not is_numeric_dtype(table[column])]
    keyed = table.set_index(words, append=True) if words and not table.index.is_unique else table
    return table.iloc[np.argsort(keyed.index.map(str), kind="stable")]


def _allowed(column: pd.Series, values: np.ndarray) -> float:
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return ROUNDING * float(largest) if is_float_dtype(column) else 0.0


def _apart(x: np.ndarray, y: np.ndarray, allowed: float) -> tuple[float, bool]:
    """The greatest difference, infinite where only one is a number, and whether it is allowed."""
    away = np.abs(x - y)
    greatest = float(np.where(np.isnan(away), np.inf, away).max(initial=0.0))
    return greatest, greatest <= allowed


def read_lines(path: Path) -> pd.DataFrame:
    """A text file's lines taken apart, whatever divides their cells: the words, and each of the numbers between them."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    parts: dict[str, Any] = {"words": [NUMBER.sub("#", line) for line in lines]}
    for n, cells in enumerate(zip_longest(*map(NUMBER.findall, lines), fillvalue="")):
        parts[f"number {n}"] = pd.to_numeric(pd.Series(cells)) if set(".eE") & set("".join(cells)) else cells
    return pd.DataFrame(parts)


def weights(what: str, there: Path, here: Path) -> Same:
    """Two files of tensors, each tensor by itself."""
    from safetensors.numpy import load_file

    a, b = load_file(there), load_file(here)
    if {name: t.shape for name, t in a.items()} != {name: t.shape for name, t in b.items()}:
        return Same(what, DIFFERENT, None, None, "other tensors")
    apart = [name for name in a if not (a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name]))]
    found = [tables(name, *(pd.DataFrame({"": side[name].ravel()}) for side in (a, b))) for name in apart]
    greatest = [one.greatest for one in found]
    return Same(
        what,
        worst([Same(what, EQUAL), *found]),
        None if None in greatest else max([0.0, *(value for value in greatest if value is not None)]),
        len(apart) / len(a),
    )


READ: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": artifacts.read_table, ".csv": read_lines}
