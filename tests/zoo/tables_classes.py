"""Competitions of tables that ask for classes or their probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo import judging, making
from zoo.entry import Entry


def titanic(folder: Path) -> None:
    """train.csv and test.csv with quoted names; gender_submission.csv is the sample."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for n in range(1, 121):
        sex, age = ("male", "female")[n % 2], "" if n % 7 == 0 else int(rng.integers(1, 80))
        name, cabin = f"{('Brown', 'Smith')[n % 2]}, {('Mr.', 'Mrs.')[n % 2]} Owen ({n})", "C85" if n % 4 == 0 else ""
        survived = n % 2 if n % 5 else 1 - n % 2
        rows.append([n, survived, n % 3 + 1, name, sex, age, n % 3, n % 2, f"A/5 {n}", 7.25 + n, cabin, "SCQ"[n % 3]])
    columns = "Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
    making.table(folder / "train.csv", f"PassengerId,Survived,{columns}", rows[:90])
    making.table(folder / "test.csv", f"PassengerId,{columns}", [[r[0], *r[2:]] for r in rows[90:]])
    asked = [(r[0], int(r[4] == "female")) for r in rows[90:]]
    making.table(folder / "gender_submission.csv", "PassengerId,Survived", asked)


def judge_titanic(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "gender_submission.csv") or judging.names(submission, ["0", "1"])


def spaceship(folder: Path) -> None:
    """PassengerId is gggg_pp, a group that travels together and a number in it; no group is in train and in test."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for group in range(1, 81):
        for number in range(1, 2 + group % 3):
            asleep, age = ("False", "True")[int(rng.random() < 0.4)], "" if group % 9 == 0 else float(rng.integers(80))
            spent = [0.0 if asleep == "True" else float(rng.integers(900)) for _ in range(5)]
            gone = asleep if rng.random() < 0.8 else ("True", "False")[asleep == "True"]
            home, cabin = ("Europa", "Earth", "Mars")[group % 3], f"{'BFG'[group % 3]}/{group}/{'PS'[group % 2]}"
            rows.append([f"{group:04d}_{number:02d}", home, asleep, cabin, "TRAPPIST-1e", age, "False", *spent,
                         f"Maham Ofracculy{group}", gone])  # fmt: skip
    columns = (
        "HomePlanet,CryoSleep,Cabin,Destination,Age,VIP,RoomService,FoodCourt,ShoppingMall,Spa,VRDeck,Name,Transported"
    )
    train, test = ([r for r in rows if (int(str(r[0])[:4]) % 4 == 0) == held] for held in (False, True))
    making.table(folder / "train.csv", f"PassengerId,{columns}", train)
    making.table(folder / "test.csv", f"PassengerId,{columns.rpartition(',')[0]}", [r[:-1] for r in test])
    making.table(folder / "sample_submission.csv", "PassengerId,Transported", [(r[0], "False") for r in test])


def judge_spaceship(submission: Path, folder: Path) -> list[str]:
    words = judging.names(submission, ["True", "False"])
    return judging.form(submission, folder / "sample_submission.csv") or words


def cover_type(folder: Path) -> None:
    """Numbers and 44 one-hot columns, of which some are 0 throughout; Cover_Type 5 has one row."""
    rng = np.random.default_rng(0)
    names = "Elevation,Aspect,Slope,Horizontal_Distance_To_Hydrology,Vertical_Distance_To_Hydrology"
    names += ",Horizontal_Distance_To_Roadways,Hillshade_9am,Hillshade_Noon,Hillshade_3pm"
    names += ",Horizontal_Distance_To_Fire_Points"
    flags = [f"Wilderness_Area{n}" for n in range(1, 5)] + [f"Soil_Type{n}" for n in range(1, 41)]
    rows: list[list[object]] = []
    for n in range(120):
        cover = 5 if n == 50 else (1, 2, 2, 3, 7)[n % 5]
        hot = rng.random(44) < 0.1
        hot[[10, 18]] = False  # Soil_Type7 and 15
        rows.append([n, 2500 + 100 * cover + int(rng.integers(60)), *rng.integers(0, 250, 9), *hot.astype(int), cover])
    columns = ",".join(["Id", names, *flags])
    making.table(folder / "train.csv", f"{columns},Cover_Type", rows[:100])
    making.table(folder / "test.csv", columns, [r[:-1] for r in rows[100:]])
    making.table(folder / "sample_submission.csv", "Id,Cover_Type", [(r[0], 2) for r in rows[100:]])


def judge_cover_type(submission: Path, folder: Path) -> list[str]:
    labels = judging.names(submission, [str(n) for n in range(1, 8)])
    return judging.form(submission, folder / "sample_submission.csv") or labels


def may_2022(folder: Path) -> None:
    """f_00..f_30: floats, small whole numbers, and f_27, ten letters."""
    rng = np.random.default_rng(0)
    whole = {*range(7, 19), 29, 30}
    rows: list[list[object]] = []
    for n in range(150):
        text = "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRST"), 10))
        cells = [text if k == 27 else int(rng.integers(0, 3 if k > 28 else 12)) if k in whole else rng.normal()
                 for k in range(31)]  # fmt: skip
        rows.append([n, *cells, int(cells[0] + rng.normal() > 0)])
    columns = ",".join(["id", *(f"f_{k:02d}" for k in range(31))])
    making.table(folder / "train.csv", f"{columns},target", rows[:120])
    making.table(folder / "test.csv", columns, [r[:-1] for r in rows[120:]])
    making.table(folder / "sample_submission.csv", "id,target", [(r[0], 0.5) for r in rows[120:]])


def otto(folder: Path) -> None:
    """93 counts and a class; ids count from 1 in train and again in test; sampleSubmission.csv has a column a class."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for n in range(150):
        cover = n % 9 + 1
        rows.append([n + 1, *np.where(np.arange(93) % 9 + 1 == cover, rng.poisson(3, 93), rng.poisson(0.3, 93)),
                     f"Class_{cover}"])  # fmt: skip
    columns = ",".join(["id", *(f"feat_{k}" for k in range(1, 94))])
    making.table(folder / "train.csv", f"{columns},target", rows[:120])
    making.table(folder / "test.csv", columns, [[n, *r[1:-1]] for n, r in enumerate(rows[120:], 1)])
    asked = ",".join(["id", *(f"Class_{k}" for k in range(1, 10))])
    making.table(folder / "sampleSubmission.csv", asked, [(n, 1, *[0] * 8) for n in range(1, 31)])


