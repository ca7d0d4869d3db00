"""Competitions of photos with a yes or no each, submitted as a probability."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 24, 8
FLAGS = [int(n % 4 > 0) for n in range(TRAIN + TEST)]
SHADES = making.shades(FLAGS, 2)
ICE, BRAIN = ((Path(__file__).parent / "beside" / file).read_text() for file in ("icebergs.py", "brains.py"))


@cache
def scan(flag: int) -> bytes:
    """A DICOM picture of 12 bits, dark for 0 and bright for 1."""
    return making.dicom(np.linspace(0, (800, 3600)[flag], 256).reshape(16, 16).astype(np.uint16))


def judge_probability(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission, 0, 1)


def aerial_cactus(folder: Path) -> None:
    """train/, test/ and train.csv (id with suffix, has_cactus); the sample asks for 0.5."""
    names = [f"{name}.jpg" for name in making.hexes(TRAIN + TEST, 32)]
    making.pictures(folder / "train", dict(zip(names[:TRAIN], SHADES, strict=False)), "", (32, 32))
    making.pictures(folder / "test", dict(zip(names[TRAIN:], SHADES[TRAIN:], strict=True)), "", (32, 32))
    making.table(folder / "train.csv", "id,has_cactus", zip(names[:TRAIN], FLAGS, strict=False))
    making.table(folder / "sample_submission.csv", "id,has_cactus", [(name, 0.5) for name in names[TRAIN:]])


def dogs_vs_cats(folder: Path) -> None:
    """No table of training rows: the label stands in the file's name, both animals numbered from 0."""
    for n in range(TRAIN):
        making.picture(folder / "train" / f"{('cat', 'dog')[n % 2]}.{n // 2}.jpg", (50, 200)[n % 2], n, (30, 45))
    making.pictures(folder / "test", {str(n + 1): SHADES[n] for n in range(TEST)}, ".jpg", (30, 45))
    making.table(folder / "sample_submission.csv", "id,label", [(n + 1, 0.5) for n in range(TEST)])


def histopathologic(folder: Path) -> None:
    """TIFF pictures; train_labels.csv has ids without suffix, and the sample asks for 0."""
    names = making.hexes(TRAIN + TEST, 40)
    making.pictures(folder / "train", dict(zip(names[:TRAIN], SHADES, strict=False)), ".tif", (96, 96))
    making.pictures(folder / "test", dict(zip(names[TRAIN:], SHADES[TRAIN:], strict=True)), ".tif", (96, 96))
    making.table(folder / "train_labels.csv", "id,label", zip(names[:TRAIN], FLAGS, strict=False))
    making.table(folder / "sample_submission.csv", "id,label", [(name, 0) for name in names[TRAIN:]])


def melanoma(folder: Path) -> None:
    """Two columns of train tell the target and test lacks them; patients with several pictures; DICOM and JPEG of each."""
    names = [f"ISIC_{number}" for number in sorted(making.numbers(TRAIN + TEST, 15719, 9999999))]
    names = [f"ISIC_{int(name[5:]):07d}" for name in names]
    rows = [
        [name, f"IP_{3000000 + n // 3 if n < TRAIN else 7000000 + n // 2}", ("male", "female")[n % 2],
         "" if n % 9 == 0 else f"{30 + n % 5 * 5}.0", "" if n % 7 == 0 else ("torso", "head/neck")[n % 2]]
        for n, name in enumerate(names)
    ]  # fmt: skip
    told = [["melanoma", "malignant", 1] if flag else ["unknown", "benign", 0] for flag in FLAGS]
    known = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge"
    train = [row + extra for row, extra in zip(rows[:TRAIN], told, strict=False)]
    making.table(folder / "train.csv", f"{known},diagnosis,benign_malignant,target", train)
    making.table(folder / "test.csv", known, rows[TRAIN:])
    making.table(folder / "sample_submission.csv", "image_name,target", [(name, 0) for name in names[TRAIN:]])
    for part, some in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        making.pictures(folder / "jpeg" / part, {names[n]: SHADES[n] for n in some}, ".jpg", (40, 60))
        (folder / part).mkdir()
        for n in some:
            (folder / part / f"{names[n]}.dcm").write_bytes(scan(FLAGS[n]))


