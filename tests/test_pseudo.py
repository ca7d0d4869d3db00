"""Pseudo-labels, seeds and the refit: which models see which rows, and that no score rises by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TEST, TRAIN, write

from competition import artifacts, cli, predictions, pseudo, runs, tracking
from competition.data import load
from competition.errors import Stopped
from competition.folds import load as load_folds
from competition.keys import Pseudo
from competition.split import ALL, Split
from competition.tabular.features import Matrix
from competition.tabular.fitting import whole_classes
from competition.tabular.presets import Preset
from competition.tabular.task import TabularTask
from competition.train import Watch, fit_fold, fold_seed, open_fold

ROWS = 240
FOREST = {"task": "tabular", "model": "extratrees", "params": {"n_estimators": 40, "min_samples_leaf": 1}, "jobs": 1}


def score(run: str) -> float:
    return json.loads(Path(f"runs/{run}/score.json").read_text())["score"]


def copies(workspace: Path) -> None:
    """Labels that nothing tells, and a test set that holds a copy of every training row."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(ROWS, 4)).round(4), columns=list("abcd")).astype(str)
    ids = [f"{n:03d}" for n in range(ROWS)]
    (workspace / "data").mkdir()
    labels = rng.permutation(np.arange(ROWS) % 2).astype(str)
    table.assign(label=labels).set_index(pd.Index(ids, name="id")).to_csv("data/train.csv")
    table.set_index(pd.Index([f"t{i}" for i in ids], name="id")).to_csv("data/test.csv")
    pd.DataFrame({"id": [f"t{i}" for i in ids], "label": 0.5}).to_csv("data/sample_submission.csv", index=False)
    keys = {"data": "data", "id": "id", "target": "label", "kind": "binary", "metric": "auc", "folds": {"n": 4}}
    write("configs/toy/competition.yaml", keys)
    write("configs/toy/base.yaml", FOREST)


