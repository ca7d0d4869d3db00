"""Scores of boxes against pycocotools and plain loops over boxes; subsets, thresholds, and what a user is told."""

import contextlib
import io
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from competition.boxes import matching
from competition.boxes.matching import COCO_IOUS, match
from competition.boxes.scores import average_precision, by_class, by_size, curve, fbeta, mean_precision
from competition.boxes.table import EDGES, PREDICTED, TRUTH, empty, take
from competition.errors import ConfigFault
from competition.formulas import METRICS
from competition.keys import MetricSpec
from competition.metrics import get

CLASSES = ("car", "dog", "tree")
BOX_METRICS = [name for name, entry in METRICS.items() if entry.needs == "boxes"]


def metric_of(name: str, folder: Path = Path("configs/toy"), **params):
    return get(MetricSpec(name=name, **params), "boxes", CLASSES, folder)


def draw(seed, pictures=12, crowd=0.1, extra=6.0, room=300, grid=None, scores=None):
    """Truth and predictions near it; some pictures lack one or both.

    extra: predictions a picture that know nothing. room: width and height in which boxes begin. grid: edges are
    multiples of it. scores: how many different ones there are, about.
    """
    rng = np.random.default_rng(seed)
    true, said = [], []
    for i in range(pictures):
        for _ in range(rng.poisson(4) * (i % 5 != 1)):
            corner, side, label = rng.uniform(0, room, 2), rng.gamma(2, 30, 2) + 4, rng.choice(CLASSES)
            true.append((f"p{i:03}", label, *corner, *(corner + side), rng.uniform() < crowd))
            for _ in range(rng.poisson(1.5) * (i % 5 != 2)):
                a, b = corner + rng.normal(0, 0.08, 2) * side, side * rng.lognormal(0, 0.12, 2)
                other = label if rng.uniform() < 0.8 else rng.choice(CLASSES)
                said.append((f"p{i:03}", other, rng.uniform(0.3, 1), *a, *(a + b)))
        for _ in range(rng.poisson(extra)):
            a, b = rng.uniform(0, room, 2), rng.gamma(2, 30, 2) + 4
            said.append((f"p{i:03}", rng.choice(CLASSES), rng.uniform(0, 0.8), *a, *(a + b)))
    truth = pd.DataFrame(true, columns=["id", *TRUTH]).set_index("id")
    prediction = pd.DataFrame(said, columns=["id", *PREDICTED]).set_index("id")
    prediction = prediction.sample(frac=1, random_state=seed)
    if grid:
        for table in (truth, prediction):
            table[[*EDGES]] = (table[[*EDGES]] / grid).round() * grid
    if scores:
        prediction["score"] = (prediction["score"] * scores).round() / scores
    return truth, prediction


