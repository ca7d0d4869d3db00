"""scheme test_like: the half of the training rows that looks most like test is scored, the other half always trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write

from competition import artifacts, cli, data
from competition import folds as fold_tables
from competition.data import load

ROWS, TEST = 240, 120


@pytest.fixture
def shifted(workspace: Path) -> Callable[..., None]:
    """A toy competition whose test rows have a greater `x`, by `shift` standard deviations; the noise grows with x."""

    def make(kind: str = "regression", shift: float = 1.5, inputs: bool = True, **folds: object) -> None:
        rng = np.random.default_rng(0)
        n = ROWS + TEST
        x = rng.normal(size=n) + shift * (np.arange(n) >= ROWS)
        y = 3 * x + rng.normal(size=n) * np.exp(x / 2)
        answer = {"regression": y.round(3), "multiclass": np.array(["a", "b", "c"])[np.digitize(y, [-1, 4])]}[kind]
        table = pd.DataFrame({"id": [f"{i:04d}" for i in rng.permutation(n)], "x": x.round(4), "y": answer})
        table["site"] = np.digitize(x, np.linspace(-3, 4, 30))
        test = table[ROWS:].drop(columns="y" if inputs else ["x", "y", "site"])
        Path("data").mkdir(exist_ok=True)
        table[:ROWS].to_csv("data/train.csv", index=False)
        test.to_csv("data/test.csv", index=False)
        table[ROWS:].to_csv("truth.csv", index=False)
        test[["id"]].assign(y={"regression": 0.5}.get(kind, "a")).to_csv("data/sample_submission.csv", index=False)
        metric = {"regression": "rmse"}.get(kind, "accuracy")
        declared = {"scheme": "test_like", "n": 4} | folds
        values = {"data": "data", "id": "id", "target": "y", "kind": kind, "metric": metric, "folds": declared}
        write("configs/toy/competition.yaml", values)
        Path("folds/toy.csv").unlink(missing_ok=True)

    return make


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def said(capsys: pytest.CaptureFixture) -> str:
    return " ".join(capsys.readouterr().out.split())


def fold_table() -> tuple[pd.Series, pd.DataFrame]:
    """Fold by id, and the rows of train in the same order."""
    data.load.cache_clear()
    toy = load("toy")
    fold = fold_tables.load(toy).table["fold"]
    return fold, toy.train.table.loc[fold.index]


@pytest.mark.parametrize("kind", ["regression", "multiclass"])
def test_the_half_most_like_test_is_scored(kind: str, shifted, capsys: pytest.CaptureFixture):
    shifted(kind, repeats=2)
    assert podium("folds", "toy") == 0
    out = said(capsys)
    assert "FOLD-LIKE: a model tells test from train with AUC 0.8" in out and "WARNING" not in out
    assert "the 120 training rows most like test are scored, 120 are always in training" in out
    fold, train = fold_table()
    assert fold.value_counts().to_dict() == {-1: 120, 0: 30, 1: 30, 2: 30, 3: 30}
    x = train["x"].astype(float)
    assert x[fold >= 0].mean() > x[fold < 0].mean() + 1
    toy = load("toy")
    repeat = fold_tables.load(toy).table["repeat1"]
    assert ((repeat < 0) == (fold < 0)).all() and not repeat.equals(fold)
    truth = toy.train.truth.loc[fold.index][fold >= 0].groupby(fold[fold >= 0])
    assert np.ptp(truth.mean().to_numpy(), axis=0).max() < (0.05 if kind == "multiclass" else 1)


def test_same_seed_same_bytes_whatever_the_order_of_the_rows(shifted):
    shifted()
    tables = []
    for order in (slice(None), slice(None, None, -1)):
        for part in ("train", "test"):
            pd.read_csv(f"data/{part}.csv", dtype=str)[order].to_csv(f"data/{part}.csv", index=False)
        Path("folds/toy.csv").unlink(missing_ok=True)
        assert podium("folds", "toy") == 0
        tables.append(Path("folds/toy.csv").read_bytes())
    assert tables[0] == tables[1]


def test_groups_stay_whole_and_are_not_looked_at(shifted, capsys: pytest.CaptureFixture):
    shifted(group="site")
    assert podium("folds", "toy") == 0
    assert "mostly by 'x'; " in said(capsys)
    fold, train = fold_table()
    assert (fold.groupby(train["site"]).nunique() == 1).all()
    assert 120 <= (fold >= 0).sum() <= 160


def test_a_run_scores_only_these_rows_nearer_to_the_test_score(shifted):
    """The noise grows with x, and test has greater x: the score of a random split is too good."""
    gap = {}
    for scheme in ("stratified", "test_like"):
        shifted(scheme=scheme)
        write(f"configs/toy/{scheme}.yaml", {"task": "tabular", "model": "linear", "jobs": 1})
        assert podium("submission", f"toy/{scheme}") == 0
        score = artifacts.read_json(Path(f"runs/toy/{scheme}/score.json"))
        there = pd.read_csv("truth.csv", dtype={"id": str}).set_index("id")["y"]
        guess = artifacts.read_table(Path(f"runs/toy/{scheme}/test.parquet"))["y"]
        gap[scheme] = abs(score["score"] - np.sqrt(((guess - there.loc[guess.index]) ** 2).mean()))
        rows = ROWS if scheme == "stratified" else ROWS // 2
        assert score["rows"] == rows == len(artifacts.read_table(Path(f"runs/toy/{scheme}/oof.parquet")))
    assert gap["test_like"] < gap["stratified"]
    write("configs/toy/second.yaml", {"task": "tabular", "model": "linear", "seed": 1, "jobs": 1})
    assert podium("submission", "toy/second") == 0
    assert podium("ensemble", "toy", "--runs", "test_like second") == 0
    assert podium("submission", "toy/blend") == 0
    oof = artifacts.read_table(Path("runs/toy/test_like/oof.parquet"))
    fold, _ = fold_table()
    oof.assign(fold=fold).to_csv("oof.csv")
    artifacts.read_table(Path("runs/toy/test_like/test.parquet")).to_csv("test.csv")
    assert podium("import", "oof.csv,test.csv", "toy/out") == 0


def test_what_the_scheme_can_not_do_is_said(shifted, capsys: pytest.CaptureFixture):
    shifted(shift=0)
    assert podium("folds", "toy") == 0
    assert "scheme test_like brings nothing" in said(capsys)
    shifted(shift=20)
    assert podium("folds", "toy") == 0
    assert "no training row looks like test by 'x'" in said(capsys)
    shifted(inputs=False)
    assert podium("folds", "toy") == 3
    err = capsys.readouterr().err
    assert "error FOLD-LIKE" in err and "0 columns to tell them by" in err and "scheme: stratified" in err
    assert not Path("folds/toy.csv").exists()


def test_check_points_to_the_scheme_and_a_table_of_another_one_is_told(shifted, capsys: pytest.CaptureFixture):
    shifted(scheme="stratified")
    assert podium("check", "toy") == 0
    assert "TAB-DRIFT" in (out := said(capsys)) and "folds: {scheme: test_like} scores" in out
    assert podium("folds", "toy") == 0
    text = Path("folds/toy.csv").read_text()
    shifted()
    assert podium("check", "toy") == 0
    assert "FOLD-LIKE: a model tells test from train" in said(capsys)
    Path("folds/toy.csv").write_text(text)
    assert podium("folds", "toy") == 0
    assert "no row that is always in training, competition.yaml says scheme: test_like" in said(capsys)