def judge_otto(submission: Path, folder: Path) -> list[str]:
    return (
        judging.form(submission, folder / "sampleSubmission.csv")
        or judging.numbers(submission, 0, 1)
        or judging.sums(submission)
    )


PORTO = {
    "ind_01": 7, "ind_02_cat": 4, "ind_03": 11, "ind_04_cat": 2, "ind_05_cat": 7,
    **{f"ind_{n:02d}_bin": 2 for n in range(6, 14)}, "ind_14": 4, "ind_15": 13,
    **{f"ind_{n}_bin": 2 for n in range(16, 19)}, "reg_01": 0.9, "reg_02": 1.8, "reg_03": 4.0,
    "car_01_cat": 12, "car_02_cat": 2, "car_03_cat": 2, "car_04_cat": 10, "car_05_cat": 2, "car_06_cat": 18,
    "car_07_cat": 2, "car_08_cat": 2, "car_09_cat": 5, "car_10_cat": 3, "car_11_cat": 104, "car_11": 4,
    "car_12": 1.2, "car_13": 3.7, "car_14": 0.6, "car_15": 3.7,
    "calc_01": 0.9, "calc_02": 0.9, "calc_03": 0.9, **{f"calc_{n:02d}": 10 for n in range(4, 15)},
    **{f"calc_{n}_bin": 2 for n in range(15, 21)},
}  # fmt: skip


