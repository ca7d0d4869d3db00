"""Ways of blending: row by row, the same after JSON and in any order of members; chosen and scored without the held fold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from conftest import write
from faults.making import rewrite
from test_decide import problem_of, sigmoid, tables

from competition import cli, decide, kinds, runs
from competition.blending import choosing, means, stacking
from competition.blending.choosing import METHODS, Chooser, Name, simplest
from competition.config import Run, make_run
from competition.data import load
from competition.keys import ROW_KINDS, Kind
from competition.task import Problem

METRICS: dict[Kind, str] = {
    "binary": "auc", "multilabel": "mean_column_auc", "multiclass": "logloss", "ordinal": "qwk", "regression": "spearman",
}  # fmt: skip
SUITED: dict[Kind, set[str]] = {
    "binary": {"mean", "convex", "greedy", "rank", "geometric", "power", "logistic", "lightgbm"},
    "multilabel": {"mean", "convex", "greedy", "rank", "geometric", "power", "per_class", "logistic", "lightgbm"},
    "multiclass": {"mean", "convex", "greedy", "geometric", "power", "per_class", "logistic", "lightgbm"},
    "ordinal": {"mean", "convex", "greedy", "geometric", "power", "per_class", "logistic", "lightgbm"},
    "regression": {"mean", "convex", "greedy", "rank", "geometric", "power", "per_class", "ridge", "lightgbm"},
}
PAIRS = [(kind, name) for kind in ROW_KINDS for name in METHODS if name in SUITED[kind]]


def case(kind: Kind, n: int = 240, seed: int = 0) -> tuple[Problem, pd.DataFrame, dict[str, pd.DataFrame], pd.Series]:
    """Three members of unequal worth, the last with sure and biased predictions."""
    rng = np.random.default_rng(seed)
    c = 1 if kind == "binary" else 2 if kind == "regression" else 3
    signal = rng.normal(size=(n, c))
    said = [a * signal + rng.normal(0, b, (n, c)) for a, b in ((1, 0.4), (0.7, 1), (3, 2))]
    if kind == "regression":
        truth, made = np.exp(signal), [np.exp(z / 2) for z in said]
    elif kind in kinds.CLASSES:
        truth = np.eye(c)[(2 * signal + rng.gumbel(size=(n, c))).argmax(axis=1)]
        made = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in said]
    else:
        truth, made = rng.random((n, c)) < sigmoid(2 * signal), [sigmoid(z - 0.5) for z in said]
    (t, *some), fold = tables(truth, *made)
    return problem_of(METRICS[kind], kind, c), t, dict(zip(["b", "a", "c"], some, strict=True)), fold


def fitted(kind: Kind, name: Name, seed: int = 0) -> tuple[Problem, dict[str, pd.DataFrame], means.Decision]:
    problem, truth, stack, fold = case(kind, seed=seed)
    return problem, stack, METHODS[name](stack, truth, fold, problem)


@pytest.mark.parametrize("kind, name", PAIRS)
def test_a_decision_works_row_by_row_and_survives_json(kind: Kind, name: Name, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacking, "STRENGTHS", (0.01,))
    monkeypatch.setattr(stacking, "ROUNDS", (5,))
    problem, stack, decision = fitted(kind, name)
    whole, some = decision.combine(stack), next(iter(stack.values())).index[7:100:3]
    pd.testing.assert_frame_equal(decision.combine(decide.part(stack, some)), whole.loc[some], rtol=1e-12)
    assert list(whole) == list(problem.columns) and whole.index.equals(stack["a"].index)
    again = decide.read(json.loads(json.dumps(decision.plain())), problem)
    assert again == decision
    pd.testing.assert_frame_equal(again.combine(stack), whole, check_exact=True)
    counting = {member: stack[member] for member, weight in decision.weights.items() if weight}
    pd.testing.assert_frame_equal(decision.combine(counting), whole, check_exact=True)
    assert set(decision.weights) == set(stack) and sum(decision.weights.values()) == pytest.approx(1)
    assert min(decision.weights.values()) >= 0
    if kind != "regression":
        assert ((whole >= 0) & (whole <= 1)).all(axis=None)
    if kind in kinds.CLASSES:
        assert whole.sum(axis=1).to_numpy() == pytest.approx(1)


def test_a_first_member_without_weight_is_not_looked_at():
    problem, truth, stack, fold = case("multiclass")
    decision = METHODS["per_class"]({"bad": 1 - truth.clip(0.01, 0.98)} | stack, truth, fold, problem)
    assert decision.weights["bad"] == 0
    assert set(decision.combine(stack)) == set(problem.columns)


@pytest.mark.parametrize("kind, name", PAIRS)
def test_the_order_of_members_does_not_matter(kind: Kind, name: Name):
    problem, truth, stack, fold = case(kind)
    turned = {member: stack[member] for member in ("c", "b", "a")}
    one, two = (METHODS[name](some, truth, fold, problem).combine(stack) for some in (stack, turned))
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_what_suits_a_kind(kind: Kind):
    problem, _, stack, _ = case(kind)
    assert {name for name in METHODS if not choosing.unsuited(name, problem, stack)} == SUITED[kind]
    assert choosing.unsuited("rank", problem_of("logloss" if kind != "regression" else "rmse", kind, 3))
    negative = {name: table - 1 for name, table in stack.items()}
    assert bool(choosing.unsuited("geometric", problem, negative)) == (kind == "regression")


def test_auto_leaves_out_what_takes_minutes_in_all_its_fits():
    stack = {name: pd.DataFrame(index=range(20_000)) for name in "abcdefghij"}
    classes = problem_of("logloss", "multiclass", 5)
    own = replace(classes, metric=replace(classes.metric, name="metric.py:mine"))
    assert not choosing.unwise("logistic", stack, classes, 16)
    assert "too long" in choosing.unwise("logistic", stack, classes, 17)
    assert not choosing.unwise("greedy", stack, classes, 1000), "it looks at the rows of all candidates at once"
    assert not choosing.unwise("greedy", stack, own, 16) and choosing.unwise("greedy", stack, own, 56)


def test_the_exponent_of_many_rows_is_chosen_on_some(monkeypatch: pytest.MonkeyPatch):
    problem, truth, stack, fold = case("regression", n=3000)
    every = METHODS["power"](stack, truth, fold, problem)
    monkeypatch.setattr(choosing, "DRAWN", 3 * 2 * 1000)
    seen = []
    metric = replace(problem.metric, function=lambda t, p: seen.append(len(t)) or problem.metric.function(t, p))
    assert METHODS["power"](stack, truth, fold, replace(problem, metric=metric)) == every
    assert sum(seen) == len(choosing.EXPONENTS) * 1000


def test_a_geometric_mean_is_the_mean_of_logarithms():
    _, stack, decision = fitted("regression", "geometric")
    expected = np.exp(np.mean([np.log(table) for table in stack.values()], axis=0))
    np.testing.assert_allclose(decision.combine(stack), expected)
    near = means.power(stack, 1e-6, "regression").combine(stack)
    np.testing.assert_allclose(near, expected, rtol=1e-4)
    np.testing.assert_allclose(means.power(stack, 1.0, "regression").combine(stack), means.mean(stack).combine(stack))
    assert np.isfinite(decision.combine({name: table * 0 - 1 for name, table in stack.items()})).all(axis=None)


def test_ranks_are_those_of_scipy_and_never_change_order():
    from scipy.stats import rankdata

    rng = np.random.default_rng(0)
    (many,), _ = tables(np.exp(rng.normal(size=(2000, 1))).round(2))
    curves = means.ranked({"a": many})
    ranks = curves.combine({"a": many})["0"].to_numpy()
    values = many["0"].to_numpy()
    assert np.abs(ranks - (rankdata(values) - 0.5) / len(values)).max() < 0.01
    assert (np.diff(ranks[np.argsort(values, kind="stable")]) >= 0).all()
    assert (ranks[values == np.median(values)] == ranks[values == np.median(values)][0]).all()
    few = means.ranked({"a": many[:100]}).combine({"a": many[:100]})["0"]
    np.testing.assert_allclose(few, (rankdata(values[:100]) - 0.5) / 100)


def test_ranks_are_best_of_members_on_other_scales():
    """One member squeezes its probabilities into a thousandth, the other is sure: only ranks give both their say."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(300, 1))
    wide, narrow = (signal + rng.normal(0, 1.2, signal.shape) for _ in range(2))
    (truth, *made), fold = tables(rng.random(signal.shape) < sigmoid(2 * signal), sigmoid(wide), 0.5 + narrow / 1e4)
    problem, stack = problem_of("auc", "binary", 1), {"a": made[0], "b": made[1]}
    result = decide.nested("blend", stack, truth, fold, problem, method="rank")
    score = {name: problem.metric.score(truth, table) for name, table in (stack | {"rank": result.prediction}).items()}
    plain = problem.metric.score(truth, means.mean(stack).combine(stack))
    assert score["rank"] > max(score["a"], score["b"], plain) + 0.005


