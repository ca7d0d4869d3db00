"""`make bench-tables`: time and peak memory of the tabular task on 250,000 x 24, by model, and of a whole preset.

The rows are drawn with replacement from scikit-learn's breast cancer table (569 x 30, UCI), with noise; two columns of
40,000 and 5,000 levels that bear on the target are added. Each model fits one fold of five in a process of its own.

    python -m benchmarks.tables [--rows 250000] [--models lightgbm linear] [--preset quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import processes

MODELS = ("lightgbm", "linear", "catboost", "xgboost", "extratrees", "randomforest", "knn", "histgb", "tabm")
TESTED = 50_000
ROOT = Path(__file__).parent.parent
console = Console()


def make_competition(rows: int) -> None:
    """data/big and configs/big in the working directory."""
    from sklearn.datasets import load_breast_cancer

    rng = np.random.default_rng(0)
    real = load_breast_cancer(as_frame=True)
    drawn = rng.integers(0, len(real.data), rows + TESTED)
    table = real.data.iloc[drawn, :21].reset_index(drop=True)
    table *= rng.normal(1, 0.3, table.shape)
    effects = [rng.normal(0, 1.5, levels) for levels in (40_000, 5_000)]
    levels = [rng.integers(0, len(effect), len(table)) for effect in effects]
    table["user"], table["shop"] = [f"u{n}" for n in levels[0]], [f"s{n}" for n in levels[1]]
    table["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, len(table)), unit="D")
    signal = 2 * real.target.to_numpy()[drawn] - 1 + sum(e[n] for e, n in zip(effects, levels, strict=True))
    table["target"] = (signal + rng.logistic(0, 1, len(table)) > 0).astype(int)
    table.insert(0, "id", np.arange(len(table)))
    folder = Path("data/big")
    folder.mkdir(parents=True)
    table[:rows].to_csv(folder / "train.csv", index=False, float_format="%.5g")
    table[rows:].drop(columns="target").to_csv(folder / "test.csv", index=False, float_format="%.5g")
    table[rows:][["id"]].assign(target=0.5).to_csv(folder / "sample_submission.csv", index=False)
    podium("init", "data/big", "big")
    podium("folds", "big")


def podium(*words: str) -> float:
    """Seconds of a command of ours, which must end well; its output goes to log.txt."""
    began = time.monotonic()
    with open("log.txt", "a") as log:
        subprocess.run([sys.executable, "-m", "competition", *words], check=True, stdout=log, env=environment())
    return time.monotonic() - began


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def fit_one(model: str) -> None:
    """In a process of its own: one fold, on one thread."""
    from competition import artifacts, config, train
    from competition.data import load
    from competition.folds import load as load_folds

    data = load("big")
    run = config.make_run(f"big/{model}", {"task": "tabular", "model": model, "bag": 1})
    split = load_folds(data).splits[0]
    fold = train.open_fold(run, split)
    fold.folder.mkdir(parents=True)
    before, began = peak(), time.monotonic()
    record = run.task.fit(fold)
    fitted = time.monotonic() - began
    artifacts.write_json(fold.folder / "fit.json", record)
    prediction = run.task.predict(fold.valid, fold, "plain")
    size = sum(file.stat().st_size for file in fold.folder.iterdir()) / 1e6
    score = data.problem.metric.shown(data.problem.metric.score(fold.valid.truth, prediction))
    print(json.dumps({"fit": fitted, "predict": time.monotonic() - began - fitted, "read": before, "peak": peak(),
                      "size": size, "score": score}))  # fmt: skip


def peak() -> float:
    """Gigabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def whole(preset: str) -> tuple[float, float]:
    """Seconds and gigabytes of `tabular` from nothing to the submission, reading, folds and blend included."""
    words = [sys.executable, "-m", "competition", "tabular", "big/baseline", "--set", f"preset={preset}"]
    used = processes.run(words, Path.cwd(), environment(), Path("log.txt"))
    assert used.code == 0, Path("log.txt").read_text()[-2000:]
    return used.seconds, used.memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--one", help="in a process of its own: fits this model")
    options = parser.parse_args()
    if options.one:
        fit_one(options.one)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_competition(options.rows)
        title = f"{options.rows:,} x 24, one fold of five, one thread; {platform.machine()}, {os.cpu_count()} cores"
        table = Table("model", "fit", "predict 50,000", "AUC", "peak memory", "on disk", title=title)
        if options.preset:
            seconds, most = whole(options.preset)
            score = json.loads(Path("runs/big/baseline/score.json").read_text())
            console.print(f"preset {options.preset}, everything: {seconds:.0f} s, {most:.1f} GB, "
                          f"{score['metric']} {score['score']:.4f}, models {', '.join(score['parts'])}")  # fmt: skip
        for model in options.models:
            words = [sys.executable, "-m", "benchmarks.tables", "--one", model]
            alone = environment() | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(words, check=True, capture_output=True, text=True, env=alone)
            r = json.loads(done.stdout.splitlines()[-1])
            console.print(f"{model}: fitted in {r['fit']:.1f} s")
            table.add_row(model, f"{r['fit']:.1f} s", f"{r['predict']:.1f} s", f"{r['score']:.4f}", f"{r['peak']:.2f} GB",
                          f"{r['size']:.1f} MB")  # fmt: skip
        console.print(table)


if __name__ == "__main__":
    main()
