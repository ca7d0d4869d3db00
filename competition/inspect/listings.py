"""JSON files that list pictures in COCO's form, with a class of the whole picture in place of boxes: the tables of train
and test where no CSV is one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from competition.boxes import coco
from competition.errors import examples
from competition.inspect.guess import Guess, question


def find_train_listing(root: Path) -> Guess | None:
    """The key `train`, where a file with `train` in its name, or else any, has it. Raises ConfigFault INIT-TRAIN."""
    files = sorted(path.name for path in root.glob("*.json"))
    files = [f for f in files if "train" in f.lower()] or [f for f in files if "test" not in f.lower()]
    contents = {file: content(root / file) for file in files}
    found = [f for f, inside in contents.items() if inside.get("images") and coco.labels(inside.get("annotations"))]
    if len(found) > 1:
        raise question("train", "several files list pictures and their classes", root, examples(found), found[0])
    if not found:
        return None
    n = len(contents[found[0]]["images"])
    return Guess("train", found[0], f"no table lists the training pictures; this file does, {n} with their classes")


def find_test_listing(root: Path, train_name: str, sample: pd.DataFrame) -> Guess | None:
    """The key `test`, where a file lists the sample's pictures."""
    ids = set(sample.iloc[:, 0].str.strip())
    for file in sorted((path.name for path in root.glob("*.json")), key=lambda name: "test" not in name.lower()):
        if file != train_name and content(root / file).get("images"):
            table = coco.images(root / file)
            if any(set(table[column]) == ids for column in table.columns):
                return Guess("test", file, f"its {len(table)} pictures are the sample's ids")
    return None


def content(path: Path) -> dict[str, Any]:
    """What a JSON file holds, empty where it is no mapping with a list of images."""
    try:
        inside = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError:
        return {}
    return inside if isinstance(inside, dict) and isinstance(inside.get("images"), list) else {}
