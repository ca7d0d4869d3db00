"""Columns that other models give to a run on tables: whose word they are, what is kept, and that no score rises so."""

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
from conftest import BACKBONE, TRAIN, write
from safetensors.torch import save_file
from sklearn.decomposition import PCA

from competition import artifacts, cli, embeddings, importance, runs, stacked
from competition.data import load
from competition.folds import load as load_folds
from competition.split import ALL, Split
from competition.train import open_fold
from competition.yaml import read as parse_yaml

FOREST = {"task": "tabular", "model": "extratrees", "params": {"n_estimators": 20}, "columns": {"ignore": ["note", "day"]},
          "jobs": 1}  # fmt: skip
BARE = FOREST | {"columns": {}}  # where there are no such columns
SEES = {"backbone": BACKBONE, "pretrained": "start.safetensors", "size": 32, "dims": 5}


def podium(*words: str) -> int:
    load.cache_clear()
    return cli.main(list(words))


def told(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return " ".join((out + err).split())


def score(run: str) -> float:
    return json.loads(Path(f"runs/{run}/score.json").read_text())["score"]


def weights() -> None:
    torch.manual_seed(0)
    save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), "start.safetensors")


def counted_anew() -> None:
    """Test's ids count from 000 as train's do, its pictures lie in a folder of its own."""
    folder, keys = Path("data/images"), parse_yaml(Path("configs/toy/competition.yaml"))[0]
    (folder / "new").mkdir()
    for name in ("test", "sample_submission"):
        table = pd.read_csv(f"data/{name}.csv", dtype=str)
        table.assign(id=[f"{n:03d}" for n in range(len(table))]).to_csv(f"data/{name}.csv", index=False)
    for n in range(len(table)):
        (folder / f"{TRAIN + n:03d}.png").rename(folder / f"new/{n:03d}.png")
    paths = {"train": "images/{id}.png", "test": "images/new/{id}.png"}
    write("configs/toy/competition.yaml", keys | {"image": paths})


def one_level_deeper(name: str = "stack", **keys: object) -> str:
    """toy/base predicted, and a run that stands on it."""
    write("configs/toy/base.yaml", FOREST)
    write(f"configs/toy/{name}.yaml", FOREST | {"runs": ["toy/base"]} | keys)
    return f"toy/{name}"


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("binary", "regression")]


@pytest.mark.parametrize("kind", ["multiclass", *SLOW])
def test_a_row_has_what_models_say_that_never_saw_it(kind: str, competition: Callable[..., str]):
    competition(kind, task="tabular")
    run = runs.resolve(one_level_deeper())
    assert podium("submission", "toy/stack") == 0, "the run below is made first"
    data, table = load("toy"), load_folds(load("toy"))
    oof = pd.read_parquet("runs/toy/base/oof.parquet").loc[data.train.ids]
    back = {"multiclass": np.exp, "binary": lambda x: 1 / (1 + np.exp(-x)), "regression": lambda x: x}[kind]
    tests = []
    for split in (*table.splits, Split(ALL)):
        train, test = stacked.tables(run, data, split)
        assert list(train) == list(test) == [f"toy/base: {c}" for c in data.problem.columns]
        np.testing.assert_allclose(back(train), oof, atol=1e-5)
        own = pd.read_parquet(f"runs/toy/base/{split.name}/test.parquet") if split.fold != ALL else None
        if own is not None:
            np.testing.assert_allclose(back(test), own.drop(columns="view").loc[data.test.ids], atol=1e-5)
        tests.append(back(test))
    np.testing.assert_allclose(sum(tests[:-1]) / len(tests[:-1]), tests[-1], atol=1e-5)
    fold = open_fold(run, Split(0))
    for rows in (fold.train, fold.valid):
        assert rows is not None and len(rows) == TRAIN // 2
        cells = rows.table[[f"toy/base: {c}" for c in oof]].astype(float)
        np.testing.assert_allclose(back(cells), oof.loc[rows.ids], atol=1e-5)
    assert fold.problem.inputs[-len(oof.columns) :] == tuple(f"toy/base: {c}" for c in data.problem.columns)


def test_pictures_without_a_table_give_columns_by_a_backbone(competition: Callable[..., str]):
    """Main directions of the training rows' features, found again by hand; an id may stand in train and in test."""
    competition("binary")
    counted_anew()
    weights()
    write("configs/toy/trees.yaml", BARE | {"embeddings": SEES})
    assert podium("submission", "toy/trees") == 0
    assert score("toy/trees") > 0.9, "brightness is seen by any weights"
    run, data = runs.resolve("toy/trees"), load("toy")
    kept = {p: artifacts.file_digest(p) for p in Path("runs/toy/trees/columns").rglob("*.parquet")}
    assert len(kept) == 3
    split = load_folds(data).splits[1]
    raw = embeddings.pooled(run.task.embeddings, data, "cpu")
    fitted, held = load_folds(data).ids(split)
    pca = PCA(5, random_state=0).fit(raw.loc["train"].loc[fitted].to_numpy())
    train, test = stacked.tables(run, data, split)
    np.testing.assert_allclose(train.loc[held], pca.transform(raw.loc["train"].loc[held].to_numpy()), atol=1e-5)
    np.testing.assert_allclose(test, pca.transform(raw.loc["test"].to_numpy()), atol=1e-5)
    assert podium("submission", "toy/trees") == 0
    assert {p: artifacts.file_digest(p) for p in kept} == kept