def test_a_member_that_is_right_on_one_class_gets_its_weight_there():
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=300)
    truth = np.eye(3)[label]
    knows = np.where((label == 0)[:, None], [0.96, 0.02, 0.02], [0.04, 0.48, 0.48])
    other = 0.1 + 0.7 * truth
    other[:, 0] = rng.uniform(0.2, 0.4, len(other))
    (t, *made), fold = tables(truth, knows, other / other.sum(axis=1, keepdims=True))
    problem, stack = problem_of("logloss", "multiclass", 3), {"knows": made[0], "other": made[1]}
    decision = choosing.per_class(stack, t, fold, problem)
    assert isinstance(decision, means.PerColumn)
    weights = decision.by_column
    assert weights["0"]["knows"] > 0.9 and max(weights["1"]["knows"], weights["2"]["knows"]) < 0.4
    nested = {name: decide.nested("blend", stack, t, fold, problem, method=name) for name in ("convex", "per_class")}
    scores = {name: problem.metric.score(t, result.prediction) for name, result in nested.items()}
    assert scores["per_class"] > scores["convex"] + 0.05


@pytest.mark.parametrize("kind, name", [("regression", "ridge"), ("binary", "logistic"), ("binary", "lightgbm")])
def test_stacking_mends_what_no_mean_can(kind: Kind, name: Name):
    """Members that are all wrong in the same way: values five times too large, probabilities of the other class."""
    _, truth, stack, fold = case(kind, 300)
    wrong = {member: 5 * table if kind == "regression" else 1 - table for member, table in stack.items()}
    problem = problem_of("rmse" if kind == "regression" else "logloss", kind, len(truth.columns))
    found = {
        m: decide.nested("blend", wrong, truth, fold, problem, method=m).prediction for m in ("convex", "greedy", name)
    }
    scores = {m: problem.metric.score(truth, table) for m, table in found.items()}
    assert scores[name] > 0.9 * scores["convex"]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_a_linear_stack_is_what_scikit_learn_finds(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    """From a base of zeros it is its logistic regression, in which the intercept is free, too; ridge is its Ridge."""
    from sklearn.linear_model import LogisticRegression

    problem, truth, stack, _ = case(kind)
    scale = stacking._scale(truth, problem)
    x, _ = stacking._inputs(stack, list(stack), scale)
    t, base = truth.to_numpy(), np.zeros_like(truth.to_numpy())
    strength = 0.05
    if kind == "regression":
        b = stacking._ridge(x, base, t, scale, (strength,))[0]
        centred = x - x.mean(axis=0)
        gram = centred.T @ centred / len(x) + strength * np.eye(x.shape[1])
        expected = np.linalg.solve(gram, centred.T @ (t / np.array(scale.unit)) / len(x))
        np.testing.assert_allclose(b[:-1], expected, rtol=1e-6, atol=1e-9)
        return
    b = stacking._logistic(x, base, t, scale, (np.inf, strength))[-1]
    label = t.argmax(axis=1) if kind == "multiclass" else t[:, 0]
    model = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=2000).fit(x, label)
    z = base + x @ b[:-1] + b[-1]
    expected = model.predict_proba(x) if kind == "multiclass" else model.predict_proba(x)[:, 1:]
    np.testing.assert_allclose(scale.back(z), expected, atol=2e-3)


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "logistic"])
def test_without_a_gain_on_inner_folds_a_stack_is_the_plain_mean(name: Name):
    kind: Kind = "regression" if name == "ridge" else "binary"
    problem, truth, _, fold = case(kind)
    rng = np.random.default_rng(1)
    about = truth * 0 + truth.mean()
    stack = {f"n{i}": about + rng.uniform(-0.3, 0.3, truth.shape) for i in range(20)}
    decision = METHODS[name](stack, truth, fold, problem)
    mixed = means.mean(stack).combine(stack)
    pd.testing.assert_frame_equal(decision.combine(stack), mixed, rtol=1e-9)
    assert decision.weights == pytest.approx(dict.fromkeys(stack, 1 / 20))


