"""Competitions of photos where the five most probable names are submitted, best first."""

from __future__ import annotations

from pathlib import Path

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 36, 6
WHALES = ("new_whale", "w_23a388d", "w_9b5109b", "w_9c506f6", "w_0369a5c", "w_1d0830e")
HOTELS = ("36363", "53586", "18807", "64314", "60181", "9636")
PLACES = [n % 6 for n in range(TRAIN + TEST)]
SHADES = making.shades(PLACES, 6)


def judge_five(submission: Path, folder: Path, known: set[str]) -> list[str]:
    """Five different names a row, divided by blanks."""
    wrong = judging.form(submission, folder / "sample_submission.csv")
    return wrong or judging.names(submission, known, " ", (5,))


def whales(folder: Path) -> None:
    """Most whales are seen once or twice; those never seen before are new_whale."""
    names = [f"{name}.jpg" for name in making.hexes(TRAIN + TEST, 8)]
    seen = [WHALES[place] for place in PLACES[:TRAIN]]
    seen[-4:] = ["w_f48451c", "w_c3d896a", "w_20df2c5", "w_dd88965"]
    making.pictures(folder / "train", dict(zip(names[:TRAIN], SHADES, strict=False)), "", (30, 60))
    making.pictures(folder / "test", dict(zip(names[TRAIN:], SHADES[TRAIN:], strict=True)), "", (30, 60))
    making.table(folder / "train.csv", "Image,Id", zip(names[:TRAIN], seen, strict=True))
    making.table(folder / "sample_submission.csv", "Image,Id", [(name, " ".join(WHALES[:5])) for name in names[TRAIN:]])


def judge_whales(submission: Path, folder: Path) -> list[str]:
    return judge_five(submission, folder, {row[1] for row in judging.rows(folder / "train.csv")})


def hotels_2021(folder: Path) -> None:
    """Pictures in folders by chain, the hotel's number as the label, and a time that test lacks."""
    names = [f"{name}.jpg" for name in making.hexes(TRAIN + TEST, 16)]
    rows = []
    for n, name in enumerate(names[:TRAIN]):
        chain = (0, 5, 90)[PLACES[n] // 2]
        making.picture(folder / "train_images" / str(chain) / name, SHADES[n], n, (48, 36))
        rows.append([name, chain, HOTELS[PLACES[n]], f"2018-{n % 12 + 1:02d}-{n % 28 + 1:02d} 13:02:{n:02d}"])
    making.table(folder / "train.csv", "image,chain,hotel_id,timestamp", rows)
    making.pictures(folder / "test_images", dict(zip(names[TRAIN:], SHADES, strict=False)), "", (48, 36))
    asked = [(name, " ".join(HOTELS[:5])) for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "image,hotel_id", asked)


def judge_hotels(submission: Path, folder: Path) -> list[str]:
    return judge_five(submission, folder, set(HOTELS))


def hotels_2022(folder: Path) -> None:
    """No table of training rows: a folder a hotel; masks such as test is covered by; ids with suffix in the sample."""
    names = [f"{name}.jpg" for name in making.hexes(TRAIN + TEST, 16)]
    for n, name in enumerate(names[:TRAIN]):
        making.picture(folder / "train_images" / HOTELS[PLACES[n]] / name, SHADES[n], n, (48, 36))
    making.pictures(folder / "train_masks", {str(n).zfill(5): 255 for n in range(4)}, ".png", (48, 36))
    making.pictures(folder / "test_images", dict(zip(names[TRAIN:], SHADES, strict=False)), "", (48, 36))
    asked = [(name, " ".join(HOTELS[:5])) for name in names[TRAIN:]]
    making.table(folder / "sample_submission.csv", "image_id,hotel_id", asked)


RANKED = [
    *(
        Entry(
            slug=slug,
            build=whales,
            judge=judge_whales,
            infers={
                "test": "sample_submission.csv",
                "id": "Image",
                "target": "Id",
                "kind": "multiclass",
                "metric": {"name": "mapk", "k": 5},
                "image.train": "train/{Image}",
                "image.test": "test/{Image}",
            },
        )
        for slug in ("whale-categorization-playground", "humpback-whale-identification")
    ),
    Entry(
        slug="hotel-id-2021-fgvc8",
        build=hotels_2021,
        judge=judge_hotels,
        infers={
            "test": "sample_submission.csv",
            "id": "image",
            "target": "hotel_id",
            "kind": "multiclass",
            "metric": {"name": "mapk", "k": 5},
            "image.train": "train_images/{chain}/{image}",
            "image.test": "test_images/{image}",
            "folds.scheme": "stratified",
        },
    ),
    Entry(
        slug="hotel-id-to-combat-human-trafficking-2022-fgvc9",
        build=hotels_2022,
        judge=judge_hotels,
        infers={
            "train": "train_images/{hotel_id}/{name}.jpg",
            "test": "sample_submission.csv",
            "id": "stem",
            "target": "hotel_id",
            "kind": "multiclass",
            "metric": {"name": "mapk", "k": 5},
            "image.train": "{path}",
            "image.test": "test_images/{stem}",
        },
    ),
]