@pytest.mark.slow
def test_two_sizes_of_a_backbone_blend_and_are_explained_as_they_are(competition: Callable[..., str]):
    """Their columns have the same names, and each model has its own."""
    competition("binary")
    weights()
    write("configs/toy/a.yaml", BARE | {"embeddings": SEES})
    write("configs/toy/b.yaml", BARE | {"embeddings": SEES | {"size": 16}})
    write("configs/toy/blend.yaml", {"members": ["toy/a", "toy/b"], "method": "mean"})
    assert podium("submission", "toy/blend") == 0
    blend = runs.resolve("toy/blend")
    with runs.opened(blend) as at:
        held = pd.concat([importance.explain_fold(blend, [], piece).plain for piece in importance._pieces(at)])
    there = pd.read_parquet("runs/toy/blend/oof.parquet")
    np.testing.assert_allclose(held.loc[there.index], there, atol=1e-6)


@pytest.mark.slow
def test_a_blend_of_one_repeat_is_no_column_of_several(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("binary", task="tabular", folds={"n": 2, "repeats": 2})
    assert podium("submission", one_level_deeper()) == 0
    write("configs/toy/other.yaml", FOREST | {"seed": 1})
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/other"], "method": "mean"})
    write("configs/toy/high.yaml", FOREST | {"runs": ["toy/blend"]})
    assert podium("submission", "toy/high") == 2
    assert "name the runs that it blends: toy/base, toy/other" in told(capsys)


@pytest.mark.slow
def test_a_run_below_that_is_trained_anew_changes_nothing(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    """Later seeds learn from the columns of the first training; without these and with other ones nothing is mixed."""
    competition("binary", task="tabular")
    assert podium("submission", one_level_deeper()) == 0
    before = Path("runs/toy/stack/test.parquet").read_bytes()
    shutil.rmtree("runs/toy/base")
    write("configs/toy/base.yaml", FOREST | {"params": {"n_estimators": 5}})
    assert podium("submission", "toy/stack") == 0
    assert not Path("runs/toy/base").exists() and Path("runs/toy/stack/test.parquet").read_bytes() == before
    assert podium("submission", "toy/stack", "--set", "seeds=2") == 0
    assert not Path("runs/toy/base").exists()
    shutil.rmtree("runs/toy/stack/columns")
    assert podium("submission", "toy/stack", "--set", "seeds=3") == 3
    assert "RUN-DATA" in told(capsys)


def mistakes() -> list[tuple[dict, str, str]]:
    return [
        ({"runs": ["toy/stack"]}, "CFG-VALUE", "made of itself"),
        ({"runs": ["toy/gone"]}, "CFG-MISSING", "gone"),
        ({"runs": ["toy/base", "toy/base"]}, "CFG-VALUE", "in the list once"),
        ({"embeddings": SEES | {"pretrained": False}}, "CFG-VALUE", "never trained sees little"),
        ({"embeddings": SEES | {"pretrained": "run:toy/base"}}, "CFG-VALUE", "`runs:` takes what it says out of fold"),
        ({"embeddings": SEES | {"backbone": "resnet81"}}, "MODEL-NAME", "resnet18"),
        ({"embeddings": SEES | {"pretrained": "gone.safetensors"}}, "MODEL-WEIGHTS", "gone.safetensors"),
        ({"runs": ["toy/base"], "pseudo": {"run": "toy/base", "rows": "unlabeled"}}, "CFG-VALUE", "pseudo.rows"),
    ]


def test_mistakes_have_a_name(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("binary", task="tabular")
    weights()
    write("configs/toy/base.yaml", FOREST)
    for n, (keys, code, word) in enumerate(mistakes()):
        name = "stack" if n == 0 else f"run{n}"
        write(f"configs/toy/{name}.yaml", FOREST | keys)
        assert podium("submission", f"toy/{name}") in (2, 3), keys
        said = told(capsys)
        assert code in said and word in said, said
    write("configs/toy/new.yaml", FOREST)
    write("configs/toy/early.yaml", FOREST | {"runs": ["toy/new"]})
    assert podium("train", "toy/early") == 2
    assert "RUN-PARTIAL" in told(capsys)


@pytest.mark.slow
def test_a_plan_counts_what_comes_first(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("binary", task="tabular")
    one_level_deeper()
    assert podium("plan", "toy/stack") == 0
    assert "what it takes itself is left out until toy/base is predicted" in told(capsys)
    assert podium("submission", "toy/base") == 0
    told(capsys)
    assert podium("plan", "toy/stack") == 0
    assert "the run from here" in told(capsys)
    assert not Path("runs/toy/stack/columns").exists()


@pytest.mark.slow
def test_weights_of_the_same_competition_are_no_backbone(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("binary", run="epochs=1")
    assert podium("train", run, "--fold", "0") == 0
    shutil.copy("runs/toy/base/fold0/model.safetensors", "start.safetensors")
    write("configs/toy/trees.yaml", BARE | {"embeddings": SEES})
    assert podium("submission", "toy/trees") == 2
    assert "MODEL-LEAK" in told(capsys)


@pytest.mark.slow
def test_labels_of_an_imported_run_stay_refused_below_a_stack(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    competition("binary", task="tabular")
    assert podium("submission", one_level_deeper("first")) == 0
    for part in ("oof", "test"):
        pd.read_parquet(f"runs/toy/base/{part}.parquet").to_csv(f"{part}.csv")
    assert podium("import", "oof.csv,test.csv", "toy/imp") == 0
    write("configs/toy/stack.yaml", FOREST | {"runs": ["toy/imp"]})
    assert podium("submission", "toy/stack") == 0
    write("configs/toy/child.yaml", FOREST | {"pseudo": "toy/stack"})
    assert podium("submission", "toy/child") == 2
    assert "PSEUDO-LEAK" in told(capsys)


@pytest.mark.slow
def test_the_whole_chain_stands_on_pictures(competition: Callable[..., str]):
    """A preset, a blend, pseudo-labels, the refit, a search and the importance of a run that stands on a run of pictures."""
    competition("multiclass", columns=True, run="views=[plain,hflip]")
    weights()
    keys = {"runs": ["toy/base"], "embeddings": SEES}
    write("configs/toy/stack.yaml", FOREST | keys | {"refit": "beside", "seeds": 2})
    write("configs/toy/quick.yaml", {"task": "tabular", "preset": "quick", "bag": 1, "jobs": 1, "time": "5s"} | keys)
    write("configs/toy/blend.yaml", {"members": ["toy/stack", "toy/base"], "method": "mean"})
    write("configs/toy/child.yaml", FOREST | {"pseudo": "toy/stack"} | keys)
    write("configs/toy/plain.yaml", FOREST | {"runs": ["toy/base"]})
    for name in ("stack", "quick", "child", "plain"):
        assert podium("submission", f"toy/{name}") == 0, name
    assert len(list(Path("runs/toy/quick/columns").iterdir())) == 1
    assert not list(Path("runs/toy").glob("quick+*/columns"))
    write("configs/toy/blend.yaml", {"members": ["toy/plain", "toy/trees"], "method": "mean"})
    write("configs/toy/trees.yaml", FOREST)
    assert podium("submission", "toy/blend") == 0
    assert podium("importance", "toy/blend") == 0
    found = pd.read_csv("runs/toy/blend/importance.csv", index_col="column")
    assert "toy/base: dark" in found.index and "colour" in found.index
    assert podium("tune", "toy/plain", "--trials", "2") == 0
    assert podium("submission", "toy/plain-tuned") == 0


@pytest.mark.slow
def test_noise_does_not_become_a_find(workspace: Path):
    """Labels that nothing tells: a stack of two levels, and what learns from its labels, where test holds copies."""
    rng, rows = np.random.default_rng(0), 240
    table = pd.DataFrame(rng.normal(size=(rows, 4)).round(4), columns=list("abcd")).astype(str)
    ids = [f"{n:03d}" for n in range(rows)]
    Path("data").mkdir()
    labels = rng.permutation(np.arange(rows) % 2).astype(str)
    table.assign(label=labels).set_index(pd.Index(ids, name="id")).to_csv("data/train.csv")
    table.set_index(pd.Index([f"t{i}" for i in ids], name="id")).to_csv("data/test.csv")
    pd.DataFrame({"id": [f"t{i}" for i in ids], "label": 0.5}).to_csv("data/sample_submission.csv", index=False)
    keys = {"data": "data", "id": "id", "target": "label", "kind": "binary", "metric": "auc", "folds": {"n": 4}}
    write("configs/toy/competition.yaml", keys)
    write("configs/toy/child.yaml", BARE | {"pseudo": "toy/stack"})
    write("configs/toy/base.yaml", BARE)
    write("configs/toy/stack.yaml", BARE | {"runs": ["toy/base"]})
    assert podium("submission", "toy/child") == 0
    noise = 3 * (1 / (12 * rows / 4)) ** 0.5
    assert score("toy/stack") < 0.5 + noise and score("toy/child") < 0.5 + noise
