"""Competitions of photos with one class, one grade or one number each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 30, 6
BREEDS = ("affenpinscher", "afghan_hound", "african_hunting_dog", "airedale", "bernese_mountain_dog")
SPECIES = ("Acer_Capillipes", "Acer_Circinatum", "Alnus_Rubra", "Betula_Pendula", "Quercus_x_Hispanica")
CASSAVA = ("Cassava Bacterial Blight (CBB)", "Cassava Brown Streak Disease (CBSD)", "Cassava Green Mottle (CGM)",
           "Cassava Mosaic Disease (CMD)", "Healthy")  # fmt: skip
PADDY = ("bacterial_leaf_blight", "blast", "brown_spot", "normal", "tungro")
LEAVES = ("abies_concolor", "maclura_pomifera", "quercus_montana")
CLASSES_5 = [n % 5 for n in range(TRAIN + TEST)]
SHADES_5 = making.shades(CLASSES_5, 5)


def judge_names(*allowed: str) -> judging.Judge:
    """One of these names a row."""
    return lambda submission, folder: (
        judging.form(submission, folder / "sample_submission.csv") or judging.names(submission, allowed)
    )


def judge_shares(submission: Path, folder: Path) -> list[str]:
    """A probability a class, rows that sum to 1."""
    wrong = judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission, 0, 1)
    return wrong or judging.sums(submission)


def cassava(folder: Path) -> None:
    """One test picture; the names of the numbered classes in a JSON file; the same pictures as TFRecords."""
    names = [f"{number}.jpg" for number in making.numbers(TRAIN + 1, 1000000, 4294967295)]
    making.pictures(folder / "train_images", dict(zip(names[:TRAIN], SHADES_5, strict=False)), "", (30, 40))
    making.picture(folder / "test_images" / "2216849948.jpg", 30, 0, (30, 40))
    making.table(folder / "train.csv", "image_id,label", zip(names[:TRAIN], CLASSES_5, strict=False))
    making.table(folder / "sample_submission.csv", "image_id,label", [("2216849948.jpg", 4)])
    making.document(folder / "label_num_to_disease_map.json", {str(n): name for n, name in enumerate(CASSAVA)})
    for name in ("train_tfrecords/ld_train00-1338.tfrec", "test_tfrecords/ld_test00-1.tfrec"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(b"\0" * 64)


def paddy(folder: Path) -> None:
    """Folders by class, columns that only train has (variety, age), and a sample whose cells are empty."""
    labels = [PADDY[n] for n in CLASSES_5]
    rows = [[f"{100001 + n}.jpg", labels[n], ("ADT45", "KarnatakaPonni")[n % 3 == 0], 45 + n % 4] for n in range(TRAIN)]
    for n, (name, label, *_) in enumerate(rows):
        making.picture(folder / "train_images" / label / name, SHADES_5[n], n, (64, 48))
    making.table(folder / "train.csv", "image_id,label,variety,age", rows)
    asked = [f"{200001 + n}.jpg" for n in range(TEST)]
    making.pictures(folder / "test_images", dict(zip(asked, SHADES_5, strict=False)), "", (64, 48))
    making.table(folder / "sample_submission.csv", "image_id,label", [(name, "") for name in asked])


def leaves(folder: Path) -> None:
    """Pictures of train and test in one folder; tables with the paths."""
    kinds = [n % 3 for n in range(TRAIN + TEST)]
    names = [f"images/{n}.jpg" for n in range(TRAIN + TEST)]
    making.pictures(folder, dict(zip(names, making.shades(kinds, 3), strict=True)), "")
    making.table(folder / "train.csv", "image,label", [(names[n], LEAVES[kinds[n]]) for n in range(TRAIN)])
    making.table(folder / "test.csv", "image", [(name,) for name in names[TRAIN:]])
    making.table(folder / "sample_submission.csv", "image,label", [(name, LEAVES[1]) for name in names[TRAIN:]])


def dog_breeds(folder: Path) -> None:
    """labels.csv, and a sample with a column a breed."""
    names = making.hexes(TRAIN + TEST, 32)
    making.pictures(folder / "train", dict(zip(names[:TRAIN], SHADES_5, strict=False)), ".jpg", (36, 48))
    making.pictures(folder / "test", dict(zip(names[TRAIN:], SHADES_5[TRAIN:], strict=True)), ".jpg", (36, 48))
    making.table(folder / "labels.csv", "id,breed", [(names[n], BREEDS[CLASSES_5[n]]) for n in range(TRAIN)])
    asked = [[name, *[0.00833333333333333] * 5] for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", ",".join(["id", *BREEDS]), asked)


def leaf_classification(folder: Path) -> None:
    """192 columns of numbers beside the pictures, whose names are numbers; ten leaves a species."""
    columns = [f"{part}{n}" for part in ("margin", "shape", "texture") for n in range(1, 65)]
    values = np.random.default_rng(0).random((TRAIN + TEST, len(columns))).round(6) / 50
    values = values + np.array(CLASSES_5)[:, None] / 100
    ids = making.numbers(TRAIN + TEST, 1, 1585)
    making.pictures(folder / "images", dict(zip(ids, SHADES_5, strict=True)), ".jpg", (60, 45))
    train = [[ids[n], SPECIES[CLASSES_5[n]], *values[n]] for n in range(TRAIN)]
    making.table(folder / "train.csv", ",".join(["id", "species", *columns]), train)
    test = [[ids[n], *values[n]] for n in range(TRAIN, TRAIN + TEST)]
    making.table(folder / "test.csv", ",".join(["id", *columns]), test)
    asked = [[id, *[0.010101010101010102] * 5] for id in ids[TRAIN:]]
    making.table(folder / "sample_submission.csv", ",".join(["id", *SPECIES]), asked)


def plant_pathology_2020(folder: Path) -> None:
    """One-hot columns; pictures of train and test in one folder, told apart by their names."""
    header, kinds = "image_id,healthy,multiple_diseases,rust,scab", [n % 4 for n in range(TRAIN + TEST)]
    names = [f"Train_{n}" for n in range(TRAIN)] + [f"Test_{n}" for n in range(TEST)]
    making.pictures(folder / "images", dict(zip(names, making.shades(kinds, 4), strict=True)), ".jpg", (32, 48))
    train = [[names[n], *(int(kinds[n] == k) for k in range(4))] for n in range(TRAIN)]
    making.table(folder / "train.csv", header, train)
    making.table(folder / "test.csv", "image_id", [(name,) for name in names[TRAIN:]])
    making.table(folder / "sample_submission.csv", header, [[name, *[0.25] * 4] for name in names[TRAIN:]])


def aptos(folder: Path) -> None:
    """Grades 0 to 4 of a disease, in a column whose name does not say so."""
    names = making.hexes(TRAIN + TEST, 12)
    making.pictures(folder / "train_images", dict(zip(names[:TRAIN], SHADES_5, strict=False)), ".png", (40, 50))
    making.pictures(folder / "test_images", dict(zip(names[TRAIN:], SHADES_5[TRAIN:], strict=True)), ".png", (40, 50))
    making.table(folder / "train.csv", "id_code,diagnosis", zip(names[:TRAIN], CLASSES_5, strict=False))
    making.table(folder / "test.csv", "id_code", [(name,) for name in names[TRAIN:]])
    making.table(folder / "sample_submission.csv", "id_code,diagnosis", [(name, 0) for name in names[TRAIN:]])


def pawpularity(folder: Path) -> None:
    """A number of 1 to 100, and twelve columns of 0 and 1 (one is called Group) that test has too."""
    flags = "Subject Focus,Eyes,Face,Near,Action,Accessory,Group,Collage,Human,Occlusion,Info,Blur"
    rng = np.random.default_rng(0)
    cells, values = rng.integers(0, 2, (TRAIN + TEST, 12)).tolist(), rng.integers(1, 101, TRAIN + TEST).tolist()
    names = making.hexes(TRAIN + TEST, 32)
    train = [[names[n], *cells[n], values[n]] for n in range(TRAIN)]
    making.table(folder / "train.csv", f"Id,{flags},Pawpularity", train)
    test = [[names[n], *cells[n]] for n in range(TRAIN, TRAIN + TEST)]
    making.table(folder / "test.csv", f"Id,{flags}", test)
    asked = [(name, round(float(rng.uniform(1, 100)), 2)) for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "Id,Pawpularity", asked)
    for n, name in enumerate(names):
        making.picture(folder / ("train" if n < TRAIN else "test") / f"{name}.jpg", 2 * values[n] + 20, n, (60, 45))


def judge_pawpularity(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission)


CLASSES = [
    Entry(
        slug="cassava-leaf-disease-classification",
        build=cassava,
        judge=judge_names(*"01234"),
        infers={
            "train": "train.csv",
            "test": "sample_submission.csv",
            "id": "image_id",
            "target": "label",
            "kind": "multiclass",
            "metric": "accuracy",
            "image.train": "train_images/{image_id}",
            "image.test": "test_images/{image_id}",
        },
    ),
    Entry(
        slug="paddy-disease-classification",
        build=paddy,
        judge=judge_names(*PADDY),
        infers={
            "target": "label",
            "kind": "multiclass",
            "metric": "accuracy",
            "image.train": "train_images/{label}/{image_id}",
            "image.test": "test_images/{image_id}",
            "folds.group": None,
        },
    ),
    Entry(
        slug="classify-leaves",
        build=leaves,
        judge=judge_names(*LEAVES),
        infers={
            "test": "test.csv",
            "id": "image",
            "target": "label",
            "kind": "multiclass",
            "metric": "accuracy",
            "image.train": "{image}",
            "image.test": "{image}",
        },
    ),
    Entry(
        slug="dog-breed-identification",
        build=dog_breeds,
        judge=judge_shares,
        infers={
            "train": "labels.csv",
            "id": "id",
            "target": "breed",
            "kind": "multiclass",
            "metric": "logloss",
            "image.train": "train/{id}.jpg",
            "image.test": "test/{id}.jpg",
        },
    ),
    Entry(
        slug="leaf-classification",
        build=leaf_classification,
        judge=judge_shares,
        infers={
            "test": "test.csv",
            "id": "id",
            "target": "species",
            "kind": "multiclass",
            "metric": "logloss",
            "image.train": "images/{id}.jpg",
            "image.test": "images/{id}.jpg",
            "folds.group": None,
        },
    ),
    Entry(
        slug="plant-pathology-2020-fgvc7",
        build=plant_pathology_2020,
        judge=judge_shares,
        metric="mean_column_auc",
        infers={
            "test": "test.csv",
            "id": "image_id",
            "target": ["healthy", "multiple_diseases", "rust", "scab"],
            "kind": "multiclass",
            "image.train": "images/{image_id}.jpg",
        },
    ),
    Entry(
        slug="aptos2019-blindness-detection",
        build=aptos,
        judge=judge_names(*"01234"),
        metric="qwk",
        infers={
            "id": "id_code",
            "target": "diagnosis",
            "kind": "ordinal",
            "image.train": "train_images/{id_code}.png",
            "image.test": "test_images/{id_code}.png",
        },
    ),
    Entry(
        slug="petfinder-pawpularity-score",
        build=pawpularity,
        judge=judge_pawpularity,
        infers={
            "id": "Id",
            "target": "Pawpularity",
            "kind": "regression",
            "metric": "rmse",
            "image.train": "train/{Id}.jpg",
            "image.test": "test/{Id}.jpg",
            "folds.group": None,
        },
    ),
]
