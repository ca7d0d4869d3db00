"""Does `TIME=` hold? Real runs that are planned far longer than their limit, several at once on a machine that is so busy.

Pictures (scikit-learn's digits), a preset on their pixels as a table, a blend of a short run and an endless one, and a
detector (digits on photos), in turn, each in a folder of its own with a limit drawn from the list. Of each: seconds from its
start to its exit beside the limit, whether `competition.guard` finds no fault in its CSV, and what that is made of.

    python -m benchmarks.time_limit [--runs 50] [--at-once 4] [--limits 60,75,90,120,180,300,600] [--seed 0] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from competition import artifacts, data, demo, guard, kept, scenes
from competition.late import EARLY, FOLDS, NET, OTHERS, OTHERS_FOLDS

ENDLESS = 100_000  # epochs
RUNGS = {
    NET: "labels alone",
    EARLY: "unfinished folds",
    OTHERS_FOLDS: "folds of members",
    OTHERS: "whole members",
    FOLDS: "whole folds",
}
IMAGE = {"task": "image", "backbone": "resnet10t", "pretrained": False, "size": 32, "symmetry": "none", "augment": "light",
         "lr": 2e-3}  # fmt: skip
DETECTOR = {"task": "detection", "backbone": "test_resnet", "pretrained": False, "size": 160, "fpn": 32,
            "symmetry": "none", "batch": 4, "lr": 4e-3, "mosaic": 0.25}  # fmt: skip
DIGITS = {"id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy"}
SCENES = {"id": "image_id", "target": "class", "kind": "boxes", "metric": "map", "image": "images/{image_id}.jpg",
          "boxes": {}, "folds": {"n": 3}}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]]]] = {  # competition, its keys, runs (the last is made)
    "image": ("digits", DIGITS | {"image": "images/{id}.png"}, {"endless": IMAGE | {"epochs": ENDLESS}}),
    "preset": ("pixels", DIGITS, {"best": {"task": "tabular", "preset": "best"}}),
    "blend": ("digits", DIGITS | {"image": "images/{id}.png"}, {
        "short": IMAGE | {"epochs": 1}, "endless": IMAGE | {"epochs": ENDLESS},
        "blend": {"members": ["digits/short", "digits/endless"]}}),
    "detection": ("scenes", SCENES, {"endless": DETECTOR | {"epochs": ENDLESS}}),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """seconds: from start to exit. made: what the CSV is made of."""

    kind: str
    limit: int
    seconds: float
    code: int
    faults: str
    rung: str
    made: str

    @property
    def held(self) -> bool:
        return self.seconds <= self.limit and self.code == 0 and not self.faults


def prepared(folder: Path) -> None:
    """The three competitions' data, once."""
    demo.write_digits(folder / "digits")
    scenes.write_scenes(folder / "scenes")
    import pandas as pd
    from sklearn.datasets import load_digits

    pixels = pd.DataFrame(load_digits().data).add_prefix("p").set_axis([f"{n:04d}" for n in range(1797)])
    for name in ("train", "test"):
        table = pd.read_csv(folder / f"digits/{name}.csv", dtype=str)
        wide = table[["id"]].join(pixels, on="id").merge(table, on="id")
        artifacts.write_text(folder / f"pixels/{name}.csv", wide.to_csv(index=False))
    sample = (folder / "digits/sample_submission.csv").read_bytes()
    artifacts.write_bytes(folder / "pixels/sample_submission.csv", sample)


def one(kind: str, limit: int, folder: Path, source: Path) -> tuple[float, int]:
    """Seconds and exit code of a run in a folder of its own."""
    name, keys, made = KINDS[kind]
    keys = {"data": str(source / name)} | keys
    artifacts.write_text(folder / f"configs/{name}/competition.yaml", json.dumps(keys))  # JSON is YAML
    for run, values in made.items():
        artifacts.write_text(folder / f"configs/{name}/{run}.yaml", json.dumps(values))
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "competition", "submission", f"{name}/{[*made][-1]}", "--time", f"{limit}s"]
    with open(folder / "said.txt", "wb") as said:
        began = time.monotonic()
        done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, stdout=said, stderr=said)
    return time.monotonic() - began, done.returncode


def judged(kind: str, limit: int, folder: Path, seconds: float, code: int) -> Outcome:
    name, _, made = KINDS[kind]
    run = f"{name}/{[*made][-1]}"
    with contextlib.chdir(folder):
        data.load.cache_clear()
        faults = guard.known(artifacts.submission_csv(run)).faults
        state = kept.state(run)
    rung, told = ("whole run", "whole") if state is None else (RUNGS[state["rung"]], state["told"])
    return Outcome(kind, limit, seconds, code, "; ".join(fault.code for fault in faults), rung, told)


def measure(runs: int, at_once: int, limits: list[int], seed: int, folder: Path) -> list[Outcome]:
    source = (folder / "data").resolve()
    prepared(source)
    rng = np.random.default_rng(seed)
    drawn = [(list(KINDS)[n % len(KINDS)], int(rng.choice(limits)), folder / f"run{n:02d}") for n in range(runs)]

    def tell(work: tuple[str, int, Path]) -> tuple[float, int]:
        seconds, code = one(*work, source)
        print(f"{work[2].name}: {work[0]}, {seconds:.1f} of {work[1]} s, exit code {code}", flush=True)
        return seconds, code

    with ThreadPoolExecutor(at_once) as pool:
        ended = list(pool.map(tell, drawn))
    return [judged(*work, *end) for work, end in zip(drawn, ended, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--runs", 50), ("--at-once", 4), ("--seed", 0)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("--limits", default="60,75,90,120,180,300,600", help="seconds")
    parser.add_argument("--keep", type=Path, default=None, help="folder in which all is left")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        found = measure(options.runs, options.at_once, [*map(int, options.limits.split(","))], options.seed, folder)
    for n, o in enumerate(found):
        verdict = "" if o.held else f"  FAILED {o.faults}"
        print(f"run{n:02d}  {o.kind:9}  {o.seconds:6.1f} of {o.limit:3d} s  exit {o.code}  {o.made}{verdict}")
    late = [o.limit - o.seconds for o in found]
    valid, over = sum(not o.faults for o in found), sum(s < 0 for s in late)
    print(f"{valid} of {len(found)} CSVs are valid; {over} of {len(found)} runs took longer than their limit, the nearest "
          f"ended {min(late):.1f} s before it; {options.at_once} at once, seed {options.seed}")  # fmt: skip
    print(", ".join(f"{rung}: {count}" for rung, count in collections.Counter(o.rung for o in found).most_common()))
    return 0 if all(o.held for o in found) else 1


if __name__ == "__main__":
    sys.exit(main())
