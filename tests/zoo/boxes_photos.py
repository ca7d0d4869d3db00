"""Competitions of boxes on photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from zoo import grammar, judging, making
from zoo.entry import Entry

SIDE, TRAIN, TEST = 64, 20, 5


def scene(path: Path, plates: list[tuple[int, int, int, int]], seed: int) -> None:
    """A dark square of noise with bright plates, x y width height each."""
    picture = np.random.default_rng(seed).integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
    for x, y, width, height in plates:
        picture[y : y + height, x : x + width] += np.uint8(150)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def plates(n: int, most: int = 2) -> list[tuple[int, int, int, int]]:
    """0 to `most` boxes of picture n, one in each upper corner."""
    rng = np.random.default_rng(n)
    return [(int(rng.integers(1, 8)) + 32 * k, int(rng.integers(1, 30)), 22, 20) for k in range(n % (most + 1))]


def global_wheat(folder: Path) -> None:
    """train/ and test/; a row a box with `[x, y, width, height]` in one quoted cell; a picture without heads has no row."""
    names = [f"{0xB6AB77FD7 + n * 7919:09x}" for n in range(TRAIN + TEST)]
    rows: list[tuple[object, ...]] = []
    for n, name in enumerate(names):
        part = "train" if n < TRAIN else "test"
        scene(folder / part / f"{name}.jpg", plates(n), n)
        boxes = [f"[{x}.0, {y}.0, {w}.0, {h}.0]" for x, y, w, h in plates(n)] if n < TRAIN else []
        rows += [(name, SIDE, SIDE, box, ("usask_1", "arvalis_1", "ethz_1")[n % 3]) for box in boxes]
    making.table(folder / "train.csv", "image_id,width,height,bbox,source", rows)
    asked = [(name, "1.0 0 0 50 50") for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "image_id,PredictionString", asked)


def judge_wheat(submission: Path, folder: Path) -> list[str]:
    strings = grammar.boxes(submission, SIDE, sizes=True)
    return judging.form(submission, folder / "sample_submission.csv") or strings


MIDS = ("/m/061hd_", "/m/05s2s", "/m/0c9ph5")
SOURCES = "Source,LabelName,Confidence"


def open_images(folder: Path) -> None:
    """Boxes as fractions, XMin XMax YMin YMax; classes /m/...; groups are marked; classes and image labels beside.

    The boxes are of the data set's own page, the pictures and the sample of the host's.
    """
    rng = np.random.default_rng(0)
    names = [f"{0xB5D912E06F74E948 + n * 104729:016x}" for n in range(TRAIN + TEST)]
    rows: list[tuple[object, ...]] = []
    for n, name in enumerate(names):
        boxes = plates(n + 1)
        scene(folder / ("train" if n < TRAIN else "test") / f"{name}.jpg", boxes, n)
        for x, y, w, h in boxes if n < TRAIN else ():
            edges = [f"{v / SIDE:.6f}" for v in (x, x + w, y, y + h)]
            flags = [int(rng.random() < 0.2) for _ in range(5)]
            rows.append((name, "verification", MIDS[int(rng.integers(3))], 1, *edges, *flags))
    flags = "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    header = f"ImageID,{SOURCES},XMin,XMax,YMin,YMax,{flags}"
    making.table(folder / "challenge-2019-train-detection-bbox.csv", header, rows)
    labels = [(row[0], "verification", row[2], 1) for row in rows]
    making.table(folder / "challenge-2019-train-detection-human-imagelabels.csv", f"ImageID,{SOURCES}", labels)
    classes = [(MIDS[1], "Tree"), (MIDS[2], "Flower")]
    making.table(folder / "challenge-2019-classes-description-500.csv", f"{MIDS[0]},Infant bed", classes)
    asked = [(name, f"{MIDS[1]} 0.9 0.46 0.08 0.93 0.5 {MIDS[2]} 0.5 0.25 0.6 0.4 0.8") for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "ImageId,PredictionString", asked)


def judge_open_images(submission: Path, folder: Path) -> list[str]:
    strings = grammar.boxes(submission, 1, MIDS)
    return judging.form(submission, folder / "sample_submission.csv") or strings


PHOTO_BOXES = [
    Entry(
        slug="global-wheat-detection",
        build=global_wheat,
        judge=judge_wheat,
        metric="mean_precision",
        infers={
            "train": "train.csv",
            "test": "sample_submission.csv",
            "id": "image_id",
            "kind": "boxes",
            "target": None,
            "metric": "mean_precision",
            "image.train": "train/{image_id}.jpg",
            "image.test": "test/{image_id}.jpg",
            "boxes.columns": ["bbox"],
            "boxes.form": "sizes",
            "boxes.unit": "pixels",
            "boxes.unlisted": True,
            "folds.scheme": "stratified",
        },
        command="detect",
    ),
    Entry(
        slug="open-images-2019-object-detection",
        build=open_images,
        judge=judge_open_images,
        metric="voc_map",
        infers={
            "train": "challenge-2019-train-detection-bbox.csv",
            "test": "sample_submission.csv",
            "id": "ImageID",
            "kind": "boxes",
            "target": "LabelName",
            "metric": "voc_map",
            "image.train": "train/{ImageID}.jpg",
            "image.test": "test/{ImageID}.jpg",
            "boxes.columns": ["XMin", "YMin", "XMax", "YMax"],
            "boxes.form": "corners",
            "boxes.unit": "fractions",
        },
        command="detect",
    ),
]
