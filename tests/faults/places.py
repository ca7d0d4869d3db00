"""Rows 22 to 29, and those of bad pictures that a policy keeps from stopping the work: names, folders, changes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from competition import cli, data
from faults.case import Case, Make
from faults.pictures import (
    CHECK,
    FIRST,
    IMAGES,
    PNG,
    TEST,
    changed,
    decode_all,
    flipped,
    refused,
    saved,
)

# ---- names and folders


def named(*names: str, on_disk: str = "") -> Callable[[Make], object]:
    """The first training rows have these names; their pictures too, the first perhaps another."""

    def change() -> None:
        for old, new in zip(("000", "001"), names):
            Path("data/train.csv").write_text(
                Path("data/train.csv").read_text().replace(f"{old},", f"{quoted(new)},", 1)
            )
            (IMAGES / f"{old}.png").rename(IMAGES / f"{on_disk or new}.png")

    return changed(change)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def folders(*more: str) -> Callable[[Make], object]:
    """A folder a class, as ImageFolder has it, and further files or (ending in /) folders."""

    def build(make: Make) -> None:
        make(
            "multiclass",
            train="train/{label}/{name}.png",
            id="stem",
            image={"train": "{path}", "test": "images/{stem}.png"},
        )
        labels = pd.read_csv("data/train.csv", dtype=str)
        for row in labels.itertuples():
            Path(f"data/train/{row.label}").mkdir(parents=True, exist_ok=True)
            (IMAGES / f"{row.id}.png").rename(f"data/train/{row.label}/{row.id}.png")
        sample = pd.read_csv("data/sample_submission.csv", dtype=str).rename(columns={"id": "stem"})
        sample.to_csv("data/sample_submission.csv", index=False)
        pd.read_csv("data/test.csv", dtype=str).rename(columns={"id": "stem"}).to_csv("data/test.csv", index=False)
        for path in more:
            place = Path("data/train", path)
            (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
            if not path.endswith("/"):
                place.write_bytes(saved("PNG"))

    return build


def three_classes() -> None:
    assert data.load("toy").problem.classes == ("dark", "grey", "light")
    assert len(data.load("toy").train) == 60


def absolute() -> None:
    table = pd.read_csv("data/train.csv", dtype=str)
    files = ["/etc/passwd", *(f"images/{name}.png" for name in table["id"][1:])]
    table.assign(file=files).to_csv("data/train.csv", index=False)


ABSOLUTE = changed(absolute, image={"train": "{file}", "test": "images/{id}.png"})
ACCENT = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", ACCENT)
FOLDS = ("folds", "toy")
NAMES = [
    Case(22, "a path out of the folder", changed(lambda: None, image="../images/{id}.png"), CHECK, "error", "SEC-PATH", 5,
         ("..",)),
    Case(22, "an absolute path", ABSOLUTE, CHECK, "error", "SEC-PATH", 5, ("/etc/passwd",)),
    refused(23, "NFC in the table, NFD on the disk", named(ACCENT, on_disk=DECOMPOSED), "IMG-UNICODE", "\\xe9", "\\u0301"),
    refused(23, "NFD in the table, NFC on the disk", named(DECOMPOSED, on_disk=ACCENT), "IMG-UNICODE", "convmv"),
    Case(24, "names that differ by case", named("aB", "Ab"), CHECK, "warning", "IMG-CASE", said=("2 pictures", "aB.png")),
    Case(25, "blanks, quotes, commas, emoji", named('a "b", c', "d\U0001f41f'e"), decode_all, "handled",
         holds=lambda: data.load("toy").train.table.loc['a "b", c']),
    refused(25, "a line break", named("a\nb", on_disk="a"), "IMG-NAME", "control"),
    refused(25, "300 bytes", named("\u00e9" * 150, on_disk="a"), "IMG-NAME", "255 bytes"),
    Case(26, "hidden files and folders", folders(".ipynb_checkpoints/a.png", "__MACOSX/b.png", "dark/._c.png"), FOLDS,
         "warning", "FS-HIDDEN", said=("3 hidden", "__MACOSX"), holds=three_classes),
    Case(27, "an empty folder of a class", folders("birds/"), FOLDS, "warning", "CLASS-EMPTY", said=("'train/birds'",),
         holds=three_classes),
]  # fmt: skip


# ---- pictures that change after a run began


def trained(change: Callable[[], object]) -> Callable[[Make], object]:
    def build(make: Make) -> None:
        run = make("multiclass", run="epochs=1 views=[plain]")
        for path in sorted(IMAGES.iterdir()):
            path.write_bytes(saved("JPEG", np.asarray(Image.open(path)), quality=90))
        assert cli.main(["train", run, "--fold", "0"]) == 0
        change()
        data.load.cache_clear()

    return build


def flip_one_bit() -> None:
    """In the scan of a JPEG, where no decoder notices."""
    content = FIRST.read_bytes()
    FIRST.write_bytes(flipped(content, len(content) * 3 // 4))


TRAIN = ("train", "toy/base")
CHANGED = [
    Case(7, "a flipped bit in a JPEG of a run", trained(flip_one_bit), TRAIN, "error", "RUN-DATA", 3, ("pictures",)),
    Case(29, "another picture in a run", trained(lambda: FIRST.write_bytes(saved("PNG"))), TRAIN, "error", "RUN-DATA", 3,
         ("pictures", "AS="), slow=True),
    Case(29, "a picture that is but touched", trained(lambda: os.utime(FIRST)), (*TRAIN, "--fold", "0"), "handled",
         holds=lambda: Path("runs/toy/base/fold0/fit.json").stat(), slow=True),
]  # fmt: skip

# ---- the policy for bad pictures: the night before the deadline


def policy(bad: str, content: bytes = b"", paths: tuple[Path, ...] = (FIRST, TEST)) -> Callable[[Make], object]:
    return changed(
        lambda: [path.write_bytes(content) for path in paths], image={"train": "images/{id}.png", "bad": bad}
    )


def first_is_left_out() -> None:
    toy = data.load("toy")
    assert "001" not in toy.train.ids and len(toy.train) == 59
    assert any(note.startswith("IMG-EMPTY: train") and "001.png" in note for note in toy.notes)


def test_row_has_the_prior() -> None:
    toy = data.load("toy")
    assert list(toy.test.ids[toy.test.pictures == ""]) == ["060"] and len(toy.test.shown) == 11
    assert any(note.startswith("IMG-EMPTY: test") and "060.png" in note for note in toy.notes)
    first_is_left_out()
    folds = pd.read_csv("folds/toy.csv", dtype={"id": str}).set_index("id")["fold"]
    truth = toy.train.truth
    prior = sum(truth[(folds != k).loc[truth.index]].mean() for k in (0, 1)) / 2
    assert np.allclose(pd.read_parquet("runs/toy/base/test.parquet").loc["060"], prior)
    assert list(pd.read_csv("submissions/toy/base.csv", dtype=str)["id"]) == list(toy.sample["id"])


def boxes(bad: str) -> Callable[[Make], object]:
    def build(make: Make) -> None:
        make("boxes", run="epochs=1 views=[plain]", task="detection", image={"train": "images/{id}.png", "bad": bad})
        for path in (FIRST, TEST):
            path.write_bytes(PNG[:400])

    return build


def no_box_in_the_bad_one() -> None:
    assert "060" not in pd.read_parquet("runs/toy/base/test.parquet").index
    assert pd.read_csv("submissions/toy/base.csv", dtype=str)["id"].iloc[0] == "060"


POLICIES = [
    Case(2, "training rows left out", policy("drop", paths=(FIRST,)), decode_all, "handled", holds=first_is_left_out),
    Case(2, "training rows left out, check", policy("drop", paths=(FIRST,)), CHECK, "warning", "IMG-EMPTY",
         said=("left out", "001.png")),
    refused(2, "a test picture is never left out", policy("drop"), "IMG-EMPTY", "060.png", "placeholder"),
    refused(2, "all pictures bad in spite of the policy", changed(lambda: [p.unlink() for p in IMAGES.iterdir()],
             image={"train": "images/{id}.png", "bad": "placeholder"}), "IMG-MISSING", "60 pictures"),
    Case(2, "a test row without a picture", policy("placeholder"), ("submission", "toy/base"), "warning", "IMG-EMPTY",
         said=("mean of the training labels", "060.png"), holds=test_row_has_the_prior),
    Case(5, "boxes without a picture", boxes("placeholder"), ("detect", "toy/base"), "warning", "IMG-TRUNC",
         holds=no_box_in_the_bad_one, said=("060.png",), slow=True),
]  # fmt: skip

CASES = [*NAMES, *CHANGED, *POLICIES]
UNTRIED = {28: "pictures that no table lists: tests/test_check.py"}
