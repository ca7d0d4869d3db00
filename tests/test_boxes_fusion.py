"""Fusion of boxes: equal to ensemble-boxes, the same in any order of rows, never across pictures or classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from competition.boxes import fusion
from competition.boxes.table import EDGES, PREDICTED, empty

GOLDEN = json.loads((Path(__file__).parent / "golden" / "boxes_fusion.json").read_text())
SIZE = np.array([640.0, 480.0, 640.0, 480.0])
METHODS: list[tuple[fusion.Method, float]] = [("nms", 0.5), ("soft_nms", 0.5), ("wbf", 0.55)]


def draw(seed: int, pictures: int = 4, copies: int = 2) -> pd.DataFrame:
    """Boxes of one model around the same objects for every seed: five a picture, of two classes."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    n = pictures * 5
    corner = shared.uniform(0, 300, (n, 2))
    true = np.repeat(np.hstack([corner, corner + shared.uniform(40, 120, (n, 2))]), copies, axis=0)
    label = np.repeat(shared.choice(["cat", "dog"], n), copies)
    ids = np.repeat([f"p{i // 5}" for i in range(n)], copies)
    columns = dict(zip(EDGES, (true + rng.normal(0, 4, true.shape)).T, strict=True))
    table = {"label": pd.Series(label, dtype="str"), "score": rng.uniform(0.05, 1, n * copies)} | columns
    return pd.DataFrame(table).set_index(pd.Index(ids, name="id", dtype="str"))


def equal(weights: dict[str, pd.DataFrame]) -> dict[str, float]:
    return dict.fromkeys(weights, 1 / len(weights))


def sorted_rows(*columns: Any) -> np.ndarray:
    rows = np.column_stack([np.asarray(c, float) for c in columns])
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("case", GOLDEN)
def test_arrays_are_what_ensemble_boxes_finds(case: dict[str, Any]):
    """Made with ensemble-boxes 1.0.9: six objects, near copies of them as each model's boxes, and of these

    lists = boxes, scores, labels  # by model; in fractions of the picture
    case["wbf"] = ensemble_boxes.weighted_boxes_fusion(*lists, weights=weights, iou_thr=iou, skip_box_thr=skip)
    case["nms"] = ensemble_boxes.nms(*lists, iou_thr=iou)
    order = ensemble_boxes.ensemble_boxes_nms.cpu_soft_nms_float(boxes, scores, 0.0, iou, 0.0, 2)  # of one class
    case["soft_nms"] = boxes[order], scores, labels[order]  # scores changed in place

    for three models; unequal weights, two classes and a skip; two models of three copies each, so that a cluster has
    more boxes than there are models; one model.
    """
    boxes = np.concatenate(case["boxes"]) * SIZE
    scores, label = np.concatenate(case["scores"]), np.concatenate(case["labels"])
    model = np.repeat(np.arange(len(case["boxes"])), list(map(len, case["boxes"])))
    kept = fusion.nms(boxes, scores, case["iou"], label)
    found = {
        "wbf": fusion.weighted_boxes_fusion(
            boxes, scores, model, np.array(case["weights"]), case["iou"], case["skip"], label
        ),
        "nms": (boxes[kept], scores[kept], label[kept]),
        "soft_nms": (boxes, fusion.soft_nms(boxes, scores, case["iou"], label), label),
    }
    for method, (edges, score, of) in found.items():
        expected = sorted_rows(case[method][0], case[method][2], case[method][1])
        np.testing.assert_allclose(sorted_rows(edges / SIZE, of, score), expected, rtol=0, atol=1e-6, err_msg=method)


def test_nms_keeps_the_best_first_and_is_idempotent():
    table = draw(0)
    boxes, scores = table[[*EDGES]].to_numpy(), table["score"].to_numpy()
    kept = fusion.nms(boxes, scores, 0.5)
    assert 0 < len(kept) < len(table) and (np.diff(scores[kept]) <= 0).all()
    np.testing.assert_array_equal(fusion.nms(boxes[kept], scores[kept], 0.5), np.arange(len(kept)))


def test_soft_nms_lowers_what_overlaps_a_better_box_and_leaves_the_rest():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    found = fusion.soft_nms(boxes, np.array([0.9, 0.8, 0.7]), sigma=0.5)
    np.testing.assert_allclose(found, [0.9, 0.8 * np.exp(-(0.5**2) / 0.5), 0.7])
    assert fusion.soft_nms(boxes, np.array([0.9, 0.8, 0.7]), 0.5, most=1).tolist() == [0.9, 0, 0]


