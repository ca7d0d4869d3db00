"""SIIM-FISABIO-RSNA COVID-19: boxes of images and classes of studies in one file; here two competitions and their join."""

from __future__ import annotations

from pathlib import Path

from zoo import grammar, judging, making
from zoo.boxes_photos import SIDE, TEST, TRAIN, plates
from zoo.boxes_xrays import xray
from zoo.entry import Entry

HOOKS = (Path(__file__).parent / "beside/siim.py").read_text()
COLUMNS = "Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"
STUDY_CLASSES = ("negative", "typical", "indeterminate", "atypical")


def siim(folder: Path) -> None:
    """<part>/<study>/<series>/<image>.dcm; a table of images with their boxes, one of studies; a study has 1 or 2 images."""
    images: list[tuple[object, ...]] = []
    studies: list[tuple[object, ...]] = []
    asked: dict[str, list[str]] = {"study": [], "image": []}
    for n in range(TRAIN + TEST):
        part, study = "train" if n < TRAIN else "test", f"{n * 7919 + 0x00086460A852:012x}"
        found = [plates(n + k) for k in range(1 + (n % 5 == 0))] if n % 3 else [[]]
        appearance = 1 + n % 3 if any(found) else 0
        for k, boxes in enumerate(found):
            image = f"{(2 * n + k) * 104729 + 0x000A312787F2:012x}"
            xray(folder / part / study / f"{n * 31 + k:012x}" / f"{image}.dcm", boxes, 2 * n + k)
            cells = [{"x": x + 0.5, "y": y + 0.25, "width": w, "height": h} for x, y, w, h in boxes]
            label = " ".join(f"opacity 1 {x + 0.5} {y + 0.25} {x + 0.5 + w} {y + 0.25 + h}" for x, y, w, h in boxes)
            images += [(f"{image}_image", cells or "", label or "none 1 0 0 1 1", study)] * (part == "train")
            asked["image"] += [f"{image}_image"] * (part == "test")
        studies += [(f"{study}_study", *(int(k == appearance) for k in range(4)))] * (part == "train")
        asked["study"] += [f"{study}_study"] * (part == "test")
    making.table(folder / "train_image_level.csv", "id,boxes,label,StudyInstanceUID", images)
    making.table(folder / "train_study_level.csv", f"id,{COLUMNS}", studies)
    sample = [(id, "negative 1 0 0 1 1") for id in asked["study"]] + [(id, "none 1 0 0 1 1") for id in asked["image"]]
    making.table(folder / "sample_submission.csv", "id,PredictionString", sample)


def judge_siim(submission: Path, folder: Path) -> list[str]:
    """The host's own file, with rows of both kinds."""
    return judging.form(submission, folder / "sample_submission.csv") or grammar.boxes(
        submission, SIDE, STUDY_CLASSES, nothing="negative 1 0 0 1 1", ending="_study"
    ) + grammar.boxes(submission, SIDE, ("opacity", "none"), nothing="none 1 0 0 1 1", ending="_image")


def judge_images(submission: Path, folder: Path) -> list[str]:
    strings = grammar.boxes(submission, SIDE, ["opacity"], nothing="none 1 0 0 1 1")
    return _form(submission, folder, ["id", "PredictionString"], "_image") or strings


def judge_studies(submission: Path, folder: Path) -> list[str]:
    return (
        _form(submission, folder, ["id", *COLUMNS.split(",")], "_study")
        or judging.numbers(submission, 0, 1)
        or judging.sums(submission)
    )


def _form(submission: Path, folder: Path, header: list[str], ending: str) -> list[str]:
    """Complaints on a file for the sample's rows of one kind."""
    (found, *body), asked = judging.rows(submission), judging.rows(folder / "sample_submission.csv")[1:]
    if found != header:
        return [f"header {found}, not {header}"]
    wanted = sorted(row[0] for row in asked if row[0].endswith(ending))
    return ["ids are not the sample's"] * (sorted(row[0] for row in body) != wanted)


SIIM_BOXES = [
    Entry(
        slug="siim-covid19-detection",
        build=siim,
        judge=judge_images,
        metric="voc_map",
        set="read=siim.py:images folds.group=StudyInstanceUID",
        beside={"siim.py": HOOKS},
        infers={
            "id": "id",
            "kind": "boxes",
            "target": None,
            "metric": "voc_map",
            "image.train": "{file}",
            "image.test": "{file}",
            "boxes.columns": ["PredictionString"],
            "boxes.form": "corners",
            "boxes.unit": "pixels",
            "folds.group": "StudyInstanceUID",
        },
        command="detect",
    ),
    Entry(
        slug="siim-covid19-detection-studies",
        build=siim,
        judge=judge_studies,
        metric="average_precision",
        set="read=siim.py:studies",
        beside={"siim.py": HOOKS},
        infers={
            "id": "id",
            "kind": "multiclass",
            "target": COLUMNS.split(","),
            "metric": "average_precision",
            "image.train": "{file}",
            "image.test": "{file}",
        },
    ),
]
