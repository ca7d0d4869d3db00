"""The fold table as its file has it: its hash, its sizes, and nothing of the data; `folds.py` checks it against the rows.

`make compare COMP=` has no time to read the competition's tables: importing pandas alone takes half of its second.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from competition import artifacts

GROUP = "group"  # its column of groups, beside those of fold numbers
NUMBER = re.compile("-1|[0-9]{1,6}")
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class FoldFile:
    """hash: as of `folds.FoldTable`. count: folds of the first repeat. splits: of all repeats. share: held-out rows over
    training rows, the mean over the folds of the first repeat."""

    hash: str
    count: int
    splits: int
    share: float


def read(path: Path, ordered: bool, grouped: bool) -> FoldFile | None:
    """None where the file is not plainly a fold table: `folds.load` tells why, or reads it. ordered: folds.scheme is time.
    grouped: folds.group is auto.
    """
    rows = _rows(path)
    header = rows[0] if rows else []
    if len(rows) < 2 or "id" not in header or {len(row) for row in rows} != {len(set(header))}:
        return None
    body = sorted(rows[1:], key=itemgetter(header.index("id")))
    columns = dict(zip(header, zip(*body, strict=True), strict=True))
    ids, groups = columns.pop("id"), columns.pop(GROUP, None) if grouped else None
    wanted = ["fold", *(f"repeat{r}" for r in range(1, len(columns)))]
    cells = itertools.chain(*columns.values())
    if set(columns) != set(wanted) or len(set(ids)) != len(body) or not all(map(NUMBER.fullmatch, cells)):
        return None
    numbers = {name: [*map(int, columns[name])] for name in wanted}
    counts = {name: max(column) + 1 for name, column in numbers.items()}
    share = _share(numbers["fold"], ordered)
    if share is None:
        return None
    content = digest(wanted, ids, zip(*numbers.values(), strict=True), ordered, groups)
    return FoldFile(content, counts["fold"], sum(counts.values()), share)


def digest(
    columns: Iterable[str],
    ids: Iterable[str],
    rows: Iterable[Sequence[int]],
    ordered: bool,
    groups: Iterable[str] | None,
) -> str:
    """Of a table whose rows are sorted by id. rows: the numbers of each. groups: of each, where there are some."""
    content = [*columns, *ids, *(",".join(map(str, row)) for row in rows)]
    content += ["ordered"] if ordered else []
    content += [] if groups is None else [GROUP, *groups]
    return artifacts.digest(*content)


def _rows(path: Path) -> list[list[str]]:
    """The header and the rows, their cells stripped; none where the file is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row] or [[]]
    return [header, *([cell.strip() for cell in row] for row in rows)]


def _share(fold: Sequence[int], ordered: bool) -> float | None:
    """None where a fold has no rows, or none to train on."""
    sizes = Counter(fold)
    held = [sizes[k] for k in range(max(fold) + 1)]
    train = [
        sum(n for number, n in sizes.items() if (number < k if ordered else number != k)) for k in range(len(held))
    ]
    if not held or not all(held) or not all(train):
        return None
    return sum(h / t for h, t in zip(held, train, strict=True)) / len(held)
