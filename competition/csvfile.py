"""One CSV file as text, cell by cell as it stands, or what is wrong with it, with the lines."""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import pandas as pd

from competition.errors import DataFault, Finding, SafetyFault, examples, nearest

SEPARATORS = ",;\t|"
CHUNK = 1 << 20
OTHERS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
PACKED = {
    b"PK\x03\x04": "zip, or an Excel sheet", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z",
    b"Rar!": "rar", b"(\xb5/\xfd": "zstd",
}  # fmt: skip
SHOWN = 5  # lines of a kind

csv.field_size_limit(2**31 - 1)  # a cell may be long: run-length masks, texts


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV as text, cell by cell as it stands (`007`, `NA`, `1e5`). The delimiter is the header's: , ; | or tab.

    Raises DataFault: CSV-MISSING, CSV-EMPTY, CSV-ENCODING, CSV-NUL, CSV-QUOTE, CSV-CUT, CSV-RAGGED, CSV-HEADER.
    """
    if not path.is_file():
        near = nearest(path.name, sorted(p.name for p in path.parent.glob("*.csv"))) if path.parent.is_dir() else ""
        raise _fault("CSV-MISSING", "a table is missing", path, "no such file", f"mend the name; {near}")
    with open(path, "rb") as file:
        _not_packed(file, path)
        start = _after_marks(file, path)
        _no_zero_bytes(file, path)
        file.seek(start)
        try:
            header = _header(file)
            separator = separator_of(header)
            file.seek(start)
            table = _parsed(file, separator)
        except UnicodeDecodeError:
            raise _not_utf8(file, path) from None
        except pd.errors.EmptyDataError:
            raise _fault("CSV-EMPTY", "a table is empty", path, "no columns", "fetch the file again") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning) as e:
            raise _unparsed(path, start, separator, str(e).strip()) from None
    if not len(table):
        raise _fault("CSV-EMPTY", "a table has no rows", path, header.strip(), "fetch the file again")
    _, names = next(_numbered(path, start, separator))
    _no_name_twice(names, path)
    if (table.iloc[:, -1] == "").any() and len(names) > 1:  # pandas (3.1.1) fills a short row with empty cells
        for _, cells in _numbered(path, start, separator):
            if len(cells) != len(names):
                raise _unparsed(path, start, separator, "")
    return table


def _not_packed(file: BinaryIO, path: Path) -> None:
    """Raises SafetyFault SEC-ARCHIVE. We unpack nothing: names in an archive may lead out of its folder, and a few bytes
    may become gigabytes.
    """
    head = file.read(265)
    kind = next((kind for mark, kind in PACKED.items() if head.startswith(mark)), "tar" * (head[257:262] == b"ustar"))
    if kind:
        what, found = "a table is a packed file", f"{kind}, {path.stat().st_size:,} bytes"
        risk, mend = "nothing of it was read", "unpack it with a tool of yours, or save the sheet as CSV"
        raise SafetyFault(Finding("SEC-ARCHIVE", what, str(path), found, mend, risk))
    file.seek(0)


def separator_of(header: str) -> str:
    """Of comma, semicolon, tab and bar the one that stands most often outside quotes; a comma where none does."""
    return max(SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)


def ends_cut(path: Path) -> bool:
    """Whether the last line has no end."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        if not file.tell():
            return False
        file.seek(-1, 2)
        return file.read(1) not in (b"\n", b"\r")


def _fault(code: str, what: str, path: Path, found: str, mend: str) -> DataFault:
    return DataFault(Finding(code, what, str(path), found, mend))


def _parsed(file: BinaryIO, separator: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8",
            index_col=False,
            low_memory=False,
        )


def _after_marks(file: BinaryIO, path: Path) -> int:
    """Where the text begins, behind any byte-order marks. Raises DataFault CSV-ENCODING where they are of UTF-16."""
    head = file.read(64)
    for mark, name in OTHERS.items():
        if head.startswith(mark):
            mend = f"save it as UTF-8: iconv -f {name} -t utf8 {path.name} > new.csv"
            raise _fault("CSV-ENCODING", "a table is not UTF-8", path, f"byte 0: {mark!r}, the mark of {name}", mend)
    start = 0
    while head.startswith(codecs.BOM_UTF8, start):
        start += len(codecs.BOM_UTF8)
    return start


