"""A fastai Learner on each fold of rows.csv and its predictions of the held-out rows; run by fastai's own Python.

    python by_fastai.py recipe.json FOLDER

FOLDER gets oof.csv (name, then a probability a class) and trained.json: for each fold when `fit_one_cycle` ran, its
validation of each epoch included, and how many pictures it saw. fastai mixes by one callback, so cutmix is on alone.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
import timm
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    CrossEntropyLossFlat,
    CutMix,
    DataBlock,
    GradientClip,
    ImageBlock,
    IndexSplitter,
    Learner,
    Normalize,
    RandomResizedCrop,
    aug_transforms,
    imagenet_stats,
    set_seed,
)


def learner(recipe: dict, rows: pd.DataFrame, k: int) -> Learner:
    labels = CategoryBlock(vocab=list(range(recipe["classes"])), sort=False)
    block = DataBlock(
        blocks=(ImageBlock, labels), get_x=ColReader("path"), get_y=ColReader("label"),
        splitter=IndexSplitter(rows.index[rows["fold"] == k]), item_tfms=RandomResizedCrop(recipe["size"], min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)],
    )  # fmt: skip
    loaders = block.dataloaders(rows, bs=recipe["batch"], num_workers=recipe["workers"], device=recipe["device"])
    network = timm.create_model(recipe["backbone"], num_classes=recipe["classes"])
    cbs = [CutMix(recipe["cutmix"]), GradientClip(1.0)]
    return Learner(loaders, network, loss_func=CrossEntropyLossFlat(), wd=recipe["weight_decay"], cbs=cbs)


def main() -> None:
    recipe, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    rows = pd.read_csv(recipe["rows"], dtype={"name": str})
    oof, trained = [], []
    for k, images in enumerate(recipe["images"]):
        set_seed(0)
        learn = learner(recipe, rows, k)
        with learn.no_bar():
            began = time.time()
            learn.fit_one_cycle(recipe["epochs"], recipe["lr"])
            trained.append([began, time.time(), images // recipe["batch"] * recipe["batch"] * recipe["epochs"]])
            probabilities, _ = learn.get_preds()
        oof.append(pd.DataFrame(probabilities.numpy(), index=learn.dls.valid.items["name"]))
    pd.concat(oof).to_csv(folder / "oof.csv", index_label="name")
    (folder / "trained.json").write_text(json.dumps(trained))


if __name__ == "__main__":
    main()