# --- the choice


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_auto_never_sees_the_fold_that_it_is_scored_on(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    """Other answers in fold 2 move other folds' decisions, not its own predictions nor which way was taken for it."""
    monkeypatch.setattr(choosing, "GROWN", 0)
    monkeypatch.setattr(stacking, "ROUNDS", (0, 5))
    monkeypatch.setattr(stacking, "STRENGTHS", (np.inf, 0.1))
    problem, truth, stack, fold = case(kind, 120)
    fold = fold % 3
    held = fold.index[fold == 2]
    other = truth.copy()
    other.loc[held] = truth.loc[held].to_numpy()[::-1]
    one, two = (decide.nested("blend", stack, t, fold, problem) for t in (truth, other))
    pd.testing.assert_frame_equal(one.prediction.loc[held], two.prediction.loc[held])
    assert one.by_fold[2] == two.by_fold[2]
    told = [[name for name, row in r.methods.items() if "fold2" in row.get("folds", ())] for r in (one, two)]
    assert told[0] == told[1] and len(told[0]) == 1


def test_the_table_tells_what_each_way_scores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacking, "STRENGTHS", (np.inf, 0.1))
    problem, truth, stack, fold = case("binary")
    fold = fold % 3
    result = decide.nested("blend", stack, truth, fold, problem)
    assert set(result.methods) == set(METHODS)
    for name, row in result.methods.items():
        if "left_out" in row:
            assert name in ("ridge", "per_class", "lightgbm") and row["left_out"]
            continue
        alone = decide.nested("blend", stack, truth, fold, problem, method=name)
        assert row["nested"] == pytest.approx(problem.metric.score(truth, alone.prediction))
        assert row["in_sample"] == pytest.approx(problem.metric.score(truth, alone.final.combine(stack)))
        assert list(alone.methods) == [name] and alone.methods[name]["final"]
    assert sum(row.get("final", False) for row in result.methods.values()) == 1
    assert sorted(f for row in result.methods.values() for f in row.get("folds", ())) == [f"fold{k}" for k in range(3)]


