"""What is compared: how each program is started on a recipe, and what it has left behind when it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss

from benchmarks import processes
from benchmarks.rivals.environments import Refused, last_line
from benchmarks.rivals.pictures import NAME, lay_competition

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_MODE": "disabled",
}


class Trained(NamedTuple):
    """Seconds since 1970 between which a fold was trained, and the pictures that it saw in them."""

    began: float
    ended: float
    images: int


@dataclass(frozen=True)
class Result:
    """images/s while folds are trained; seconds of the whole command, and of processor cores; gigabytes at most; OOF scores,
    where it has any."""

    rate: float
    seconds: float
    cores: float
    memory: float
    accuracy: float | None = None
    log_loss: float | None = None


@dataclass(frozen=True)
class Program:
    """command: of (recipe.json, folder). read: what it left in the folder: OOF probabilities [rows, classes] by name, or
    None, and when folds were trained. lay: puts into the folder what must lie there before. path: of
    its imports. versions: told with the results."""

    name: str
    command: Callable[[Path, Path], list[str]]
    read: Callable[[Path], tuple[pd.DataFrame | None, list[Trained]]]
    lay: Callable[[pd.DataFrame, dict, Path], None] = lambda rows, recipe, folder: None
    path: str = str(ROOT)
    versions: str = f"torch {version('torch')}, timm {version('timm')}"


def measure(program: Program, rows: pd.DataFrame, recipe: Path, folder: Path) -> Result:
    """One run of the program in an empty folder of its own. Raises Refused with its last words where it fails."""
    folder.mkdir(parents=True)
    program.lay(rows, json.loads(recipe.read_text()), folder)
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment |= OFFLINE | {"PYTHONPATH": program.path}
    log = folder / "log.txt"
    used = processes.run(program.command(recipe, folder), folder, environment, log)
    if used.code:
        raise Refused(f"it ended with {used.code}: {last_line(log.read_text(errors='replace'))}")
    oof, trained = program.read(folder)
    scores = (None, None) if oof is None else scored(oof, rows)
    return Result(rate(trained), used.seconds, used.cores, used.memory, *scores)


def rate(trained: list[Trained]) -> float:
    """Pictures a second of the time in which at least one fold was trained."""
    total, until = 0.0, -np.inf
    for began, ended, _ in sorted(trained):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return sum(t.images for t in trained) / total


def scored(oof: pd.DataFrame, rows: pd.DataFrame) -> tuple[float, float]:
    """Accuracy and log loss. Raises Refused unless every row is there once, with a probability a class."""
    wrong = sorted(set(oof.index) ^ set(rows["name"])) or list(oof.index[oof.index.duplicated()])
    if wrong:
        raise Refused(f"its OOF has {len(oof)} rows of {len(rows)}; missing, unknown or twice: {', '.join(wrong[:3])}")
    values = oof.loc[rows["name"]].to_numpy(float)
    if not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise Refused("its OOF holds no probabilities: rows don't sum to 1")
    truth = rows["label"].to_numpy()
    values = values / values.sum(axis=1, keepdims=True)
    return float(accuracy_score(truth, values.argmax(axis=1))), float(
        log_loss(truth, values, labels=range(values.shape[1]))
    )


def left(folder: Path) -> tuple[pd.DataFrame | None, list[Trained]]:
    """oof.csv, where there is one, and trained.json, as the scripts beside this file leave them."""
    trained = [Trained(*one) for one in json.loads((folder / "trained.json").read_text())]
    file = folder / "oof.csv"
    oof = pd.read_csv(file, dtype={"name": str}, index_col="name") if file.exists() else None
    return oof, trained


def ours(folder: Path) -> tuple[pd.DataFrame, list[Trained]]:
    """The same of a run folder of ours: a fold's history ends with its last validation."""
    run = folder / "runs" / NAME / "ours"
    trained = []
    for fold in sorted(run.glob("fold*")):
        record, ended = json.loads((fold / "fit.json").read_text()), (fold / "history.jsonl").stat().st_mtime
        pictures = record["steps"] * json.loads((folder / "recipe.json").read_text())["batch"]
        trained.append(Trained(ended - record["seconds"], ended, pictures))
    return pd.read_parquet(run / "oof.parquet"), trained


def lay_ours(rows: pd.DataFrame, recipe: dict, folder: Path) -> None:
    run = {"task": "image", "pretrained": False, "views": ["plain"], "device": recipe["device"]}
    run |= {k: recipe[k] for k in ("backbone", "size", "epochs", "batch", "lr", "weight_decay", "mixup", "cutmix")}
    lay_competition(rows, folder, run, len(recipe["images"]))
    (folder / "recipe.json").write_text(json.dumps(recipe))


def own(module: str) -> Callable[[Path, Path], list[str]]:
    return lambda recipe, folder: [sys.executable, "-m", f"benchmarks.rivals.{module}", str(recipe), str(folder)]


def rival(name: str, python: Path, versions: str) -> Program:
    """A program that a script beside this file drives, with the Python of its environment; -P: the script's folder does
    not hide packages of its own name."""
    script = str(HERE / f"by_{name}.py")
    return Program(
        name,
        lambda recipe, folder: [str(python), "-P", script, str(recipe), str(folder)],
        left,
        path="",
        versions=versions,
    )


BARE = Program("bare step", own("bare"), left)
OURS = Program(
    "ours", lambda recipe, folder: [sys.executable, "-m", "competition", "submission", f"{NAME}/ours"], ours, lay_ours
)
