"""Decisions on out-of-fold boxes: they find what is known to be best, and never see the pictures they are scored on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import adjustment, cuts, decide, metrics
from competition.boxes import deciding
from competition.boxes.deciding import Chooser, Fusion
from competition.boxes.fusion import OWN, fuse, pool
from competition.boxes.table import EDGES, PREDICTED, empty, take
from competition.keys import MetricSpec
from competition.task import Problem

IDS = pd.Index([f"p{i:02d}" for i in range(40)], name="id", dtype="str")
FOLD = pd.Series(np.arange(len(IDS)) % 5, IDS)
COUNTED = """
def error(truth, prediction):
    return abs(len(truth) - len(prediction)) / len(truth)
error.greater_is_better = False
error.cuts = True
"""


def problem_of(name: str, folder: Path = Path()) -> Problem:
    metric = metrics.get(MetricSpec.model_validate({"name": name}), "boxes", ("a", "b"), folder)
    return Problem("toy", "boxes", ("label",), ("a", "b"), PREDICTED, metric)


def table(ids: np.ndarray, label: np.ndarray, edges: np.ndarray, **columns: np.ndarray | bool) -> pd.DataFrame:
    values = {"label": pd.Series(label, dtype="str")} | dict(zip(EDGES, edges.T, strict=True)) | columns
    return pd.DataFrame(values).set_index(pd.Index(ids, name="id", dtype="str"))


def draw_truth() -> pd.DataFrame:
    """Five boxes a picture; the last picture has none."""
    rng = np.random.default_rng(0)
    n = 5 * (len(IDS) - 1)
    corner = rng.uniform(0, 300, (n, 2))
    edges = np.hstack([corner, corner + rng.uniform(30, 90, (n, 2))])
    return table(np.repeat(IDS[:-1].to_numpy(), 5), rng.choice(["a", "b"], n), edges, crowd=False)


TRUTH = draw_truth()


def draw(seed: int, noise: float = 4.0, sure: float = 1.0, false: int = 8) -> pd.DataFrame:
    """Boxes of one model: the true ones, moved by `noise` pixels, and `false` ones a picture of lower scores."""
    rng = np.random.default_rng(seed)
    found = TRUTH[rng.uniform(size=len(TRUTH)) < 0.9]
    right = found[[*EDGES]].to_numpy() + rng.normal(0, noise, (len(found), 4))
    corner = rng.uniform(0, 300, (false * len(IDS), 2))
    wrong = np.hstack([corner, corner + rng.uniform(30, 90, corner.shape)])
    logit = np.concatenate([rng.normal(sure, 1, len(right)), rng.normal(-1, 1, len(wrong))])
    ids = np.concatenate([found.index, np.repeat(IDS.to_numpy(), false)])
    label = np.concatenate([found["label"], rng.choice(["a", "b"], len(wrong))])
    return table(ids, label, np.vstack([right, wrong]), score=1 / (1 + np.exp(-logit)))[[*PREDICTED]]


GOOD = {"plain": draw(1), "hflip": draw(2)}
STACK = GOOD | {"large": draw(3, noise=60, sure=3, false=20)}  # boxes beside the objects, of high scores


def test_a_fusion_is_kept_as_json_and_says_itself():
    made = Fusion({"plain": 0.75, "hflip": 0.25}, "wbf", 0.55, 0.05)
    assert deciding.read(json.loads(json.dumps(made.plain()))) == made
    assert str(made) == "wbf at IoU 0.55, boxes below 0.05 left out"
    assert str(Fusion({"plain": 1.0}, "soft_nms", 0.3)) == "soft-nms of sigma 0.3"
    pd.testing.assert_frame_equal(made.combine(GOOD), fuse(GOOD, made.weights, "wbf", 0.55, 0.05))


def test_one_model_starts_from_nms_and_several_from_wbf():
    assert deciding.default(GOOD) == Fusion({"plain": 0.5, "hflip": 0.5}, "wbf", 0.55)
    assert deciding.default({"plain": GOOD["plain"]}) == Fusion({"plain": 1.0}, "nms", 0.5)
    assert deciding.default({"plain": pool([*GOOD.values()])}).method == "wbf"


def test_one_model_is_not_tried_by_what_changes_nothing():
    one = {"plain": GOOD["plain"]}
    tried = Chooser(one, TRUTH, problem_of("map"), IDS, "views").methods
    assert set(deciding.METHODS) - set(tried) == {("wbf", iou) for iou in (0.6, 0.65, 0.7)}
    same = fuse(one, {"plain": 1.0}, "nms", OWN)
    for method, iou in set(deciding.METHODS) - set(tried):
        pd.testing.assert_frame_equal(fuse(one, {"plain": 1.0}, method, iou), same, rtol=1e-12)


@pytest.mark.parametrize("name", ["map", "mean_precision", "fbeta_boxes"])
def test_a_view_that_harms_is_dropped(name: str):
    chooser = Chooser(STACK, TRUTH, problem_of(name), IDS, "views")
    found = chooser.choose(IDS)
    assert found.weights == {"plain": 0.5, "hflip": 0.5}
    assert chooser.score(found, IDS) > chooser.score(chooser.default, IDS) + 0.02


def test_a_member_that_harms_weighs_less_and_good_ones_stay():
    chooser = Chooser(STACK, TRUTH, problem_of("map"), IDS, "blend")
    found = chooser.choose(IDS)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.weights.get("large", 0) < 0.2 < min(found.weights["plain"], found.weights["hflip"])
    equal = Fusion(chooser.default.weights, found.method, found.iou, found.skip)
    assert chooser.score(found, IDS) > chooser.score(equal, IDS)


@pytest.mark.parametrize("search", ["views", "blend"])
def test_where_nothing_gains_the_default_stays(search: deciding.Search):
    sure = TRUTH.assign(score=0.9)[[*PREDICTED]]
    stack = {"plain": sure, "hflip": sure}
    assert Chooser(stack, TRUTH, problem_of("map"), IDS, search).choose(IDS) == deciding.default(stack)
    nothing = {"plain": empty(), "hflip": empty()}
    assert Chooser(nothing, TRUTH, problem_of("map"), IDS, search).choose(IDS) == deciding.default(nothing)


@pytest.mark.parametrize("name, search", [("map", "views"), ("fbeta_boxes", "blend")])
def test_a_choice_does_not_depend_on_the_truth_of_other_pictures(name: str, search: deciding.Search):
    rest, held = IDS[FOLD != 0], IDS[FOLD == 0]
    moved = TRUTH.copy()
    moved.loc[moved.index.isin(held), [*EDGES]] += 45.0
    chooser, other = (Chooser(STACK, truth, problem_of(name), IDS, search) for truth in (TRUTH, moved))
    found = chooser.choose(rest)
    assert found == other.choose(rest)
    assert chooser.score(found, rest) == other.score(found, rest) and chooser.score(found, IDS) > other.score(
        found, IDS
    )


@pytest.mark.parametrize("name", ["map", "mean_precision", "count.py:error"])
def test_the_score_of_some_pictures_is_that_of_their_boxes_alone(name: str, tmp_path: Path):
    """Though all are fused and matched at once."""
    (tmp_path / "count.py").write_text(COUNTED)
    problem, some = problem_of(name, tmp_path), IDS[::3]
    chooser = Chooser(STACK, TRUTH, problem, IDS, "views")
    fused = chooser.default.combine({name: take(t, some) for name, t in STACK.items()})
    truth = take(TRUTH, some)
    if problem.metric.cuts:
        fused = fused[fused["score"] >= deciding.best(problem.metric, truth, fused)[1]]
    assert chooser.score(chooser.default, some) == pytest.approx(problem.metric.score(truth, fused), abs=1e-12)


def test_of_many_pictures_the_same_ones_are_drawn_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deciding, "PICTURES", 10)
    first, second = (Chooser(STACK, TRUTH, problem_of("map"), IDS, "views") for _ in range(2))
    assert len(first.ids) == 10 and first.ids.equals(second.ids) and first.ids.isin(IDS).all()
    assert first.choose(IDS[FOLD != 1]) == second.choose(IDS[FOLD != 1])


@pytest.mark.parametrize("search", ["views", "blend"])
def test_progress_counts_every_candidate_up_to_the_most_there_can_be(search: deciding.Search):
    told: list[tuple[int, int, str]] = []
    chooser = Chooser(STACK, TRUTH, problem_of("map"), IDS, search, lambda *now: told.append(now))
    chooser.choose(IDS)
    done, total, text = zip(*told, strict=True)
    assert list(done) == list(range(1, len(done) + 1)) and done[-1] <= total[0]
    assert len(set(total)) == 1 and "wbf at IoU 0.55" in text


# The score from which on boxes count -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean_precision", "fbeta_boxes", "count.py:error"])
def test_the_best_threshold_scores_as_the_best_of_many(name: str, tmp_path: Path):
    (tmp_path / "count.py").write_text(COUNTED)
    metric, boxes = problem_of(name, tmp_path).metric, GOOD["plain"]

    def score(threshold: float) -> float:
        return metric.score(TRUTH, boxes[boxes["score"] >= threshold])

    best = max(map(score, np.sort(boxes["score"])[::8]))
    found = score(deciding.best(metric, TRUTH, boxes)[1])
    assert score(0) < best - 0.05 and found >= best - 0.01


def test_without_boxes_or_with_right_ones_only_all_count():
    metric = problem_of("mean_precision").metric
    assert deciding.best(metric, TRUTH, empty())[1] == 0
    assert deciding.best(metric, TRUTH, TRUTH.assign(score=0.5)[[*PREDICTED]])[1] == 0


def test_the_cut_of_boxes_is_a_threshold_of_metrics_that_count_them():
    boxes = GOOD["plain"]
    problem = problem_of("fbeta_boxes")
    cut = adjustment.fit(boxes, TRUTH, FOLD, problem)
    assert isinstance(cut, cuts.Cut) and cut.rule == "score" and cuts.read(json.loads(json.dumps(cut.plain()))) == cut
    assert str(cut) == f"score threshold {cut.values['all']:.4g}"
    kept = cut.apply(boxes)
    pd.testing.assert_frame_equal(kept, boxes[boxes["score"] >= cut.values["all"]])
    assert problem.metric.score(TRUTH, kept) > problem.metric.score(TRUTH, boxes) + 0.02
    assert adjustment.fit(boxes, TRUTH, FOLD, problem_of("map")) is None
    assert adjustment.fit(TRUTH.assign(score=0.5)[[*PREDICTED]], TRUTH, FOLD, problem) is None


def test_the_threshold_is_kept_with_two_folds_and_where_a_fold_has_no_true_box(tmp_path: Path):
    """Without one every box that a model holds possible would count: a threshold is no gain to be proven."""
    metric = metrics.get(MetricSpec(name="mean_precision"), "boxes", ["a"], tmp_path)
    ids = pd.Index([f"{n}" for n in range(30)], name="id")
    true = pd.DataFrame(
        {"label": "a", "x_min": 0.0, "y_min": 0.0, "x_max": 9.0, "y_max": 9.0, "crowd": False}, index=ids[:20]
    )
    right = true.drop(columns="crowd").assign(score=0.9)
    wrong = pd.concat(
        [right.set_axis(ids[:20]).assign(x_min=50.0 + 20 * n, x_max=60.0 + 20 * n, score=0.1) for n in range(3)]
    )
    found = pd.concat([right, wrong])[list(PREDICTED)]
    problem = Problem("toy", "boxes", (), ("a",), PREDICTED, metric)
    for fold in (pd.Series(np.arange(30) % 2, index=ids), pd.Series(np.arange(30) // 10, index=ids)):
        result = decide.nested("views", {"plain": found}, true, fold, problem)
        assert isinstance(result.adjustment, cuts.Cut) and 0.1 < result.adjustment.values["all"] <= 0.9
        assert metric.score(true, result.decided) == 1
    one = decide.nested("views", {"plain": found}, true, pd.Series(0, index=ids), problem)
    assert one.adjustment is not None and metric.score(true, one.decided) < 0.5, (
        "one fold alone has no other to fit it on"
    )