@pytest.mark.parametrize("method", ["mean", "lightgbm"])
def test_what_follows_learns_from_rows_that_the_blend_has_not_seen(method: str, monkeypatch: pytest.MonkeyPatch):
    """A stack knows its own rows too well: a calibration fitted on them would make it surer still."""
    monkeypatch.setattr(stacking, "ROUNDS", (60,))
    monkeypatch.setattr(stacking, "STRENGTHS", (0.01,))
    problem, truth, stack, fold = case("multiclass")
    chooser = Chooser(stack, truth, fold, problem, method)
    ids = fold.index[fold != 0]
    decision = chooser.choose(ids)
    held = chooser.held_out(ids)
    assert held.index.equals(ids)
    for k in (1, 2):
        rest = fold.index[~fold.isin([0, k])]
        without = METHODS[method](decide.part(stack, rest), truth.loc[rest], fold.loc[rest], problem)
        some = fold.index[fold == k]
        pd.testing.assert_frame_equal(held.loc[some], without.combine(decide.part(stack, some)))
    seen = problem.metric.score(truth.loc[ids], decision.combine(decide.part(stack, ids)))
    assert (seen - problem.metric.score(truth.loc[ids], held) > 0.02) == (method == "lightgbm")


def test_each_fit_is_made_once_and_counted():
    problem, truth, stack, fold = case("binary", 100)
    fold = fold % 4
    seen: list[tuple[int, int]] = []
    chooser = Chooser(stack, truth, fold, problem, progress=lambda done, total, _: seen.append((done, total)))
    for k in range(4):
        chooser.choose(fold.index[fold != k])
    chooser.choose(fold.index)
    chooser.table()
    assert seen == [(n + 1, chooser.most) for n in range(chooser.most)]
    assert chooser.most == len(chooser.methods) * (6 + 4 + 1)


def test_two_folds_have_no_choice_and_one_member_no_weights():
    problem, truth, stack, fold = case("binary", 100)
    result = decide.nested("blend", stack, truth, fold % 2, problem)
    assert result.methods["convex"]["final"] and result.methods["mean"]["left_out"].startswith("two folds")
    alone = decide.nested("blend", {"a": stack["a"]}, truth, fold, problem)
    assert alone.final == means.Mean({"a": 1.0})
    pd.testing.assert_frame_equal(alone.prediction, stack["a"], check_names=False)


