"""Files with boxes beside the tables: Pascal VOC (XML), YOLO (text) or COCO (JSON); where they lie, and their classes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from competition.boxes import yolo
from competition.errors import examples
from competition.inspect.guess import Guess, question
from competition.inspect.listings import content
from competition.inspect.pictures import ENOUGH, Index, listing, templates
from competition.tables import natural, read_rows

YOLO_LINES = re.compile(r"(\s*\d+( +-?\d*\.?\d+(e-?\d+)?){4}\s*(\n|$))+")
VOC_NAMES = re.compile(r"<object>.*?<name>\s*([^<]*?)\s*</name>", re.DOTALL)
PROBED = 20  # files by whose content a kind is told


@dataclass(frozen=True)
class Annotations:
    """The files of one kind. source: the key `boxes.source`, and `train` where no table lists the pictures.

    files: those of the training pictures. labels: [picture and class] class names or YOLO's numbers, once a picture.
    classes: names in order of YOLO's numbers.
    """

    what: str
    source: str
    files: list[str]
    labels: pd.Series
    classes: tuple[str, ...] | None = None


def find_annotations(sample: pd.DataFrame, index: Index) -> Annotations | None:
    """The files with the training boxes, where there are some. Raises ConfigFault INIT-TRAIN where several could be."""
    ids = {Path(cell).stem for cell in sample.iloc[:, 0].str.strip()}
    files = [f for f in listing(index.root, (".xml", ".txt", ".json")) if Path(f).stem not in ids]
    return _voc(index.root, files, sample) or _yolo(index, files, sample) or _coco(index.root, files)


def find_rows(annotations: Annotations, root: Path) -> Guess:
    """The key `train` where no table lists the pictures. Raises ConfigFault INIT-TRAIN where it would take other files."""
    reason = f"no table lists the pictures; the {annotations.what} files do"
    if not annotations.source.endswith(".json"):
        others = sorted(set(read_rows(root, annotations.source)["path"]) - set(annotations.files))
        if others:
            what = (
                f"{annotations.source} takes files that are no training picture's: move them away, or list the pictures"
            )
            raise question("train", what, root, examples(others), "train.csv")
    return Guess("train", annotations.source, reason)


def source_for(annotations: Annotations, train: pd.DataFrame, train_name: str, root: Path) -> str:
    """`Annotations/{id}.xml`, by the column of the train table that names the files. Raises ConfigFault INIT-TRAIN."""
    if annotations.source.endswith(".json") or train_name == annotations.source:
        return annotations.source
    index = Index(root, (Path(annotations.source).suffix,))
    for column in train.columns:
        if any(map(index.around, train[column].iloc[:: len(train) // 200 + 1])):
            counts, reached = templates(train, column, index)
            template, n = counts.most_common(1)[0]
            if n == reached >= ENOUGH * len(train):
                return template
    what = f"no column of the train table leads to the {annotations.what} files"
    raise question("train", what, train_name, f"columns {examples(train.columns, 12)}", annotations.source)


def _voc(root: Path, files: list[str], sample: pd.DataFrame) -> Annotations | None:
    files = [f for f in files if f.endswith(".xml")]
    if not files or not all("<annotation" in _text(root / f)[:1000] for f in files[:PROBED]):
        return None
    labels = _labels((f, name) for f in files for name in VOC_NAMES.findall(_text(root / f)))
    return Annotations("Pascal VOC", _template(root, files, sample), files, labels)


def _yolo(index: Index, files: list[str], sample: pd.DataFrame) -> Annotations | None:
    stems = {Path(f).stem for f in index.files}
    files = [f for f in files if f.endswith(".txt") and Path(f).stem in stems]
    texts = {f: _text(index.root / f) for f in files}
    full = [f for f in files if texts[f].strip()]
    if not full or not all(YOLO_LINES.fullmatch(texts[f]) for f in full[:PROBED]):
        return None
    labels = _labels((f, line.split()[0]) for f in full for line in texts[f].splitlines() if line.strip())
    return Annotations("YOLO", _template(index.root, files, sample), files, labels, _yolo_names(index.root))


def _yolo_names(root: Path) -> tuple[str, ...] | None:
    """Class names by number, of the first file that has some."""
    files = (root / f for f in listing(root, (".txt", ".names", ".yaml", ".yml")) if yolo.LISTS.fullmatch(Path(f).name))
    names = next(filter(None, map(yolo.names_in, files)), None)
    return tuple(names[number] for number in natural(set(names))) if names else None


def _coco(root: Path, files: list[str]) -> Annotations | None:
    contents = {f: _coco_content(root / f) for f in files if f.endswith(".json")}
    found = [f for f, inside in contents.items() if inside]
    found = [f for f in found if "train" in f.lower()] or found
    if not found:
        return None
    if len(found) > 1:
        what = "several COCO files could hold the training boxes"
        raise question("train", what, root, examples(found), found[0])
    inside = contents[found[0]]
    names = {c["id"]: str(c["name"]) for c in inside.get("categories", ())}
    labels = _labels((str(a["image_id"]), names.get(a["category_id"], "")) for a in inside["annotations"])
    return Annotations("COCO", found[0], found, labels)


def _coco_content(path: Path) -> dict[str, Any]:
    """What a JSON file holds, empty where it has no pictures and boxes."""
    inside = content(path)
    marks = inside.get("annotations")
    known = inside.get("images") and isinstance(marks, list) and marks
    return inside if known and all("bbox" in mark for mark in marks[:PROBED]) else {}


def _template(root: Path, files: list[str], sample: pd.DataFrame) -> str:
    """`labels/{split}/{image_id}.txt`: the path of a picture's file, the id by the sample's name of it."""
    first = sample.columns[0]
    field = first if re.fullmatch(r"[A-Za-z_]\w*", first) and first not in ("path", "stem", "split") else "name"
    below = [f.split("/") for f in files]
    levels = [set(level) for level in zip(*(parts[:-1] for parts in below), strict=False)]
    torn = [level for level in levels if len(level) > 1]
    folders = [next(iter(level)) if len(level) == 1 else "{split}" for level in levels]
    template = "/".join([*folders, f"{{{field}}}{os.path.splitext(files[0])[1]}"])
    if len({len(parts) for parts in below}) > 1 or len(torn) > 1:
        what = "the files of the boxes lie in folders that no one template names"
        raise question("train", what, root, examples(files), "Annotations/{id}.xml")
    return template


def _labels(pairs: Iterator[tuple[str, str]]) -> pd.Series:
    return pd.Series([label for _, label in dict.fromkeys(pairs)], dtype="str")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
