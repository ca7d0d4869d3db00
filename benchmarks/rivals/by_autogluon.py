"""AutoGluon's MultiModalPredictor, a fit a fold of rows.csv, and its predictions of held-out rows; run by its own Python.

    python by_autogluon.py recipe.json FOLDER

FOLDER gets oof.csv (name, then a probability a class) and trained.json: for each fold when Lightning's trainer ran, its
validations included, and how many pictures it saw. AutoGluon keeps a part of the rows it is given to choose weights by; the
held-out fold is not shown to it.
"""

import json
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pandas as pd
import timm
import torch
from autogluon.multimodal import MultiModalPredictor

trained: list[list[float]] = []
fit = pl.Trainer.fit


def timed(trainer: pl.Trainer, *words, **more) -> None:
    began = time.time()
    fit(trainer, *words, **more)
    trained.append([began, time.time(), trainer.current_epoch * len(trainer.train_dataloader.dataset)])


def from_scratch(backbone: str, folder: Path) -> str:
    """A folder of random weights in the form of AutoGluon's own: its `pretrained=False` doesn't reach `fit` (1.6.3), which
    then asks the hub for weights."""
    network = timm.create_model(backbone, num_classes=0)
    cfg = {k: v for k, v in network.pretrained_cfg.items() if isinstance(v, int | float | str | tuple)}
    folder.mkdir()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    told = {"architecture": backbone, "num_features": network.num_features, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(told))
    return str(folder)


def settings(recipe: dict, weights: str) -> dict:
    return {
        "model.names": ["timm_image"],
        "model.timm_image.checkpoint_name": weights,
        "model.timm_image.image_size": recipe["size"],
        "optim.max_epochs": recipe["epochs"],
        "optim.lr": recipe["lr"],
        "optim.lr_choice": "single_stage",
        "optim.weight_decay": recipe["weight_decay"],
        "optim.warmup_steps": 1 / recipe["epochs"],
        "env.num_gpus": 0 if recipe["device"] == "cpu" else 1,
        "env.batch_size": recipe["batch"],
        "env.per_gpu_batch_size": recipe["batch"],
        "env.num_workers": recipe["workers"],
        "env.num_workers_inference": recipe["workers"],
        "data.mixup.turn_on": True,
        "data.mixup.mixup_alpha": recipe["mixup"],
        "data.mixup.cutmix_alpha": recipe["cutmix"],
        "data.mixup.turn_off_epoch": recipe["epochs"],
        "data.mixup.label_smoothing": 0.0,
    }


def predict(recipe: dict, rows: pd.DataFrame, k: int, folder: Path) -> pd.DataFrame:
    """A probability a class of the held-out rows; 0 for a class that the fold's model never saw."""
    held = rows["fold"] == k
    predictor = MultiModalPredictor(
        label="label", problem_type="multiclass", path=str(folder / f"fold{k}"), enable_progress_bar=False
    )
    weights = from_scratch(recipe["backbone"], folder / f"weights{k}")
    predictor.fit(
        rows.loc[~held, ["path", "label"]],
        column_types={"path": "image_path"},
        hyperparameters=settings(recipe, weights),
        seed=0,
    )
    found = predictor.predict_proba(rows.loc[held, ["path"]])
    return found.reindex(columns=range(recipe["classes"]), fill_value=0.0).set_axis(rows.loc[held, "name"])


def main() -> None:
    recipe, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    pl.Trainer.fit = timed
    rows = pd.read_csv(recipe["rows"], dtype={"name": str})
    oof = pd.concat([predict(recipe, rows, k, folder) for k in range(len(recipe["images"]))])
    oof.to_csv(folder / "oof.csv", index_label="name")
    (folder / "trained.json").write_text(json.dumps(trained))


if __name__ == "__main__":
    main()
