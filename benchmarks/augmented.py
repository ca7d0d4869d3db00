"""Does a level by our path score as the same transforms by albumentations? `python -m benchmarks.augmented DATA`

A small network from scratch on every fold, several seeds, in a folder of its own below --place, where a repeated command
goes on. DATA: a folder as clothing10's (train.csv, test.csv, sample_submission.csv with columns image,label; pictures).
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import numpy as np

from benchmarks.feed import LISTS
from competition import cli

BY = ("ours", "albumentations")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--level", default="medium", choices=list(LISTS))
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--place", type=Path, default=Path("/tmp/podium-augmented"))
    options = parser.parse_args()
    data = options.data.resolve()
    scores: list[list[list[float]]] = []
    options.place.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(options.place):
        write_competition(data, options.folds)
        for seed in range(options.seeds):
            scores.append([score(by, seed, options) for by in BY])
            tell(np.array(scores))


def tell(scores: np.ndarray) -> None:
    """scores: [seeds, 2, folds]."""
    for by, values in zip(BY, scores.swapaxes(0, 1), strict=True):
        print(f"{by}: {values.mean():.4f}, by seed {values.mean(axis=1).round(4).tolist()}")
    apart = (scores[:, 0] - scores[:, 1]).ravel()
    error = apart.std(ddof=1) / len(apart) ** 0.5
    print(f"ours less albumentations, {len(apart)} paired folds: {apart.mean():+.4f} +- {error:.4f} (standard error)")


def write_competition(data: Path, folds: int) -> None:
    keys = {"data": str(data), "id": "image", "target": "label", "kind": "multiclass", "metric": "accuracy",
            "image": "{image}", "folds": {"n": folds}}  # fmt: skip
    Path("configs/photos").mkdir(parents=True, exist_ok=True)
    Path("configs/photos/competition.yaml").write_text(json.dumps(keys))


def score(by: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Accuracy of each held-out fold, plain view."""
    name = f"{by}-{options.level}-{options.size}-{options.epochs}-{seed}"
    augment = options.level if by == "ours" else list(LISTS[options.level]("horizontal", options.size))
    run = {"task": "image", "backbone": options.backbone, "pretrained": False, "size": options.size, "batch": 32,
           "epochs": options.epochs, "lr": 0.003, "augment": augment, "views": ["plain"], "seed": seed}  # fmt: skip
    Path(f"configs/photos/{name}.yaml").write_text(json.dumps(run))
    for verb in ("train", "predict"):
        assert cli.main([verb, f"photos/{name}"]) == 0
    return list(json.loads(Path(f"runs/photos/{name}/score.json").read_text())["folds"].values())


if __name__ == "__main__":
    main()