def coco(truth, prediction):
    """pycocotools' [t, recall, class, area] precisions, -1 where it has none; areas are all, small, medium, large."""
    ids = sorted({*truth.index, *prediction.index})

    def items(table):
        corners = table[[*EDGES]].to_numpy(float)
        sizes = corners[:, 2:] - corners[:, :2]
        for k, (picture, label) in enumerate(zip(table.index, table["label"], strict=True)):
            box = [*corners[k, :2].tolist(), *sizes[k].tolist()]
            place = {"id": k + 1, "image_id": ids.index(picture) + 1, "category_id": CLASSES.index(label) + 1}
            yield place | {"bbox": box, "area": box[2] * box[3]}

    boxes = [b | {"iscrowd": int(c)} for b, c in zip(items(truth), truth["crowd"], strict=True)]
    said = [b | {"score": s} for b, s in zip(items(prediction), prediction["score"], strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        categories = [{"id": k + 1, "name": c} for k, c in enumerate(CLASSES)]
        known.dataset = {"images": [{"id": k + 1} for k in range(len(ids))], "annotations": boxes, "info": {}}
        known.dataset["categories"] = categories
        known.createIndex()
        run = COCOeval(known, known.loadRes(said), "bbox")
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][..., -1]


def mean(precision):
    counted = precision[precision > -1]
    return counted.mean() if len(counted) else np.nan


CASES = {
    "plain": {},
    "crowded": {"crowd": 0.5},
    "ties": {"scores": 5},
    "equal overlaps": {"grid": 20, "scores": 10, "room": 60, "crowd": 0.3, "pictures": 20},
    "more than 100": {"extra": 380.0, "room": 20, "scores": 30, "pictures": 4},
    "few": {"pictures": 2, "extra": 1.0},
    "nothing found": {"pictures": 1, "crowd": 1.0},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES)
def test_equals_pycocotools(case, seed):
    truth, prediction = draw(seed, **CASES[case])
    reference, matches = coco(truth, prediction), match(truth, prediction)
    expected = mean(reference[..., 0])
    assert average_precision(matches) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert metric_of("map").score(truth, prediction) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    half = mean(reference[0, ..., 0])
    assert metric_of("map50").score(truth, prediction) == pytest.approx(half, abs=1e-9, nan_ok=True)
    assert average_precision(matches.at(0.5)) == pytest.approx(half, abs=1e-9, nan_ok=True)

    classes, sizes = by_class(matches), by_size(truth, prediction)
    for k, label in enumerate(CLASSES):
        found = classes.loc[label] if label in classes.index else pd.Series({"map": np.nan, "map50": np.nan})
        assert found["map"] == pytest.approx(mean(reference[:, :, k, 0]), abs=1e-9, nan_ok=True)
        assert found["map50"] == pytest.approx(mean(reference[0, :, k, 0]), abs=1e-9, nan_ok=True)
    for k, size in enumerate(("small", "medium", "large"), 1):
        assert sizes.loc[size, "map"] == pytest.approx(mean(reference[..., k]), abs=1e-9, nan_ok=True)
        assert sizes.loc[size, "map50"] == pytest.approx(mean(reference[0, ..., k]), abs=1e-9, nan_ok=True)
    assert classes["boxes"].sum() == (~truth["crowd"]).sum()


def test_cases_are_what_they_say():
    truth, prediction = draw(0, **CASES["more than 100"])
    assert prediction.groupby(["id", "label"]).size().max() > 100
    truth, prediction = draw(0)
    assert set(truth.index) - set(prediction.index) or set(prediction.index) - set(truth.index)
    assert 0.1 < metric_of("map").score(truth, prediction) < 0.9


# --- plain references: lists of boxes, one loop a rule


def iou_of(a, b):
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both and both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def lists(table):
    """{picture: [(label, edges, score or crowd)]}, by falling score."""
    last = "score" if "score" in table else "crowd"
    rows = {}
    for picture, label, *edges, value in table.reset_index()[["id", "label", *EDGES, last]].itertuples(index=False):
        rows.setdefault(picture, []).append((label, edges, value))
    return {k: sorted(v, key=lambda row: -row[2]) for k, v in rows.items()} if last == "score" else rows


def counts(true, said, threshold):
    """TP, FP, FN of a picture without crowds: each prediction takes the free box of its class that is nearest."""
    free, tp = list(true), 0
    for label, edges, _ in said:
        near = [(iou_of(edges, box), k) for k, (name, box, _) in enumerate(free) if name == label]
        if near and max(near)[0] >= threshold:
            free.pop(max(near)[1])
            tp += 1
    return tp, len(said) - tp, len(free)


@pytest.mark.parametrize("ious", [[0.5, 0.55, 0.6, 0.65, 0.7, 0.75], [0.4, 0.45, 0.5], [0.6]])
@pytest.mark.parametrize("seed", range(3))
def test_mean_precision_and_fbeta_equal_a_loop(seed, ious):
    truth, prediction = draw(seed, crowd=0.0, extra=1.0)
    true, said = lists(truth), lists(prediction)
    shares, total = [], np.zeros(3)
    for picture in {*true, *said}:
        each = [counts(true.get(picture, []), said.get(picture, []), t) for t in ious]
        shares.append(np.mean([tp / (tp + fp + fn) for tp, fp, fn in each]))
        total += each[-1]
    metric = metric_of("mean_precision", ious=ious)
    assert metric.score(truth, prediction) == pytest.approx(np.mean(shares), abs=1e-12)
    if ious == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75]:
        assert metric_of("mean_precision").score(truth, prediction) == metric.score(truth, prediction)
    tp, fp, fn = total
    for beta in (0.5, 1, 2.0):
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        expected = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
        metric = metric_of("fbeta_boxes", beta=beta, iou=ious[-1])
        assert metric.score(truth, prediction) == pytest.approx(expected, abs=1e-12)