def test_groups_are_worked_on_as_if_alone(monkeypatch: pytest.MonkeyPatch):
    """Also where they fill several blocks, and are of unequal size."""
    monkeypatch.setattr(fusion, "TOGETHER", 2)
    rng = np.random.default_rng(0)
    group = rng.integers(0, 7, 200)
    corner = rng.uniform(0, 60, (200, 2))
    boxes, scores = np.hstack([corner, corner + 30]), rng.uniform(size=200)
    model, weights = rng.integers(0, 3, 200), np.ones(3)
    soft, kept = fusion.soft_nms(boxes, scores, 0.5, group), fusion.nms(boxes, scores, 0.5, group)
    fused, fused_scores, of = fusion.weighted_boxes_fusion(boxes, scores, model, weights, 0.5, group=group)
    for g in range(7):
        at = group == g
        np.testing.assert_array_equal(fusion.soft_nms(boxes[at], scores[at], 0.5), soft[at])
        np.testing.assert_array_equal(
            np.flatnonzero(at)[fusion.nms(boxes[at], scores[at], 0.5)], kept[group[kept] == g]
        )
        alone = fusion.weighted_boxes_fusion(boxes[at], scores[at], model[at], weights, 0.5)
        np.testing.assert_array_equal(sorted_rows(*alone[:2]), sorted_rows(fused[of == g], fused_scores[of == g]))


def test_boxes_without_area_or_score_are_no_fault():
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 4, 4], [0, 0, 4, 4.0]])
    scores, model = np.array([0.5, 0.4, 0.0, 0.0]), np.array([0, 1, 0, 1])
    assert len(fusion.nms(boxes, scores, 0.5)) == 3
    edges, found, _ = fusion.weighted_boxes_fusion(boxes, scores, model, np.ones(2), 0.5)
    assert np.isfinite(edges).all()
    np.testing.assert_allclose(found, [0.25, 0.2, 0.0], atol=1e-9)


# Tables ----------------------------------------------------------------------------------------------------------


def test_wbf_of_the_same_model_again_and_again_is_that_model():
    one = fusion.fuse({"a": draw(0)}, {"a": 1.0}, "wbf", 0.7)
    again = fusion.fuse(dict.fromkeys("abc", draw(0)), dict.fromkeys("abc", 1.0), "wbf", 0.7)
    pd.testing.assert_frame_equal(one, again, rtol=1e-12)
    kept = fusion.fuse({"a": draw(0)}, {"a": 1.0}, "nms", fusion.OWN)
    pd.testing.assert_frame_equal(one, kept, rtol=1e-12)


@pytest.mark.parametrize("method, iou", METHODS)
def test_a_fused_table_is_well_formed_whatever_the_order_of_rows(method: fusion.Method, iou: float):
    stack = {name: draw(i, copies=3) for i, name in enumerate("abc")}
    weights = {"a": 2.0, "b": 1.0, "c": 0.1}
    found = fusion.fuse(stack, weights, method, iou)
    assert tuple(found.columns) == PREDICTED and found["score"].between(0, 1).all()
    assert found.index.is_monotonic_increasing and found.index.name == "id"
    assert all(s.is_monotonic_decreasing for _, s in found["score"].groupby(level=0))
    for (picture, label), part in found.groupby([found.index, "label"]):
        given = pd.concat([t[(t.index == picture) & (t["label"] == label)] for t in stack.values()])
        assert (part[["x_min", "y_min"]] >= given[["x_min", "y_min"]].min() - 1e-9).all(axis=None)
        assert (part[["x_max", "y_max"]] <= given[["x_max", "y_max"]].max() + 1e-9).all(axis=None)
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in stack.items()}
    pd.testing.assert_frame_equal(fusion.fuse(shuffled, weights, method, iou), found, check_exact=True)
    level = {name: table.assign(score=0.5) for name, table in stack.items()}
    mixed = {name: table.assign(score=0.5) for name, table in shuffled.items()}
    same = fusion.fuse(level, weights, method, iou), fusion.fuse(mixed, weights, method, iou)
    pd.testing.assert_frame_equal(*same, check_exact=True)


@pytest.mark.parametrize("method, iou", METHODS)
@pytest.mark.parametrize("of", [lambda t: t.index == "p1", lambda t: t["label"] == "cat"], ids=["picture", "class"])
def test_pictures_and_classes_are_never_mixed(method: fusion.Method, iou: float, of: Callable):
    stack = {name: draw(i) for i, name in enumerate("ab")}
    whole = fusion.fuse(stack, equal(stack), method, iou)
    alone = fusion.fuse({name: t[of(t)] for name, t in stack.items()}, equal(stack), method, iou)
    pd.testing.assert_frame_equal(whole[of(whole)], alone, rtol=1e-12)


