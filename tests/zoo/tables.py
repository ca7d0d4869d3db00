"""Competitions of tables."""

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


TABLES = [
    Entry(
        slug="titanic",
        build=titanic,
        judge=judge_titanic,
        infers={"sample": "gender_submission.csv", "kind": "binary", "target": "Survived", "metric": "accuracy"},
        command="tabular",
    ),
]
