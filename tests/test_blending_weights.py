"""Blend weights: the convex optimum, scores of many predictions at once, greedy selection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from competition import kinds, metrics
from competition.blending import batched, convex, greedy, losses, simplex
from competition.formulas import METRICS
from competition.keys import Kind, MetricSpec
from competition.task import Problem

KINDS: tuple[Kind, ...] = ("multiclass", "ordinal", "binary", "multilabel", "regression")
PAIRS = sorted((name, kind) for name, e in METRICS.items() for kinds in e.functions for kind in kinds if kind in KINDS)
OWN = """
def close(truth, prediction):
    return 1 - ((truth - prediction) ** 2).mean()
"""


def problem_of(name: str, kind: Kind, folder: Path = Path(), **params: object) -> Problem:
    names = tuple(str(c) for c in range(1 if kind == "binary" else 2 if kind == "regression" else 4))
    classes = ("no", *names) if kind == "binary" else names
    metric = metrics.get(MetricSpec.model_validate({"name": name, **params}), kind, classes, folder)
    return Problem("toy", kind, ("y",), classes, names, metric)


def draw(kind: Kind, members: int = 5, n: int = 60, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Truth [n, columns] and members that know more or less of it; in the last rows and columns hold equal values."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.5, 2, members)
    if kind in ("multiclass", "ordinal"):
        t = np.eye(4)[np.arange(n) % 4]
        odds = [np.exp(2 * t + s * rng.normal(size=t.shape)) for s in noise]
        odds[-1] = odds[-1][np.arange(n) // 3][:, [0, 1, 1, 3]]
        p = [o / o.sum(axis=1, keepdims=True) for o in odds]
    elif kind == "regression":
        t = rng.lognormal(1, 0.7, (n, 2))
        p = [t * np.exp(0.3 * s * rng.normal(size=t.shape)) for s in noise]
        p[-1] = p[-1].round(1)
    else:
        t = (rng.random((n, 1 if kind == "binary" else 4)) < 0.4) + 0.0
        p = [1 / (1 + np.exp(-(3 * t - 1.5 + s * rng.normal(size=t.shape)))) for s in noise]
        p[-1] = p[-1].round(1)
    return t, p


def called(problem: Problem, t: np.ndarray, p: np.ndarray) -> float:
    truth, prediction = (pd.DataFrame(a, columns=list(problem.columns)) for a in (t, p))
    return problem.metric.score(truth, prediction)


# --- many predictions at once


@pytest.mark.parametrize("name, kind", PAIRS)
@pytest.mark.parametrize("rows", [60, 1])
def test_scores_equal_those_of_the_metric(name: str, kind: Kind, rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batched, "CELLS", 300)
    problem = problem_of(name, kind, **({"k": 2} if METRICS[name].needs == "ranking" else {}))
    t, p = draw(kind)
    t, p = t[:rows], [one[:rows] for one in p]
    np.testing.assert_allclose(batched.score(p, t, problem), [called(problem, t, one) for one in p], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, kind", PAIRS)
def test_a_mix_of_looks_is_the_look_of_the_mix(name: str, kind: Kind):
    problem, (t, p) = problem_of(name, kind), draw(kind)
    seen = batched.look(p, t, problem)
    mixes = [called(problem, t, (p[0] + p[1] + one) / 3) for one in p]
    got = seen.score_added(seen.x[0] + seen.x[1], np.arange(len(p)), 2)
    np.testing.assert_allclose(got, mixes, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, kind", [(n, k) for n, k in PAIRS if k != "regression"])
def test_soft_truth_counts_as_in_the_metric(name: str, kind: Kind):
    problem, (t, p) = problem_of(name, kind), draw(kind)
    soft = 0.8 * t + 0.2 / (t.shape[1] if kind in kinds.CLASSES else 2)
    got = batched.score(p, soft, problem)
    np.testing.assert_allclose(got, [called(problem, soft, one) for one in p], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_users_metric_is_called_for_each(kind: Kind, tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    problem, (t, p) = problem_of("own.py:close", kind, tmp_path), draw(kind)
    assert batched.score(p, t, problem).tolist() == pytest.approx([called(problem, t, one) for one in p])


def test_probabilities_of_0_and_1_are_clipped_as_in_the_metric():
    for kind in ("binary", "multiclass"):
        problem, (t, p) = problem_of("logloss", kind), draw(kind)
        sure = [one.round() + (one.round().sum(axis=1, keepdims=True) == 0) * (kind == "multiclass") for one in p]
        got = batched.score(sure, t, problem)
        np.testing.assert_allclose(got, [called(problem, t, one) for one in sure], rtol=1e-12)


# --- the convex optimum

SMOOTH = [
    *((name, kind) for name in ("logloss", "brier") for kind in ("multiclass", "binary", "multilabel")),
    *((name, "regression") for name in ("rmse", "mae", "mape", "smape", "quantile")),
]


def loss_of(problem: Problem, t: np.ndarray, p: list[np.ndarray]) -> losses.Loss:
    return losses.by_part(problem, p, t, np.zeros(len(t), int))(np.array([True]))


def alike(p: list[np.ndarray]) -> list[np.ndarray]:
    return [p[0], *p, p[0]]


def surely_wrong(p: list[np.ndarray]) -> list[np.ndarray]:
    return [(p[0] < 0.5) + 0.0, *p[1:]]


@pytest.mark.parametrize("name, kind", SMOOTH)
@pytest.mark.parametrize("members, rows", [(1, 20), (5, 10), (8, 300), (30, 40)])
@pytest.mark.parametrize("change", [list, alike, surely_wrong])
def test_weights_are_the_optimum(name: str, kind: Kind, members: int, rows: int, change: Callable):
    """By the duality gap, which bounds the distance from the optimum whatever the solver; and no worse than SciPy's."""
    t, p = draw(kind, members, rows)
    p = change(p)
    loss, equal = loss_of(problem_of(name, kind), t, p), np.full(len(p), 1 / len(p))
    unit = loss(equal)[0]
    for ridge in (0.0, 0.3):
        drawn = simplex.Drawn(loss, unit, ridge, equal)
        found = simplex.solve(drawn, equal)
        value, slope = drawn(found.weights)
        assert (found.weights >= 0).all() and found.weights.sum() == pytest.approx(1, abs=1e-12)
        assert found.value == value and found.gap == slope @ found.weights - slope.min() < 1e-9
        if ridge and members < 30:
            one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
            other = minimize(
                drawn, equal, jac=True, method="SLSQP", bounds=[(0, 1)] * len(p), constraints=[one], tol=1e-10
            )
            w = other.x.clip(0) / other.x.clip(0).sum()
            assert value <= drawn(w)[0] + 1e-12


