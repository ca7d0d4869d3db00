"""An exported run on hidden test sets much larger than the public one: start, rate, memory, and whether `--time` holds.

    python -m benchmarks.export [--rows 1000,8000] [--side 256] [--times 40s]

The run is the blend of pictures and columns of toy.py; the pictures are JPEGs of noise, 100 different ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd

from benchmarks import processes, toy

RUN, DIFFERENT = "toy/blend", 100
KEPT = ("PATH", "HOME", "OMP_NUM_THREADS")


def exported(folder: Path) -> Path:
    """The toy, its blend trained and exported there."""
    toy.make(folder)
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "WANDB_MODE": "disabled"}
    for verb in ("submission", "export"):
        subprocess.run([sys.executable, "-m", "competition", verb, RUN], cwd=folder, env=here, check=True)
    return folder / "exports" / RUN


def hidden(folder: Path, rows: int, side: int) -> Path:
    """A data folder with so many test rows."""
    rng, pictures = np.random.default_rng(0), folder / "images"
    pictures.mkdir(parents=True)
    ids = [f"h{n:07d}" for n in range(rows)]
    for n, name in enumerate(ids):
        if n < DIFFERENT:
            noise = rng.integers(0, 60, (side, side, 3)) + 70 * (n % 3)
            cv2.imwrite(str(pictures / f"{name}.jpg"), noise.astype(np.uint8))
            (pictures / f"{name}.jpg").rename(pictures / f"{name}.png")  # the template's name; content decides
        else:
            os.link(pictures / f"{ids[n % DIFFERENT]}.png", pictures / f"{name}.png")
    table = pd.DataFrame({"id": ids, "size": rng.normal(1, 1, rows).round(3), "note": rng.integers(0, 5, rows)})
    table.to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame({"id": ids[:3]} | dict.fromkeys(("dark", "grey", "light"), 1 / 3))
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--rows", "1000,8000"), ("--times", "40s")):
        parser.add_argument(option, default=default)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    kept, worst = {key: os.environ[key] for key in KEPT if key in os.environ}, 0
    with TemporaryDirectory() as scratch:
        bundle = exported(Path(scratch) / "toy")
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        print(f"{size / 1e6:.1f} MB in {sum(path.is_file() for path in bundle.rglob('*'))} files")
        for rows in map(int, options.rows.split(",")):
            data = hidden(Path(scratch) / f"hidden{rows}", rows, options.side)
            for time in ("", *options.times.split(",")):
                log, out = Path(scratch) / f"{rows}{time}.log", data / f"out{time}.csv"
                words = [sys.executable, "-I", str(bundle / "predict.py"), "--data", str(data), "--out", str(out)]
                used = processes.run([*words, *(["--time", time] if time else [])], Path(scratch), kept, log)
                said = [line for line in log.read_text().splitlines() if "RUN-BUDGET" in line or "a second" in line]
                whole = used.code == 0 and len(pd.read_csv(out)) == rows
                worst = max(worst, not whole)
                limit = f" of {time}" if time else ""
                print(
                    f"{rows:,} rows: {used.seconds:.0f} s{limit}, {used.memory:.2f} GB, {'whole' if whole else 'NOT WHOLE'}"
                )
                print(*(f"  {line.rpartition('/')[2]}" for line in said), sep="\n")
    return worst


if __name__ == "__main__":
    sys.exit(main())