@pytest.mark.slow
def test_copies_of_held_out_rows_in_test_do_not_raise_the_score(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    """With labels of models that never saw the fold there is nothing to gain; with those of all models there is."""
    copies(workspace)
    assert cli.main(["submission", "toy/base"]) == 0
    assert cli.main(["submission", "toy/base", "--set", "pseudo=toy/base", "--as", "toy/honest"]) == 0
    noise = 3 * (1 / (12 * ROWS / 4)) ** 0.5  # three standard deviations of an AUC of 120 against 120
    assert abs(score("toy/honest") - 0.5) < noise

    def of_all_models(name: str, split: Split, problem: object, part: str) -> pd.DataFrame:
        return pd.read_parquet(f"runs/{name}/{part}.parquet")

    monkeypatch.setattr(predictions, "fold_said", of_all_models)
    assert cli.main(["submission", "toy/base", "--set", "pseudo=toy/base", "--as", "toy/leaky"]) == 0
    assert score("toy/leaky") > 0.9


def test_a_fold_learns_from_its_own_folds_models_alone(competition: Callable[..., str]):
    run = competition("multiclass", task="tabular")
    assert cli.main(["submission", run]) == 0
    data = load("toy")
    for split in load_folds(data).splits:
        rows = pseudo.labelled(Pseudo(run=run), data, pseudo.said(Pseudo(run=run), data, split))
        own = pd.read_parquet(f"runs/{run}/{split.name}/test.parquet").drop(columns="view")
        assert rows.truth is not None and len(rows) == TEST
        np.testing.assert_array_equal(rows.truth.to_numpy(), own.loc[data.test.ids].to_numpy())
        assert not rows.ids.isin(data.train.ids).any() and not rows.ids.isin(data.test.ids).any()
    every = pseudo.labelled(Pseudo(run=run), data, pseudo.said(Pseudo(run=run), data, Split(ALL)))
    whole = pd.read_parquet(f"runs/{run}/test.parquet")
    assert every.truth is not None
    np.testing.assert_allclose(every.truth.to_numpy(), whole.loc[data.test.ids].to_numpy())


@pytest.mark.parametrize(
    "kind, task",
    [
        ("ordinal", "image"),
        pytest.param("multilabel", "tabular", marks=pytest.mark.slow),
        pytest.param("regression", "tabular", marks=pytest.mark.slow),
        pytest.param("boxes", "detection", marks=pytest.mark.slow),
    ],
)
def test_every_kind_learns_from_pseudo_labels_and_a_second_round(kind: str, task: str, competition: Callable[..., str]):
    """make submission of the second round makes the first, and what that learns from."""
    run = competition(kind, task=task)
    rest = {"cut": 0.0} if kind == "boxes" else {"soft": False}
    write("configs/toy/one.yaml", {"extends": "base.yaml", "pseudo": {"run": run, "weight": 0.5, **rest}})
    write("configs/toy/two.yaml", {"extends": "base.yaml", "pseudo": "toy/one"})
    last = "toy/two" if task == "tabular" else "toy/one"
    assert cli.main(["submission", last]) == 0
    assert {"base", "one"} <= {p.parent.name for p in Path("runs/toy").glob("*/score.json")}
    assert 0 < json.loads(Path("runs/toy/one/fold0/fit.json").read_text())["pseudo"] <= TEST
    before = artifacts.file_digest(Path(f"runs/{last}/oof.parquet"))
    assert cli.main(["submission", last]) == 0
    assert artifacts.file_digest(Path(f"runs/{last}/oof.parquet")) == before


SMALL = {"task": "tabular", "model": "linear", "bag": 1, "jobs": 1}


def parents(kind: str) -> str:
    """Writes a run with two seeds, a blend or a preset with two seeds."""
    write("configs/toy/base.yaml", SMALL | {"seeds": 2})
    write("configs/toy/other.yaml", SMALL | {"params": {"C": 0.01}})
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/other"], "method": "convex"})
    write(
        "configs/toy/pre.yaml",
        {"task": "tabular", "preset": "mine", "method": "convex", "bag": 1, "seeds": 2, "jobs": 1},
    )
    return f"toy/{kind}"


@pytest.mark.parametrize("parent", ["base", *(pytest.param(name, marks=pytest.mark.slow) for name in ("blend", "pre"))])
def test_labels_of_a_fold_know_nothing_of_its_truth(
    parent: str, competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    """Its rows' labels change places: the other folds' pseudo-labels change, its own do not."""
    competition("multiclass", task="tabular")
    small = {"a": {"model": "linear"}, "b": {"model": "linear", "params": {"C": 0.01}}}
    monkeypatch.setitem(TabularTask.presets, "mine", Preset("10m", small))
    spec, tables = Pseudo(run=parents(parent)), []
    for _ in range(2):
        load.cache_clear()
        assert cli.main(["submission", spec.run]) == 0
        data = load("toy")
        tables.append([pseudo.said(spec, data, split) for split in load_folds(data).splits])
        train, fold = pd.read_csv("data/train.csv", dtype=str), pd.read_csv("folds/toy.csv", dtype=str)
        held = train["id"].isin(fold.loc[fold["fold"] == "0", "id"]).to_numpy()
        train.loc[held, "label"] = train.loc[held, "label"].to_numpy()[::-1]
        train.to_csv("data/train.csv", index=False)
        shutil.rmtree("runs/toy")
    before, after = tables
    np.testing.assert_allclose(before[0], after[0], atol=1e-12)
    assert np.abs(before[1] - after[1]).to_numpy().max() > 0.01


def test_further_repeats_take_no_weights_that_saw_their_fold(competition: Callable[..., str]):
    """Weights exclude folds of the first repeat; under a further one all views count the same."""
    run = competition("multiclass", run="epochs=1", folds={"n": 2, "repeats": 2})
    assert cli.main(["submission", run]) == 0
    path, data = Path(f"runs/{run}/score.json"), load("toy")
    record = artifacts.read_json(path)
    artifacts.write_json(path, record | {"weights_by_fold": {f"fold{k}": {"hflip": 1.0} for k in (0, 1)}})
    table = pd.read_parquet(f"runs/{run}/fold0-repeat1/test.parquet")
    mean = table.drop(columns="view").groupby(level=0).mean()
    said = predictions.fold_said(run, Split(0, 1), data.problem)
    np.testing.assert_allclose(said.loc[mean.index], mean)
    alone = pd.read_parquet(f"runs/{run}/fold0/test.parquet").query("view == 'hflip'").drop(columns="view")
    np.testing.assert_allclose(predictions.fold_said(run, Split(0), data.problem).loc[alone.index], alone)


def test_cut_weight_and_whole_classes(competition: Callable[..., str]):
    run = competition("multiclass", task="tabular")
    assert cli.main(["submission", run]) == 0
    data, split = load("toy"), Split(0)
    said = pd.read_parquet(f"runs/{run}/fold0/test.parquet").drop(columns="view")
    sure = pseudo.labelled(Pseudo(run=run, cut=0.8, soft=False), data, said)
    assert sure.truth is not None
    assert len(sure) == (said.max(axis=1) >= 0.8).sum()
    assert set(np.unique(sure.truth.to_numpy())) <= {0.0, 1.0}
    resolved = runs.resolve(run, "pseudo={run: toy/base, weight: 0.25}", "toy/child")
    pseudo.keep(runs.look(resolved))
    fold = open_fold(resolved, split)
    both = pseudo.joined(fold, resolved, split).train
    assert both.weight is not None and both.truth is not None
    assert both.weight.mean() == pytest.approx(1)
    assert both.weight.loc[both.ids[-1]] / both.weight.loc[fold.train.ids[0]] == pytest.approx(0.25)
    assert list(both.ids[: len(fold.train)]) == list(fold.train.ids)
    for fitted, held in pseudo.joined(fold, resolved, split).inner(3):
        assert set(held) <= set(fold.train.ids), "early stopping looks at real labels"
        assert len(fitted) + len(held) == len(both)


def test_soft_classes_become_weighed_rows():
    y = np.array([[1.0, 0, 0], [0.5, 0.49, 0.01], [0, 0, 1]])
    x = Matrix(np.arange(6.0).reshape(3, 2), ("a", "b"), (), 2)
    more, classes, weight = whole_classes(x, y, np.array([1.0, 2, 1]))
    assert classes.argmax(axis=1).tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(weight, [1, 2 * 0.5 / 0.99, 2 * 0.49 / 0.99, 1])
    np.testing.assert_array_equal(more.values[1], more.values[2])


@pytest.mark.slow
def test_what_takes_no_weights_learns_the_likeliest_class_and_says_so(competition: Callable[..., str]):
    run = competition("multiclass", task="tabular")
    assert cli.main(["submission", run]) == 0
    keys = {"task": "tabular", "model": "knn", "jobs": 1}
    for name, soft in (("soft", True), ("hard", False)):
        write(f"configs/toy/{name}.yaml", keys | {"pseudo": {"run": run, "soft": soft, "weight": 0.5}})
        assert cli.main(["submission", f"toy/{name}"]) == 0
        (told,) = [
            line["note"] for line in tracking.read(Path(f"runs/toy/{name}/fold0/history.jsonl")) if "note" in line
        ]
        assert "knn takes no weights: every row counts alike" in told
        assert ("likeliest class" in told) == soft
    soft, hard = (pd.read_parquet(f"runs/toy/{name}/oof.parquet") for name in ("soft", "hard"))
    pd.testing.assert_frame_equal(soft, hard)


@pytest.mark.slow
def test_unlabelled_rows_of_their_own(competition: Callable[..., str]):
    """A file beside test, named after the parent is trained: the parent is only predicted anew."""
    run = competition("binary", task="tabular")
    test = pd.read_csv("data/test.csv", dtype=str)
    test.assign(id="u" + test["id"]).to_csv("data/more.csv", index=False)
    assert cli.main(["submission", run]) == 0
    trained = Path(f"runs/{run}/fold0/fit.json").stat().st_mtime_ns
    keys = Path("configs/toy/competition.yaml")
    keys.write_text(keys.read_text() + "unlabeled: more.csv\n")
    load.cache_clear()
    assert cli.main(["submission", run, "--set", "pseudo={run: toy/base, rows: unlabeled}", "--as", "toy/child"]) == 0
    assert Path(f"runs/{run}/fold0/fit.json").stat().st_mtime_ns == trained
    said = [pd.read_parquet(f"runs/{run}/fold0/{n}.parquet") for n in ("test", "unlabeled")]
    np.testing.assert_array_equal(said[0].drop(columns="view"), said[1].drop(columns="view"))


@pytest.mark.slow
def test_a_stopped_fold_that_goes_on_keeps_its_history(competition: Callable[..., str]):
    run = competition("multiclass", task="image", run="views=plain epochs=4")
    assert cli.main(["submission", run]) == 0
    child = runs.resolve(run, "pseudo=toy/base", "toy/child")
    shown = []
    watch = Watch("half", lambda epoch, score: shown.append(score), lambda: len(shown) >= 2)
    with pytest.raises(Stopped):
        fit_fold(child, Split(0), watch)
    before = tracking.read(Path("runs/toy/child/fold0/history.jsonl"))
    fit_fold(child, Split(0))
    after = tracking.read(Path("runs/toy/child/fold0/history.jsonl"))
    assert after[: len(before)] == before
    assert [line["epoch"] for line in after if "epoch" in line] == [1, 2, 3, 4]


def mistakes() -> list[tuple[str, str, str]]:
    return [
        ("pseudo=toy/base", "PSEUDO-LEAK", "imported"),
        ("pseudo={run: toy/two, cut: 0.5}", "CFG-VALUE", "pseudo.cut"),
        ("pseudo={run: toy/two, rows: unlabeled}", "CFG-VALUE", "pseudo.rows"),
        ("pseudo=toy/child", "CFG-VALUE", "made of itself"),
        ("pseudo={run: toy/two, cut: 1.5}", "CFG-VALUE", "less than 1"),
    ]


@pytest.mark.parametrize("given, code, word", mistakes())
def test_mistakes(given: str, code: str, word: str, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("regression", task="tabular")
    assert cli.main(["submission", run, "--set", "seed=3", "--as", "toy/two"]) == 0
    for part in ("oof", "test"):
        pd.read_parquet(f"runs/toy/two/{part}.parquet").to_csv(f"{part}.csv")
    Path("configs/toy/base.yaml").rename("configs/toy/was.yaml")
    Path("configs/toy/two.yaml").write_text("extends: was.yaml\nseed: 3\n")
    assert cli.main(["import", "oof.csv,test.csv", "toy/base"]) == 0
    capsys.readouterr()
    write("configs/toy/child.yaml", {"extends": "was.yaml"})
    assert cli.main(["submission", "toy/child", "--set", given]) == 2
    told = capsys.readouterr().err
    assert code in told and word in told and "Traceback" not in told


# Seeds and the refit --------------------------------------------------------------------------------------------------


def test_seeds_are_averaged_and_added_later(competition: Callable[..., str]):
    """More seeds train nothing anew; OOF and test are the mean over them, and each one's own score is told."""
    run = competition("multiclass", task="image", run="views=plain epochs=2")
    assert cli.main(["submission", run]) == 0
    first = {p: p.stat().st_mtime_ns for p in Path(f"runs/{run}").glob("fold*/fit.json")}
    assert cli.main(["submission", run, "--set", "seeds=2"]) == 0
    folders = sorted(p.parent.name for p in Path(f"runs/{run}").glob("fold*/fit.json"))
    assert folders == ["fold0", "fold0-seed1", "fold1", "fold1-seed1"]
    assert {p: p.stat().st_mtime_ns for p in first} == first
    for part in ("oof", "test"):
        whole = pd.read_parquet(f"runs/{run}/{part}.parquet")
        tables = [pd.read_parquet(f"runs/{run}/{f}/{part}.parquet").drop(columns="view") for f in folders]
        mean = pd.concat(tables).groupby(level=0).mean()
        pd.testing.assert_frame_equal(whole, mean.loc[whole.index], check_names=False)
    record = json.loads(Path(f"runs/{run}/score.json").read_text())
    data, oof = load("toy"), [pd.read_parquet(f"runs/{run}/{f}/oof.parquet") for f in ("fold0-seed1", "fold1-seed1")]
    truth, alone = data.train.truth, pd.concat(oof).drop(columns="view")
    assert truth is not None
    assert record["seeds"]["1"] == pytest.approx(data.problem.metric.score(truth, alone.loc[truth.index]))
    assert fold_seed(0, Split(0)) != fold_seed(0, Split(0, seed=1))


@pytest.mark.parametrize("refit", ["beside", "only"])
@pytest.mark.slow
def test_the_refit_has_all_rows_and_speaks_for_test_alone(refit: str, competition: Callable[..., str]):
    run = competition("binary", task="tabular", run=f"refit={refit} bag=1 model=linear params={{}}")
    assert cli.main(["submission", run]) == 0
    resolved = runs.resolve(run)
    fold = open_fold(resolved, Split(ALL))
    assert len(fold.train) == TRAIN and fold.valid is None
    names = ["foldall"] if refit == "only" else ["fold0", "fold1", "foldall"]
    assert not Path(f"runs/{run}/foldall/oof.parquet").exists()
    tables = [pd.read_parquet(f"runs/{run}/{n}/test.parquet").drop(columns="view") for n in names]
    whole = pd.read_parquet(f"runs/{run}/test.parquet")
    mean = pd.concat(tables).groupby(level=0).mean()
    pd.testing.assert_frame_equal(whole, mean.loc[whole.index], check_names=False)


def test_the_refit_of_one_booster_learns_from_every_row_for_the_rounds_found(competition: Callable[..., str]):
    run = competition("binary", task="tabular", run="refit=only bag=1")
    assert cli.main(["train", run, "--fold", "-1"]) == 0
    record = json.loads(Path(f"runs/{run}/foldall/fit.json").read_text())["bag"][0]
    assert record["rows"] == TRAIN and record["outputs"][0]["rounds"] > 0


def test_repeats_and_seeds_have_folders_of_their_own():
    names = [replace(Split(2, repeat), seed=seed).name for repeat in (0, 1) for seed in (0, 1)]
    assert names == ["fold2", "fold2-seed1", "fold2-repeat1", "fold2-repeat1-seed1"]
    assert Split(ALL, seed=1).name == "foldall-seed1"
    assert {Split(2, 1, 1).plain, Split(2).plain} == {"fold2"}


def test_a_blend_has_no_seeds_of_its_own(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("binary", task="tabular")
    write("configs/toy/other.yaml", {"extends": "base.yaml", "seed": 1})
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/other"], "seeds": 2})
    assert cli.main(["submission", "toy/blend"]) == 2
    assert "a run that learns" in capsys.readouterr().err