def porto_seguro(folder: Path) -> None:
    """Columns named by group and kind (_bin, _cat); -1 is missing; the ids of train and test alternate."""
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for n in range(300):
        risky = rng.random() < 0.2
        cells = [
            int(rng.integers(top)) if isinstance(top, int) else round(top * rng.random(), 6) for top in PORTO.values()
        ]
        gaps = [name in ("reg_03", "car_03_cat", "car_14") and rng.random() < 0.3 for name in PORTO]
        cells = [-1 if gap else cell for cell, gap in zip(cells, gaps, strict=True)]
        cells[0] = int(rng.integers(3, 7) if risky else rng.integers(0, 5))
        rows.append([n, int(risky), *cells])
    columns = ",".join(f"ps_{name}" for name in PORTO)
    making.table(folder / "train.csv", f"id,target,{columns}", [r for r in rows if r[0] % 3])
    making.table(folder / "test.csv", f"id,{columns}", [[r[0], *r[2:]] for r in rows if r[0] % 3 == 0])
    asked = [(r[0], 0.0364) for r in rows if r[0] % 3 == 0]
    making.table(folder / "sample_submission.csv", "id,target", asked)


def santander(folder: Path) -> None:
    """ID_code train_0, test_0; 200 numbers; the sample holds 0, though probabilities are asked for."""
    rng = np.random.default_rng(0)
    rows = [[int(flag), *(rng.normal(size=200) + flag).round(4)] for flag in rng.random(160) < 0.3]
    columns = ",".join(f"var_{k}" for k in range(200))
    making.table(
        folder / "train.csv", f"ID_code,target,{columns}", [[f"train_{n}", *r] for n, r in enumerate(rows[:120])]
    )
    making.table(folder / "test.csv", f"ID_code,{columns}", [[f"test_{n}", *r[1:]] for n, r in enumerate(rows[120:])])
    making.table(folder / "sample_submission.csv", "ID_code,target", [(f"test_{n}", 0) for n in range(40)])


def judge_probability(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission, 0, 1)


CLASSES = [
    Entry(
        slug="titanic",
        build=titanic,
        judge=judge_titanic,
        infers={
            "sample": "gender_submission.csv",
            "train": "train.csv",
            "test": "test.csv",
            "id": "PassengerId",
            "kind": "binary",
            "target": "Survived",
            "metric": "accuracy",
            "folds.scheme": "stratified",
        },
        command="tabular",
    ),
    Entry(
        slug="spaceship-titanic",
        build=spaceship,
        judge=judge_spaceship,
        infers={
            "sample": "sample_submission.csv",
            "id": "PassengerId",
            "kind": "binary",
            "target": "Transported",
            "metric": "accuracy",
            "folds.scheme": "stratified",
            "folds.group": "{group}_*",
        },
        command="tabular",
    ),
    Entry(
        slug="tabular-playground-series-dec-2021",
        build=cover_type,
        judge=judge_cover_type,
        infers={
            "id": "Id",
            "kind": "multiclass",
            "target": "Cover_Type",
            "metric": "accuracy",
            "folds.scheme": "stratified",
        },
        command="tabular",
    ),
    Entry(
        slug="tabular-playground-series-may-2022",
        build=may_2022,
        judge=judge_probability,
        infers={"id": "id", "kind": "binary", "target": "target", "metric": "auc", "folds.scheme": "stratified"},
        command="tabular",
    ),
    Entry(
        slug="otto-group-product-classification-challenge",
        build=otto,
        judge=judge_otto,
        infers={
            "sample": "sampleSubmission.csv",
            "id": "id",
            "kind": "multiclass",
            "target": "target",
            "metric": "logloss",
        },
        command="tabular",
    ),
    Entry(
        slug="porto-seguro-safe-driver-prediction",
        build=porto_seguro,
        judge=judge_probability,
        metric="gini",
        infers={"id": "id", "kind": "binary", "target": "target", "metric": "gini", "folds.scheme": "stratified"},
        command="tabular",
    ),
    Entry(
        slug="santander-customer-transaction-prediction",
        build=santander,
        judge=judge_probability,
        metric="auc",
        infers={"id": "ID_code", "kind": "binary", "target": "target", "metric": "auc"},
        command="tabular",
    ),
]
