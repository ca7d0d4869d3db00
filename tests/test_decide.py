"""Cuts and blend weights: they find what is known to be best, never see the fold they are scored on, and reach the CSV."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from competition import adjustment, artifacts, cli, cuts, decide, formulas, kinds, metrics
from competition.blending import convex, losses
from competition.cuts import Cut
from competition.data import load
from competition.keys import Kind, MetricSpec
from competition.task import Problem

LABELLED = sorted(
    (name, kind)
    for name, entry in formulas.METRICS.items()
    for kinds in entry.functions
    for kind in kinds
    if entry.needs == "label" and kind != "regression"
)
CUT = [(name, kind) for name, kind in LABELLED if kind not in cuts.SETTLED.get(name, ())]


def problem_of(name: str, kind: Kind, columns: int = 3, **params: object) -> Problem:
    names = tuple(str(c) for c in range(columns))
    classes = ("no", *names) if kind == "binary" else names
    metric = metrics.get(MetricSpec.model_validate({"name": name, **params}), kind, classes, Path())
    return Problem("toy", kind, ("y",), classes, names, metric)


def tables(*arrays: np.ndarray) -> tuple[list[pd.DataFrame], pd.Series]:
    """The arrays as tables by id, and five folds."""
    n, c = arrays[0].shape
    ids = pd.Index([f"r{i}" for i in range(n)], name="id")
    made = [pd.DataFrame(a.astype(float), ids, [str(j) for j in range(c)]) for a in arrays]
    return made, pd.Series(np.arange(n) % 5, ids)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def draw(kind: str, n: int = 600, seed: int = 0) -> tuple[list[pd.DataFrame], pd.Series]:
    """(truth, prediction): truth is drawn from skewed probabilities, so that the default decision is not the best."""
    rng = np.random.default_rng(seed)
    if kind in ("multiclass", "ordinal"):
        odds = np.exp(rng.normal([1.5, 0, -1], 1.2, (n, 3)))
        p = odds / odds.sum(axis=1, keepdims=True)
        truth = np.eye(3)[(p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)]
    else:
        p = sigmoid(rng.normal(-1.5, 1.2, (n, 1 if kind == "binary" else 3)))
        truth = rng.random(p.shape) < p
    return tables(truth, p)


def columns_of(kind: str) -> int:
    return 1 if kind == "binary" else 3


def said(problem: Problem, prediction: pd.DataFrame) -> np.ndarray:
    return metrics.labels(problem.metric, problem.kind, prediction.to_numpy())


def nested(problem: Problem, truth: pd.DataFrame, prediction: pd.DataFrame, fold: pd.Series) -> decide.Nested:
    return decide.nested("views", {"plain": prediction}, truth, fold, problem)


# --- cuts


@pytest.mark.parametrize("name, kind", CUT)
def test_the_default_cut_changes_no_decision(name: str, kind: Kind):
    (_, prediction), _ = draw(kind)
    problem = problem_of(name, kind, columns_of(kind))
    levels = problem.metric.levels
    if levels is not None:
        default = Cut("level", {"1": 0.5, "2": 1.5}, levels)
    elif kind in kinds.CLASSES:
        default = Cut("factor", dict.fromkeys(prediction, 1.0))
    else:
        default = Cut("threshold", dict.fromkeys(prediction, 0.5))
    assert (said(problem, default.apply(prediction)) == said(problem, prediction)).all()


@pytest.mark.parametrize("name, kind", CUT)
def test_a_cut_decides_as_it_says_and_is_what_the_search_had_scored(name: str, kind: Kind):
    (truth, prediction), _ = draw(kind)
    problem = problem_of(name, kind, columns_of(kind))
    cut = cuts.search(prediction, truth, problem)
    p, values = prediction.to_numpy(), np.array(list(cut.values.values()))
    expected = {
        "threshold": lambda: p >= values,
        "factor": lambda: (p * values).argmax(axis=1),
        "level": lambda: (p @ np.arange(3) > values[:, None]).sum(axis=0),
    }[cut.rule]()
    got = said(problem, cut.apply(prediction))
    if name == "f1_samples":
        assert got.any(axis=1).all(), "a row without a label gets one"
        got, expected = got[expected.any(axis=1)], expected[expected.any(axis=1)]
    assert (got == expected.reshape(got.shape)).all()
    decided = cuts._decide(problem.metric, cut.rule, p, values)
    assert (decided.reshape(-1) == said(problem, cut.apply(prediction)).reshape(-1)).all()
    assert problem.metric.score(truth, cut.apply(prediction)) >= problem.metric.score(truth, prediction)


@pytest.mark.parametrize("name, kind", CUT)
def test_a_cut_survives_json_and_is_applied_by_name(name: str, kind: Kind):
    (truth, prediction), _ = draw(kind)
    cut = cuts.search(prediction, truth, problem_of(name, kind, columns_of(kind)))
    again = adjustment.read(json.loads(json.dumps(cut.plain())))
    assert isinstance(again, Cut) and again == cut
    pd.testing.assert_frame_equal(again.apply(prediction), cut.apply(prediction))
    assert adjustment.read(None) is None and adjustment.apply(None, prediction) is prediction
    with pytest.raises(AssertionError, match="is not one of"):
        cut.apply(prediction.add_prefix("other"))


@pytest.mark.parametrize("name, kind", CUT)
def test_a_held_folds_truth_never_moves_its_own_decisions(name: str, kind: Kind):
    (truth, prediction), fold = draw(kind, n=200)
    problem, held = problem_of(name, kind, columns_of(kind)), fold.index[fold == 2]
    other = truth.copy()
    other.loc[held] = truth.loc[held].to_numpy()[::-1]
    first, second = (nested(problem, t, prediction, fold) for t in (truth, other))
    pd.testing.assert_frame_equal(first.decided.loc[held], second.decided.loc[held])
    pd.testing.assert_frame_equal(first.prediction, prediction, check_names=False)


@pytest.mark.parametrize("name, score", [("f1", sk.f1_score), ("mcc", sk.matthews_corrcoef)])
def test_a_threshold_finds_the_best_of_shifted_probabilities(name: str, score: Callable[..., float]):
    """Odds are off by e**-1.5: the cut of the others' folds comes within 0.02 of the best threshold in hindsight."""
    rng = np.random.default_rng(1)
    logit = rng.normal(-1, 2, (4000, 1))
    (truth, prediction), fold = tables(rng.random(logit.shape) < sigmoid(logit), sigmoid(logit - 1.5))
    result = nested(problem_of(name, "binary", 1), truth, prediction, fold)
    t, p = truth.to_numpy().ravel(), prediction.to_numpy().ravel()
    best = max(score(t, p >= x) for x in np.linspace(0.01, 0.6, 60))
    honest = score(t, result.decided.to_numpy().ravel() >= 0.5)
    assert score(t, p >= 0.5) < best - 0.1, "there is something to find"
    assert best - 0.02 < honest < best + 0.01
    assert (
        isinstance(result.adjustment, Cut)
        and result.adjustment.rule == "threshold"
        and result.adjustment.values["0"] < 0.4
    )