@pytest.mark.parametrize("name, kind", [*SMOOTH, ("rmsle", "regression")])
def test_hessians_are_those_of_the_gradients(name: str, kind: Kind):
    t, p = draw(kind)
    if name == "rmsle":
        t = np.mean(p, axis=0)  # where the error is none, the matrix of Gauss and Newton is the Hessian
    loss, w = loss_of(problem_of(name, kind), t, p), np.full(len(p), 1 / len(p))
    numeric = [(loss(w + s)[1] - loss(w - s)[1]) / 2e-6 for s in 1e-6 * np.eye(len(p))]
    np.testing.assert_allclose(loss.hessian(w), numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, kind", [pair for pair in SMOOTH if pair[0] in ("rmse", "mae", "logloss", "brier")])
def test_a_loss_of_some_parts_is_that_of_their_rows(name: str, kind: Kind):
    problem, (t, p), w = problem_of(name, kind), draw(kind), np.array([0.5, 0.2, 0.1, 0.1, 0.1])
    if name == "rmse":
        t = (t - t.mean(axis=0)) / t.std(axis=0)
    part = np.arange(len(t)) % 3
    some = losses.by_part(problem, p, t, part)(np.array([True, False, True]))
    rows = part != 1
    alone = loss_of(problem, t[rows], [one[rows] for one in p])
    if name != "rmse":  # its unit is the spread of all rows
        np.testing.assert_allclose(some(w)[0], alone(w)[0], rtol=1e-12)
        np.testing.assert_allclose(some.hessian(w), alone.hessian(w), rtol=1e-9)
    else:
        np.testing.assert_allclose(some(w)[0], ((np.tensordot(w, p, axes=1) - t)[rows] ** 2).mean(), rtol=1e-9)


def tables(
    t: np.ndarray, p: list[np.ndarray], problem: Problem
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], pd.Series]:
    ids = pd.Index([f"r{n}" for n in range(len(t))], name="id")
    made = {f"m{m}": pd.DataFrame(one, ids, list(problem.columns)) for m, one in enumerate(p)}
    return pd.DataFrame(t, ids, list(problem.columns)), made, pd.Series(np.arange(len(t)) % 3, ids)


def test_weights_go_by_name_and_id_not_by_order():
    problem, (t, p) = problem_of("logloss", "multiclass"), draw("multiclass", n=300)
    truth, stack, fold = tables(t, p, problem)
    shuffled = {name: stack[name].sample(frac=1, random_state=1)[["3", "1", "0", "2"]] for name in reversed(stack)}
    for fit in (convex.fit, greedy.greedy_weights):
        weights = fit(stack, truth, fold, problem)
        assert sum(weights.values()) == pytest.approx(1)
        assert fit(shuffled, truth, fold[::-1], problem) == pytest.approx(weights, abs=1e-6)


# --- greedy selection


@pytest.mark.parametrize(
    "name, kind",
    [
        ("logloss", "multiclass"),
        ("auc", "binary"),
        ("f1_macro", "multilabel"),
        ("qwk", "ordinal"),
        ("mae", "regression"),
    ],
)
def test_a_selection_is_that_of_a_loop_and_no_worse_than_the_best_member(name: str, kind: Kind):
    """The loop adds the best candidate by the metric itself, from the same start."""
    problem, (t, p) = problem_of(name, kind), draw(kind, members=6, n=150)
    scores = [called(problem, t, one) for one in p]
    order = sorted(range(len(p)), key=lambda m: -scores[m])
    starts = [called(problem, t, np.mean([p[m] for m in order[:n]], axis=0)) for n in range(1, len(p) + 1)]
    chosen = [np.mean([p[m] for m in order[: int(np.argmax(starts)) + 1]], axis=0)]
    best = max(starts)
    for _ in range(8):
        tries = [called(problem, t, np.mean([*chosen, p[added]], axis=0)) for added in order]
        chosen.append(p[order[int(np.argmax(tries))]])
        best = max(best, *tries)
    weights = greedy.fit(p, t, problem, rounds=8)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert called(problem, t, np.tensordot(weights, p, axes=1)) == pytest.approx(best, abs=1e-9)
    assert best >= max(scores)


def test_members_that_are_alike_or_undefined_have_weights_too():
    problem, (t, p) = problem_of("auc", "binary"), draw("binary")
    assert greedy.fit([p[0]] * 3, t, problem).sum() == pytest.approx(1)
    assert greedy.fit(p, np.ones_like(t), problem).tolist() == [0.2] * 5, "rows of one class leave the metric undefined"
    assert greedy.fit(p[:1], t, problem).tolist() == [1.0]
