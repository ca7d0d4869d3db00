"""Reads a competition's tables as text, cell by cell as it stands: CSV files, the images of a COCO JSON file, or the files
that fit a path template."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from competition.boxes import coco
from competition.errors import DataFault, Finding, SafetyFault, examples, nearest
from competition.keys import Competition

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
PACKED = {
    b"PK": "zip, or an Excel sheet", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z",
    b"Rar!": "rar", b"(\xb5/\xfd": "zstd",
}  # fmt: skip
MISSING = frozenset(
    ("", "?", "-", "NA", "N/A", "na", "n/a", "<NA>", "NaN", "NAN", "nan", "NaT", "NULL", "Null", "null", "NONE", "None",
     "none")
)  # fmt: skip


def read_rows(root: Path, source: str) -> pd.DataFrame:
    """A CSV, the images of a COCO JSON file, or the files that fit a path template, as a table of text."""
    if is_csv(source):
        return read_csv(root / source)
    return coco.images(root / source) if source.endswith(".json") else _read_template(root, source)


def is_csv(source: str) -> bool:
    """Whether `train`, `test` or `sample` names a CSV, neither a path template nor a JSON file."""
    return not source.endswith(".json") and not set("{*") & set(source)


def pictures(table: pd.DataFrame, config: Competition, part: str) -> pd.Series | None:
    """Absolute path of each row's picture. Raises as `fill` does."""
    if config.image is None:
        return None
    template = getattr(config.image, part)
    return f"{Path(config.data).resolve()}/" + fill(template, table, f"image: {template} ({part})")