def test_cut_points_find_levels_that_were_squeezed():
    """Expected levels pulled to the middle: the default hardly says 0 or 4, the cut undoes it."""
    rng = np.random.default_rng(2)
    level = rng.integers(5, size=2000)
    centre = 2 + 0.45 * (level - 2) + rng.normal(0, 0.15, len(level))
    odds = np.exp(-2 * (np.arange(5) - centre[:, None]) ** 2)
    (truth, prediction), fold = tables(np.eye(5)[level], odds / odds.sum(axis=1, keepdims=True))
    problem = problem_of("qwk", "ordinal", 5)
    result = nested(problem, truth, prediction, fold)
    assert problem.metric.score(truth, result.prediction) < 0.8
    assert problem.metric.score(truth, result.decided) > 0.95
    assert isinstance(result.adjustment, Cut) and list(result.adjustment.values) == ["1", "2", "3", "4"]
    assert list(result.adjustment.values.values()) == sorted(result.adjustment.values.values())


@pytest.mark.parametrize(
    "name, kind", [pair for pair in LABELLED if pair not in CUT] + [("auc", "binary"), ("rmse", "regression")]
)
def test_no_cut_where_the_default_is_the_best(name: str, kind: Kind):
    (truth, prediction), fold = draw("binary" if kind == "regression" else kind)
    result = nested(problem_of(name, kind, prediction.shape[1]), truth, prediction, fold)
    assert result.adjustment is None and not any(result.adjustments_by_fold.values())
    pd.testing.assert_frame_equal(result.decided, result.prediction)


