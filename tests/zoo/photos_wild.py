"""Competitions of photos from nature: camera traps at places of their own, and species listed in JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import judging, making
from zoo.entry import Entry

TRAIN, TEST = 36, 8
MANY = 84  # of the competition with more classes than numbers are taken for classes without further evidence
ANIMALS = ("0", "1", "8", "13", "16")
ANIMALS_2020 = [n * n for n in range(21)]  # numbers with gaps
KINDS = [n % 5 for n in range(TRAIN + TEST)]
SHADES = making.shades(KINDS, 5)
SPECIES = (71, 108, 339, 341, 560)


def judge_2019(submission: Path, folder: Path) -> list[str]:
    return judging.form(submission, folder / "sample_submission.csv") or judging.names(submission, ANIMALS)


def judge_2020(submission: Path, folder: Path) -> list[str]:
    wrong = judging.form(submission, folder / "sample_submission.csv")
    return wrong or judging.names(submission, map(str, ANIMALS_2020))


def camera(n: int, train: int) -> dict[str, Any]:
    """What the host says of picture n: test's cameras stand elsewhere; both took pictures in the same years."""
    place = 20 + n % 6 if n < train else 90 + n % 2
    date = f"201{1 + n % 3}-0{1 + n % 7}-13 23:43:{n % 60:02d}"
    return {"date": date, "frame": n % 3 + 1, "location": place, "sequence": f"6f0{n // 3:03x}", "frames": 3}


def iwildcam_2019(folder: Path) -> None:
    """id and file_name both lead to the picture; the sample's names of id and label are not train's."""
    ids, rows = making.uuids(TRAIN + TEST), []
    for n, id in enumerate(ids):
        said = camera(n, TRAIN)
        shot = [said["date"], f"{id}.jpg", said["frame"], id, said["location"], "justin brown", said["sequence"], 3]
        rows.append([*shot, 1024, 747])
    columns = "date_captured,file_name,frame_num,id,location,rights_holder,seq_id,seq_num_frames,width,height"
    train = [[ANIMALS[KINDS[n]], *rows[n]] for n in range(TRAIN)]
    making.table(folder / "train.csv", f"category_id,{columns}", train)
    making.table(folder / "test.csv", columns, rows[TRAIN:])
    making.table(folder / "sample_submission.csv", "Id,Predicted", [(id, 0) for id in ids[TRAIN:]])
    making.pictures(folder / "train_images", dict(zip(ids[:TRAIN], SHADES, strict=False)), ".jpg", (32, 44))
    making.pictures(folder / "test_images", dict(zip(ids[TRAIN:], SHADES[TRAIN:], strict=True)), ".jpg", (32, 44))


def iwildcam_2020(folder: Path) -> None:
    """No tables but the sample: images and their classes stand in COCO's JSON, without boxes; detections beside them."""
    ids, images = making.uuids(MANY + TEST), []
    for n, id in enumerate(ids):
        said = camera(n, MANY)
        shot = {"seq_num_frames": 3, "location": said["location"], "datetime": f"{said['date']}.000"}
        size = {"frame_num": said["frame"], "seq_id": said["sequence"], "width": 1920, "height": 1080}
        images.append(shot | size | {"file_name": f"{id}.jpg", "id": id})
    made = making.uuids(MANY, seed=1)
    kinds = [ANIMALS_2020[n % 21] for n in range(MANY)]
    marks = [{"count": 1, "image_id": ids[n], "category_id": kinds[n], "id": made[n]} for n in range(MANY)]
    categories = [{"id": number, "name": f"animal {number}", "count": 9} for number in ANIMALS_2020]
    listed = {"annotations": marks, "images": images[:MANY], "categories": categories, "info": {"version": "1.0"}}
    making.document(folder / "iwildcam2020_train_annotations.json", listed)
    asked = {"images": images[MANY:], "categories": categories, "info": {"version": "1.0"}}
    making.document(folder / "iwildcam2020_test_information.json", asked)
    found = [{"id": id, "max_detection_conf": 0.9, "detections": []} for id in ids]
    making.document(folder / "iwildcam2020_megadetector_results.json", {"images": found, "info": {}})
    making.table(folder / "sample_submission.csv", "Id,Category", [(id, 0) for id in ids[MANY:]])
    shades = making.shades([n % 21 for n in range(MANY)], 21)
    making.pictures(folder / "train", dict(zip(ids[:MANY], shades, strict=True)), ".jpg", (32, 44))
    making.pictures(folder / "test", dict(zip(ids[MANY:], SHADES, strict=False)), ".jpg", (32, 44))


