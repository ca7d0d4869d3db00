"""What `make init` infers from a folder: the layouts of competitions, each built tiny, and what it must ask for."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from competition import artifacts, data
from competition.errors import DataFault, Fault
from competition.inspect.infer import Guess, infer, to_yaml
from competition.keys import Competition
from competition.settings import parse

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NUMBER = itertools.count()
Layout = dict[str, list[list[object]] | None]  # file -> rows of a CSV, or None for a picture (never decoded)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def build(layout: Layout, root: str = "data/leaves") -> Path:
    for name, rows in layout.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(",".join(map(str, row)) for row in rows or []) + "\n")
    return Path(root)


def load(guesses: list[Guess]) -> data.Data:
    """What the written file says to all later stages."""
    name = f"leaves{next(NUMBER)}"
    artifacts.write_text(artifacts.competition_yaml(name), to_yaml(guesses))
    return data.load(name)


def values(guesses: list[Guess]) -> dict[str, Any]:
    return {guess.key: guess.value for guess in guesses}


def fault(layout: Layout, code: str, **arguments: Any) -> str:
    with pytest.raises(Fault) as caught:
        infer(build(layout), "leaves", **arguments)
    assert {f.code for f in caught.value.findings} == {code}
    return str(caught.value)


def table(header: str, rows: int, *cells: Any, start: int = 0, id: str = "{}") -> list[list[object]]:
    """A CSV: ids from `start`, then per column the cells in turn, again and again."""
    body = [[id.format(i), *(c[i % len(c)] for c in cells)] for i in range(start, start + rows)]
    return [header.split(","), *body]


def pictures(template: str, rows: int, start: int = 0) -> Layout:
    return {template.format(i): None for i in range(start, start + rows)}


TWO, THREE = ["cat", "dog"], ["cat", "dog", "owl"]
LABELS = {
    "train.csv": table("id,label", 12, THREE),
    "test.csv": table("id", 6, start=12),
    "sample_submission.csv": table("id,label", 6, ["cat"], start=12),
}
WIDE = table("id,cat,dog,owl", 6, [0.3], [0.3], [0.4], start=12)
FEATURES = {"test.csv": table("id,size", 6, [1, 2, 3], start=12)}
NAMES = {f"train/{label}.{i}.jpg": None for label in TWO for i in range(4)}
FOLDERS = {f"train/{label}/{i}.png": None for label in THREE for i in range(4)}
JPG = "images/{id}.jpg"


def tabular(target: list[object], sample: list[object], name: str = "label", rows: int = 60) -> Layout:
    train = table(f"id,size,{name}", rows, [3, 1, 2, 5], target)
    test = table("id,size", 6, [1, 2, 3], start=rows)
    return {
        "train.csv": train,
        "test.csv": test,
        "sample_submission.csv": table(f"id,{name}", 6, sample, start=rows),
    }


def columns(*targets: list[Any], names: str = "a,b,c") -> Layout:
    return {
        "train.csv": table(f"id,size,{names}", 60, [1, 2], *targets),
        "test.csv": table("id,size", 6, [1, 2], start=60),
        "sample_submission.csv": table(f"id,{names}", 6, *([[0.5]] * len(targets)), start=60),
    }


PICTURES: dict[str, tuple[Layout, dict[str, Any]]] = {
    "one folder, ids without suffix": (
        LABELS | pictures("images/{}.jpg", 18),
        {"id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy", "image": JPG, "folds.n": 3},
    ),
    "two folders that both count from 0": (
        LABELS
        | pictures("train/{}.jpg", 12)
        | pictures("test/{}.jpg", 6)
        | {"test.csv": table("id", 6), "sample_submission.csv": table("id,label", 6, ["cat"])},
        {"image": {"train": "train/{id}.jpg", "test": "test/{id}.jpg"}},
    ),
    "one folder, ids with suffix": (
        {
            "train.csv": table("file,label", 12, THREE, id="{}.png"),
            "test.csv": table("file", 6, start=12, id="{}.png"),
            "sample_submission.csv": table("file,label", 6, ["cat"], start=12, id="{}.png"),
            **pictures("all/pics/{}.png", 18),
        },
        {"id": "file", "image": "all/pics/{file}"},
    ),
    "ids are paths": (
        {
            "train.csv": table("image,label", 12, THREE, id="images/a/{:05}.jpg"),
            "test.csv": table("image", 6, start=12, id="images/a/{:05}.jpg"),
            "sample_submission.csv": table("image,label", 6, ["cat"], start=12, id="images/a/{:05}.jpg"),
            **pictures("images/a/{:05}.jpg", 18),
        },
        {"id": "image", "image": "{image}"},
    ),
    "two folders": (
        LABELS | pictures("train_images/{}.jpg", 12) | pictures("test_images/{}.png", 6, 12),
        {"image": {"train": "train_images/{id}.jpg", "test": "test_images/{id}.png"}},
    ),
    "two folders, doubled, with masks": (
        LABELS
        | pictures("train/train/{}.jpg", 12)
        | pictures("test/test/{}.jpg", 6, 12)
        | pictures("masks/{}.jpg", 12),
        {"image": {"train": "train/train/{id}.jpg", "test": "test/test/{id}.jpg"}},
    ),
    "no test table": (
        {k: v for k, v in LABELS.items() if k != "test.csv"} | pictures("images/{}.jpg", 18),
        {"test": "sample_submission.csv", "id": "id", "image": JPG},
    ),
    "the sample names the id and the label otherwise": (
        {
            "train_labels.csv": table("file,label", 12, THREE, id="{}.jpg"),
            "sampleSubmission.csv": table("id,prediction", 6, ["cat"], start=12),
            **pictures("train/{}.jpg", 12),
            **pictures("test/{}.jpg", 6, 12),
        },
        {
            "train": "train_labels.csv",
            "test": "sampleSubmission.csv",
            "id": "file",
            "target": "label",
            "image": {"train": "train/{file}", "test": "test/{file}.jpg"},
        },
    ),
    "test ids with suffix, the sample's without": (
        LABELS | {"test.csv": table("id", 6, start=12, id="{}.jpg")} | pictures("images/{}.jpg", 18),
        {"test": "sample_submission.csv", "image": JPG},
    ),
    "mixed suffixes that a column holds": (
        {
            "train.csv": table("id,label,file", 12, THREE, [f"{i}.{'png' if i % 3 else 'jpg'}" for i in range(12)]),
            "test.csv": table("id,file", 6, [f"{i}.jpg" for i in [12, 13, 14, 15, 16, 17]], start=12),
            "sample_submission.csv": LABELS["sample_submission.csv"],
            **{f"images/{i}.{'png' if i % 3 and i < 12 else 'jpg'}": None for i in range(18)},
        },
        {"id": "id", "image": {"train": "images/{file}", "test": "images/{id}.jpg"}},
    ),
    "train in class folders, listed by a table": (
        {
            "train.csv": LABELS["train.csv"],
            "sample_submission.csv": LABELS["sample_submission.csv"],
            **{f"imgs/train/{THREE[i % 3]}/{i}.jpg": None for i in range(12)},
            **pictures("imgs/test/{}.jpg", 6, 12),
        },
        {"image": {"train": "imgs/train/{label}/{id}.jpg", "test": "imgs/test/{id}.jpg"}},
    ),
    "wide probabilities": (
        {"labels.csv": LABELS["train.csv"], "sample_submission.csv": WIDE, **pictures("images/{}.jpg", 18)},
        {"train": "labels.csv", "target": "label", "kind": "multiclass", "metric": "logloss"},
    ),
    "a folder a row": (
        LABELS | {f"train/{i}/{i}.jpg": None for i in range(12)} | {f"test/{i}/{i}.jpg": None for i in range(12, 18)},
        {"image": {"train": "train/{id}/{id}.jpg", "test": "test/{id}/{id}.jpg"}},
    ),
    "top-k lists": (
        {
            "train.csv": table("Image,Id", 12, THREE, id="{}.jpg"),
            "sample_submission.csv": table("Image,Id", 6, ["cat dog owl"], start=12, id="{}.jpg"),
            **pictures("train/{}.jpg", 12),
            **pictures("test/{}.jpg", 6, 12),
        },
        {"id": "Image", "target": "Id", "kind": "multiclass", "metric": {"name": "mapk", "k": 3}},
    ),
    "labels in file names": (
        NAMES | pictures("test/{}.jpg", 6) | {"sample_submission.csv": table("id,label", 6, [0.5])},
        {
            "train": "train/{label}.{number}.jpg",
            "test": "test/{number}.jpg",
            "id": "stem",
            "target": "label",
            "kind": "binary",
            "metric": "auc",
            "image": "{path}",
        },
    ),
    "labels in folder names": (
        FOLDERS | pictures("test/{}.png", 6) | {"sample_submission.csv": table("id,species", 6, ["cat"])},
        {
            "train": "train/{species}/{name}.png",
            "test": "test/{number}.png",
            "id": "stem",
            "target": "species",
            "kind": "multiclass",
            "metric": "accuracy",
        },
    ),
    "labels in folder names, masks beside them": (
        FOLDERS
        | pictures("train_masks/{}.png", 3)
        | pictures("test/{}.png", 6)
        | {"sample_submission.csv": table("id,species", 6, ["cat"])},
        {"train": "train/{species}/{name}.png", "test": "test/{number}.png"},
    ),
    "numbers of classes, with gaps": (
        {
            "train.csv": table("id,category_id", 75, [n * n for n in range(25)]),
            "sample_submission.csv": table("id,category_id", 6, [0], start=75),
            **pictures("images/{}.jpg", 81),
        },
        {"target": "category_id", "kind": "multiclass", "metric": "accuracy"},
    ),
    "the sample spells the target otherwise": (
        {
            "train.csv": table("id,count,category_id", 12, [1, 2], [3, 5, 9]),
            "sample_submission.csv": table("id,Category", 6, [0], start=12),
            **pictures("images/{}.jpg", 18),
        },
        {"target": "category_id", "kind": "multiclass"},
    ),
    "the sample calls the target otherwise, and has its values": (
        {
            "train.csv": table("id,chain,hotel", 12, [7, 8], [3, 5, 9]),
            "sample_submission.csv": table("id,predicted", 6, ["9 3"], start=12),
            **pictures("images/{}.jpg", 18),
        },
        {"target": "hotel", "kind": "multiclass", "metric": {"name": "mapk", "k": 2}},
    ),
    "labels in folder names, mixed suffixes, sample wide and with suffix": (
        {**FOLDERS, "train/cat/x.jpg": None}
        | pictures("test/{}.jpg", 6, 12)
        | {"sample_submission.csv": table("file,p_cat,p_dog,p_owl", 6, [0.3], [0.3], [0.4], start=12, id="{}.jpg")},
        {
            "train": "train/{label}/{name}.*",
            "test": "sample_submission.csv",
            "target": "label",
            "kind": "multiclass",
            "metric": "logloss",
            "image": {"train": "{path}", "test": "test/{stem}"},
        },
    ),
    "labels on one of two levels of folders": (
        {f"train/{label}/day{d}/{i}.png": None for label in THREE for d in (1, 2) for i in range(3)}
        | pictures("test/{}.png", 6)
        | {"sample_submission.csv": table("id,label", 6, ["owl"])},
        {"train": "train/{label}/*/{name}.png"},
    ),
}

TABLES: dict[str, tuple[Layout, dict[str, Any]]] = {
    "0 and 1": (tabular([0, 1, 1], [0]), {"kind": "binary", "metric": "accuracy", "folds.n": 5}),
    "0 and 1 as probability": (tabular([0, 1, 1], [0.5]), {"kind": "binary", "metric": "auc"}),
    "True and False": (tabular(["True", "False"], ["False"]), {"kind": "binary", "metric": "accuracy"}),
    "two texts": (tabular(["yes", "no"], ["no"]), {"kind": "binary", "metric": "accuracy"}),
    "two texts, the negative one last": (
        tabular(["abnormal", "normal"], [0.5]),
        {"kind": "binary", "metric": "auc", "classes": ["normal", "abnormal"]},
    ),
    "texts": (tabular(THREE, ["cat"]), {"kind": "multiclass", "metric": "accuracy", "target": "label"}),
    "words that YAML misreads": (tabular(["no", "007", "1e-3"], ["no"], name="yes"), {"target": "yes"}),
    "few whole numbers": (tabular([0, 1, 2, 3, 4], [0]), {"kind": "multiclass", "metric": "accuracy"}),
    "levels": (tabular([0, 1, 2, 3, 4], [0], name="severity"), {"kind": "ordinal", "metric": "qwk"}),
    "few whole numbers, the sample with fractions": (tabular([0, 1, 2, 3], [1.5]), {"kind": "regression"}),
    "many whole numbers": (tabular(list(range(37)), [5]), {"kind": "regression", "metric": "rmse"}),
    "fractions": (tabular([0.5, 1.25, 7], [0]), {"kind": "regression", "metric": "rmse"}),
    "one-hot": (
        columns([1, 0, 0], [0, 1, 0], [0, 0, 1]),
        {"target": ["a", "b", "c"], "kind": "multiclass", "metric": "logloss"},
    ),
    "multi-label columns": (
        columns([1, 0, 0], [1, 1, 0], [0, 0, 1]),
        {"target": ["a", "b", "c"], "kind": "multilabel", "metric": "mean_column_auc"},
    ),
    "several values": (
        columns([1.5, 0, 3], [10, 20, 15], names="x,y"),
        {"target": ["x", "y"], "kind": "regression", "metric": "rmse"},
    ),
    "labels with blanks between": (
        tabular(["cat dog", "dog", "cat", "owl cat", ""], ["cat"], name="labels"),
        {"kind": "multilabel", "separator": " ", "metric": "f1_samples"},
    ),
    "labels with bars between": (
        tabular(["cat|wild dog", "wild dog", "owl"], ["cat|owl"]),
        {"kind": "multilabel", "separator": "|", "metric": "f1_samples"},
    ),
    "labels with semicolons between": (
        tabular(["cat;dog", "dog", "owl"], ["cat"]),
        {"kind": "multilabel", "separator": ";"},
    ),
    "numbers as labels, commas between": (
        tabular(['"1,2"', "2", "1", '"1,3"', "3", '"1,2,3"'], [1]),
        {"kind": "multilabel", "separator": ","},
    ),
    "classes of two words": (tabular(["red car", "red bus", "blue car"], ["red car"]), {"kind": "multiclass"}),
    "wide with prefix": (
        FEATURES | {"train.csv": table("id,size,kind", 12, [1, 2], THREE),
                    "sample_submission.csv": table("id,p_cat,p_dog,p_owl", 6, [1], [0], [0], start=12)},
        {"target": "kind", "kind": "multiclass", "metric": "logloss"},
    ),
    "wide, with a class that train lacks": (
        FEATURES | {"train.csv": table("id,size,kind", 12, [1, 2], TWO), "sample_submission.csv": WIDE},
        {"target": "kind", "classes": ["cat", "dog", "owl"]},
    ),
    "wide, several labels a cell": (
        FEATURES | {"train.csv": table("id,size,kind", 12, [1, 2], ["cat dog", "owl", "dog owl"]),
                    "sample_submission.csv": WIDE},
        {"target": "kind", "kind": "multilabel", "separator": " ", "metric": "mean_column_auc"},
    ),
    "other names": (
        {
            "Training.csv": table("PassengerId,size,Survived", 60, [1, 2, 3], [0, 1]),
            "Test.csv": table("PassengerId,size", 6, [1, 2, 3], start=60),
            "gender_submission.csv": table("PassengerId,Survived", 6, [0], start=60),
        },
        {"train": "Training.csv", "test": "Test.csv", "sample": "gender_submission.csv", "id": "PassengerId"},
    ),
    "a staged sample that names the target otherwise": (
        {
            "train.csv": table("id,size,price", 60, [1, 2, 3], [0.5, 1.5, 2.5]),
            "test_stage1.csv": table("id,size", 6, [1, 2, 3], start=60),
            "sample_submission_stage1.csv": table("id,prediction", 6, [0], start=60),
        },
        {"test": "test_stage1.csv", "sample": "sample_submission_stage1.csv", "target": "price"},
    ),
    "the id by another name in the sample": (
        {
            "train.csv": table("key,size,price", 60, [1, 2, 3], [0.5, 1.5]),
            "test.csv": table("key,size", 6, [1, 2, 3], start=60),
            "sample_submission.csv": table("id,price", 6, [0], start=60),
        },
        {"id": "key", "target": "price"},
    ),
    "groups": (
        {
            "train.csv": table("id,patient_id,label", 60, [f"p{i // 3}" for i in range(60)], TWO),
            "test.csv": table("id,patient_id", 6, ["p99"], start=60),
            "sample_submission.csv": table("id,label", 6, ["cat"], start=60),
        },
        {"folds.group": "patient_id", "folds.scheme": "stratified"},
    ),
    "flags called groups": (
        {
            "train.csv": table("id,Group,Subject Focus,label", 60, [0, 1], [0, 0, 1], THREE),
            "test.csv": table("id,Group,Subject Focus", 6, [0, 1], [0], start=60),
            "sample_submission.csv": table("id,label", 6, ["cat"], start=60),
        },
        {"folds.group": None},
    ),
    "groups of one": (
        {
            "train.csv": table("id,session,label", 60, [f"s{i}" for i in range(60)], TWO),
            "test.csv": table("id,session", 6, ["s99"], start=60),
            "sample_submission.csv": table("id,label", 6, ["cat"], start=60),
        },
        {"folds.group": None},
    ),
    "test after train": (
        {
            "train.csv": table("id,date,sales", 60, [f"2024-01-{i % 30 + 1:02}" for i in range(60)], [1.5, 2.5, 9]),
            "test.csv": table("id,date", 6, ["2024-02-01", "2024-02-02"], start=60),
            "sample_submission.csv": table("id,sales", 6, [0], start=60),
        },
        {"folds.scheme": "time", "folds.time": "date"},
    ),
    "test among train's times": (
        {
            "train.csv": table("id,date,sales", 60, [f"2024-01-{i % 30 + 1:02}" for i in range(60)], [1.5, 2.5, 9]),
            "test.csv": table("id,date", 6, ["2024-01-03", "2024-02-02"], start=60),
            "sample_submission.csv": table("id,sales", 6, [0], start=60),
        },
        {"folds.scheme": "stratified", "folds.time": None},
    ),
    "stretches of time between train's": (
        {
            "train.csv": table("id,date,sales", 76, [f"2024-{i // 19 + 1:02}-{i % 19 + 1:02}" for i in range(76)], [1.5, 9]),
            "test.csv": table("id,date", 36, [f"2024-{i // 9 + 1:02}-{i % 9 + 20:02}" for i in range(36)], start=76),
            "sample_submission.csv": table("id,sales", 36, [0], start=76),
        },
        {"folds.scheme": "time", "folds.time": "date"},
    ),
    "the id is the time": (
        {
            "train.csv": table("date,size,sales", 19, [1, 2], [1.5, 2.5, 9], start=10, id="2024-01-{} 10:00:00"),
            "test.csv": table("date,size", 6, [1, 2], start=10, id="2024-02-{} 10:00:00"),
            "sample_submission.csv": table("date,sales", 6, [0], start=10, id="2024-02-{} 10:00:00"),
        },
        {"id": "date", "folds.scheme": "time", "folds.time": "date"},
    ),
    "seconds of one clock": (
        {
            "train.csv": table("id,TransactionDT,sales", 60, [86400 + 7 * i for i in range(60)], [1.5, 2.5, 9]),
            "test.csv": table("id,TransactionDT", 6, [90000 + 7 * i for i in range(6)], start=60),
            "sample_submission.csv": table("id,sales", 6, [0], start=60),
        },
        {"folds.scheme": "time", "folds.time": "TransactionDT"},
    ),
    "numbers of candidates are no dates": (
        {
            "train.csv": table("id,candidate_id,sales", 60, [i // 4 for i in range(60)], [1.5, 2.5, 9]),
            "test.csv": table("id,candidate_id", 6, [900, 900, 901], start=60),
            "sample_submission.csv": table("id,sales", 6, [0], start=60),
        },
        {"folds.scheme": "stratified", "folds.time": None},
    ),
    "groups that test shares": (
        {
            "train.csv": table("id,customer,label", 60, [f"c{i // 6}" for i in range(60)], TWO),
            "test.csv": table("id,customer", 6, ["c1", "c2", "new"], start=60),
            "sample_submission.csv": table("id,label", 6, ["cat"], start=60),
        },
        {"folds.group": None},
    ),
    "groups in the ids": (
        {
            "train.csv": [["id", "size", "label"], *[[f"{i // 3:04}_{i % 3}", i % 5, TWO[i % 2]] for i in range(60)]],
            "test.csv": [["id", "size"], *[[f"{i // 3:04}_{i % 3}", i % 5] for i in range(60, 72)]],
            "sample_submission.csv": [["id", "label"], *[[f"{i // 3:04}_{i % 3}", "cat"] for i in range(60, 72)]],
        },
        {"folds.group": "{group}_*", "folds.scheme": "stratified"},
    ),
    "starts of ids that test shares": (
        {
            "train.csv": [["id", "size", "label"], *[[f"{i % 20:04}_{i}", i % 5, TWO[i % 2]] for i in range(60)]],
            "test.csv": [["id", "size"], *[[f"{i % 20:04}_{i}", i % 5] for i in range(60, 72)]],
            "sample_submission.csv": [["id", "label"], *[[f"{i % 20:04}_{i}", "cat"] for i in range(60, 72)]],
        },
        {"folds.group": None},
    ),
    "a rare class": (tabular(["cat"] * 28 + ["dog"] * 2, ["cat"]), {"folds.n": 3}),
}  # fmt: skip


@pytest.mark.parametrize("layout, expected", [pytest.param(*v, id=k) for k, v in (PICTURES | TABLES).items()])
def test_layouts_are_told_and_load(layout: Layout, expected: dict[str, Any]) -> None:
    guesses = infer(build(layout), "leaves")
    found = values(guesses)
    assert {key: found.get(key) for key in expected} == expected
    assert ("image" in found) == any(rows is None for rows in layout.values())
    assert all(guess.reason for guess in guesses)
    loaded = load(guesses)
    target = found["target"]
    assert (loaded.config.id, loaded.config.target) == (
        found["id"],
        tuple(target) if isinstance(target, list) else target,
    )
    for rows in (loaded.train, loaded.test):
        assert (rows.pictures is None) == ("image" not in found)
        assert rows.pictures is None or all(Path(p).is_file() for p in rows.pictures)


def test_the_metric_is_sure_only_when_given() -> None:
    folder = build(tabular(THREE, ["cat"]))
    assert not next(g for g in infer(folder, "leaves") if g.key == "metric").sure
    given = next(g for g in infer(folder, "leaves", "f1_macro") if g.key == "metric")
    assert given == Guess("metric", "f1_macro", "given")


@pytest.mark.parametrize(
    "metric, target, kind, value",
    [
        ("mapk@5", THREE, "multiclass", {"name": "mapk", "k": 5}),
        ("MAP@3", THREE, "multiclass", {"name": "mapk", "k": 3}),
        ("mapk", THREE, "multiclass", "mapk"),
        ("quantile@0.9", [0.5, 1.5, 2], "regression", {"name": "quantile", "alpha": 0.9}),
        ("AUC", [0, 1], "binary", "auc"),
        ("qwk", [0, 1, 2, 3], "ordinal", "qwk"),
        ("mae", [0, 1, 2, 3], "regression", "mae"),
        ("accuracy", [0.5, 1.5], "binary", "accuracy"),
        ("rmsle", list(range(1, 40)), "regression", "rmsle"),
    ],
)
def test_a_given_metric_settles_the_kind(metric: str, target: list[object], kind: str, value: object) -> None:
    guesses = infer(build(tabular(target, target[:1])), "leaves", metric)
    assert (values(guesses)["kind"], values(guesses)["metric"]) == (kind, value)
    load(guesses)


@pytest.mark.parametrize("metric", ["mapk", "top_error"])
def test_rankings_take_their_length_from_the_sample(metric: str) -> None:
    folder = build(PICTURES["top-k lists"][0])
    assert values(infer(folder, "leaves", metric))["metric"] == {"name": metric, "k": 3}
    assert values(infer(folder, "leaves", f"{metric}@1"))["metric"] == {"name": metric, "k": 1}


def test_an_unknown_metric_is_refused() -> None:
    assert "'logloss'" in fault(tabular(THREE, ["cat"]), "CFG-VALUE", metric="loglos")


def test_what_is_given_is_taken() -> None:
    folder = build(tabular([0, 1, 2], [0]) | pictures("logo/{}.png", 1))
    given = {"kind": "ordinal", "folds": {"n": 4}, "folds.seed": 7, "image": None, "metric": "mae"}
    guesses = infer(folder, "leaves", given=given)
    found = values(guesses)
    assert (found["kind"], found["metric"], found["folds.n"], found["folds.seed"]) == ("ordinal", "mae", 4, 7)
    assert next(g.reason for g in guesses if g.key == "folds.n") == "given"
    config = load(guesses).config
    assert (config.folds.n, config.folds.seed, config.image) == (4, 7, None)


def test_given_templates_and_columns_are_used() -> None:
    layout = {f"a/shih_tzu_{i}.jpg": None for i in range(4)} | {f"a/pug_{i}.jpg": None for i in range(4)}
    layout |= pictures("b/{}.jpg", 3) | {"sample_submission.csv": table("id,label", 3, ["pug"])}
    assert "SET='target=" in fault(layout, "INIT-TARGET")
    given = {"train": "a/{label}_{number}.jpg", "image.train": "{path}", "image.test": "b/{stem}.jpg"}
    given["test"] = "sample_submission.csv"
    assert load(infer(Path("data/leaves"), "leaves", given=given)).problem.classes == ("pug", "shih")


FAULTS: dict[str, tuple[Layout, str, str]] = {
    "two candidate targets": (
        {
            "train.csv": table("id,size,price,cost", 60, [1, 2], [0.5, 1.5], [2.5, 3.5]),
            "test.csv": table("id,size", 6, [1, 2], start=60),
            "sample_submission.csv": table("id,prediction", 6, [0], start=60),
        },
        "INIT-TARGET",
        "'price', 'cost'",
    ),
    "two candidate targets, one of which has the sample's 0": (
        {
            "train.csv": table("id,sold,price", 60, [0, 1], [2.5, 3.5]),
            "test.csv": table("id", 6, start=60),
            "sample_submission.csv": table("id,prediction", 6, [0], start=60),
        },
        "INIT-TARGET",
        "'sold', 'price'",
    ),
    "columns that are no classes": (
        FEATURES | {"train.csv": table("id,size,kind", 12, [1, 2], ["x", "y"]), "sample_submission.csv": WIDE},
        "INIT-TARGET",
        "'cat', 'dog', 'owl'",
    ),
    "ids of another set": (
        LABELS | {"sample_submission.csv": table("id,label", 6, ["cat"], start=50)}, "INIT-ID", "'50'",
    ),
    "two samples": (
        {"train.csv": LABELS["train.csv"], "sample_submission_1.csv": WIDE, "sample_submission_2.csv": WIDE},
        "INIT-SAMPLE",
        "SET='sample=",
    ),
    "no sample": ({k: v for k, v in LABELS.items() if "sample" not in k}, "INIT-SAMPLE", "'test.csv'"),
    "no test rows": ({k: v for k, v in LABELS.items() if k != "test.csv"}, "INIT-TEST", "SET='test="),
    "no train rows": ({"sample_submission.csv": WIDE, **FEATURES}, "INIT-TRAIN", "SET='train="),
    "mixed suffixes": (
        LABELS | pictures("images/{}.jpg", 8) | pictures("images/{}.png", 10, 8),
        "INIT-IMAGE",
        "images/{id}.jpg 8 rows, images/{id}.png 4 rows",
    ),
    "most pictures missing": (LABELS | pictures("images/{}.jpg", 9), "INIT-IMAGE", "3 of 12 rows have no picture"),
    "pictures of other names": (LABELS | pictures("images/x{}.jpg", 18), "INIT-IMAGE", "'images/x0.jpg'"),
    "pictures twice": (
        LABELS | pictures("small/{}.jpg", 18) | pictures("large/{}.jpg", 18), "INIT-IMAGE", "'small/{id}.jpg'",
    ),
    "boxes in train, without pictures": (
        {
            "train.csv": table("image,x_min,y_min,x_max,y_max,class", 12, [1], [1], [5], [5], TWO),
            "test.csv": table("image", 6, start=12),
            "sample_submission.csv": table("image,PredictionString", 6, ["cat 0.5 0 0 9 9"], start=12),
        },
        "INIT-IMAGE",
        "boxes",
    ),
    "boxes in the sample alone": (
        LABELS | {"sample_submission.csv": table("id,found", 6, ["cat 0.5 0 0 9 9 dog 1.0 1 1 2 2"], start=12)},
        "INIT-BOXES",
        "boxes",
    ),
    "masks": (
        LABELS | {"sample_submission.csv": table("id,EncodedPixels", 6, ["1 3"], start=12)}, "INIT-KIND", "masks",
    ),
    "several columns of text": (columns(["x", "y"], ["u", "v"], names="p,q"), "INIT-TARGET", "SET='target=p'"),
    "texts": (tabular([f"a text {i} of its own" for i in range(60)], ["?"]), "INIT-KIND", "a text 0 of its own"),
    "decimal commas": (tabular(['"0,5"', '"1,25"', '"3,0"'], ["0"]), "CSV-DECIMAL", "0,5"),
}  # fmt: skip


@pytest.mark.parametrize("layout, code, evidence", [pytest.param(*v, id=k) for k, v in FAULTS.items()])
def test_what_can_not_be_told_is_asked(layout: Layout, code: str, evidence: str) -> None:
    text = fault(layout, code)
    assert evidence in text
    for mend in re.findall(r"SET='([^']*)'", text):  # what is offered can be given
        assert set(parse(mend)) <= {*Competition.model_fields, "image.train", "image.test", "boxes.columns"}


def test_a_misspelt_key_names_the_nearest() -> None:
    assert "'folds.group'" in fault(LABELS, "CFG-UNKNOWN", given={"folds.grup": "site"})


def test_a_folder_unpacked_twice_is_found() -> None:
    build(tabular(THREE, ["cat"]), "data/leaves/leaves")
    (Path("data/leaves") / "__MACOSX").mkdir()
    assert values(infer(Path("data/leaves"), "leaves"))["data"] == "data/leaves/leaves"


def test_a_folder_without_tables_names_those_that_have_some() -> None:
    build(LABELS, "data/leaves/a")
    build(LABELS, "data/leaves/b")
    with pytest.raises(DataFault, match=r"INIT-FOLDER(?s:.*)data/leaves/a"):
        infer(Path("data/leaves"), "leaves")
    with pytest.raises(DataFault, match=r"no such folder"):
        infer(Path("data/none"), "leaves")


def test_data_is_relative_up_to_two_folders_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build(tabular(THREE, ["cat"])).resolve()
    for here, expected in (("a/b", "../../data/leaves"), ("a/b/c", str(folder))):
        (tmp_path / here).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / here)
        assert values(infer(folder, "leaves"))["data"] == expected


def test_the_text_marks_what_to_check_and_survives_odd_names() -> None:
    guesses = [
        Guess("id", "a: b #c", "a reason\nof two lines"),
        Guess("target", ["no", "007", "1e-3", ".inf", "é", 'q"', "x,y", "[z]"], "so", sure=False),
        Guess("folds.n", 3, "few"),
        Guess("folds.group", None, "none"),
    ]
    from competition import yaml

    text = to_yaml(guesses)
    assert "# a reason of two lines\n" in text and "# CHECK: so\n" in text
    read, _ = yaml.parse(text, "text")
    assert read == {"id": guesses[0].value, "target": guesses[1].value, "folds": {"n": 3, "group": None}}


REAL: dict[str, dict[str, Any]] = {
    "clothing10": {"id": "image", "target": "label", "kind": "multiclass", "metric": "accuracy", "image": "{image}"},
    "titanic": {"id": "PassengerId", "target": "Survived", "kind": "binary", "metric": "accuracy"},
    "house_prices": {"id": "Id", "target": "SalePrice", "kind": "regression", "metric": "rmse"},
    "hpc_jobs": {"id": "id", "target": "class", "kind": "multiclass", "metric": "logloss"},
    "bccd": {"id": "image_id", "target": "class", "kind": "boxes", "metric": "map", "image": "images/{image_id}.jpg"},
}


@pytest.mark.parametrize("name", REAL)
def test_real_folders(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    guesses = infer(SHARED / name, name)
    expected = REAL[name] | {"folds.n": 5, "folds.scheme": "stratified", "folds.group": None}
    assert {key: values(guesses).get(key) for key in expected} == expected
    load(guesses)
