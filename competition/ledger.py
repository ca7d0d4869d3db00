"""submissions/ledger.csv: one row a submission, for people; committed. The competition's scores are filled in later."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from competition import artifacts, locks
from competition.errors import DataFault, Finding

COLUMNS = (
    "time", "competition", "run", "members", "metric", "cv", "cv_std", "public", "private", "config", "data", "folds",
    "git",
)  # fmt: skip
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?")
KEY = ("run", "metric", "config", "data", "folds")  # what makes two submissions the same


def record(row: dict[str, Any]) -> bool:
    """Adds a row unless one of the same KEY stands there; True where it did. Columns that `row` lacks stay empty.

    Raises DataFault LEDGER-HEADER where the file's columns are not COLUMNS; it is left as it is.
    """
    assert set(KEY) <= set(row) <= set(COLUMNS), f"a ledger row has the columns {COLUMNS}, not {tuple(row)}"
    new = {column: _cell(row.get(column)) for column in COLUMNS}
    with locks.locked(artifacts.SUBMISSIONS, wait=60):  # runs that end at the same time
        if any(all(old[k] == new[k] for k in KEY) for old in read()):
            return False
        old_rows = artifacts.LEDGER.read_bytes() if artifacts.LEDGER.is_file() else b""
        old_rows = old_rows or _line(COLUMNS)  # kept byte for byte: people write into this file
        gap = b"" if old_rows.endswith(b"\n") else b"\n"
        artifacts.write_bytes(artifacts.LEDGER, old_rows + gap + _line(new.values()))
    return True


def read() -> list[dict[str, str]]:
    """The rows, oldest first. Raises DataFault LEDGER-HEADER where the file is not a ledger."""
    if not artifacts.LEDGER.is_file() or not artifacts.LEDGER.stat().st_size:
        return []
    with open(artifacts.LEDGER, encoding="utf-8-sig", errors="replace", newline="") as f:
        lines = csv.DictReader(f, restval="")
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise DataFault(_unknown_header(lines.fieldnames or ()))
        return list(lines)


def rows_of(run: str) -> list[dict[str, str]]:
    """The rows of a run, oldest first. Raises as `read` does."""
    return [row for row in read() if row["run"] == _cell(run)]


def best(rows: Sequence[dict[str, str]], known: Mapping[str, str]) -> dict[str, str]:
    """Of a run's rows the one with most of the cells `known`, the last of several."""
    return max(enumerate(rows), key=lambda at: (sum(at[1][k] == v for k, v in known.items()), at[0]))[1]


def fill(run: str, known: Mapping[str, str], public: str, private: str = "") -> None:
    """Writes scores into the `best` of a run's rows; all other rows stay byte for byte. An empty score changes nothing.

    Raises as `read` does; the run has a row.
    """
    scores = {"public": public, "private": private}
    with locks.locked(artifacts.SUBMISSIONS, wait=60):
        rows = read()
        row = best([row for row in rows if row["run"] == _cell(run)], known)
        lines = _lines(artifacts.LEDGER.read_bytes().decode("utf-8", errors="surrogateescape"))
        filled = [row[c] if not scores.get(c) else _cell(scores[c]) for c in COLUMNS]
        lines[1 + next(n for n, one in enumerate(rows) if one is row)] = _line(filled).decode()
        artifacts.write_bytes(artifacts.LEDGER, "".join(lines).encode("utf-8", errors="surrogateescape"))


def _lines(text: str) -> list[str]:
    """The records of a CSV as they stand, blank lines left to the one before; a quoted cell may hold line ends."""
    lines, records = io.StringIO(text, newline="").readlines(), []
    reader, done = csv.reader(iter(lines)), 0
    for cells in reader:
        piece = "".join(lines[done : reader.line_num])
        done = reader.line_num
        if cells:
            records.append(piece)
        else:
            records[-1] += piece
    return records


def _cell(value: Any) -> str:
    """Text; where a spreadsheet would run it as a formula, behind an apostrophe (FAULTS S7)."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not NUMBER.fullmatch(text) else text


def _line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()


def _unknown_header(header: Iterable[str]) -> Finding:
    return Finding(
        code="LEDGER-HEADER",
        what="the ledger's columns are not the ones that Podium writes",
        where=str(artifacts.LEDGER),
        found=",".join(header),
        risk="the row would land in the wrong columns; the file is left as it is",
        mend=f"give it the header {','.join(COLUMNS)}, or move it away: a new one is begun",
    )
