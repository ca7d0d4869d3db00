"""Soups: what their weights are, that the choice is greedy and made without the fold, and what can't be in one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from conftest import BACKBONE, RUNS, TEST, TRAIN, parse, write
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from competition import artifacts, cli, config, folds, runs, schema, soup, train
from competition.data import load

START = {
    "image": {"pretrained": "start.safetensors", "views": ["plain"]},
    "detection": {"pretrained": "start.safetensors", "views": ["plain"], "max_boxes": 5},  # fewer to fuse
}
FOLDS = ("fold0", "fold1", "fold2")


@pytest.fixture
def soup_of(competition: Callable[..., str]) -> Callable[..., str]:
    """Makes runs fine-tuned from the same weights, each by its own keys, and `toy/soup` of all of them."""

    def make(kind: str, task: str, n: int = 3, metric: str | None = None, **keys: str) -> str:
        torch.manual_seed(0)
        save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), "start.safetensors")
        competition(kind, task=task, folds={"n": n}, **({"metric": metric} if metric else {}))
        for name, text in keys.items():
            write(f"configs/toy/{name}.yaml", RUNS[task] | START[task] | parse(text))
        write("configs/toy/soup.yaml", {"task": "soup", "of": [f"toy/{name}" for name in keys], "jobs": 1})
        return "toy/soup"

    return make


def fit_of(fold: str) -> dict:
    return json.loads(Path(f"runs/toy/soup/{fold}/fit.json").read_text())


def mean_of(chosen: list[str], fold: str) -> dict[str, np.ndarray]:
    """As numpy has it."""
    parts = [load_file(f"runs/{name}/{fold}/model.safetensors") for name in chosen]
    return {name: np.mean([part[name].double().numpy() for part in parts], axis=0) for name in parts[0]}


def check_weights(fold: str) -> None:
    mixed, chosen = load_file(f"runs/toy/soup/{fold}/model.safetensors"), fit_of(fold)["chosen"]
    first = load_file(f"runs/{chosen[0]}/{fold}/model.safetensors")
    assert mixed.keys() == first.keys()
    for name, expected in mean_of(chosen, fold).items():
        assert mixed[name].dtype == first[name].dtype and mixed[name].shape == first[name].shape
        if mixed[name].is_floating_point():
            np.testing.assert_array_equal(mixed[name].numpy(), expected.astype(np.float32), err_msg=name)
        else:
            assert torch.equal(mixed[name], first[name])


@pytest.mark.slow
def test_photos_from_yaml_to_csv_and_what_is_chosen(soup_of: Callable[..., str], capsys: pytest.CaptureFixture):
    """Trains what it is made of; the weights are means; random weights are dropped; a repeated command does nothing; the
    choice for a fold does not see its labels; other weights of a run are noticed."""
    run = soup_of(
        "binary",
        "image",
        metric="logloss",  # of which no two mixtures have the same, as they may have of accuracy
        a="epochs=3 views=plain",
        b="epochs=3 views=plain seed=1 lr=0.002",
        bad="epochs=1 lr=1e-9 seed=2 views=plain",
    )
    assert cli.main(["submission", run]) == 0
    said = capsys.readouterr().out
    oof, test = (pd.read_parquet(f"runs/toy/soup/{name}.parquet") for name in ("oof", "test"))
    assert sorted(oof.index) == sorted(load("toy").train.ids) and len(oof) == TRAIN and len(test) == TEST
    assert len(pd.read_csv("submissions/toy/soup.csv")) == TEST
    assert "toy/soup fold0: soup of toy/" in said
    for fold in FOLDS:
        check_weights(fold)
        assert "toy/bad" not in fit_of(fold)["chosen"]
        assert fit_of(fold)["tried"]["toy/bad"] > min(fit_of(fold)["tried"].values())
        with safe_open(f"runs/toy/soup/{fold}/model.safetensors", "np") as f:
            assert f.metadata()["run"] == run and f.metadata()["fold"] == fold
    assert json.loads(Path("runs/toy/soup/score.json").read_text())["score"] < 0.6
    assert len(list(Path("runs/toy/soup/tasted").glob("*/score.json"))) == len(tasted()), "nothing is scored twice"
    assert not list(Path("runs/toy/soup/tasted").glob("*/*.safetensors"))
    done = {p: p.stat().st_mtime_ns for p in Path("runs/toy").rglob("*.*") if p.is_file() and p.suffix != ".txt"}
    assert cli.main(["submission", run]) == 0
    assert {p: p.stat().st_mtime_ns for p in done} == done

    table = folds.load(load("toy"))
    before = {split.name: soup_fit(run, split) for split in table.splits[:2]}
    shuffle_labels(table.ids(table.splits[0])[1])
    after = {split.name: soup_fit(run, split) for split in table.splits[:2]}
    assert after["fold0"] == before["fold0"]
    assert after["fold1"]["tried"] != before["fold1"]["tried"]


def tasted() -> set[tuple[str, str]]:
    records = [json.loads(p.read_text()) for p in Path("runs/toy/soup/tasted").glob("*/score.json")]
    return {(record["fold"], " ".join(record["of"])) for record in records}


def soup_fit(name: str, split: folds.Split) -> dict:
    run = runs.resolve(name)
    return run.task.fit(train.open_fold(run, split))


def shuffle_labels(ids: pd.Index) -> None:
    table = pd.read_csv("data/train.csv", dtype=str).set_index("id")
    table.loc[ids, "label"] = np.random.default_rng(0).permutation(table.loc[ids, "label"].to_numpy())
    table.to_csv("data/train.csv")
    load.cache_clear()


@pytest.mark.slow
def test_boxes_from_yaml_to_csv(soup_of: Callable[..., str]):
    run = soup_of("boxes", "detection", n=2, a="epochs=1", b="epochs=1 seed=1")
    assert cli.main(["submission", run]) == 0
    for fold in FOLDS[:2]:
        check_weights(fold)
        assert len(fit_of(fold)["tried"]) == 3
    oof = pd.read_parquet("runs/toy/soup/oof.parquet")
    assert set(oof.index) <= set(load("toy").train.ids) and len(oof)
    assert len(pd.read_csv("submissions/toy/soup.csv")) == len(load("toy").test.ids)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({"a": 3, "b": 2, "c": 1, "a b": 4, "a b c": 3}, "a b"),
        ({"a": 1, "b": 2, "c": 3, "b c": 2, "a c": 3}, "a c"),  # as good is good enough
        ({"a": 3, "b": 2, "c": 1, "a b": 2, "a c": 2}, "a"),
        ({"a": np.nan, "b": 2, "c": -np.inf, "b c": -np.inf, "a b": np.nan}, "b"),
    ],
)
def test_greedy_begins_with_the_best_and_keeps_what_does_not_harm(scores: dict[str, float], chosen: str):
    found, tried = soup.greedy(("a", "b", "c"), lambda some: scores[" ".join(some)])
    assert found == tuple(chosen.split())
    assert {" ".join(some) for some in tried} == scores.keys()


def test_what_can_not_be_in_a_soup(soup_of: Callable[..., str], capsys: pytest.CaptureFixture):
    run = soup_of("multiclass", "image", n=2, a="epochs=1", b="epochs=1 seed=1", other="epochs=1 pretrained=false")

    def refused(of: list[str], verb: str = "train") -> str:
        write("configs/toy/soup.yaml", {"task": "soup", "of": of})
        assert cli.main([verb, run]) == 2
        return capsys.readouterr().err

    assert "at least 2 items" in refused(["toy/a"])
    assert "once: toy/a" in refused(["toy/a", "toy/a"])
    assert "did you mean 'other.yaml'" in refused(["toy/a", "toy/othe"])
    assert "toy/soup has no network of its own (task: soup)" in refused(["toy/soup", "toy/a"])
    said = refused(["toy/a", "toy/b"])
    assert said.count("RUN-PARTIAL") == 2 and "make train RUN=toy/b" in said
    write("configs/toy/other.yaml", config.load_run("toy/other").config() | {"backbone": "test_vit"})
    for name in ("a", "b", "other"):
        assert cli.main(["train", f"toy/{name}"]) == 0
    said = refused(["toy/a", "toy/other"])
    assert "SOUP-SHAPES" in said and "fold0, bn1.bias: F32 [32] and none (toy/a, toy/other)" in said
    record = artifacts.read_json(Path("runs/toy/b/run.json"))
    artifacts.write_json(Path("runs/toy/b/run.json"), record | {"folds": "of another"})
    assert "ENS-FOLDS" in refused(["toy/a", "toy/b"])
    artifacts.write_json(Path("runs/toy/b/run.json"), record)
    write("configs/toy/soup.yaml", {"task": "soup", "of": ["toy/a", "toy/b"], "jobs": 1})
    assert cli.main(["train", run]) == 0
    other_weights("b")
    assert cli.main(["train", run]) == 3
    assert "the runs that it is made of or their pictures changed" in capsys.readouterr().err


def other_weights(name: str) -> None:
    """The run trained anew, by another seed."""
    text = Path(f"configs/toy/{name}.yaml").read_text()
    Path(f"configs/toy/{name}.yaml").write_text(text.replace("seed: 1", "seed: 5"))
    for path in Path(f"runs/toy/{name}").glob("fold*/fit.json"):
        path.unlink()
    assert cli.main(["train", f"toy/{name}"]) == 0


@pytest.mark.slow
def test_unlabelled_rows_named_later_change_no_soup(soup_of: Callable[..., str]):
    run = soup_of("binary", "image", n=2, a="epochs=1", b="epochs=1 seed=1")
    assert cli.main(["submission", "toy/a"]) == 0 and cli.main(["submission", run]) == 0
    soup_there = fit_of("fold0")
    test = pd.read_csv("data/test.csv", dtype=str)
    for name in test["id"]:
        shutil.copy(f"data/images/{name}.png", f"data/images/u{name}.png")
    test.assign(id="u" + test["id"]).to_csv("data/more.csv", index=False)
    keys = Path("configs/toy/competition.yaml")
    keys.write_text(keys.read_text() + "unlabeled: more.csv\n")
    load.cache_clear()
    assert cli.main(["submission", run]) == 0
    assert fit_of("fold0") == soup_there
    assert Path(f"runs/{run}/fold0/unlabeled.parquet").exists()


def test_views_and_schema(soup_of: Callable[..., str]):
    run = soup_of("multiclass", "image", a="views=[plain,hflip]", b="seed=1")
    assert config.load_run(run).task.views == ("plain", "hflip")
    assert config.load_run(run, "views=[plain]").task.views == ("plain",)
    assert {"of", "views"} <= {key for section, key, *_ in schema.schema() if section.endswith("soup")}


def test_the_other_folds_are_of_the_same_split():
    numbers = pd.DataFrame({"fold": [0, 1, 2], "repeat1": [2, 0, 1]}, index=["x", "y", "z"])
    table = folds.FoldTable(numbers, False, "")
    assert [s.name for s in soup.others(table, "fold1")] == ["fold2", "fold0"]
    assert [s.name for s in soup.others(table, "fold0-repeat1")] == ["fold1-repeat1", "fold2-repeat1"]