def test_no_cut_is_kept_that_only_fits_noise():
    """Predictions that know nothing: of 40 draws most keep the default."""
    problem, kept = problem_of("mcc", "binary", 1), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (truth, prediction), fold = tables(rng.random((100, 1)) < 0.5, rng.random((100, 1)))
        kept += adjustment.fit(prediction, truth, fold, problem) is not None
    assert kept < 20


def test_with_two_folds_there_is_no_cut():
    """A refit has one fold left and nothing to compare on; a cut of both would be submitted without a score."""
    (truth, prediction), fold = draw("binary")
    problem = problem_of("f1", "binary", 1)
    assert nested(problem, truth, prediction, fold % 2).adjustment is None
    assert nested(problem, truth, prediction, fold).adjustment is not None


def test_levels_out_of_order_have_no_cut():
    (truth, prediction), fold = draw("ordinal")
    problem = problem_of("mae", "ordinal")
    turned = replace(problem, metric=replace(problem.metric, levels=(2.0, 1.0, 0.0)))
    assert adjustment.fit(prediction, truth, fold, turned) is None


def test_it_is_quick_on_many_rows():
    (truth, prediction), fold = draw("binary", n=20_000)
    start = time.process_time()
    assert nested(problem_of("mcc", "binary", 1), truth, prediction, fold).adjustment is not None
    assert time.process_time() - start < 5


OWN = """
def eager(truth, said):
    "A yes pays even where it is wrong."
    return (said * (1 + truth)).mean()
eager.needs = "label"
"""


def test_the_submission_decides_by_the_cut_that_was_scored(competition: Callable[..., str], capsys):
    """A user's metric: the score is of cut predictions, files stay plain, an older score.json is made anew."""
    run = competition("binary", metric="own.py:eager", folds={"n": 3})
    Path("configs/toy/own.py").write_text(OWN)
    assert cli.main(["submission", run]) == 0
    score, path = artifacts.read_json(Path("runs/toy/base/score.json")), Path(f"submissions/{run}.csv")
    threshold = score["adjustment"]["values"]["yes"]
    assert score["unadjusted"] < score["score"] and set(score["adjustments_by_fold"]) == {"fold0", "fold1", "fold2"}
    out = " ".join(capsys.readouterr().out.split())
    assert f"decision threshold {threshold:.4g}, fitted on the other folds; without it {score['unadjusted']:.4f}" in out
    oof, test = (pd.read_parquet(f"runs/toy/base/{name}.parquet") for name in ("oof", "test"))
    metric, truth = load("toy").problem.metric, load("toy").train.truth
    assert truth is not None
    assert metric.score(truth, oof.loc[truth.index]) == pytest.approx(score["unadjusted"]), "the files are plain"
    submitted = pd.read_csv(path, dtype=str).set_index("id")["label"]
    expected = np.where(test["yes"] >= threshold, "yes", "no")
    assert list(submitted.loc[test.index]) == list(expected) != list(np.where(test["yes"] >= 0.5, "yes", "no"))
    written = artifacts.file_digest(path)
    old = {k: v for k, v in score.items() if k not in ("adjustment", "adjustments_by_fold", "unadjusted")} | {
        "basis": "of version 1"
    }
    Path("runs/toy/base/score.json").write_text(json.dumps(old))
    assert cli.main(["submission", run]) == 0
    again = artifacts.read_json(Path("runs/toy/base/score.json"))
    assert again | {"made": ""} == score | {"made": ""}
    assert artifacts.file_digest(path) == written


# --- blend weights

VALUE_METRICS = ["rmse", "r2", "rmsle", "mean_column_rmsle", "mae", "mape", "smape", "quantile"]