def _no_zero_bytes(file: BinaryIO, path: Path) -> None:
    file.seek(0)
    lines, at = 1, 0
    while chunk := file.read(CHUNK):
        if (first := chunk.find(b"\0")) >= 0:
            line = lines + chunk[:first].count(b"\n")
            mend = "fetch the file again (a disk that was full, or a copy that broke off, leaves zeros)"
            if chunk[:64].count(b"\0") > 20:
                mend = f"it may be UTF-16 without its mark: iconv -f utf-16le -t utf8 {path.name} > new.csv"
            raise _fault(
                "CSV-NUL", "a table has zero bytes", Path(f"{path}, line {line}"), f"byte {at + first:,} is 0", mend
            )
        lines, at = lines + chunk.count(b"\n"), at + len(chunk)


def _header(file: BinaryIO) -> str:
    """The first line that says something."""
    return next((text for line in file if (text := line.decode()).strip()), "")


def _not_utf8(file: BinaryIO, path: Path) -> DataFault:
    """Where the first byte stands that is not UTF-8, and what encoding is likely."""
    file.seek(0)
    content = file.read()
    try:
        content.decode()
        raise AssertionError("pandas reads UTF-8 as Python does")
    except UnicodeDecodeError as e:
        at = e.start
    likely = (
        "cp1252" if any(0x80 <= byte < 0xA0 for byte in content[at : at + CHUNK] if byte not in _UNSET) else "latin1"
    )
    line = content[:at].count(b"\n") + 1
    word = content[max(0, at - 10) : at + 10].decode(likely, errors="replace").replace("\n", " ")
    found = f"byte {at:,}, line {line}: {content[at : at + 4]!r}; read as {likely} it says {word!r}"
    mend = f"save it as UTF-8: iconv -f {likely} -t utf8 {path.name} > new.csv"
    return _fault("CSV-ENCODING", "a table is not UTF-8", path, found, mend)


_UNSET = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # cp1252 has no such letters


def _unparsed(path: Path, start: int, separator: str, said: str) -> DataFault:
    """What keeps a file from being a table: rows of another length than the header, or a quote that is never closed."""
    if quote := re.search(r"EOF inside string starting at row (\d+)", said):
        place = Path(f"{path}, line {int(quote[1]) + 1}")
        found, mend = "the file ends inside the quotes", 'close them; a quote inside a cell is written twice, ""'
        return _fault("CSV-QUOTE", "a quoted cell is never closed", place, found, mend)
    wrong, width = [], None
    try:
        for line, cells in _numbered(path, start, separator):
            width = len(cells) if width is None else width
            if len(cells) != width:
                wrong.append((line, len(cells)))
    except (csv.Error, UnicodeDecodeError) as e:
        return _fault("CSV-RAGGED", "rows are no rows of the table", path, f"{e}; {said}", "mend or quote those rows")
    if len(wrong) == 1 and wrong[0] == (line, len(cells)) and len(cells) < (width or 0) and ends_cut(path):
        place, mend = Path(f"{path}, line {line}"), "fetch the file again; rows after it are missing too"
        return _fault("CSV-CUT", "a table ends in the midst of its last row", place, f"{examples(cells)}", mend)
    what = "rows have more fields than the header" if any(n > (width or 0) for _, n in wrong) else (
        "rows have fewer fields than the header")  # fmt: skip
    lines = ", ".join(f"line {line} has {n}" for line, n in wrong[:SHOWN]) or said
    found = f"the header has {width}, {lines}" + (f", ... ({len(wrong)} in all)" if len(wrong) > SHOWN else "")
    mend = "mend those rows; a cell that holds the delimiter is quoted"
    if width and len(wrong) > SHOWN and len({n for _, n in wrong}) == 1 and wrong[0][1] == width + 1:
        mend = "every row has one field more: name the first column in the header (an index was saved without a name?)"
    return _fault("CSV-RAGGED", what, path, found, mend)


def _numbered(path: Path, start: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line (the last of a row that goes over several) and cells of each row that is not blank."""
    with open(path, encoding="utf-8", newline="") as file:
        file.seek(start)
        reader = csv.reader(_plain_ends(file), delimiter=separator)
        yield from ((reader.line_num, cells) for cells in reader if cells)


def _plain_ends(file: TextIO) -> Iterator[str]:
    """Lines, whichever way they end."""
    for line in file:
        yield from line.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True) if "\r" in line else (line,)


def _no_name_twice(header: list[str], path: Path) -> None:
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise _fault("CSV-HEADER", "a column name stands twice", path, examples(doubled), "rename one of them")