def frame(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_the_simplest_within_one_standard_error_is_taken():
    nan = float("nan")
    assert simplest(frame(mean=[1.0, 1, 1, 1], rank=[1.1, 0.9, 1.2, 0.95])) == "mean", "0.0375 better, error 0.07"
    assert simplest(frame(mean=[1.0, 1, 1, 1], rank=[1.2, 1.1, 1.2, 1.1])) == "rank"
    assert simplest(frame(mean=[1.0, nan, 1], rank=[1.2, nan, 1.3])) == "rank", "a fold without a score counts for none"
    assert simplest(frame(mean=[1.0, 1, 1], rank=[2.0, nan, 2])) == "mean", "a way without a score is not taken"
    assert simplest(frame(mean=[nan, nan], convex=[nan, nan])) == "convex"
    assert simplest(frame(mean=[1.0], rank=[1.1])) == "rank"


def test_a_fold_of_one_class_is_left_out_of_the_choice(monkeypatch: pytest.MonkeyPatch):
    """AUC is undefined there: the choice is of the other folds, and every id is still predicted."""
    problem, truth, stack, fold = case("binary", 150)
    fold = fold % 4
    truth.loc[fold == 3] = 0.0
    monkeypatch.setattr(stacking, "STRENGTHS", (np.inf, 0.1))
    scores = Chooser(stack, truth, fold, problem).scores(frozenset(range(4)))
    assert scores.loc[3].isna().all() and scores.drop(index=3).notna().all(axis=None)
    result = decide.nested("blend", stack, truth, fold, problem)
    assert len(result.prediction) == 150 and np.isfinite(result.prediction).all(axis=None)


@pytest.mark.parametrize("kind, name", [("binary", "logistic"), ("binary", "lightgbm"), ("regression", "ridge")])
def test_noise_scores_above_chance_in_sample_only(kind: Kind, name: Name, monkeypatch: pytest.MonkeyPatch):
    """20 members that know nothing, 300 rows, nothing held back; over 4 draws nested is within its noise of chance."""
    from benchmarks import noise

    metric, chance = ("auc", 0.5) if kind == "binary" else ("r2", 0.0)
    with noise.unrestrained():
        found = np.array([noise.scores(kind, metric, name, 20, 300, seed) for seed in range(4)])
    error = 0.034 if kind == "binary" else 0.05  # of the AUC of 300 rows; of R2 the loss by 20 fitted numbers on 240
    assert found[:, 0].mean() > chance + 0.04
    assert chance - 4 * error < found[:, 1].mean() < chance + 2 * error / 4**0.5


# --- the verb


def test_a_run_file_may_name_every_way():
    assert get_args(Run.model_fields["method"].annotation) == ("auto", *METHODS)


@pytest.fixture
def imported(workspace: Path) -> None:
    """A table of 90 rows in three folds; a and b are another program's predictions of it, c has not been trained."""
    rng = np.random.default_rng(0)
    ids = pd.Index([f"{n:03d}" for n in range(100)], name="id")
    y = pd.Series(np.exp(rng.normal(size=100)), ids, name="y")
    Path("data").mkdir()
    y[:90].to_csv("data/train.csv")
    y[90:].index.to_frame(index=False).assign(x=1).to_csv("data/test.csv", index=False)
    (y[90:] * 0 + 0.5).to_csv("data/sample_submission.csv")
    values = {"data": "data", "id": "id", "target": "y", "kind": "regression", "metric": "rmse", "folds": {"n": 3}}
    write("configs/toy/competition.yaml", values)
    write("configs/toy/c.yaml", {"task": "tabular", "model": "linear"})
    assert podium("folds", "toy") == 0
    fold = pd.read_csv("folds/toy.csv", dtype={"id": str}).set_index("id")["fold"]
    for name, error in (("a", 0.2), ("b", 0.4)):
        said = y * np.exp(rng.normal(0, error, 100))
        said[:90].to_frame().assign(fold=fold).to_csv("oof.csv")
        said[90:].to_csv("test.csv")
        assert podium("import", "oof.csv,test.csv", f"toy/{name}") == 0


def podium(*words: str) -> int:
    load.cache_clear()
    return cli.main(list(words))


def score(run: str = "toy/blend") -> dict:
    return json.loads(Path(f"runs/{run}/score.json").read_text())


def test_ensemble_chooses_shows_and_says_who_is_left_out(imported, capsys: pytest.CaptureFixture):
    capsys.readouterr()
    assert podium("ensemble", "toy") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "toy/c is left out: it has no score; make predict RUN=toy/c" in out
    assert all(word in out for word in ("nested", "best single", "plain mean", "in-sample", "by way of blending"))
    assert set(score()["methods"]) == set(METHODS) and score()["methods"]["logistic"]["left_out"]
    assert podium("ensemble", "toy", "--set", "method=ridge", "--as", "toy/second") == 0
    assert score("toy/second")["decision"]["method"] == "ridge"
    capsys.readouterr()
    assert podium("ensemble", "toy") == 0
    assert "toy/second is left out: a blend" in " ".join(capsys.readouterr().out.split())
    assert podium("ensemble", "toy", "--runs", "second a", "--as", "toy/deeper") == 0
    assert podium("submission", "toy/deeper") == 0
    assert set(score("toy/deeper")["parts"]) == {"toy/second", "toy/a"}


def test_another_method_makes_the_blend_anew(imported, capsys: pytest.CaptureFixture):
    assert podium("ensemble", "toy", "--set", "method=mean") == 0
    first = score()
    assert first["decision"] == {"toy/a": 0.5, "toy/b": 0.5} and list(first["methods"]) == ["mean"]
    assert podium("ensemble", "toy") == 0
    assert score() == first, "the file's method stays"
    assert podium("ensemble", "toy", "--set", "method=geometric") == 0
    assert score()["decision"]["exponent"] == 0 and "method: geometric" in Path("configs/toy/blend.yaml").read_text()
    assert podium("ensemble", "toy", "--runs", "a b", "--as", "toy/own") == 0
    assert podium("ensemble", "toy", "--runs", "a b", "--as", "toy/own", "--set", "method=mean") == 2
    assert "CFG-EXISTS" in capsys.readouterr().err
    config = {"members": ["toy/a", "toy/b"]}
    auto, mean = (make_run("toy/own", config | {"method": method}) for method in ("auto", "mean"))
    assert runs.identity(auto, ("fit",)) == runs.identity(make_run("toy/own", config), ("fit",))
    assert runs.identity(auto, ("fit",)) != runs.identity(mean, ("fit",)) and mean.config()["method"] == "mean"


@pytest.mark.parametrize(
    "value, found",
    [
        ("logistic", "method: logistic, for classes and labels"),
        ("per_class", "there is one column"),
        ("meen", "did you mean 'mean'"),
        ("rank", "for auc"),
    ],
)
def test_a_method_that_does_not_suit_is_refused(value: str, found: str, competition: Callable[..., str], capsys):
    competition("regression", task="tabular")
    Path("configs/toy/other.yaml").write_text("task: tabular\nmodel: linear\n")
    Path("configs/toy/blend.yaml").write_text(f"members: [toy/base, toy/other]\nmethod: {value}\n")
    assert cli.main(["submission", "toy/blend"]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "error CFG-VALUE" in err and found in err and "Traceback" not in err
    assert not Path("runs/toy/base").exists(), "nothing was trained"
    Path("configs/toy/base.yaml").write_text("task: tabular\nmodel: linear\nmethod: mean\n")
    assert cli.main(["train", "toy/base"]) == 2
    assert "a run of one model has none" in capsys.readouterr().err


def test_a_member_that_cannot_be_joined_is_named(imported, capsys: pytest.CaptureFixture):
    path = Path("runs/toy/a/oof.parquet")
    good = pd.read_parquet(path)
    for damage, code, found in (
        (good.mask(good == good.iloc[3, 0]), "ENS-NAN", f"1 rows that are not numbers: '{good.index[3]}'"),
        (good.iloc[1:], "ENS-ALIGN", "1 ids are missing"),
        (pd.concat([good, good[:2]]), "ENS-ALIGN", "2 ids stand twice"),
        (good.add_suffix("x"), "ENS-ALIGN", "columns yx, not y"),
    ):
        rewrite(path, damage)
        assert podium("ensemble", "toy") == 3
        err = " ".join(capsys.readouterr().err.split())
        assert f"error {code}" in err and "RUN=toy/a" in err and found in err, err
    rewrite(path, good)
    assert podium("ensemble", "toy") == 0
    there = score()
    rewrite(path, good.iloc[::-1])
    assert podium("ensemble", "toy") == 0
    assert score()["score"] == there["score"], "another order is joined by id"
