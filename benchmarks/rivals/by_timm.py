"""timm's train.py on each fold of rows.csv, then its inference.py on the held-out rows; run by timm's own Python.

    python by_timm.py recipe.json FOLDER

FOLDER gets oof.csv (name, then a probability a class) and trained.json: for each fold when it was trained, from the first
batch to the last validation, and how many pictures were seen. The last weights are used, not the best epoch's on the
held-out fold.
"""

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path


def shared(recipe: dict, k: int) -> list[str]:
    """What both scripts are told: data, model, size, device."""
    folders, side = recipe["folders"], str(recipe["size"])
    said = {
        "--data-dir": f"{folders}/fold{k}",
        "--class-map": f"{folders}/classes.txt",
        "--model": recipe["backbone"],
        "--num-classes": recipe["classes"],
        "--crop-pct": 1.0,
        "--device": recipe["device"],
        "--workers": recipe["workers"],
    }
    return ["--input-size", "3", side, side, "--channels-last", *words(said)]


def words(said: dict[str, object]) -> list[str]:
    return [str(word) for pair in said.items() for word in pair]


def train(recipe: dict, k: int, folder: Path) -> tuple[float, float]:
    """When the first batch began and the last validation ended, by the lines that train.py writes."""
    said = {
        "--batch-size": recipe["batch"],
        "--epochs": recipe["epochs"],
        "--opt": "adamw",
        "--lr": recipe["lr"],
        "--weight-decay": recipe["weight_decay"],
        "--clip-grad": 1.0,
        "--sched": "cosine",
        "--warmup-epochs": 1,
        "--color-jitter": 0.25,
        "--mixup": recipe["mixup"],
        "--cutmix": recipe["cutmix"],
        "--smoothing": 0,
        "--model-ema-decay": 0.999,
        "--seed": 0,
        "--checkpoint-hist": 1,
        "--output": folder,
        "--experiment": f"fold{k}",
    }
    flags = ["--scale", "0.5", "1.0", "--sched-on-updates", "--model-ema", "--model-ema-warmup"]
    command = [sys.executable, f"{recipe['timm']}/train.py", *shared(recipe, k), *flags, *words(said)]
    began = ended = None
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            print(line, end="", flush=True)
            first = re.match(r"Train: 0 \[ *0/.*?Time: ([\d.]+)s", line)
            if first:
                began = time.time() - float(first[1])
            if line.startswith("Test"):
                ended = time.time()
    if process.returncode or began is None or ended is None:
        sys.exit(f"train.py ended with {process.returncode}")
    return began, ended


def predict(recipe: dict, k: int, folder: Path) -> list[list[str]]:
    """[name, probabilities] of the held-out rows."""
    said = {
        "--split": "validation",
        "--checkpoint": folder / f"fold{k}" / "last.pth.tar",
        "--topk": 0,
        "--label-type": "none",
        "--results-dir": folder,
        "--results-file": f"fold{k}.csv",
    }
    flags = ["--results-separate-col", "--no-console-results"]
    command = [sys.executable, f"{recipe['timm']}/inference.py", *shared(recipe, k), *flags, *words(said)]
    subprocess.run(command, check=True)
    with open(folder / f"fold{k}.csv", newline="") as file:
        return [[Path(row[0]).stem, *row[1:]] for row in list(csv.reader(file))[1:]]


def main() -> None:
    recipe, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    oof, trained = [], []
    for k, images in enumerate(recipe["images"]):
        trained.append([*train(recipe, k, folder), images // recipe["batch"] * recipe["batch"] * recipe["epochs"]])
        oof += predict(recipe, k, folder)
    with open(folder / "oof.csv", "w", newline="") as file:
        csv.writer(file).writerows([["name", *range(recipe["classes"])], *oof])
    (folder / "trained.json").write_text(json.dumps(trained))


if __name__ == "__main__":
    main()