def fill(template: str, table: pd.DataFrame, where: str) -> pd.Series:
    """[rows] the template with its fields' cells put in, by the table's index: paths below the data folder.

    Raises DataFault IMG-TEMPLATE where a field is no column, SafetyFault SEC-PATH where a path leaves the data folder.
    """
    fields = re.findall(r"{([^}]*)}", template)
    unknown = [f for f in fields if f not in table.columns]
    if unknown:
        what = "a path template names a column that does not exist"
        mend = nearest(unknown[0], table.columns)
        raise DataFault(Finding("IMG-TEMPLATE", what, where, f"{examples(unknown)} in {template}", mend))
    paths = pd.Series("", index=table.index)
    for i, text in enumerate(re.split(r"{([^}]*)}", template)):
        paths = paths + (table[text] if i % 2 else text)
    bad = paths[paths.str.contains(r"(?:^|/)\.\.(?:/|$)|^/|[\x00-\x1f]", regex=True)]
    if len(bad):
        what, place = "a path leaves the data folder", f"{where}, id {bad.index[0]!r}"
        risk = "files outside the competition would be read"
        raise SafetyFault(Finding("SEC-PATH", what, place, examples(bad), "mend those cells", risk))
    return paths


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV as text, cell by cell as it stands (`007`, `NA`, `1e5`). The delimiter is the header's: , ; or tab.

    Raises DataFault: CSV-MISSING, CSV-EMPTY, CSV-ENCODING, CSV-RAGGED, CSV-HEADER.
    """
    where = str(path)
    if not path.is_file():
        near = nearest(path.name, sorted(p.name for p in path.parent.glob("*.csv"))) if path.parent.is_dir() else ""
        raise DataFault(Finding("CSV-MISSING", "a table is missing", where, "no such file", f"mend the name; {near}"))
    _refuse_packed(path)
    try:
        with open(path, encoding="utf-8-sig") as f:
            header = f.readline()
        separator = separator_of(header)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
                low_memory=False,
            )
    except UnicodeDecodeError as e:
        raise DataFault(
            Finding(
                "CSV-ENCODING",
                "a table is not UTF-8",
                where,
                f"byte {e.start}: {e.object[e.start : e.start + 4]!r}",
                "save it as UTF-8 (iconv -f latin1 -t utf8 old.csv > new.csv)",
            )
        ) from None
    except pd.errors.EmptyDataError:
        raise DataFault(Finding("CSV-EMPTY", "a table is empty", where, "no columns", "fetch the file again")) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as e:
        raise DataFault(
            Finding(
                "CSV-RAGGED", "rows have more fields than the header", where, str(e).strip(), "mend or quote those rows"
            )
        ) from None
    if not len(table):
        raise DataFault(Finding("CSV-EMPTY", "a table has no rows", where, header.strip(), "fetch the file again"))
    short = table.isna().any(axis=1).to_numpy()
    if short.any():
        lines = [str(n + 2) for n in np.flatnonzero(short)]
        raise DataFault(
            Finding(
                "CSV-RAGGED",
                "rows have fewer fields than the header",
                where,
                f"lines {examples(lines)}",
                "mend those rows",
            )
        )
    doubled = [c for c in header.strip().split(separator) if header.strip().split(separator).count(c) > 1]
    if doubled:
        raise DataFault(
            Finding(
                "CSV-HEADER", "a column name stands twice", where, examples(sorted(set(doubled))), "rename one of them"
            )
        )
    return table


def _refuse_packed(path: Path) -> None:
    """Raises SafetyFault SEC-ARCHIVE. We unpack nothing: names in an archive may lead out of its folder, and a few bytes
    may become gigabytes.
    """
    with open(path, "rb") as f:
        head = f.read(265)
    kind = next((kind for mark, kind in PACKED.items() if head.startswith(mark)), "tar" * (head[257:262] == b"ustar"))
    if kind:
        what, found = "a table is a packed file", f"{kind}, {path.stat().st_size:,} bytes"
        risk, mend = "nothing of it was read", "unpack it with a tool of yours, or save the sheet as CSV"
        raise SafetyFault(Finding("SEC-ARCHIVE", what, str(path), found, mend, risk))


def separator_of(header: str) -> str:
    """Of comma, semicolon and tab the one that stands most often outside quotes; a comma where none does."""
    return max(",;\t", key=re.sub(r'"[^"]*"', "", header).count)


def said(cells: pd.Series) -> pd.Series:
    """[rows] bool: which cells of a target say something. `NA` and the like are missing where all others are numbers."""
    missing = cells.isin(MISSING)
    numbers = pd.to_numeric(cells[~missing], errors="coerce").notna().all() and not missing.all()
    return ~missing if numbers else cells != ""


def label_sets(cells: pd.Series, separator: str) -> pd.Series:
    """`"a b"` -> ["a", "b"] cell by cell; an empty cell is an empty set."""
    return cells.map(lambda cell: [label.strip() for label in cell.split(separator) if label.strip()])


def natural(values: set[str]) -> tuple[str, ...]:
    """Numbers by value, everything else by text."""

    def number(v: str) -> float | None:
        try:
            return float(v) if math.isfinite(float(v)) else None
        except ValueError:
            return None

    numeric = all(number(v) is not None for v in values)
    return tuple(sorted(values, key=lambda v: (float(v), v)) if numeric else sorted(values))


def _read_template(root: Path, template: str) -> pd.DataFrame:
    """One row a file: the template's fields, `path` (below the data folder) and `stem`, unique."""
    pattern = re.compile(
        "".join(
            f"(?P<{p}>[^/]+?)" if i % 2 else re.escape(p).replace(r"\*", "[^/]*")
            for i, p in enumerate(re.split(r"{(\w+)}", template))
        )
    )
    files = sorted(str(p.relative_to(root)) for p in root.glob(re.sub(r"{\w+}", "*", template)) if p.is_file())
    rows = [(m.groupdict(), f) for f in files if not Path(f).name.startswith(".") and (m := pattern.fullmatch(f))]
    if not rows:
        raise DataFault(
            Finding(
                "DATA-TEMPLATE",
                "no file fits the path template",
                f"{root}/{template}",
                "0 files",
                "mend the template; fields in braces stand for one folder or file name part",
            )
        )
    table = pd.DataFrame([fields for fields, _ in rows], dtype=str)
    table["path"] = [f for _, f in rows]
    fixed = re.split(r"[{*]", template)[0]
    below = table["path"].str.removeprefix(fixed).map(lambda p: str(Path(p).with_suffix("")))
    stem = table["path"].map(lambda p: Path(p).stem)
    table["stem"] = stem if stem.is_unique else below
    return table