def inaturalist_2017(folder: Path) -> None:
    """As in 2019, but scored by the best of five."""
    _inaturalist(folder, 2017, "train_val_images")


def inaturalist_2019(folder: Path) -> None:
    """COCO's JSON of classes for train, val and test; paths in file_name; ids are numbers, and so are the classes."""
    _inaturalist(folder, 2019, "train_val2019")


def _inaturalist(folder: Path, year: int, of_train: str) -> None:
    groups = ("Amphibians", "Birds", "Plants")
    images: list[dict[str, Any]] = []
    for n, name in enumerate(making.hexes(TRAIN + TEST, 32)):
        place = f"{of_train}/{groups[KINDS[n] % 3]}/{SPECIES[KINDS[n]]}" if n < TRAIN else f"test{year}"
        making.picture(folder / place / f"{name}.jpg", SHADES[n], n, (44, 32))
        images.append({"license": 0, "file_name": f"{place}/{name}.jpg", "rights_holder": "Ed", "height": 800,
                       "width": 600, "id": n})  # fmt: skip
    marks = [{"image_id": n, "category_id": SPECIES[KINDS[n]], "id": n} for n in range(TRAIN)]
    categories = [{"kingdom": "Animalia", "genus": "Anura", "name": f"Species {k}", "id": k} for k in SPECIES]
    rest = {"info": {"year": year}, "licenses": [{"id": 0, "name": "", "url": ""}], "categories": categories}
    for part, some in (("train", slice(0, 30)), ("val", slice(30, TRAIN))):
        making.document(folder / f"{part}{year}.json", rest | {"images": images[some], "annotations": marks[some]})
    making.document(folder / f"test{year}.json", rest | {"images": images[TRAIN:]})
    asked = [(n, "71 108 339 341 560") for n in range(TRAIN, TRAIN + TEST)]
    making.table(folder / "kaggle_sample_submission.csv", "id,predicted", asked)


def judge_inaturalist(submission: Path, folder: Path) -> list[str]:
    """One class or more, best first; the host scores the first (2019) or any of five (2017)."""
    wrong = judging.form(submission, folder / "kaggle_sample_submission.csv")
    return wrong or judging.names(submission, map(str, SPECIES), " ", range(1, 6))


WILD = [
    Entry(
        slug="iwildcam-2019-fgvc6",
        build=iwildcam_2019,
        judge=judge_2019,
        metric="f1_macro",
        infers={
            "test": "test.csv",
            "id": "id",
            "target": "category_id",
            "kind": "multiclass",
            "image.train": "train_images/{id}.jpg",
            "image.test": "test_images/{id}.jpg",
            "folds.scheme": "stratified",
            "folds.group": "location",
        },
    ),
    Entry(
        slug="iwildcam-2020-fgvc7",
        build=iwildcam_2020,
        judge=judge_2020,
        infers={
            "train": "iwildcam2020_train_annotations.json",
            "test": "iwildcam2020_test_information.json",
            "id": "id",
            "target": "category_id",
            "kind": "multiclass",
            "metric": "accuracy",
            "image.train": "train/{id}.jpg",
            "image.test": "test/{id}.jpg",
            "folds.group": "location",
        },
    ),
    *(
        Entry(
            slug=slug,
            build=build,
            judge=judge_inaturalist,
            metric=metric,
            infers={
                "sample": "kaggle_sample_submission.csv",
                "train": f"train{year}.json",
                "test": f"test{year}.json",
                "id": "id",
                "target": "category_id",
                "kind": "multiclass",
                "image.train": "{file_name}",
                "image.test": "{file_name}",
            },
        )
        for slug, year, build, metric in (
            ("inaturalist-challenge-at-fgvc-2017", 2017, inaturalist_2017, "top_error"),
            ("inaturalist-2019-fgvc6", 2019, inaturalist_2019, "top_error@1"),
        )
    ),
]
