"""Boxes of Pascal VOC: an XML file a picture, with its size and an `object` a box.

VOC's own pixels count from 1 and include the last one; most tools that write the form count from 0, so numbers stay as
they are: the difference is one pixel at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from competition.boxes import raw
from competition.boxes.raw import Box
from competition.errors import DataFault

EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(root: Path, files: pd.Series, contents: Sequence[bytes | None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The raw boxes, and the sizes the files state: [files] width, height by id, nan where they don't.

    files: path below `root` by id. Raises DataFault DET-FORMAT with every file that is missing or can't be read.
    """
    boxes, sizes, bad = [], [], []
    for (id, file), content in zip(files.items(), contents, strict=True):
        try:
            picture = _parse(content)
        except ValueError as e:
            bad.append(f"{file}: {e}")
            continue
        sizes.append((id, *(raw.number(picture.findtext(f"size/{side}")) for side in ("width", "height"))))
        boxes += [_box(str(id), item, f"{file}, object {n}") for n, item in enumerate(picture.findall("object"), 1)]
    if bad:
        mend = "fetch those files again, or mend `boxes: {source}`; a picture without boxes has a file without object"
        raise DataFault(raw.malformed(str(root), bad, mend))
    stated = pd.DataFrame(sizes, columns=["id", "width", "height"]).set_index("id")
    return raw.table(boxes, "corners"), stated.where(stated > 0)


def _parse(content: bytes | None) -> ElementTree.Element:
    """Raises ValueError. A file that declares entities is not read: they can grow without bound."""
    if content is None:
        raise ValueError("no such file")
    if b"<!ENTITY" in content:
        raise ValueError("declares entities")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError) as e:
        raise ValueError(f"no XML: {e}") from None


def _box(id: str, item: ElementTree.Element, where: str) -> Box:
    name = (item.findtext("name") or "").strip()
    numbers = [item.findtext(f"bndbox/{edge}") for edge in EDGES]
    return Box(id, name, numbers, (item.findtext("difficult") or "").strip() == "1", where)
