"""Reads a competition's tables as text, cell by cell as it stands: CSV files, the images of a COCO JSON file, or the files
that fit a path template."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pandas as pd

from competition.boxes import coco
from competition.csvfile import read_csv
from competition.errors import DataFault, Finding, SafetyFault, examples, nearest
from competition.keys import Competition

LONGEST = 255  # bytes of a file's name
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".dcm", ".dicom")
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
    """Absolute path of each row's picture, its parts divided by / on every system. Raises as `fill` does."""
    if config.image is None:
        return None
    template, root = getattr(config.image, part), f"{Path(config.data).resolve().as_posix()}/"

    def path(below: str) -> str:
        """A cell of Windows has backslashes; so has a name that its archive was unpacked to elsewhere."""
        slashed = "\\" in below and not os.path.exists(root + below)
        return root + (below.replace("\\", "/") if slashed else below)

    return fill(template, table, f"image: {template} ({part})").map(path)


def fill(template: str, table: pd.DataFrame, where: str) -> pd.Series:
    """[rows] the template with its fields' cells put in, by the table's index: paths below the data folder.

    Raises DataFault IMG-TEMPLATE where a field is no column, IMG-NAME where a name can't be a file's; SafetyFault SEC-PATH
    where a path leaves the data folder.
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
    strange = paths[paths.str.contains(r"[\x00-\x1f]", regex=True) | paths.map(_longest_part).gt(LONGEST)]
    if len(strange):
        what, place = "file names that no file can have", f"{where}, id {strange.index[0]!r}"
        found = f"control characters, or a part of over {LONGEST} bytes: {examples(p[:80] for p in strange)}"
        raise DataFault(Finding("IMG-NAME", what, place, found, "mend those cells"))
    bad = paths[paths.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]", regex=True)]
    if len(bad):
        what, place = "a path leaves the data folder", f"{where}, id {bad.index[0]!r}"
        risk = "files outside the competition would be read"
        raise SafetyFault(Finding("SEC-PATH", what, place, examples(bad), "mend those cells", risk))
    return paths


def _longest_part(path: str) -> int:
    return max(len(part.encode()) for part in path.split("/"))


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


def pattern(template: str) -> re.Pattern[str]:
    """A template as a regular expression: a field is a part of a name, the shortest that fits, and * any part."""
    parts = enumerate(re.split(r"{(\w+)}", template))
    return re.compile("".join(f"(?P<{p}>[^/]+?)" if i % 2 else re.escape(p).replace(r"\*", "[^/]*") for i, p in parts))


def _read_template(root: Path, template: str) -> pd.DataFrame:
    """One row a file: the template's fields, `path` (below the data folder) and `stem`, unique."""
    fits = pattern(template)
    rows = [(m.groupdict(), f) for f in _below(root, template) if not _hidden(f) and (m := fits.fullmatch(f))]
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
    below = table["path"].str.removeprefix(fixed).map(lambda p: Path(p).with_suffix("").as_posix())
    stem = table["path"].map(lambda p: Path(p).stem)
    table["stem"] = stem if stem.is_unique else below
    return table


def passed_over(root: Path, template: str) -> list[str]:
    """Of a path template what a user should know: hidden files are no rows (FS-HIDDEN), and a folder at the place of a
    field that holds none makes no label (CLASS-EMPTY)."""
    if "{" not in template:
        return []
    files = _below(root, template)
    hidden = [f for f in files if _hidden(f)]
    folder = os.path.dirname(template)
    known = {os.path.dirname(f) for f in files}
    folders = (
        {p.relative_to(root).as_posix() for p in root.glob(re.sub(r"{\w+}", "*", folder)) if p.is_dir()}
        if folder
        else set()
    )
    empty = sorted(f for f in folders - known if not _hidden(f)) if "{" in folder else []
    told = [f"FS-HIDDEN: {len(hidden)} hidden files are no rows: {examples(hidden)}"] * bool(hidden)
    return told + [f"CLASS-EMPTY: folders without a file that fits, so no label: {examples(empty)}"] * bool(empty)


def _below(root: Path, template: str) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.glob(re.sub(r"{\w+}", "*", template)) if p.is_file())


def _hidden(path: str) -> bool:
    """What a desktop or an archive left there: `.ipynb_checkpoints`, `__MACOSX`, `._a.jpg`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))
