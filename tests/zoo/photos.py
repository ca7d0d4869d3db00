"""Competitions of photos."""

from __future__ import annotations

from pathlib import Path

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 24, 8


def aerial_cactus(folder: Path) -> None:
    """train/, test/ and train.csv (id with suffix, has_cactus); the sample asks for 0.5."""
    names = [f"{n:032x}.jpg" for n in range(1, TRAIN + TEST + 1)]
    flags = [int(n % 4 > 0) for n in range(TRAIN + TEST)]
    for n, (name, flag) in enumerate(zip(names, flags, strict=True)):
        making.picture(folder / ("train" if n < TRAIN else "test") / name, 60 + 120 * flag, n, (32, 32))
    making.table(folder / "train.csv", "id,has_cactus", list(zip(names, flags, strict=True))[:TRAIN])
    making.table(folder / "sample_submission.csv", "id,has_cactus", [(name, 0.5) for name in names[TRAIN:]])


def judge_cactus(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.numbers(submission, 0, 1)


PHOTOS = [
    Entry(
        slug="aerial-cactus-identification",
        build=aerial_cactus,
        judge=judge_cactus,
        infers={
            "kind": "binary",
            "target": "has_cactus",
            "metric": "auc",
            "image.train": "train/{id}",
            "image.test": "test/{id}",
        },
    ),
]