def voc_ap(truth, prediction, label, threshold, points):
    """voc_eval.py of py-faster-rcnn, with areas as ours and recalls of whole tenths."""
    true = {k: [(box, crowd) for name, box, crowd in v if name == label] for k, v in lists(truth).items()}
    said = [(score, k, box) for k, v in lists(prediction).items() for name, box, score in v if name == label]
    total, used, right, wrong = sum(not c for v in true.values() for _, c in v), set(), [], []
    for _, picture, box in sorted(said, key=lambda row: -row[0]):
        near = [iou_of(box, other) for other, _ in true.get(picture, [])]
        best = int(np.argmax(near)) if near else -1
        found = best >= 0 and near[best] >= threshold
        if found and true[picture][best][1]:
            continue
        right.append(found and (picture, best) not in used)
        wrong.append(not right[-1])
        used |= {(picture, best)} if found else set()
    recall = np.cumsum(right) / total
    precision = np.cumsum(right) / (np.cumsum(right) + np.cumsum(wrong))
    if points == 11:
        return np.mean([max(precision[recall >= k / 10], default=0) for k in range(11)])
    recall, precision = np.r_[0, recall, 1], np.r_[0, precision, 0]
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return ((recall[step + 1] - recall[step]) * precision[step + 1]).sum()


@pytest.mark.parametrize("points", ["all", 11])
@pytest.mark.parametrize("iou", [0.4, 0.5, 0.75])
@pytest.mark.parametrize("grid", [None, 15])
@pytest.mark.parametrize("seed", range(3))
def test_voc_equals_a_loop(seed, grid, iou, points):
    truth, prediction = draw(seed, crowd=0.3, room=60, grid=grid)
    expected = np.mean([voc_ap(truth, prediction, label, iou, points) for label in CLASSES])
    metric = metric_of("voc_map", iou=iou, points=points)
    assert metric.score(truth, prediction) == pytest.approx(expected, abs=1e-12)


def test_voc_takes_no_second_best_and_coco_does():
    edges = [(0, 0, 10, 10), (0, 0, 10, 9)]
    truth = pd.DataFrame([("dog", *e, False) for e in edges], ["a", "a"], columns=TRUTH).rename_axis("id")
    both_best_first = [("dog", 0.9, 0, 0, 10, 10), ("dog", 0.8, 0, 0, 10, 10)]
    prediction = pd.DataFrame(both_best_first, ["a", "a"], columns=PREDICTED).rename_axis("id")
    assert metric_of("voc_map").score(truth, prediction) == pytest.approx(0.5)
    assert metric_of("map50").score(truth, prediction) == pytest.approx(1)


@pytest.mark.parametrize("edges", [[(0, 0, 10, 10), (4, 0, 14, 10)], [(4, 0, 14, 10), (0, 0, 10, 10)]])
def test_of_boxes_equally_near_coco_takes_the_last_and_voc_the_first(edges):
    truth = pd.DataFrame([("dog", *e, False) for e in edges], ["a", "a"], columns=TRUTH).rename_axis("id")
    between_then_right = [("dog", 0.9, 2, 0, 12, 10), ("dog", 0.8, 5, 0, 15, 10)]
    prediction = pd.DataFrame(between_then_right, ["a", "a"], columns=PREDICTED).rename_axis("id")
    assert average_precision(match(truth, prediction)) == pytest.approx(mean(coco(truth, prediction)[..., 0]))
    assert metric_of("voc_map").score(truth, prediction) == voc_ap(truth, prediction, "dog", 0.5, "all")


# --- properties


