"""The rows that a run gets most wrong: their order beside a plain loop, what kind of mistake each is, and how it is told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import formulas, metrics
from competition.boxes.table import EDGES, PREDICTED, TRUTH
from competition.cuts import Cut
from competition.doubts import doubted
from competition.keys import Kind, MetricSpec
from competition.mistakes import HIGHEST, judged, pairs, worst
from competition.task import Problem

CLASSES = ("cat", "dog", "owl")
METRICS = {"multiclass": "accuracy", "ordinal": "qwk", "binary": "auc", "multilabel": "f1_macro", "regression": "rmse",
           "boxes": "map50"}  # fmt: skip


def problem_of(kind: Kind, several: bool = False) -> Problem:
    classes = {"binary": ("no", "yes"), "regression": ()}.get(kind, CLASSES)
    targets = ("small", "large") if several else ("label",)
    columns = {"binary": ("yes",), "regression": targets, "boxes": ()}.get(kind, CLASSES)
    metric = metrics.get(MetricSpec(name=METRICS[kind]), kind, classes, Path())
    return Problem("toy", kind, targets, classes, columns, metric)


def table_of(problem: Problem, *rows: tuple[float, ...]) -> pd.DataFrame:
    ids = pd.Index([f"row {n}" for n in range(len(rows))], name="id")
    return pd.DataFrame(rows, ids, list(problem.columns), dtype=float)


def folds_of(table: pd.DataFrame) -> pd.Series:
    return pd.Series(np.arange(len(table)) % 3, table.index)


def made(problem: Problem, n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random truth and prediction."""
    rng = np.random.default_rng(seed)
    if problem.kind == "regression":
        truth = rng.normal(0, 3, (n, len(problem.columns))) * np.array([1, 1000])[: len(problem.columns)]
        return table_of(problem, *truth), table_of(problem, *(truth + rng.normal(0, 1, truth.shape)))
    if problem.kind in ("binary", "multilabel"):
        said = rng.uniform(0.02, 0.98, (n, len(problem.columns)))
        return table_of(problem, *(rng.random(said.shape) < said)), table_of(problem, *said)
    said = rng.dirichlet(np.ones(3) * 0.5, n).clip(1e-9)
    said /= said.sum(axis=1, keepdims=True)
    return table_of(problem, *np.eye(3)[[rng.choice(3, p=p) for p in said]]), table_of(problem, *said)


def loss_by_hand(problem: Problem, truth: np.ndarray, said: np.ndarray, spread: np.ndarray) -> float:
    if problem.kind == "regression":
        return sum(abs(p - t) / s for t, p, s in zip(truth, said, spread)) / len(truth)
    if problem.kind in ("multiclass", "ordinal"):
        return -math.log(said[list(truth).index(1)])
    return -sum(math.log(p if t else 1 - p) for t, p in zip(truth, said)) / len(truth)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "binary", "multilabel", "regression", "several"])
def test_the_order_is_that_of_a_plain_loop(kind: str):
    problem = problem_of("regression", several=True) if kind == "several" else problem_of(kind)  # ty: ignore[invalid-argument-type]
    truth, said = made(problem, 200, 0)
    spread = truth.to_numpy().std(axis=0) if kind == "several" else np.ones(truth.shape[1])
    by_hand = {i: loss_by_hand(problem, truth.loc[i].to_numpy(), said.loc[i].to_numpy(), spread) for i in truth.index}
    found = worst(problem, truth, said, folds_of(truth), 25)
    assert list(found.index) == sorted(by_hand, key=lambda i: -by_hand[i])[:25]
    assert found["loss"].to_numpy() == pytest.approx([by_hand[i] for i in found.index])
    assert list(found["fold"]) == list(folds_of(truth)[found.index]) and set(found["why"]) == {HIGHEST}


def test_the_mean_loss_is_the_metrics():
    for kind, of in (("multiclass", formulas.class_logloss), ("multilabel", formulas.column_logloss)):
        problem = problem_of(kind)  # ty: ignore[invalid-argument-type]
        truth, said = made(problem, 100, 1)
        soft = (truth + said) / 2
        table = judged(problem, soft, said, folds_of(truth))
        assert table["loss"].mean() == pytest.approx(of(soft.to_numpy(), said.to_numpy()))


def test_of_equal_rows_the_first_comes_first():
    problem = problem_of("multiclass")
    truth = table_of(problem, *[(1, 0, 0)] * 40)
    said = table_of(problem, *[(0.2, 0.8, 0)] * 40)
    assert list(worst(problem, truth, said, folds_of(truth), 10).index) == list(truth.index[:10])


