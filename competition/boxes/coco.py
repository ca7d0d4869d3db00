"""Boxes of COCO: one JSON file with `images`, `annotations` (bbox: x_min, y_min, width, height) and `categories`. Files of
the same form whose annotations have no bbox say the class of a whole image; there the images' table has it as a column.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.boxes import raw
from competition.boxes.raw import Box
from competition.errors import DataFault, examples

SCALAR = (str, int, float, bool, type(None))
MEND = "write the file as COCO has it: images, annotations, categories"


@dataclass(frozen=True)
class Coco:
    """images: [images] the scalar values as text, and `stem`. boxes: raw boxes by the image's own id, as text.

    stated: [images] width and height as the file has them, nan where it has none; all three by that id.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    stated: pd.DataFrame


def images(path: Path) -> pd.DataFrame:
    """The file's images as a table of text, a row each, with what annotations without boxes say of them.

    Raises DataFault DET-FORMAT.
    """
    content = _load(path)
    return _labelled(_images(content, path), content.get("annotations"))


def read(path: Path) -> Coco:
    """Raises DataFault DET-FORMAT with all that can't be read."""
    content = _load(path)
    table = _images(content, path)
    if "id" not in table or not table["id"].is_unique:
        raise DataFault(raw.malformed(str(path), ["images without an id, or with one id twice"], MEND))
    table = table.set_index(pd.Index(table["id"], name="id"))
    names = _categories(content)
    boxes, bad = [], []
    for n, item in enumerate(_list(content, "annotations", path)):
        where = f"{path.name}, annotation {item['id'] if isinstance(item, dict) and 'id' in item else n}"
        try:
            boxes.append(_box(item, names, where))
        except ValueError as e:
            bad.append(f"{where}: {e}")
    unknown = sorted({box.id for box in boxes} - set(table.index))
    bad += [f"annotations of images that are not listed: {examples(unknown)}"] if unknown else []
    if bad:
        raise DataFault(raw.malformed(str(path), bad, MEND))
    return Coco(table, raw.table(boxes, "sizes"), _stated(table))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(raw.read_file(path))
    except (ValueError, RecursionError) as e:
        raise DataFault(raw.malformed(str(path), [f"no JSON: {e}"], "fetch the file again")) from None
    if not isinstance(content, dict):
        raise DataFault(raw.malformed(str(path), [f"a {type(content).__name__}, not a mapping"], MEND))
    return content


def _list(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        found = f"no list {key!r} among {examples(content)}"
        raise DataFault(raw.malformed(str(path), [found], MEND))
    return value


def _images(content: dict[str, Any], path: Path) -> pd.DataFrame:
    listed = _list(content, "images", path)
    bad = [f"image {n} is {str(item)[:40]!r}" for n, item in enumerate(listed) if not isinstance(item, dict)]
    if bad or not listed:
        raise DataFault(raw.malformed(str(path), bad or ["images is empty"], MEND))
    columns = dict.fromkeys(key for item in listed for key, value in item.items() if isinstance(value, SCALAR))
    cells = {key: ["" if item.get(key) is None else str(item[key]) for item in listed] for key in columns}
    table = pd.DataFrame(cells, dtype="str")
    if "file_name" in table and "stem" not in table:
        table["stem"] = table["file_name"].map(lambda name: Path(name).stem).astype("str")
    return table


def _labelled(table: pd.DataFrame, listed: Any) -> pd.DataFrame:
    """With columns such as category_id; the values of an image with several annotations are divided by |."""
    if "id" not in table or not labels(listed):
        return table
    columns = dict.fromkeys(key for item in listed for key, value in item.items() if isinstance(value, SCALAR))
    columns = [key for key in columns if key != "image_id" and key not in table]
    cells = {key: ["" if item.get(key) is None else str(item[key]) for item in listed] for key in columns}
    said = pd.DataFrame(cells, index=pd.Index([str(item["image_id"]) for item in listed]), dtype="str")
    if not said.index.is_unique:
        said = said.groupby(level=0, sort=False).agg(lambda values: "|".join(dict.fromkeys(values)))
    return table.join(said, on="id").fillna(dict.fromkeys(columns, ""))


def labels(listed: Any) -> bool:
    """Whether these are annotations of whole images: each names one, and none has a box."""
    known = isinstance(listed, list) and len(listed) > 0
    return known and all(isinstance(item, dict) and "image_id" in item and "bbox" not in item for item in listed)


def _categories(content: dict[str, Any]) -> dict[str, str] | None:
    """Number -> name; None where the file has no categories, and the numbers serve."""
    listed = content.get("categories")
    if not isinstance(listed, list) or not listed:
        return None
    return {str(item.get("id")): str(item.get("name", item.get("id"))) for item in listed if isinstance(item, dict)}


def _box(item: Any, names: dict[str, str] | None, where: str) -> Box:
    """Raises ValueError. A class that has no name is empty."""
    if not isinstance(item, dict) or "image_id" not in item:
        raise ValueError("no image_id")
    numbers = item.get("bbox")
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise ValueError(f"bbox {numbers!r}"[:80])
    number = "" if item.get("category_id") is None else str(item["category_id"])
    label = number if names is None else names.get(number, "")
    return Box(str(item["image_id"]), label, numbers, item.get("iscrowd") in (1, "1"), where)


def _stated(table: pd.DataFrame) -> pd.DataFrame:
    missing = pd.Series(np.nan, index=table.index)
    sides = {side: pd.to_numeric(table.get(side, missing), errors="coerce") for side in ("width", "height")}
    return pd.DataFrame(sides, dtype=float)
