"""`make bench-tracking`: what the mirror costs: training without it, offline, and with an address where nobody answers.

The same small run is trained again and again, the ways taking turns, each in a folder of its own. Training is the time that
the loop itself records, to 0.1 s; start is what comes before it, end what comes after its last line of history, the wait for
the mirror included (what it then does in the background is not); calls are what the process that trains does for tracking.

    python -m benchmarks.tracking [--rounds 5] [--epochs 30]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.table import Table

from competition.tracking import History, read

ROOT = Path(__file__).resolve().parent.parent
WAYS = {
    "off": {"WANDB_MODE": "disabled"},
    "offline": {"WANDB_MODE": "offline"},
    "dead address": {"WANDB_API_KEY": "f" * 40, "WANDB_BASE_URL": "http://10.255.255.1:8080"},
}
RUN = {
    "task": "image", "backbone": "test_resnet", "pretrained": False, "size": 32, "batch": 32, "augment": "light",
    "views": ["plain"], "jobs": 1,
}  # fmt: skip


class Times(NamedTuple):
    """Seconds before training, of training, after it, and of tracker calls within it."""

    start: float
    training: float
    end: float
    calls: float


def prepare(folder: Path, epochs: int) -> None:
    """The digits as a competition, with a run of one backbone that timm made for tests."""
    import yaml

    from competition.demo import write_digits

    write_digits(folder / "data")
    configs = folder / "configs" / "digits"
    configs.mkdir(parents=True)
    told = {
        "data": "data",
        "id": "id",
        "target": "label",
        "kind": "multiclass",
        "metric": "accuracy",
        "image": "images/{id}.png",
    }
    (configs / "competition.yaml").write_text(yaml.safe_dump(told))
    (configs / "baseline.yaml").write_text(yaml.safe_dump(RUN | {"epochs": epochs}))


def once(folder: Path, way: str, number: int) -> Times:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    name = f"digits/{way.replace(' ', '-')}{number}"
    command = [sys.executable, "-m", "competition", "train", "digits/baseline", "--fold", "0", "--as", name]
    began = time.time()
    environ = kept | {"PYTHONPATH": str(ROOT)} | WAYS[way]
    subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    ended, run = time.time(), folder / "runs" / name
    seconds = json.loads((run / "fold0" / "fit.json").read_text())["seconds"]
    trained = (run / "fold0" / "history.jsonl").stat().st_mtime
    if way != "off":
        with FileLock(run / ".mirror" / ".lock", timeout=600):  # what goes on in the background is not the next round's
            pass
    return Times(trained - seconds - began, seconds, ended - trained, inside(run / "fold0"))


def inside(fold: Path) -> float:
    """Seconds that the training process itself takes to write the fold's history: the same lines once more."""
    lines = read(fold / "history.jsonl", steps=True)
    again = History(fold / "again")
    again.path.parent.mkdir()
    began = time.perf_counter()
    for line in lines:
        again.log(line["step"], {key: value for key, value in line.items() if key != "step"})
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    times: dict[str, list[Times]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, options.epochs)
        for number in range(options.rounds):
            for way in sorted(WAYS, key=lambda w: (number + list(WAYS).index(w)) % len(WAYS)):
                times[way].append(once(folder, way, number))
    columns = ("mirror", "start, s", "training, s", "beside off", "in tracker calls", "end, s")
    table = Table(*columns, title=f"{options.rounds} rounds of {options.epochs} epochs, medians")
    off = np.array([one.training for one in times["off"]])
    for way, found in times.items():
        start, training, end, calls = np.array(found).T
        ratios = training / off  # of the same round
        spread = f"{np.median(ratios):.4f} ({ratios.min():.3f} to {ratios.max():.3f})"
        share = f"{np.median(calls / training):.3%}"
        table.add_row(way, *(f"{np.median(x):.2f}" for x in (start, training)), spread, share, f"{np.median(end):.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
