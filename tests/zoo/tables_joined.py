"""Competitions whose rows stand in several tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo import making
from zoo.entry import Entry
from zoo.tables_classes import judge_probability

HOOKS = (Path(__file__).parent / "beside/ieee_fraud.py").read_text()
TRANSACTION = [
    "TransactionDT", "TransactionAmt", "ProductCD", *(f"card{n}" for n in range(1, 7)), "addr1", "addr2", "dist1", "dist2",
    "P_emaildomain", "R_emaildomain", *(f"C{n}" for n in range(1, 15)), *(f"D{n}" for n in range(1, 16)),
    *(f"M{n}" for n in range(1, 10)), *(f"V{n}" for n in range(1, 340)),
]  # fmt: skip
WORDS = {"ProductCD": "WCHRS", "card4": ("visa", "mastercard"), "card6": ("debit", "credit"),
         "P_emaildomain": ("gmail.com", "", "yahoo.com"), "R_emaildomain": ("", "gmail.com"),
         "M4": ("M0", "M2", "")} | {f"M{n}": ("T", "F", "") for n in (1, 2, 3, 5, 6, 7, 8, 9)}  # fmt: skip
IDENTITY_WORDS = {"12": ("NotFound", "Found"), "15": ("New", "Found"), "23": ("", "IP_PROXY:TRANSPARENT"),
                  "30": ("Windows 10", "iOS 11.1.2", ""), "31": ("chrome 62.0", "mobile safari 11.0"),
                  "33": ("1920x1080", ""), "35": "TF"}  # fmt: skip


def ieee_fraud(folder: Path) -> None:
    """Transactions, and for a quarter of them an identity, whose columns are id_01 in train and id-01 in test; test is
    later."""
    rng = np.random.default_rng(0)
    numbers = [f"{n:02d}" for n in range(1, 39)]
    for part, first, count in (("train", 2_987_000, 120), ("test", 3_663_549, 30)):
        fraud = (rng.random(count) < 0.25).astype(int)
        known = [[first + n, *[fraud[n]] * (part == "train"), *_transaction(rng, fraud[n], 30 * (first + n - 2_987_000))]
                 for n in range(count)]  # fmt: skip
        header = ["TransactionID", *["isFraud"] * (part == "train"), *TRANSACTION]
        making.table(folder / f"{part}_transaction.csv", ",".join(header), known)
        spelt = [f"id{'_-'[part == 'test']}{n}" for n in numbers]
        some = [[first + n, *(_identity(rng, number) for number in numbers), ("desktop", "mobile")[n % 2], "Windows"]
                for n in range(0, count, 4)]  # fmt: skip
        making.table(
            folder / f"{part}_identity.csv", ",".join(["TransactionID", *spelt, "DeviceType", "DeviceInfo"]), some
        )
    asked = [(3_663_549 + n, 0.5) for n in range(30)]
    making.table(folder / "sample_submission.csv", "TransactionID,isFraud", asked)


def _transaction(rng: np.random.Generator, fraud: int, seconds: int) -> list[object]:
    draws = rng.random(len(TRANSACTION))
    cells: list[object] = [
        WORDS[name][int(draw * len(WORDS[name]))] if name in WORDS
        else "" if draw < 0.2 and name[0] in "DV" else float(int(100 * draw) // 10)
        for name, draw in zip(TRANSACTION, draws, strict=True)
    ]  # fmt: skip
    return [86_400 + seconds, round(20 + 200 * fraud + 50 * draws[1], 3), *cells[2:]]


def _identity(rng: np.random.Generator, number: str) -> object:
    words = IDENTITY_WORDS.get(number)
    return (
        words[int(rng.integers(len(words)))] if words else "" if rng.random() < 0.3 else float(rng.integers(-10, 600))
    )


JOINED = [
    Entry(
        slug="ieee-fraud-detection",
        build=ieee_fraud,
        judge=judge_probability,
        set="read=ieee_fraud.py:read",
        beside={"ieee_fraud.py": HOOKS},
        infers={
            "id": "TransactionID",
            "kind": "binary",
            "target": "isFraud",
            "metric": "auc",
            "folds.scheme": "time",
            "folds.time": "TransactionDT",
        },
        command="tabular",
    ),
]
