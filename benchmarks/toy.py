"""A small real competition, with pictures and columns, that benchmarks kill, starve and damage hundreds of times; its
commands as forks; which of its files are whole; and its results as digests, by which two runs are compared.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
import yaml
from safetensors import safe_open

import competition
from competition import artifacts, cli
from competition.tracking import read

TRAIN, TEST, FOLDS = 48, 12, 3
TRIALS = 4
TIMED = {
    "time",
    "git",
    "made",
    "basis",
    "of",
    "seconds",
    "finished",
    "images_per_second",
    "threads",
    "inputs",
    "makers",
    "seal",
}
IMAGE = {
    "task": "image", "backbone": "test_resnet", "pretrained": False, "size": 32, "epochs": 4, "batch": 8, "lr": 0.003,
    "warmup": 1, "drop": 0.2, "mixup": 0.4, "cutmix": 1.0, "ema": 0.9, "clip": 1.0, "augment": "light",
    "views": ["plain", "hflip"], "device": "cpu", "jobs": 1,
}  # fmt: skip
TABLE = {"task": "tabular", "model": "lightgbm", "bag": 2, "params": {"num_iterations": 40}, "device": "cpu", "jobs": 1}
RUNS: dict[str, dict[str, Any]] = {
    "image": IMAGE,
    "table": TABLE,
    "blend": {"members": ["toy/image", "toy/table"]},
    "both": {"members": ["toy/nets", "toy/table"]},
    "trees": TABLE | {
        "bag": 1, "search": {"params.learning_rate": [0.03, 0.07, 0.15, 0.3]},
        "tune": {"sampler": "grid", "stop": "none", "finalists": 1},
    },
    "nets": IMAGE | {
        "epochs": 2, "views": ["plain"], "search": {"lr": [0.001, 0.003]},
        "tune": {"sampler": "grid", "stop": "none", "halving": False, "finalists": 0},
    },
}  # fmt: skip
COMMANDS: tuple[tuple[str, ...], ...] = (  # of seconds each
    ("folds", "toy"),
    ("train", "toy/nets", "--fold", "0"),
    ("submission", "toy/nets"),
    ("tabular", "toy/table"),
    ("submission", "toy/both"),
    ("tune", "toy/trees", "--trials", "2"),
)
HEAVY = (
    "torch",
    "timm",
    "lightgbm",
    "optuna.storages._rdb.models",
    "alembic.config",
    "sqlalchemy.dialects.sqlite",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "skops.io",
    "sklearn.ensemble",
    "pyarrow.parquet",
)


def make(folder: Path, folds: int = FOLDS) -> None:
    """The toy competition: noise of three levels of brightness, and columns that tell them roughly."""
    rng, n = np.random.default_rng(0), TRAIN + TEST
    level, ids = np.arange(n) % 3, [f"{i:03d}" for i in range(n)]
    pictures = folder / "data" / "images"
    pictures.mkdir(parents=True)
    for name, brightness in zip(ids, level, strict=True):
        cv2.imwrite(
            str(pictures / f"{name}.png"), (rng.integers(0, 60, (20, 24, 3)) + 70 * brightness).astype(np.uint8)
        )
    table = pd.DataFrame({"id": ids, "size": (level + rng.normal(0, 0.7, n)).round(3), "note": rng.integers(0, 5, n)})
    label = np.array(["dark", "grey", "light"])[level]
    table.assign(label=label)[:TRAIN].to_csv(folder / "data" / "train.csv", index=False)
    table[TRAIN:].to_csv(folder / "data" / "test.csv", index=False)
    sample = pd.DataFrame({"id": ids[TRAIN:]} | dict.fromkeys(("dark", "grey", "light"), 1 / 3))
    sample.to_csv(folder / "data" / "sample_submission.csv", index=False)
    contest = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "logloss",
                   "image": "images/{id}.png", "folds": {"n": folds}}  # fmt: skip
    home = folder / "configs" / "toy"
    home.mkdir(parents=True)
    for name, values in ({"competition": contest} | RUNS).items():
        (home / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


# Commands -------------------------------------------------------------------------------------------------------------


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


# Whole ----------------------------------------------------------------------------------------------------------------


def torn(folder: Path) -> list[str]:
    """The files of Podium that are not whole, and why. Temporary ones, which no command takes for a file, are left out."""
    wrong = []
    for path in (p for part in ("runs", "submissions", "folds", "configs") for p in sorted((folder / part).rglob("*"))):
        if path.is_file() and not path.name.endswith((".tmp", ".lock")):
            try:
                WHOLE.get(path.suffix, lambda path: None)(path)
            except Exception as e:  # whatever a reader raises is what is asked for
                wrong.append(f"{path.relative_to(folder)}: {type(e).__name__}: {e}")
    return wrong + [f"{path}: {why}" for path in folder.glob("runs/**/fit.json") for why in _unlike(path)]


def _unlike(path: Path) -> Iterator[str]:
    """What the record of a trained fold says of its files and is not so; a search drops the weights of trials, whole."""
    for name, digest in json.loads(path.read_bytes())["files"].items():
        file = path.parent / name
        if file.exists() and artifacts.file_digest(file) != digest:
            yield f"{name} is not what was written"


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _checkpoint(path: Path) -> None:
    torch.load(artifacts.read_sealed(path), weights_only=True)


def _database(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=60)) as there:
        assert there.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


WHOLE: dict[str, Callable[[Path], Any]] = {
    ".parquet": artifacts.read_table,
    ".safetensors": _tensors,
    ".json": artifacts.read_json,
    ".jsonl": lambda path: read(path, steps=True),
    ".csv": pd.read_csv,
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".ckpt": _checkpoint,
    ".npy": lambda path: np.load(path, mmap_mode="r"),
    ".db": _database,
    ".png": lambda path: cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).shape,
}


def left(folder: Path) -> list[str]:
    """Temporary files, checkpoints of folds that are trained: what must be gone once a command has ended well."""
    stale = [p for p in folder.rglob("*.tmp") if p.is_file()]
    stale += [p for p in folder.glob("runs/**/*.ckpt") if (p.parent / "fit.json").exists()]
    return [str(path.relative_to(folder)) for path in stale]


# Results --------------------------------------------------------------------------------------------------------------


def results(folder: Path) -> dict[str, str]:
    """Digest by file, of everything but times: what two commands with the same result agree in."""
    found = {}
    for path in (p for part in ("runs", "submissions", "folds", "configs") for p in sorted((folder / part).rglob("*"))):
        content = RESULTS.get(path.suffix)
        if path.is_file() and content and ".cache" not in path.parts and path.suffix != ".tmp":
            found[str(path.relative_to(folder))] = artifacts.digest(content(path))
    for path in folder.glob("runs/**/study.db"):
        found |= {f"{path.parent.name}: {name}": repr(value) for name, value in finished(path).items()}
    return found


def _model(path: Path) -> bytes | str:
    return artifacts.digest(*(part for name, t in _tensors(path).items() for part in (name, t.numpy().tobytes())))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key not in TIMED}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _json(path: Path) -> str:
    values = _plain(json.loads(path.read_bytes()))
    if path.name == "fit.json":
        values.pop("files")  # of records that hold times; each is looked at by itself
    if path.name == "tune.json":
        values |= {
            "number": None,
            "finalists": sorted(values["finalists"].values()),
        }  # a trial that is repeated has another
    return json.dumps(values, sort_keys=True) if path.name != "run.json" else ""


def _table(path: Path) -> str:
    if path.name == "trials.csv":
        return ""  # a killed trial has a row of its own
    table = pd.read_csv(io.BytesIO(path.read_bytes()), dtype=str)
    return (
        table.drop(columns=[c for c in table if c in TIMED]).to_csv() if path.name == "ledger.csv" else path.read_text()
    )


def _history(path: Path) -> str:
    return json.dumps([_plain(line) for line in read(path, steps=True) if "note" not in line])


RESULTS: dict[str, Callable[[Path], bytes | str]] = {
    ".safetensors": _model,
    ".txt": lambda path: "" if path.name == "log.txt" else path.read_bytes(),
    ".parquet": lambda path: artifacts.table_digest(artifacts.read_table(path)),
    ".json": _json,
    ".jsonl": _history,
    ".csv": _table,
    ".yaml": lambda path: "".join(line for line in path.open() if not line.startswith("# ")),
}


def differing(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What two such tables do not agree in."""
    names = [name for name in expected | found if expected.get(name) != found.get(name)]
    return [f"{name} is {'another' if name in expected and name in found else 'missing' if name in expected else 'new'}"
            for name in names]  # fmt: skip


COMPLETE = """SELECT a.value_json, v.value FROM trials t JOIN trial_values v ON v.trial_id = t.trial_id
JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'values' WHERE t.state = 'COMPLETE'"""


def finished(database: Path) -> dict[str, float]:
    """Of a search's complete trials: values of the run -> score. Raises AssertionError where two have the same."""
    found = _ask(database, COMPLETE)
    values = {json.dumps(json.loads(text), sort_keys=True): score for text, score in found}
    assert len(values) == len(found), "the same values came to an end twice"
    return values


def unfinished(database: Path) -> list[str]:
    """The states of trials that have neither come to an end nor been given back."""
    return [state for (state,) in _ask(database, "SELECT state FROM trials WHERE state IN ('RUNNING', 'WAITING')")]


def _ask(database: Path, question: str) -> list[tuple[Any, ...]]:
    """What a search's database says; nothing before it has its last table."""
    with closing(sqlite3.connect(database, timeout=60)) as there:
        begun = there.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
        return there.execute(question).fetchall() if begun else []
