"""A competition of seconds, with pictures and columns, for benchmarks that run the whole chain hundreds of times; and its
folder as a table of digests, by which two runs of the chain are compared.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

import competition
from competition import artifacts, cli

TRAIN, TEST = 36, 9
RUNS: dict[str, dict[str, Any]] = {
    "photo": {"task": "image", "backbone": "test_resnet", "pretrained": False, "size": 32, "epochs": 2, "batch": 8,
              "lr": 0.003, "augment": "light", "views": ["plain", "hflip"], "jobs": 1},
    "table": {"task": "tabular", "model": "lightgbm", "bag": 1, "jobs": 1, "tune": {"finalists": 0},
              "search": {"params.num_leaves": {"low": 3, "high": 9}},
              "params": {"num_iterations": 10, "min_data_in_leaf": 3}},
    "both": {"members": ["toy/photo", "toy/table"]},
}  # fmt: skip
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("folds", "toy"),
    ("train", "toy/photo", "--fold", "0"),
    ("submission", "toy/photo"),
    ("tabular", "toy/table"),
    ("submission", "toy/both"),
    ("tune", "toy/table", "--trials", "2"),
)
HEAVY = (
    "torch",
    "timm",
    "lightgbm",
    "optuna",
    "sqlalchemy.dialects.sqlite",
    "skops.io",
    "sklearn.ensemble",
    "pyarrow.parquet",
)
KEYS = r"seconds|images_per_second|basis|seal|finished|made|of|model\d+-features\.skops|model\d+\.json"
PASSING = re.compile(rf'"({KEYS})": ("[^"]*"|[-\d.e]+|\{{[^}}]*\}}),?')


def make(folder: Path, seed: int = 0) -> None:
    """data/ and configs/ of the competition `toy`."""
    rng = np.random.default_rng(seed)
    level = np.arange(TRAIN + TEST) % 3
    (folder / "data/images").mkdir(parents=True)
    for n, brightness in enumerate(level):
        picture = rng.integers(0, 60, (20, 24, 3)) + 80 * brightness
        cv2.imwrite(str(folder / f"data/images/{n:03d}.png"), picture.astype(np.uint8))
    size = (level + rng.normal(0, 0.7, len(level))).round(3)
    table = pd.DataFrame({"id": [f"{n:03d}" for n in range(len(level))], "size": size})
    labelled = table.assign(label=np.array(["dark", "grey", "light"])[level])
    labelled[:TRAIN].to_csv(folder / "data/train.csv", index=False)
    table[TRAIN:].to_csv(folder / "data/test.csv", index=False)
    labelled[TRAIN:][["id", "label"]].assign(label="dark").to_csv(folder / "data/sample_submission.csv", index=False)
    (folder / "configs/toy").mkdir(parents=True)
    contest = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy",
                   "image": "images/{id}.png", "folds": {"n": 2}, "tracking": "none"}  # fmt: skip
    for name, values in {"competition": contest, **RUNS}.items():
        (folder / f"configs/toy/{name}.yaml").write_text(yaml.safe_dump(values))


def warm() -> None:
    """Imports all that the commands need, so that a forked child begins at once; of one thread, for a fork has no more."""
    os.environ["OMP_NUM_THREADS"] = "1"
    ours = [
        m.name for m in pkgutil.walk_packages(competition.__path__, "competition.") if m.name != "competition.__main__"
    ]
    for name in (*HEAVY, *ours):
        importlib.import_module(name)


def nothing() -> None:
    pass


def command(
    words: tuple[str, ...], before: Callable[[], object] = nothing, after: Callable[[], object] = nothing
) -> tuple[int | None, str]:
    """`python -m competition ...` in a child of this process: its exit code, None for a traceback; and what it said.

    before, after: are done in the child. The clock of the day stands still there, so that two runs write the same stamps.
    """
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        os.dup2(into, 1)
        os.dup2(into, 2)
        os._exit(_run(words, before, after))
    os.close(into)
    with open(out, "rb") as f:
        said = f.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if "Traceback (most recent call last)" in said or code == CRASHED else code, said


CRASHED = 99


def _run(words: tuple[str, ...], before: Callable[[], object], after: Callable[[], object]) -> int:
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    time.strftime = lambda *_: "2026-01-01T00:00:00+0000"  # ty: ignore[invalid-assignment]
    try:
        before()
        return cli.main(words)
    except BaseException:
        traceback.print_exc()
        return CRASHED
    finally:
        after()


def files(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files below, without what differs from one run to the next: durations, logs, locks, pages of a
    database."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.name not in ("log.txt", ".lock") and "locks/" not in name:
            found[name] = plain(path)
    return found


def plain(path: Path) -> bytes:
    """A file's content without durations and what they enter."""
    if path.name in ("study.db", "index.parquet", "built.json") or path.suffix == ".skops":
        return b""  # times of trials and of files, places of objects in memory
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        return PASSING.sub("", content.decode(errors="replace")).encode()
    if path.name == "trials.csv":
        return pd.read_csv(path).filter(regex="^(number|state|value|lr|score)").to_csv().encode()
    return content


def whole(path: Path) -> bool:
    """Whether a file is all there and what was written, as far as its form tells."""
    with contextlib.suppress(Exception):
        if path.suffix == ".json":
            artifacts.read_json(path)
        elif path.suffix == ".parquet":
            artifacts.read_table(path)
        elif path.suffix == ".ckpt":
            artifacts.read_sealed(path)
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_text().split("\n")[:-1]]
        elif path.suffix == ".db":
            import sqlite3

            return sqlite3.connect(path).execute("pragma integrity_check").fetchone() == ("ok",)
        else:
            return False
        return True
    return False
