"""Competitions of photos with several labels each."""

from __future__ import annotations

from pathlib import Path

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 36, 6
APPLES = ("healthy", "scab", "frog_eye_leaf_spot", "rust", "complex", "powdery_mildew", "scab frog_eye_leaf_spot",
          "scab frog_eye_leaf_spot complex", "frog_eye_leaf_spot complex", "rust frog_eye_leaf_spot", "rust complex",
          "powdery_mildew complex")  # fmt: skip
LABELS_OF_APPLES = ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab")
ATTRIBUTES = ("147 616 813", "616 813", "51 147", "813", "51 616 1059", "1059 147")
TUBES = ("ETT - Abnormal", "ETT - Borderline", "ETT - Normal", "NGT - Abnormal", "NGT - Borderline",
         "NGT - Incompletely Imaged", "NGT - Normal", "CVC - Abnormal", "CVC - Borderline", "CVC - Normal",
         "Swan Ganz Catheter Present")  # fmt: skip
SETS = [n % 6 for n in range(TRAIN + TEST)]
SHADES = making.shades(SETS, 6)


def plant_pathology_2021(folder: Path) -> None:
    """Several words in the cells of `labels`; three rows in the public sample, all healthy."""
    names = [f"{name}.jpg" for name in making.hexes(TRAIN + 3, 16)]
    shades = making.shades([n % 12 for n in range(TRAIN)], 12)
    making.pictures(folder / "train_images", dict(zip(names[:TRAIN], shades, strict=True)), "", (32, 48))
    making.pictures(folder / "test_images", dict(zip(names[TRAIN:], shades, strict=False)), "", (32, 48))
    making.table(folder / "train.csv", "image,labels", [(names[n], APPLES[n % 12]) for n in range(TRAIN)])
    making.table(folder / "sample_submission.csv", "image,labels", [(name, "healthy") for name in names[TRAIN:]])


def judge_apples(submission: Path, folder: Path) -> list[str]:
    wrong = judging.form(submission, folder / "sample_submission.csv")
    return wrong or judging.names(submission, LABELS_OF_APPLES, " ", range(1, 7))


def imet(folder: Path) -> None:
    """Sets of numbers in the cells of attribute_ids, whose names stand in labels.csv; the sample says 0 1 2."""
    names = making.hexes(TRAIN + TEST, 16)
    making.pictures(folder / "train", dict(zip(names[:TRAIN], SHADES, strict=False)), ".png", (50, 36))
    making.pictures(folder / "test", dict(zip(names[TRAIN:], SHADES[TRAIN:], strict=True)), ".png", (50, 36))
    making.table(folder / "train.csv", "id,attribute_ids", [(names[n], ATTRIBUTES[SETS[n]]) for n in range(TRAIN)])
    listed = [(n, f"{('country', 'culture', 'tags')[n % 3]}::name {n}") for n in range(1103)]
    making.table(folder / "labels.csv", "attribute_id,attribute_name", listed)
    making.table(folder / "sample_submission.csv", "id,attribute_ids", [(name, "0 1 2") for name in names[TRAIN:]])


def judge_imet(submission: Path, folder: Path) -> list[str]:
    known = [row[0] for row in judging.rows(folder / "labels.csv")[1:]]
    wrong = judging.form(submission, folder / "sample_submission.csv")
    return wrong or judging.names(submission, known, " ", range(1104))


def ranzcr(folder: Path) -> None:
    """Eleven columns with blanks and hyphens, some of them for one tube; patients; annotations of some pictures."""
    names = [f"1.2.826.0.1.3680043.8.498.{number}" for number in making.numbers(TRAIN + TEST, 10**15, 10**16)]
    rows = [
        [name, *(int(t == n % 3 or (n % 2 == 0 and t == 9) or (n % 5 == 0 and t in (3, 6, 10))) for t in range(11)),
         f"{n // 3:09x}"]
        for n, name in enumerate(names[:TRAIN])
    ]  # fmt: skip
    header = ",".join(["StudyInstanceUID", *TUBES])
    making.table(folder / "train.csv", f"{header},PatientID", rows)
    making.table(folder / "sample_submission.csv", header, [[name, *[0] * 11] for name in names[TRAIN:]])
    marks = [(row[0], TUBES[9], "[[1487, 1279], [1477, 1168]]") for row in rows if row[10]]
    making.table(folder / "train_annotations.csv", "StudyInstanceUID,label,data", marks)
    for part, some in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        shades = making.shades([n % 3 for n in some], 3)
        making.pictures(folder / part, {names[n]: s for n, s in zip(some, shades, strict=True)}, ".jpg", (44, 40))
    (folder / "train_tfrecords").mkdir()
    (folder / "train_tfrecords" / "00-1881.tfrec").write_bytes(b"\0" * 64)


def judge_ranzcr(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission, 0, 1)


LABELS = [
    Entry(
        slug="plant-pathology-2021-fgvc8",
        build=plant_pathology_2021,
        judge=judge_apples,
        infers={
            "test": "sample_submission.csv",
            "id": "image",
            "target": "labels",
            "kind": "multilabel",
            "separator": " ",
            "metric": "f1_samples",
            "image.train": "train_images/{image}",
            "image.test": "test_images/{image}",
        },
    ),
    Entry(
        slug="imet-2020-fgvc7",
        build=imet,
        judge=judge_imet,
        metric="f1_micro",
        infers={
            "train": "train.csv",
            "test": "sample_submission.csv",
            "id": "id",
            "target": "attribute_ids",
            "kind": "multilabel",
            "separator": " ",
            "image.train": "train/{id}.png",
            "image.test": "test/{id}.png",
        },
    ),
    Entry(
        slug="ranzcr-clip-catheter-line-classification",
        build=ranzcr,
        judge=judge_ranzcr,
        infers={
            "train": "train.csv",
            "test": "sample_submission.csv",
            "id": "StudyInstanceUID",
            "target": list(TUBES),
            "kind": "multilabel",
            "metric": "mean_column_auc",
            "image.train": "train/{StudyInstanceUID}.jpg",
            "image.test": "test/{StudyInstanceUID}.jpg",
            "folds.group": "PatientID",
        },
    ),
]
