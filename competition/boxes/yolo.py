"""Boxes of YOLO: a text file a picture, a line a box: class number, x_center, y_center, width, height as fractions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from competition import yaml
from competition.boxes import raw
from competition.boxes.raw import Box
from competition.errors import DataFault

LISTS = re.compile(r"(classes|labels)\.txt|.*\.names|.*\.ya?ml", re.I)  # files that may name the classes


def read(root: Path, files: pd.Series, contents: Sequence[bytes | None], names: dict[str, str] | None) -> pd.DataFrame:
    """The raw boxes. A missing file is a picture without any. names: class number -> name; null: the number serves.

    files: path below `root` by id. Raises DataFault DET-FORMAT with every line that is no box.
    """
    boxes, bad = [], [] if any(content is not None for content in contents) else [f"{files.iloc[0]}: no such file"]
    for (id, file), content in zip(files.items(), contents, strict=True):
        for n, line in enumerate((content or b"").decode("utf-8", "replace").splitlines(), 1):
            words, where = line.split(), f"{file}, line {n}"
            if len(words) == 5:
                label = words[0] if names is None else names.get(words[0], "")
                boxes.append(Box(str(id), label, words[1:], False, where))
            elif words:
                bad.append(f"{where}: {len(words)} words")
    if bad:
        mend = "a line is: class x_center y_center width height; mend the files, or `boxes: {source}`"
        raise DataFault(raw.malformed(str(root), bad, mend))
    return raw.table(boxes, "centers")


def class_names(root: Path, source: str, classes: Sequence[str] | None) -> dict[str, str] | None:
    """Class number -> name: of competition.yaml, or of a list in the folder of the labels or above; null where is none.

    A name in place of a number stays what it is.
    """
    names = {str(n): name for n, name in enumerate(classes)} if classes else _listed(root, source)
    return {name: name for name in names.values()} | names if names else None


def _listed(root: Path, source: str) -> dict[str, str]:
    folder = root / re.split(r"[{*]", source)[0].rpartition("/")[0]
    above = [folder, *folder.parents][: len(folder.relative_to(root).parts) + 1]
    files = (at / name for at in above if at.is_dir() for name in sorted(os.listdir(at)) if LISTS.fullmatch(name))
    return next(filter(None, map(names_in, files)), {})


def names_in(path: Path) -> dict[str, str]:
    """Class number -> name, of a file that LISTS knows: lines, or a YAML file's `names`; empty where it has none.

    Raises DataFault DET-FORMAT, and ConfigFault where the YAML can't be read.
    """
    text = path.read_text("utf-8-sig", "replace")
    if path.suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in text.splitlines() if line.strip()]
    elif re.search(r"^names\s*:", text, re.M):
        names = yaml.read(path)[0].get("names")
    else:
        return {}
    if not isinstance(names, (dict, list)):
        mend = "write `names: [first, second]` there, or `classes:` in competition.yaml"
        raise DataFault(raw.malformed(str(path), [f"names: {names!r}"[:80]], mend))
    return {str(n): str(name) for n, name in (names.items() if isinstance(names, dict) else enumerate(names))}