def icebergs(folder: Path) -> None:
    """Pictures as lists of numbers in JSON, two bands of 75 x 75; an angle that is "na" in some rows."""
    rng = np.random.default_rng(0)
    rows = []
    for n, id in enumerate(making.hexes(18, 8)):
        bands = (rng.integers(-3000, -1000, (2, 5625)) + 1500 * FLAGS[n]) / 100
        angle = "na" if n % 6 == 0 and n < 14 else 30.5 + n / 10
        rows.append({"id": id, "band_1": bands[0].tolist(), "band_2": bands[1].tolist(), "inc_angle": angle})
    making.document(folder / "test.json", rows[14:])
    train = [row | {"is_iceberg": flag} for row, flag in zip(rows[:14], FLAGS, strict=False)]
    making.document(folder / "train.json", train)
    making.table(folder / "sample_submission.csv", "id,is_iceberg", [(row["id"], 0.5) for row in rows[14:]])


def brain_tumours(folder: Path) -> None:
    """Four series of DICOM slices a patient; ids with leading zeros; not every series begins at 1."""
    ids = [f"{n:05d}" for n in (*range(16), *range(100, 104))]
    for n, id in enumerate(ids):
        part = folder / ("train" if n < 16 else "test") / id
        for series, first in (("FLAIR", 1), ("T1w", 1), ("T1wCE", 9), ("T2w", 1)):
            (part / series).mkdir(parents=True)
            for number in (first, first + 1):
                (part / series / f"Image-{number}.dcm").write_bytes(scan(n % 2))
    making.table(folder / "train_labels.csv", "BraTS21ID,MGMT_value", [(id, n % 2) for n, id in enumerate(ids[:16])])
    making.table(folder / "sample_submission.csv", "BraTS21ID,MGMT_value", [(id, 0.5) for id in ids[16:]])


BINARY = [
    Entry(
        slug="aerial-cactus-identification",
        build=aerial_cactus,
        judge=judge_probability,
        infers={
            "kind": "binary",
            "target": "has_cactus",
            "metric": "auc",
            "image.train": "train/{id}",
            "image.test": "test/{id}",
        },
    ),
    Entry(
        slug="dogs-vs-cats-redux-kernels-edition",
        build=dogs_vs_cats,
        judge=judge_probability,
        metric="logloss",
        infers={
            "train": "train/{label}.{number}.jpg",
            "test": "test/{number}.jpg",
            "id": "stem",
            "target": "label",
            "kind": "binary",
            "image.train": "{path}",
        },
    ),
    Entry(
        slug="histopathologic-cancer-detection",
        build=histopathologic,
        judge=judge_probability,
        metric="auc",
        infers={
            "train": "train_labels.csv",
            "test": "sample_submission.csv",
            "id": "id",
            "target": "label",
            "kind": "binary",
            "image.train": "train/{id}.tif",
            "image.test": "test/{id}.tif",
        },
    ),
    Entry(
        slug="siim-isic-melanoma-classification",
        build=melanoma,
        judge=judge_probability,
        metric="auc",
        infers={
            "train": "train.csv",
            "test": "test.csv",
            "id": "image_name",
            "target": "target",
            "kind": "binary",
            "image.train": "jpeg/train/{image_name}.jpg",
            "image.test": "jpeg/test/{image_name}.jpg",
            "folds.group": "patient_id",
        },
    ),
    Entry(
        slug="statoil-iceberg-classifier-challenge",
        build=icebergs,
        judge=judge_probability,
        metric="logloss",
        set="read=icebergs.py:read",
        beside={"icebergs.py": ICE},
        infers={
            "read": "icebergs.py:read",
            "id": "id",
            "target": "is_iceberg",
            "kind": "binary",
            "image.train": "{id}.png",
            "image.test": "{id}.png",
        },
    ),
    Entry(
        slug="rsna-miccai-brain-tumor-radiogenomic-classification",
        build=brain_tumours,
        judge=judge_probability,
        set="read=brains.py:read",
        beside={"brains.py": BRAIN},
        infers={
            "read": "brains.py:read",
            "id": "BraTS21ID",
            "target": "MGMT_value",
            "kind": "binary",
            "metric": "auc",
            "image.train": "{BraTS21ID}.png",
            "image.test": "{BraTS21ID}.png",
        },
    ),
]