def members(kind: str, n: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], pd.Series]:
    """Truth and two members that err in other ways: one by a lot at times, the other always and to one side."""
    rng = np.random.default_rng(seed)
    if kind == "regression":
        truth = rng.lognormal(1, 0.8, (n, 2))
        wild = truth * np.exp(rng.standard_t(2, truth.shape) * 0.1)
        low = truth * np.exp(rng.normal(-0.3, 0.3, truth.shape))
        (t, *made), fold = tables(truth, wild.clip(0, 100), low)
    else:
        logit = rng.normal(-1, 2, (n, 1))
        sure = sigmoid(2.5 * logit + rng.normal(0, 3, logit.shape))
        (t, *made), fold = tables(rng.random(logit.shape) < sigmoid(logit), sure, sigmoid(0.7 * logit))
    return t, {"a": made[0], "b": made[1]}, fold


@pytest.mark.parametrize(
    "name, kind",
    [(name, "regression") for name in VALUE_METRICS]
    + [(name, kind) for name in ("brier", "logloss") for kind in ("multilabel", "multiclass")],
)
def test_gradients_are_those_of_the_losses(name: str, kind: Kind):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), (50, 4)).transpose(0, 2, 1) if kind == "multiclass" else rng.random((50, 2, 4))
    t = np.eye(3)[rng.integers(3, size=50)] if kind == "multiclass" else rng.integers(2, size=(50, 2)) + 0.0
    params = {"alpha": 0.8} if name == "quantile" else {}
    loss = losses.of(problem_of(name, kind, p.shape[1], **params), p, t)
    w = rng.dirichlet(np.ones(4))
    steps = 1e-6 * np.eye(4)
    numeric = [(loss(w + s)[0] - loss(w - s)[0]) / 2e-6 for s in steps]
    np.testing.assert_allclose(loss(w)[1], numeric, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["mae", "mape", "smape", "rmsle", "mean_column_rmsle", "quantile", "brier", "logloss"])
def test_blend_weights_are_the_best_of_the_metric_itself(name: str, monkeypatch: pytest.MonkeyPatch):
    """Within 0.5% of the best of 101 mixes, and better than equal weights."""
    monkeypatch.setattr(convex, "DRAWN", (0.0,))
    kind: Kind = "binary" if name in ("brier", "logloss") else "regression"
    truth, stack, fold = members(kind)
    problem = problem_of(name, kind, truth.shape[1], **({"alpha": 0.8} if name == "quantile" else {}))

    def error(share: float) -> float:
        return -problem.metric.score(truth, decide.Mean({"a": share, "b": 1 - share}).combine(stack))

    best = min(error(share) for share in np.linspace(0, 1, 101))
    weights = convex.fit(stack, truth, fold, problem)
    assert error(weights["a"]) < 1.005 * best < error(0.5)


def test_few_rows_and_members_of_equal_worth_give_the_plain_mean():
    """100 rows, ten members: nested, not worse than the mean beyond half a percent, where weights by least error are."""
    problem, fitted, drawn, plain = problem_of("rmse", "regression", 1), [], [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        target = rng.normal(size=(100, 1))
        (truth, *made), fold = tables(target, *(target + rng.normal(0, 0.5, (100, 10, 1)).transpose(1, 0, 2)))
        stack = {f"m{n}": table for n, table in enumerate(made)}
        plain.append(-problem.metric.score(truth, decide.mean(stack).combine(stack)))
        for scores, strengths in ((drawn, convex.DRAWN), (fitted, (0.0,))):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(convex, "DRAWN", strengths)
                result = decide.nested("blend", stack, truth, fold, problem, method="convex")
            scores.append(-problem.metric.score(truth, result.prediction))
    assert np.mean(drawn) < 1.005 * np.mean(plain)
    assert np.mean(fitted) > 1.02 * np.mean(plain)


def test_a_better_member_gets_its_weight_on_few_rows_too():
    rng = np.random.default_rng(0)
    target, shared = rng.normal(size=(100, 1)), rng.normal(0, 0.5, (100, 1))
    weak = [target + shared + rng.normal(0, 0.3, target.shape) for _ in range(4)]
    (truth, *made), fold = tables(target, target + rng.normal(0, 0.2, target.shape), *weak)
    stack = {f"m{n}": table for n, table in enumerate(made)}
    assert convex.fit(stack, truth, fold, problem_of("rmse", "regression", 1))["m0"] > 0.6


def test_equal_weights_where_there_is_one_fold():
    truth, stack, fold = members("binary")
    weights = convex.fit(stack, truth, fold * 0, problem_of("logloss", "binary", 1))
    assert weights == {"a": 0.5, "b": 0.5}