def test_a_mistake_is_confident_where_the_wrong_class_is_as_probable_as_on_its_own_rows():
    problem = problem_of("multiclass")
    truth = table_of(problem, (1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1))
    said = table_of(problem, (0.9, 0.1, 0), (0.45, 0.35, 0.2), (0.1, 0.8, 0.1), (0.75, 0.2, 0.05), (0.1, 0.45, 0.45))
    found = worst(problem, truth, said, folds_of(truth), 5)  # cat on its own rows: 0.675, dog: 0.5
    assert found["kind"].to_dict() == {
        "row 3": "confident mistake", "row 4": "mistake", "row 1": "unsure", "row 2": "right", "row 0": "right",
    }  # fmt: skip
    assert list(found.index) == ["row 3", "row 1", "row 4", "row 2", "row 0"]
    assert found.loc["row 3", ["truth", "predicted", "confidence"]].tolist() == ["dog", "cat", 0.75]


def test_beside_the_worst_rows_stands_each_class_in_turn():
    problem = problem_of("multiclass")
    hard = [(0.001 + n * 1e-5, 0.998 - n * 1e-5, 0.001) for n in range(30)]  # cats that are surely dogs
    truth = table_of(problem, *[(1, 0, 0)] * 30, (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 0, 1))
    said = table_of(problem, *hard, (0.3, 0.2, 0.5), (0.1, 0.7, 0.2), (0.6, 0.1, 0.3), (0, 0, 1))
    found = worst(problem, truth, said, folds_of(truth), 5, in_turn=4)
    assert list(found["truth"][found["why"] == HIGHEST]) == ["cat"] * 5
    turns = found[found["why"] != HIGHEST]
    assert turns["truth"].value_counts().to_dict() == {"cat": 2, "dog": 1, "owl": 1}
    assert set(turns["why"]) == {"surest of its class"}
    assert found["loss"].is_monotonic_decreasing and found.index.is_unique
    assert "row 33" not in worst(problem, truth, said, folds_of(truth), 5, in_turn=99).index  # it is right


def test_labels_are_told_by_their_difference():
    problem = problem_of("multilabel")
    truth = table_of(problem, (1, 0, 0), (1, 1, 0), (0, 0, 0), (1, 1, 1))
    said = table_of(problem, (0.1, 0.2, 0.9), (0.9, 0.2, 0.1), (0.1, 0.1, 0.7), (0.9, 0.8, 0.7))
    found = worst(problem, truth, said, folds_of(truth), 4).loc[truth.index]
    assert list(found["truth"]) == ["cat", "cat, dog", "no label", "cat, dog, owl"]
    assert list(found["predicted"]) == ["-cat +owl", "-dog", "+owl", "as labelled"]
    assert found["confidence"].to_numpy() == pytest.approx([0.9, 0.8, 0.7, np.nan], nan_ok=True)
    assert found["kind"].iloc[0] == "confident mistake"


def test_a_soft_label_is_told_by_its_shares_and_values_by_the_target_that_is_furthest_off():
    problem = problem_of("multiclass")
    found = worst(
        problem, table_of(problem, (0.3, 0.7, 0)), table_of(problem, (0.5, 0.4, 0.1)), pd.Series({"row 0": 0}), 1
    )
    assert found[["truth", "predicted"]].iloc[0].tolist() == ["dog 0.70, cat 0.30", "cat"]
    binary = problem_of("binary")
    found = worst(binary, table_of(binary, (0.25,)), table_of(binary, (0.9,)), pd.Series({"row 0": 0}), 1)
    assert found[["truth", "predicted"]].iloc[0].tolist() == ["no 0.75, yes 0.25", "yes"]
    several = problem_of("regression", several=True)
    truth, said = table_of(several, (1, 1000), (3, 208500)), table_of(several, (4, 1000), (3, 180921))
    found = worst(several, truth, said, folds_of(truth), 2)
    assert found.loc["row 0", ["truth", "predicted", "kind"]].tolist() == ["small 1", "small 4", "too high"]
    assert found.loc["row 1", ["truth", "predicted", "kind"]].tolist() == ["large 208,500", "large 180,921", "too low"]


def test_what_is_said_follows_the_cut_and_the_loss_does_not():
    problem = problem_of("ordinal")
    truth, said = made(problem, 50, 2)
    cut = Cut("level", {"dog": 0.1, "owl": 0.2}, (0.0, 1.0, 2.0)).apply(said)
    plain, after = (judged(problem, truth, said, folds_of(truth), decided) for decided in (None, cut))
    assert after["loss"].equals(plain["loss"]) and not after["kind"].equals(plain["kind"])
    found = worst(problem, truth, said, folds_of(truth), 50, cut)
    assert list(found["predicted"]) == [CLASSES[k] for k in cut.loc[found.index].to_numpy().argmax(axis=1)]


