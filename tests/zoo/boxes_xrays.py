"""Competitions of boxes on X-rays, DICOM files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo import grammar, judging, making
from zoo.boxes_photos import SIDE, TEST, TRAIN, plates
from zoo.entry import Entry


def xray(path: Path, opacities: list[tuple[int, int, int, int]], seed: int) -> None:
    """A 12-bit picture of noise with bright patches, x y width height each."""
    picture = np.random.default_rng(seed).integers(200, 1000, (SIDE, SIDE)).astype(np.uint16)
    for x, y, width, height in opacities:
        picture[y : y + height, x : x + width] += 2500
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(making.dicom(picture, BitsStored=12, HighBit=11))


IOUS = [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75]


def pneumonia(folder: Path) -> None:
    """A row a box, or one with empty cells and Target 0; patients of test are in the sample alone."""
    names = [f"{n:08x}-8a03-4b7a-9c4e-{n * 7919:012x}" for n in range(TRAIN + TEST)]
    rows: list[tuple[object, ...]] = []
    for n, name in enumerate(names):
        xray(folder / f"stage_2_{'train' if n < TRAIN else 'test'}_images" / f"{name}.dcm", plates(n), n)
        boxes = [(name, f"{x}.0", f"{y}.0", f"{w}.0", f"{h}.0", 1) for x, y, w, h in plates(n)]
        rows += (boxes or [(name, "", "", "", "", 0)]) if n < TRAIN else []
    making.table(folder / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)
    told = {1: ("Lung Opacity",), 0: ("Normal", "No Lung Opacity / Not Normal")}
    found = [(row[0], told[row[5]][n % len(told[row[5]])]) for n, row in enumerate(rows)]
    making.table(folder / "stage_2_detailed_class_info.csv", "patientId,class", found)
    asked = [(name, "0.5 0 0 100 100") for name in names[TRAIN:]]
    making.table(folder / "stage_2_sample_submission.csv", "patientId,PredictionString", asked)


def judge_pneumonia(submission: Path, folder: Path) -> list[str]:
    strings = grammar.boxes(submission, SIDE, sizes=True)
    return judging.form(submission, folder / "stage_2_sample_submission.csv") or strings


FINDINGS = {"Aortic enlargement": 0, "Cardiomegaly": 3, "Pleural thickening": 11}


def vinbigdata(folder: Path) -> None:
    """Three radiologists a picture, a row each of their boxes; class 14, No finding, has empty cells."""
    names = [f"{n * 7919 + 0x50A418190BC3FB1EF1633BF9678929B3:032x}" for n in range(TRAIN + TEST)]
    rows: list[tuple[object, ...]] = []
    for n, name in enumerate(names):
        boxes = plates(n)
        xray(folder / ("train" if n < TRAIN else "test") / f"{name}.dicom", boxes, n)
        for reader in (8, 9, 10) if n < TRAIN else ():
            for k, (x, y, w, h) in enumerate(boxes):
                finding = list(FINDINGS)[(n + k) % 3]
                box = (x + reader % 3, y, x + w, y + h)
                rows.append((name, finding, FINDINGS[finding], f"R{reader}", *(f"{edge}.0" for edge in box)))
            if not boxes:
                rows.append((name, "No finding", 14, f"R{reader}", "", "", "", ""))
    header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    making.table(folder / "train.csv", header, rows)
    asked = [(name, "14 1 0 0 1 1") for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "image_id,PredictionString", asked)


def judge_vinbigdata(submission: Path, folder: Path) -> list[str]:
    labels = [str(n) for n in range(15)]
    strings = grammar.boxes(submission, SIDE, labels, nothing="14 1 0 0 1 1")
    return judging.form(submission, folder / "sample_submission.csv") or strings


XRAY_BOXES = [
    Entry(
        slug="rsna-pneumonia-detection-challenge",
        build=pneumonia,
        judge=judge_pneumonia,
        metric=f"mean_precision@{IOUS}",
        infers={
            "train": "stage_2_train_labels.csv",
            "test": "stage_2_sample_submission.csv",
            "sample": "stage_2_sample_submission.csv",
            "id": "patientId",
            "kind": "boxes",
            "target": None,
            "metric": {"name": "mean_precision", "ious": IOUS},
            "image.train": "stage_2_train_images/{patientId}.dcm",
            "image.test": "stage_2_test_images/{patientId}.dcm",
            "boxes.columns": ["x", "y", "width", "height"],
            "boxes.form": "sizes",
            "boxes.unit": "pixels",
        },
        command="detect",
    ),
    Entry(
        slug="vinbigdata-chest-xray-abnormalities-detection",
        build=vinbigdata,
        judge=judge_vinbigdata,
        metric="voc_map@0.4",
        infers={
            "train": "train.csv",
            "test": "sample_submission.csv",
            "id": "image_id",
            "kind": "boxes",
            "target": "class_id",
            "metric": {"name": "voc_map", "iou": 0.4},
            "image.train": "train/{image_id}.dicom",
            "image.test": "test/{image_id}.dicom",
            "boxes.columns": ["x_min", "y_min", "x_max", "y_max"],
            "boxes.form": "corners",
            "boxes.unit": "pixels",
        },
        command="detect",
    ),
]