@pytest.mark.parametrize("method, iou", METHODS)
def test_weights_are_relative_and_one_of_zero_is_not_looked_at(method: fusion.Method, iou: float):
    stack = {name: draw(i) for i, name in enumerate("abc")}
    found = fusion.fuse(stack, {"a": 0.5, "b": 0.25}, method, iou)
    other = fusion.fuse(stack, {"a": 4.0, "b": 2.0, "c": 0.0}, method, iou)
    pd.testing.assert_frame_equal(found, other, rtol=1e-12)
    assert not found.equals(fusion.fuse(stack, {"a": 0.25, "b": 0.5}, method, iou))


def test_boxes_below_skip_are_left_out_first():
    stack = {name: draw(i) for i, name in enumerate("ab")}
    above = {name: table[table["score"] >= 0.4] for name, table in stack.items()}
    found = fusion.fuse(stack, equal(stack), "wbf", 0.55, skip=0.4)
    pd.testing.assert_frame_equal(found, fusion.fuse(above, equal(stack), "wbf", 0.55))


@pytest.mark.parametrize("method", ["nms", "wbf"])
def test_a_picture_keeps_as_many_as_one_model_found_and_no_fewer_than_most(
    method: fusion.Method, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fusion, "MOST", 2)
    apart = {name: 1000.0 * i for i, name in enumerate("abc")}
    stack = {name: draw(0).assign(x_min=lambda t, d=d: t["x_min"] + d, x_max=lambda t, d=d: t["x_max"] + d)
             for name, d in apart.items()}  # fmt: skip
    found = fusion.fuse(stack, equal(stack), method, 0.55)
    most = max(2, *(table.groupby(level=0).size().max() for table in stack.values()))
    assert found.groupby(level=0).size().max() == most
    monkeypatch.setattr(fusion, "MOST", 1000)
    pd.testing.assert_frame_equal(found, fusion.fuse(stack, equal(stack), method, 0.55).groupby(level=0).head(most))


def test_wbf_of_a_pool_is_that_of_its_models_side_by_side():
    parts = [draw(i) for i in range(4)]
    apart = {str(i): part for i, part in enumerate(parts)}
    expected = fusion.fuse(apart, equal(apart), "wbf", 0.55)
    pooled = fusion.pool(parts)
    assert fusion.number_of_models([pooled]) == 4
    pd.testing.assert_frame_equal(fusion.fuse({"all": pooled}, {"all": 1.0}, "wbf", 0.55), expected, rtol=1e-12)


def test_a_model_of_a_pool_that_finds_nothing_lowers_the_scores():
    table = draw(0)
    found = fusion.fuse({"a": fusion.pool([table, empty()])}, {"a": 1.0}, "wbf", 0.7)
    alone = fusion.fuse({"a": table}, {"a": 1.0}, "wbf", 0.7)
    np.testing.assert_allclose(found["score"], alone["score"] / 2)


@pytest.mark.parametrize("method", ["nms", "soft_nms", "wbf"])
def test_a_view_in_which_no_model_finds_anything_is_no_fault(method: fusion.Method):
    pooled = fusion.pool([draw(0), draw(1)])
    stack = {"plain": pooled, "hflip": fusion.pool([empty(), empty()])}
    found = fusion.fuse(stack, equal(stack), method, 0.5)
    alone = fusion.fuse({"plain": pooled}, {"plain": 1.0}, method, 0.5)
    assert len(found) == len(alone)
    if method == "wbf":
        assert found["score"].sum() < alone["score"].sum(), "a view that finds nothing speaks against each box"
    else:
        pd.testing.assert_frame_equal(found, alone)


@pytest.mark.parametrize("method", ["nms", "soft_nms"])
def test_under_nms_a_pool_of_the_same_model_scores_as_that_model(method: fusion.Method):
    """What the threshold and ranking of OOF boxes, which one model a view has made, mean for the folds' models."""
    stack = {name: draw(i) for i, name in enumerate("ab")}
    expected = fusion.fuse(stack, {"a": 1.0, "b": 0.5}, method, 0.5)
    pools = {name: fusion.pool([table] * 3) for name, table in stack.items()}
    found = fusion.fuse(pools, {"a": 1.0, "b": 0.5}, method, 0.5)
    again = fusion.fuse({"x": expected}, {"x": 1.0}, "wbf", fusion.POOLED)  # of one model; changes nothing after nms
    pd.testing.assert_frame_equal(found, again, rtol=1e-12)
    if method == "nms":
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_no_boxes_give_a_table_without_rows():
    found = fusion.fuse({"a": empty(), "b": draw(0)}, {"a": 1.0, "b": 1.0}, "wbf", 0.5, skip=2.0)
    pd.testing.assert_frame_equal(found, empty())
    assert len(fusion.fuse({"a": empty(), "b": draw(0)}, {"a": 1.0, "b": 1.0}, "wbf", 0.5))