def test_boxes_that_are_missed_or_false():
    problem = problem_of("boxes")
    ids = pd.Index(["good", "bare", "false", "lost"], name="id")
    box, far = (0, 0, 20, 20), (40, 40, 60, 60)

    def boxes(columns: tuple[str, ...], *rows: tuple) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=["id", *columns]).set_index("id")
        return table.astype(dict.fromkeys(EDGES, float))

    truth = boxes(TRUTH, ("good", "cat", *box, False), ("lost", "cat", *box, False), ("lost", "dog", *far, False))
    said = boxes(PREDICTED, ("good", "cat", 0.9, *box), ("false", "owl", 0.95, *far), ("lost", "dog", 0.01, *box))
    found = worst(problem, truth, said, pd.Series(0, ids), 4)
    assert list(found.index) == ["lost", "false", "good", "bare"]  # two faults, one, none
    assert found["kind"].to_dict() == {"lost": "missed boxes", "false": "false boxes", "good": "right", "bare": "right"}
    assert found.loc["lost", ["truth", "predicted"]].tolist() == ["1 cat, 1 dog", "no box"]
    assert found.loc["false", ["truth", "predicted", "confidence"]].tolist() == ["no box", "1 owl", 0.95]
    assert found["loss"].tolist() == [1, 1, 0, 0]


def test_pairs_are_those_of_a_cross_table():
    problem = problem_of("multiclass")
    truth, said = made(problem, 300, 3)
    found = pairs(problem, judged(problem, truth, said, folds_of(truth)), said, 99)
    true, guess = truth.idxmax(axis=1), said.idxmax(axis=1)
    counts = {pair: n for pair, n in pd.Series([*zip(true, guess)]).value_counts().items() if pair[0] != pair[1]}
    assert {(row.truth, row.predicted): row.rows for row in found.itertuples()} == counts
    assert found["rows"].is_monotonic_decreasing
    first = found.iloc[0]
    there = (true == first["truth"]) & (guess == first["predicted"])
    assert first["confidence"] == pytest.approx(said.max(axis=1)[there].mean())
    assert first["share"] == pytest.approx(there.sum() / (true == first["truth"]).sum())


def test_a_row_is_doubted_that_all_runs_get_wrong():
    problem = problem_of("multiclass")
    truth, first = made(problem, 120, 4)
    second = made(problem, 120, 5)[1]
    found = doubted(problem, truth, [(first, first), (second, second)], folds_of(truth), 99)
    true, one, two = (table.to_numpy().argmax(axis=1) for table in (truth, first, second))
    assert set(found.index) == set(truth.index[(true != one) & (true != two)])
    given = ((first * truth).sum(axis=1) + (second * truth).sum(axis=1)) / 2
    assert found["given"].to_numpy() == pytest.approx(given[found.index].to_numpy())
    assert found["given"].is_monotonic_increasing
    agreed = pd.Series(one == two, truth.index)[found.index]
    assert (found["votes"] == np.where(agreed, 2, 1)).all()
    assert (found["predicted"] == first.loc[found.index].idxmax(axis=1))[agreed].all()


def test_labels_and_values_are_doubted_in_the_same_sense():
    labels = problem_of("multilabel")
    truth = table_of(labels, (1, 0, 0), (1, 0, 0))
    runs = [table_of(labels, (0.1, 0.1, 0.1), (0.1, 0.1, 0.1)), table_of(labels, (0.2, 0, 0), (0.9, 0, 0.8))]
    found = doubted(labels, truth, [(run, run) for run in runs], folds_of(truth), 9)
    assert list(found.index) == ["row 0"] and found["predicted"].iloc[0] == "-cat"
    assert found["given"].iloc[0] == pytest.approx(0.15)
    values = problem_of("regression")
    truth = table_of(values, (1,), (1,), (1,))
    runs = [table_of(values, (3,), (0,), (2,)), table_of(values, (5,), (2,), (7,))]
    found = doubted(values, truth, [(run, run) for run in runs], folds_of(truth), 9)
    assert list(found.index) == ["row 2", "row 0"] and list(found["loss"]) == [3.5, 3.0]
    assert list(found["predicted"]) == ["4.5", "4"] and found["given"].isna().all()
