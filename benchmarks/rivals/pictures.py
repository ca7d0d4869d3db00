"""The data of the comparison, one for all: pictures by name, labels 0, 1, ..., folds of our fold table; and each one's form.

`rows.csv` has a row a picture: name, path, label, fold. timm reads folders, which are laid out by links.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.model_selection import train_test_split

from competition import cli, folds
from competition.data import load

NAME = "bench"
SIDE, STRIPES, TESTED = 256, 5, 4


def draw(folder: Path, n: int) -> pd.DataFrame:
    """[name, path, label]: crops of 256 px of scikit-learn's two photos, as JPEG files, with noise; the label is the photo
    and the fifth of its width that the crop begins in, 10 classes."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    photos = load_sample_images().images
    for i in range(n):
        photo = photos[i % len(photos)]
        y, x = (int(rng.integers(edge - SIDE)) for edge in photo.shape[:2])
        crop = photo[y : y + SIDE, x : x + SIDE] * rng.uniform(0.5, 1.1) + rng.normal(0, 20, (SIDE, SIDE, 3))
        path = folder / f"{i:05d}.jpg"
        Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        rows.append((f"{i:05d}", str(path), i % len(photos) * STRIPES + x * STRIPES // (photo.shape[1] - SIDE)))
    return pd.DataFrame(rows, columns=["name", "path", "label"])


def given(data: Path, folder: Path, n: int) -> pd.DataFrame:
    """[name, path, label]: of a competition as downloaded, n rows of its classes, each class by its share."""
    data = data.resolve()
    folder.mkdir(parents=True)
    with contextlib.chdir(folder):
        if cli.main(["init", str(data), "given"]):
            raise SystemExit(f"--data {data} is no competition that `make init` can read alone")
        told = load("given")
    rows = told.train
    if told.problem.kind != "multiclass" or rows.pictures is None:
        raise SystemExit(f"--data {data}: what is compared is one label of several a picture, not {told.problem.kind}")
    assert rows.truth is not None
    label = rows.truth.to_numpy().argmax(axis=1)
    chosen = np.arange(len(label))
    if n < len(label):
        chosen = np.sort(train_test_split(chosen, train_size=n, stratify=label, random_state=0)[0])
    names = [f"{i:05d}" for i in range(len(chosen))]
    return pd.DataFrame({"name": names, "path": rows.pictures.to_numpy()[chosen], "label": label[chosen]})


def lay_competition(table: pd.DataFrame, folder: Path, run: dict[str, object], n: int) -> None:
    """Our folder: a competition of these pictures, links, its run `bench/ours`, and its fold table where `table` has folds.

    The first pictures stand in for test, which a competition must have.
    """
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    for name, path in zip(table["name"], table["path"], strict=True):
        (images / f"{name}{Path(path).suffix}").symlink_to(path)
    files = [f"images/{name}{Path(path).suffix}" for name, path in zip(table["name"], table["path"], strict=True)]
    own = pd.DataFrame({"name": table["name"], "image": files, "label": table["label"].map("{:03d}".format)})
    test = own[:TESTED].assign(name=[f"t{i}" for i in range(TESTED)])
    parts = {"train": own, "test": test[["name", "image"]], "sample_submission": test[["name", "label"]]}
    for part, content in parts.items():
        content.to_csv(folder / "data" / f"{part}.csv", index=False)
    keys = {"data": "data", "id": "name", "target": "label", "kind": "multiclass", "metric": "accuracy", "image": "{image}",
            "folds": {"n": n}}  # fmt: skip
    (folder / "configs" / NAME).mkdir(parents=True)
    for file, values in (("competition", keys), ("ours", run)):
        (folder / "configs" / NAME / f"{file}.yaml").write_text(yaml.safe_dump(values))
    if "fold" in table:
        (folder / "folds").mkdir()
        table[["name", "fold"]].rename(columns={"name": "id"}).to_csv(folder / "folds" / f"{NAME}.csv", index=False)


def folded(table: pd.DataFrame, folder: Path, n: int) -> pd.DataFrame:
    """[name, path, label, fold]: by the fold table that we make of these pictures; labels without gaps."""
    table = table.assign(label=np.unique(table["label"], return_inverse=True)[1])
    lay_competition(table, folder, {"task": "image"}, n)
    with contextlib.chdir(folder):
        load.cache_clear()
        if cli.main(["folds", NAME]):
            raise SystemExit("the pictures make no competition")
        fold = folds.load(load(NAME)).table["fold"]
    return table.assign(fold=fold.loc[table["name"]].to_numpy())


def lay_folders(rows: pd.DataFrame, folder: Path) -> None:
    """timm's: fold<k>/train/<label>/<name>.jpg and fold<k>/validation/..., links, and classes.txt, which gives the labels
    their numbers even where a fold lacks one."""
    folder.mkdir(parents=True)
    digits = len(str(rows["label"].max()))
    (folder / "classes.txt").write_text("".join(f"{i:0{digits}d}\n" for i in range(rows["label"].max() + 1)))
    for k in sorted(rows["fold"].unique()):
        for row in rows.itertuples():
            part = folder / f"fold{k}" / ("validation" if row.fold == k else "train") / f"{row.label:0{digits}d}"
            part.mkdir(parents=True, exist_ok=True)
            os.symlink(row.path, part / f"{row.name}{Path(row.path).suffix}")
