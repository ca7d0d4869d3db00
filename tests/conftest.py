"""Tiny competitions, made by code in a folder of the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # xdist runs two of us
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")  # no mirror; its tests switch it on

BACKBONE = "test_resnet"  # 0.5 million parameters, made by timm for tests
KINDS = ("multiclass", "binary", "multilabel", "ordinal", "regression")
METRIC = {
    "multiclass": "accuracy",
    "binary": "auc",
    "multilabel": "mean_column_auc",
    "ordinal": "qwk",
    "regression": "rmse",
    "boxes": "map50",
}
TRAIN, TEST = 60, 12


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    from competition import data

    data.load.cache_clear()
    return tmp_path


@pytest.fixture
def competition(workspace: Path) -> Callable[..., str]:
    """Makes the competition `toy` of a kind: bright and dark squares, whose brightness is what is to be told.

    columns: whether a number, a name, a date and words stand beside each; a tabular run has no other rows to learn from.
    """

    def make(
        kind: str = "multiclass", run: str = "", task: str = "image", columns: bool = False, **keys: object
    ) -> str:
        write("configs/toy/base.yaml", RUNS[task] | parse(run))
        if kind == "boxes":
            values = write_boxes(workspace / "data")
            write("configs/toy/competition.yaml", values | keys)
            return "toy/base"
        rng = np.random.default_rng(0)
        level = np.arange(TRAIN + TEST) % 3
        ids = [f"{n:03d}" for n in range(TRAIN + TEST)]
        folder = workspace / "data" / "images"
        folder.mkdir(parents=True)
        for name, brightness in zip(ids, level, strict=True):
            picture = rng.integers(0, 60, (20, 24, 3)) + 80 * brightness
            cv2.imwrite(str(folder / f"{name}.png"), picture.astype(np.uint8))
        labels = {
            "multiclass": pd.DataFrame({"label": np.array(["dark", "grey", "light"])[level]}),
            "binary": pd.DataFrame({"label": np.array(["no", "yes"])[level // 2]}),
            "multilabel": pd.DataFrame({"bright": level // 2, "not_dark": (level > 0).astype(int)}),
            "ordinal": pd.DataFrame({"label": level}),
            "regression": pd.DataFrame({"label": level * 100.0 + rng.normal(0, 5, len(level))}),
        }[kind].astype(str)
        known = cells(level) if columns or task == "tabular" else pd.DataFrame(index=labels.index)
        table = pd.concat([pd.DataFrame({"id": ids}), known, labels], axis=1)
        empty = {"multiclass": "dark", "ordinal": "0"}.get(kind, "0.5")
        table[:TRAIN].to_csv("data/train.csv", index=False)
        table[TRAIN:][["id", *known]].to_csv("data/test.csv", index=False)
        sample = table[TRAIN:][["id", *labels]].assign(**dict.fromkeys(labels, empty))
        sample.to_csv("data/sample_submission.csv", index=False)
        values = {
            "data": "data",
            "id": "id",
            "target": list(labels) if kind == "multilabel" else "label",
            "kind": kind,
            "metric": METRIC[kind],
            "image": "images/{id}.png",
            "folds": {"n": 2},
        }
        write("configs/toy/competition.yaml", values | keys)
        return "toy/base"

    return make


def write_boxes(folder: Path) -> dict[str, object]:
    """Noise with none to two bright or dim plates, as a row a box; returns what competition.yaml says of it."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["id,width,height,x_min,y_min,x_max,y_max,label"]
    for n in range(TRAIN + TEST):
        picture = rng.integers(0, 50, (48, 64, 3)).astype(np.uint8)
        for place in range(n % 3):
            label = rng.integers(2)
            width, height = rng.integers(14, 24, 2)
            x, y = 32 * place + rng.integers(0, 32 - width), rng.integers(0, 48 - height)
            picture[y : y + height, x : x + width] += np.uint8(80 + 100 * label)
            if n < TRAIN:
                lines.append(f"{n:03d},64,48,{x},{y},{x + width},{y + height},{('dim', 'bright')[label]}")
        if n < TRAIN and n % 3 == 0:
            lines.append(f"{n:03d},64,48,,,,,")
        cv2.imwrite(str(folder / "images" / f"{n:03d}.png"), picture)
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    ids = [f"{n:03d}" for n in range(TRAIN, TRAIN + TEST)]
    pd.DataFrame({"id": ids, "width": 64, "height": 48}).to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame({"id": ids, "PredictionString": "dim 0.5 0 0 10 10"})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return {
        "data": "data",
        "id": "id",
        "target": "label",
        "kind": "boxes",
        "metric": METRIC["boxes"],
        "image": "images/{id}.png",
        "boxes": {},
        "folds": {"n": 2},
    }


def cells(level: np.ndarray) -> pd.DataFrame:
    """Columns that tell a level of 0, 1 or 2, but not for sure."""
    rng = np.random.default_rng(1)
    blurred = np.where(rng.random(len(level)) < 0.2, rng.integers(0, 3, len(level)), level)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, len(level)), unit="D")
    words = np.array([" ".join(rng.choice(list("abcdefgh"), 5)) for _ in level])
    return pd.DataFrame(
        {
            "size": (level + rng.normal(0, 0.7, len(level))).round(3),
            "colour": np.array(["red", "green", "blue"])[blurred],
            "day": days.strftime("%Y-%m-%d"),
            "note": np.char.add(np.char.add("it is lot ", words), np.array([" old", " used", " new"])[blurred]),
        }
    ).astype(str)


RUNS: dict[str, dict[str, object]] = {
    "image": {
        "task": "image", "backbone": BACKBONE, "pretrained": False, "size": 32, "epochs": 3, "batch": 8, "lr": 0.003,
        "warmup": 0.5, "augment": "light", "views": ["plain", "hflip"], "jobs": 1,
    },
    "detection": {
        "task": "detection", "backbone": BACKBONE, "pretrained": False, "size": 64, "fpn": 16, "epochs": 3, "batch": 8,
        "lr": 0.003, "warmup": 0.5, "mix_off": 1, "views": ["plain", "hflip"], "jobs": 1,
    },
    "tabular": {
        "task": "tabular", "model": "lightgbm", "bag": 2, "jobs": 1,
        "params": {"num_iterations": 30, "early_stopping_round": 5, "min_data_in_leaf": 3},
    },
}  # fmt: skip


def write(path: str, values: dict[str, object]) -> None:
    import yaml

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(yaml.safe_dump(values, sort_keys=False))


def parse(text: str) -> dict[str, object]:
    from competition import settings

    return settings.parse(text)