@pytest.mark.parametrize("name", BOX_METRICS)
def test_the_truth_scores_one_and_nothing_scores_zero(name):
    truth, prediction = draw(1, crowd=0.0)
    metric = metric_of(name)
    perfect = truth.drop(columns="crowd").assign(score=np.linspace(0.1, 1, len(truth)))[[*PREDICTED]]
    assert metric.score(truth, perfect) == pytest.approx(1)
    assert metric.score(truth, empty()) == 0
    assert 0 < metric.score(truth, prediction) < 1
    assert metric.shown(metric.score(truth, prediction)) == metric.score_matches(metric.match(truth, prediction))


@pytest.mark.parametrize("name", BOX_METRICS)
def test_the_order_of_rows_says_nothing_where_scores_differ(name):
    truth, prediction = draw(2)
    shuffled = truth.sample(frac=1, random_state=1), prediction.sample(frac=1, random_state=2)
    assert metric_of(name).score(*shuffled) == metric_of(name).score(truth, prediction)


@pytest.mark.parametrize("name", BOX_METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_part_of_the_matches_scores_as_part_of_the_tables(name, seed):
    truth, prediction = draw(seed, scores=20, crowd=0.2)
    metric = metric_of(name)
    matches = metric.match(truth, prediction)
    for ids in (pd.Index([f"p{i:03}" for i in range(0, 12, 2)]), pd.Index(["p001", "p006"]), pd.Index(["p003", "no"])):
        for cut in (0.0, 0.35, 2.0):
            few = take(prediction, ids)
            expected = metric.score(take(truth, ids), few[few["score"] >= cut])
            assert metric.score_matches(matches.take(ids).above(cut)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", BOX_METRICS)
def test_without_true_boxes_there_is_no_score(name):
    truth, prediction = draw(0)
    for known in (empty(TRUTH), truth.assign(crowd=True)):
        assert np.isnan(metric_of(name).score(known, prediction))
        assert np.isnan(metric_of(name).score(known, empty()))


def test_a_class_without_true_boxes_counts_for_precision_alone():
    truth, prediction = draw(0)
    absent = truth[truth["label"] != "dog"]
    without = prediction[prediction["label"] != "dog"]
    for name in ("map", "map50", "voc_map"):
        assert metric_of(name).score(absent, prediction) == metric_of(name).score(absent, without)
    for name in ("mean_precision", "fbeta_boxes"):
        assert metric_of(name).score(absent, prediction) < metric_of(name).score(absent, without)
    assert by_class(match(absent, prediction)).loc["dog"].isna().tolist() == [True, True, False]


def test_a_picture_without_true_boxes():
    truth, prediction = draw(0, crowd=0.0, extra=0.0)
    score = mean_precision(match(truth, prediction))
    n, one = truth.index.nunique(), prediction.iloc[:1].rename(index=lambda _: "bare")
    assert mean_precision(match(truth, pd.concat([prediction, one]))) == pytest.approx(score * n / (n + 1))
    crowd = truth.iloc[:1].assign(crowd=True).rename(index=lambda _: "crowd")
    assert mean_precision(match(pd.concat([truth, crowd]), prediction)) == pytest.approx(score)
    on_it = prediction.iloc[:1].assign(**crowd.iloc[0][["label", *EDGES]]).rename(index=lambda _: "crowd")
    passed = match(pd.concat([truth, crowd]), pd.concat([prediction, on_it]))
    assert mean_precision(passed) == pytest.approx(score)
    assert fbeta(passed.at(0.5)) == fbeta(match(truth, prediction, [0.5]))
    assert fbeta(match(truth, prediction, [0.5])) > fbeta(match(truth, pd.concat([prediction, one]), [0.5]))


def test_curve_bounds_the_average_precision():
    truth, prediction = draw(3, crowd=0.2)
    matches = match(truth, prediction)
    table = curve(matches, "dog")
    assert list(table.columns) == ["recall", "precision", "score"]
    assert table["score"].is_monotonic_decreasing and table["recall"].is_monotonic_increasing
    best = [table.loc[table["recall"] >= r, "precision"].max() for r in np.linspace(0, 1, 101)]
    assert np.nansum(best) / 101 == pytest.approx(by_class(matches).loc["dog", "map50"], abs=1e-9)
    assert curve(match(truth[truth["label"] != "dog"], prediction), "dog").empty
    with pytest.raises(AssertionError, match="matched at IoU"):
        curve(matches, "dog", 0.3)


def test_pairs_are_compared_in_parts(monkeypatch):
    truth, prediction = draw(0, room=60)
    whole = match(truth, prediction)
    monkeypatch.setattr(matching, "AT_ONCE", 50)
    parts = match(truth, prediction)
    assert (parts.hit == whole.hit).all() and (parts.ignored == whole.ignored).all() and whole.hit.any()


def test_thresholds_are_pycocotools_own():
    assert list(COCO_IOUS) == COCOeval(iouType="bbox").params.iouThrs.tolist()


# --- the metric of a config


@pytest.mark.parametrize("name", BOX_METRICS)
def test_survives_a_process_border(name):
    truth, prediction = draw(0)
    metric = pickle.loads(pickle.dumps(metric_of(name)))
    assert metric.score(truth, prediction) == metric_of(name).score(truth, prediction)
    assert metric.score_matches(pickle.loads(pickle.dumps(metric.match(truth, prediction)))) > 0
    assert metric.needs == "boxes" and metric.cuts == (name in ("mean_precision", "fbeta_boxes"))


def test_boxes_must_be_finite():
    truth, prediction = draw(0)
    for column in ("score", "x_max"):
        with pytest.raises(AssertionError, match="nan or inf"):
            metric_of("map").score(truth, prediction.assign(**{column: np.nan}))


@pytest.mark.parametrize(
    "name, params, code, mend",
    [
        ("maps", {}, "CFG-VALUE", "'map'"),
        ("accuracy", {}, "CFG-VALUE", "the choices are map, map50"),
        ("map", {"iou": 0.5}, "CFG-UNKNOWN", "no parameter"),
        ("voc_map", {"iou": 50}, "CFG-VALUE", "up to 1"),
        ("voc_map", {"iou": True}, "CFG-VALUE", "up to 1"),
        ("voc_map", {"points": 12}, "CFG-VALUE", "all"),
        ("voc_map", {"point": 11}, "CFG-UNKNOWN", "'points'"),
        ("mean_precision", {"ious": []}, "CFG-VALUE", "rising order"),
        ("mean_precision", {"ious": 0.5}, "CFG-VALUE", "rising order"),
        ("mean_precision", {"ious": [0.6, 0.5]}, "CFG-VALUE", "rising order"),
        ("mean_precision", {"ious": [0.5, "0.6"]}, "CFG-VALUE", "rising order"),
        ("fbeta_boxes", {"beta": 0}, "CFG-VALUE", "above 0"),
    ],
)
def test_a_mistake_names_what_is_valid(name, params, code, mend):
    with pytest.raises(ConfigFault) as fault:
        metric_of(name, **params)
    (finding,) = fault.value.findings
    assert finding.code == code and mend in f"{finding.found} {finding.mend}"


def test_every_wrong_parameter_is_told_at_once():
    with pytest.raises(ConfigFault) as fault:
        metric_of("voc_map", iou=0, points="some")
    assert len(fault.value.findings) == 2


OWN = """
def found(truth, prediction, iou=0.5):
    assert {"label", "crowd"} <= set(truth.columns) and "score" in prediction.columns
    return abs(len(truth) - len(prediction)) * iou
found.greater_is_better = False
found.cuts = True

def rows(truth, prediction):
    return 0
rows.needs = "probability"
"""


def test_own_function_gets_the_tables(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    metric = pickle.loads(pickle.dumps(metric_of("own.py:found", tmp_path, iou=0.25)))
    truth, prediction = draw(0)
    assert metric.score(truth, prediction) == -abs(len(truth) - len(prediction)) / 4
    assert (metric.needs, metric.cuts, metric.of_matches) == ("boxes", True, None)
    with pytest.raises(AssertionError, match="does not score matches"):
        metric.match(truth, prediction)
    with pytest.raises(ConfigFault, match="boxes"):
        metric_of("own.py:rows", tmp_path)
