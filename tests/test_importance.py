"""What columns are worth: by the score that is lost without them, and by what they add to what trees say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write

from competition import chart, cli, data, importance, runs
from competition.tabular.columns import infer
from competition.tabular.features import Features, Matrix, source
from competition.tabular.models import Job, library

ROWS, TEST = 240, 20
COLUMNS = ["signal", "colour", "noise", "a: b"]
TREES = {
    "task": "tabular",
    "model": "lightgbm",
    "bag": 1,
    "jobs": 1,
    "params": {"num_iterations": 30, "min_data_in_leaf": 5},
}


@pytest.fixture
def toy(workspace: Path) -> Path:
    """The answer is a noisy sum of signal and a little colour."""
    rng = np.random.default_rng(0)
    n = ROWS + TEST
    colour = rng.choice(["red", "green", "blue"], n)
    table = pd.DataFrame({"id": [f"{i:03d}" for i in range(n)], "signal": rng.normal(0, 1, n), "colour": colour})
    table = table.assign(noise=rng.integers(0, 1000, n), **{"a: b": rng.choice(["x", "y"], n)})
    answer = table["signal"] + 0.5 * (colour == "red") + rng.normal(0, 0.2, n) > 0.2
    Path("data").mkdir()
    table[:ROWS].assign(answer=answer[:ROWS].astype(int)).to_csv("data/train.csv", index=False)
    table[ROWS:].to_csv("data/test.csv", index=False)
    table[ROWS:][["id"]].assign(answer=0.5).to_csv("data/sample_submission.csv", index=False)
    values = {"data": "data", "id": "id", "target": "answer", "kind": "binary", "metric": "auc", "folds": {"n": 3}}
    write("configs/toy/competition.yaml", values)
    write("configs/toy/trees.yaml", TREES)
    return workspace


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def worth(run: str) -> pd.DataFrame:
    return pd.read_csv(f"runs/{run}/importance.csv", index_col="column")


def test_the_informative_column_is_worth_most(toy, capsys: pytest.CaptureFixture):
    assert podium("train", "toy/trees") == 0
    assert podium("importance", "toy/trees") == 0
    found = worth("toy/trees")
    assert sorted(found.index) == sorted(COLUMNS)
    assert found.index[0] == "signal" and found["shap"].idxmax() == "signal"
    assert found.loc["signal", "permutation"] > 0.2 and found.loc["signal", "std"] > 0
    assert abs(found.loc["noise", "permutation"]) < 0.05
    assert Path("runs/toy/trees/importance.png").read_bytes().startswith(b"\x89PNG\r\n")
    said = " ".join(capsys.readouterr().out.split())
    assert "importance: runs/toy/trees/importance.csv" in said
    assert said.partition("candidates for `columns: ignore:`")[2].partition(";")[0].count("signal") == 0


@pytest.mark.slow
def test_copies_predicted_together_or_apart_say_the_same(toy, monkeypatch: pytest.MonkeyPatch):
    podium("train", "toy/trees")
    podium("importance", "toy/trees")
    together = Path("runs/toy/trees/importance.csv").read_bytes()
    monkeypatch.setattr(importance, "STACKED", 1)
    podium("importance", "toy/trees")
    assert Path("runs/toy/trees/importance.csv").read_bytes() == together


def test_few_rows_are_drawn_of_a_large_table_from_every_fold(toy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importance, "ROWS", 30)
    podium("train", "toy/trees")
    with runs.opened(runs.resolve("toy/trees")) as at:
        pieces = importance._pieces(at)
        assert [len(ids) for _, ids, _ in pieces] == [10, 10, 10]
        assert all(set(ids) <= set(at.table.ids(split)[1]) for split, ids, _ in pieces)
    assert podium("importance", "toy/trees") == 0
    assert worth("toy/trees").index[0] == "signal"


@pytest.mark.slow
def test_a_blend_is_shuffled_as_a_whole(toy):
    write("configs/toy/linear.yaml", {"task": "tabular", "model": "linear", "jobs": 1})
    write("configs/toy/blend.yaml", {"members": ["toy/trees", "toy/linear"], "method": "logistic", "jobs": 1})
    write("configs/toy/outer.yaml", {"members": ["toy/blend", "toy/linear"], "jobs": 1})
    assert podium("submission", "toy/outer") == 0
    assert podium("importance", "toy/outer") == 0
    found = worth("toy/outer")
    assert found.index[0] == "signal" and found["shap"].isna().all()
    run = runs.resolve("toy/outer")
    with runs.opened(run) as at:
        held = [importance.explain_fold(run, [], piece).plain for piece in importance._pieces(at)]
    there = pd.read_parquet("runs/toy/outer/oof.parquet")
    pd.testing.assert_frame_equal(pd.concat(held).loc[there.index], there)


def test_a_preset_is_shuffled_as_the_blend_that_it_is(toy):
    write("configs/toy/quick.yaml", {"task": "tabular", "preset": "quick", "bag": 1, "jobs": 1, "time": "1s"})
    assert podium("importance", "toy/quick") == 2, "it has no model yet"
    assert podium("submission", "toy/quick") == 0
    assert podium("importance", "toy/quick") == 0
    found = worth("toy/quick")
    assert found.index[0] == "signal" and found["shap"].isna().all()


def test_a_column_of_the_users_own_stands_for_itself(toy):
    hook = "def double(table):\n    return (table[['signal']].astype(float) * 2).add_suffix(' twice')\n"
    Path("configs/toy/more.py").write_text(hook)
    write("configs/toy/trees.yaml", TREES | {"features": "more.py:double", "columns": {"ignore": ["signal", "noise"]}})
    podium("train", "toy/trees")
    assert podium("importance", "toy/trees") == 0
    found = worth("toy/trees")
    assert np.isnan(found.loc["signal twice", "permutation"]) and found["shap"].idxmax() == "signal twice"
    assert found.loc["signal", "permutation"] > 0.2, "the function reads it"
    assert found.loc["noise", "permutation"] == 0


def test_what_is_left_out_is_not_shuffled(toy):
    write("configs/toy/trees.yaml", TREES | {"columns": {"ignore": ["noise"]}})
    podium("train", "toy/trees")
    assert podium("importance", "toy/trees") == 0
    assert "noise" not in worth("toy/trees").index


def test_an_untrained_run_and_a_run_of_pictures_are_refused(
    toy, competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    assert podium("importance", "toy/trees") == 2
    assert "RUN-PARTIAL" in capsys.readouterr().err
    picture = competition()
    assert podium("importance", picture) == 2
    assert "CFG-TASK" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["lightgbm", "xgboost", "catboost"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_shap_values_sum_to_the_raw_prediction(model: str, loss: str):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 90).astype(float)
    x = Matrix(np.c_[rng.normal(size=(90, 2)), codes].astype(np.float32), ("a", "b", "c"), (2,), 2)
    y = {"softmax": codes, "sigmoid": (codes > 0).astype(float), "squared": x.values[:, 0] + codes}[loss]
    lib = library(model)
    job = Job(
        x=x, y=y, weight=np.ones(90), valid=None, loss=loss, classes=3, alpha=0.5, params={lib.ROUNDS: 10}, seed=0,
        threads=1, device="cpu", round=lambda done, total: None,
    )  # fmt: skip
    fitted = lib.fit(job)[0]
    values = lib.contributions(fitted, x)
    assert values.shape == (90, 3 if loss == "softmax" else 1, 4)
    np.testing.assert_allclose(values.sum(axis=2), raw(model, fitted, x).reshape(90, -1), atol=1e-4)


def raw(model: str, fitted, x: Matrix) -> np.ndarray:
    from competition.tabular.models import catboost, xgboost

    if model == "lightgbm":
        return fitted.predict(x.values, raw_score=True)
    if model == "xgboost":
        return fitted.predict(xgboost._matrix(x), output_margin=True)
    return np.asarray(fitted.predict(catboost._pool(x), prediction_type="RawFormulaVal"))


@pytest.mark.parametrize("form", ["native", "codes", "forest", "dense"])
def test_every_feature_leads_back_to_its_column(form):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "size": rng.normal(size=200).round(3).astype(str),
        "size: large": rng.choice(["yes = no", "no"], 200),
        "code": [f"{rng.choice(list('abc'))}{n}" for n in rng.integers(0, 60, 200)],
        "day": [f"2020-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in range(200)],
        "told": [f"word{n} is {rng.choice(['good', 'bad', 'so so'])} and number {n}" for n in range(200)],
    })  # fmt: skip
    table.loc[:5, "size"] = ""
    x = Features(infer(table), form, 32, 4).fit_transform(table, rng.random((200, 1)), 0)
    found = {name: source(name, list(table)) for name in x.names}
    assert set(found.values()) == set(table)
    assert all(name.startswith(column) for name, column in found.items())
    assert all(column == "size: large" for name, column in found.items() if "large" in name)


def test_a_picture_takes_any_name():
    names = ["$x^2$ [b]", "a name that goes on for ever, far beyond what fits beside a bar", "plain", "größe"]
    table = pd.DataFrame(
        {"permutation": [0.2, 0.1, np.nan, -0.1], "std": [0.1, np.nan, np.nan, 0], "shap": np.nan}, names
    )
    assert chart.importance(table, "toy/$run$: auc 0.5", "auc").startswith(b"\x89PNG\r\n")
    assert len(chart.shortened(names[1])) == chart.LETTERS
