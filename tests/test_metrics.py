"""Every metric against scikit-learn, SciPy or a loop over rows; decisions, direction, and what a user is told."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy, spearmanr
from sklearn import metrics as sk

from competition.errors import ConfigFault
from competition.formulas import METRICS
from competition.keys import MetricSpec
from competition.kinds import ranking
from competition.metrics import Metric, get, labels

CLASSES = ("3", "4", "5", "6", "7", "8")
KINDS = ("multiclass", "ordinal", "binary", "multilabel", "regression")  # boxes: test_boxes_scores.py
PAIRS = sorted((name, kind) for name, e in METRICS.items() for kinds in e.functions for kind in kinds if kind in KINDS)


def metric_of(name: str, kind: str, classes=CLASSES, folder=Path("configs/toy"), **params) -> Metric:
    return get(MetricSpec(name=name, **params), kind, classes, folder)


def draw(kind: str, seed: int = 0, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a prediction that knows a little of it, [n, columns]."""
    rng = np.random.default_rng(seed)
    if kind in ("multiclass", "ordinal"):
        truth = np.eye(len(CLASSES))[rng.integers(len(CLASSES), size=n)]
        odds = rng.gamma(1.0, size=truth.shape) + truth
        return truth, odds / odds.sum(axis=1, keepdims=True)
    if kind == "regression":
        truth = rng.gamma(2.0, size=(n, 2))
        return truth, truth * rng.uniform(0.5, 2, size=truth.shape) + 0.1
    truth = rng.integers(2, size=(n, 1 if kind == "binary" else 4)).astype(float)
    return truth, 0.7 * rng.uniform(size=truth.shape) + 0.3 * truth


def score(metric: Metric, truth: np.ndarray, prediction: np.ndarray) -> float:
    return metric.score(pd.DataFrame(truth), pd.DataFrame(prediction))


def figure(metric: Metric, truth: np.ndarray, prediction: np.ndarray) -> float:
    return metric.shown(score(metric, truth, prediction))


# --- references: functions of truth and prediction [n, c], written with argmax, rounding and loops of their own


def by_class(f, **options):
    return lambda t, p: f(t.argmax(1), p.argmax(1), **options)


def by_level(f, offset=0.0, **options):
    steps = np.arange(len(CLASSES))
    return lambda t, p: f(t.argmax(1) + offset, np.rint(p @ steps) + offset, **options)


def by_half(f, **options):
    return lambda t, p: f(t.astype(int).squeeze(), (p >= 0.5).astype(int).squeeze(), **options)


def flat(f, **options):
    return lambda t, p: f(t.squeeze(), p.squeeze(), **options)


def mean_over_columns(f):
    return lambda t, p: np.mean([f(t[:, j], p[:, j]) for j in range(t.shape[1])])


def f1_samples(t, p):
    chosen = [{j for j, x in enumerate(row) if x >= 0.5} or {int(row.argmax())} for row in p]
    true = [set(np.flatnonzero(row)) for row in t]
    return np.mean([2 * len(a & b) / (len(a) + len(b)) for a, b in zip(true, chosen, strict=True)])


def apk(actual, predicted, k=5):
    """ml_metrics.apk of github.com/benhamner/Metrics."""
    found, total = 0.0, 0.0
    for i, p in enumerate(predicted[:k]):
        if p in actual:
            found += 1.0
            total += found / (i + 1.0)
    return total / min(len(actual), k) if actual else 0.0


def mapk(t, p):
    return np.mean([apk(list(np.flatnonzero(a)), sorted(range(len(b)), key=lambda j: -b[j])) for a, b in zip(t, p)])


def kaggle_gini(t, p):
    """The script of Porto Seguro and Allstate: rows by falling prediction, the truth summed up."""

    def area(order):
        return (t[order].cumsum() / t.sum() - np.arange(1, len(t) + 1) / len(t)).sum()

    return area(np.argsort(-p)) / area(np.argsort(-t))


def freesound_lwlrap(t, p):
    """Precision at each true label's rank, mean over all true labels of all rows."""
    ranks = [
        [(1 + (row > row[j]).sum(), (p_t[row >= row[j]]).sum()) for j in np.flatnonzero(p_t)] for p_t, row in zip(t, p)
    ]
    return np.mean([hits / rank for row in ranks for rank, hits in row])


def smape(t, p):
    return 100 * np.mean([abs(a - b) / ((abs(a) + abs(b)) / 2) for a, b in zip(t.ravel(), p.ravel())])


def brier(t, p):
    return sk.brier_score_loss(t.argmax(1), p, labels=range(len(CLASSES)))


def top_k_error(t, p):
    return 1 - sk.top_k_accuracy_score(t.argmax(1), p, k=5)


F1 = {"zero_division": 0}
ONE_CLASS = {
    "accuracy": by_class(sk.accuracy_score),
    "balanced_accuracy": by_class(sk.balanced_accuracy_score),
    "f1_macro": by_class(sk.f1_score, average="macro"),
    "f1_micro": by_class(sk.f1_score, average="micro"),
    "mcc": by_class(sk.matthews_corrcoef),
    "auc": lambda t, p: sk.roc_auc_score(t.argmax(1), p, multi_class="ovr"),
    "mean_column_auc": lambda t, p: sk.roc_auc_score(t, p, average="macro"),
    "average_precision": lambda t, p: sk.average_precision_score(t, p, average="macro"),
    "logloss": lambda t, p: sk.log_loss(t.argmax(1), p),
    "brier": brier,
    "kl": lambda t, p: entropy(t, p, axis=1).mean(),
    "lwlrap": freesound_lwlrap,
    "mapk": mapk,
    "top_error": top_k_error,
}
REFERENCES = {
    "multiclass": ONE_CLASS,
    "ordinal": ONE_CLASS
    | {
        "qwk": by_level(sk.cohen_kappa_score, weights="quadratic"),
        "rmse": by_level(sk.root_mean_squared_error, offset=3.0),
        "mae": by_level(sk.mean_absolute_error, offset=3.0),
    },
    "binary": {
        "accuracy": by_half(sk.accuracy_score),
        "balanced_accuracy": by_half(sk.balanced_accuracy_score),
        "f1": by_half(sk.f1_score),
        "f1_macro": by_half(sk.f1_score, average="macro"),
        "f1_micro": by_half(sk.f1_score, average="micro"),
        "mcc": by_half(sk.matthews_corrcoef),
        "auc": flat(sk.roc_auc_score),
        "mean_column_auc": flat(sk.roc_auc_score),
        "average_precision": flat(sk.average_precision_score),
        "logloss": flat(sk.log_loss),
        "brier": flat(sk.brier_score_loss),
        "gini": flat(kaggle_gini),
    },
    "multilabel": {
        "accuracy": by_half(sk.accuracy_score),
        "f1_macro": by_half(sk.f1_score, average="macro", **F1),
        "f1_micro": by_half(sk.f1_score, average="micro", **F1),
        "f1_samples": f1_samples,
        "auc": sk.roc_auc_score,
        "mean_column_auc": mean_over_columns(sk.roc_auc_score),
        "average_precision": mean_over_columns(sk.average_precision_score),
        "logloss": mean_over_columns(sk.log_loss),
        "brier": mean_over_columns(sk.brier_score_loss),
        "lwlrap": freesound_lwlrap,
        "mapk": mapk,
        "spearman": mean_over_columns(lambda t, p: spearmanr(t, p)[0]),
    },
    "regression": {
        "rmse": mean_over_columns(lambda t, p: np.sqrt(np.mean((t - p) ** 2))),
        "mae": mean_over_columns(lambda t, p: np.mean(abs(t - p))),
        "rmsle": mean_over_columns(lambda t, p: np.sqrt(np.mean(np.log((1 + t) / (1 + p)) ** 2))),
        "mean_column_rmsle": mean_over_columns(lambda t, p: np.sqrt(np.mean(np.log((1 + t) / (1 + p)) ** 2))),
        "mape": mean_over_columns(lambda t, p: np.mean(abs(t - p) / t)),
        "smape": smape,
        "quantile": sk.mean_pinball_loss,
        "r2": mean_over_columns(lambda t, p: 1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum()),
        "spearman": mean_over_columns(lambda t, p: spearmanr(t, p)[0]),
        "gini": mean_over_columns(kaggle_gini),
    },
}


@pytest.mark.parametrize("name, kind", PAIRS)
def test_equals_the_reference(name, kind):
    for seed in range(3):
        truth, prediction = draw(kind, seed)
        expected = REFERENCES[kind][name](truth, prediction)
        assert figure(metric_of(name, kind), truth, prediction) == pytest.approx(expected, rel=1e-9)


def test_design_names_all_exist():
    design = """accuracy balanced_accuracy f1_macro f1_micro f1_samples mcc qwk auc mean_column_auc average_precision
    logloss brier kl rmse mae rmsle mean_column_rmsle mape smape r2 spearman gini mapk top_error lwlrap"""
    boxes = {"map", "map50", "voc_map", "mean_precision", "fbeta_boxes"}
    assert set(METRICS) == {*design.split(), "f1", "quantile"} | boxes, (
        "f1, of the positive class, and quantile are ours"
    )


@pytest.mark.parametrize("name, kind", PAIRS)
def test_perfect_beats_noisy_beats_reversed(name, kind):
    truth, prediction = draw(kind)
    if name == "lwlrap" or name == "mapk":
        truth[:, 0] = np.maximum(truth[:, 0], truth.sum(axis=1) == 0)  # a row without a label can't score
    if name == "f1_samples":
        truth[:, 0] = 1
    metric = metric_of(name, kind, **({"k": 2} if METRICS[name].needs == "ranking" else {}))
    if kind == "regression":
        worse = truth[::-1]
    else:
        worse = (1 - truth) / (1 - truth).sum(axis=1, keepdims=True).clip(1)
    perfect = score(metric, truth, truth)
    assert perfect > score(metric, truth, prediction) > score(metric, truth, worse)
    assert metric.shown(perfect) == pytest.approx(1 if metric.greater else 0, abs=1e-12)


@pytest.mark.parametrize("name, kind", PAIRS)
def test_sign_is_applied_once(name, kind):
    metric, (truth, prediction) = metric_of(name, kind), draw(kind)
    raw = metric.function(truth, prediction)
    assert score(metric, truth, prediction) == pytest.approx(raw if METRICS[name].greater else -raw, rel=1e-12)
    assert figure(metric, truth, prediction) == pytest.approx(raw, rel=1e-12)


@pytest.mark.parametrize("name, kind", PAIRS)
def test_survives_a_process_border(name, kind):
    metric, (truth, prediction) = metric_of(name, kind), draw(kind)
    assert score(pickle.loads(pickle.dumps(metric)), truth, prediction) == score(metric, truth, prediction)


@pytest.mark.parametrize("name, kind", [(n, k) for n, k in PAIRS if METRICS[n].needs == "label" and k != "regression"])
def test_oof_score_is_the_score_of_the_written_labels(name, kind):
    metric, (truth, prediction) = metric_of(name, kind), draw(kind)
    decided = labels(metric, kind, prediction)
    written = decided.reshape(len(truth), -1)
    if kind in ("multiclass", "ordinal"):
        written = np.eye(truth.shape[1])[decided]
    assert score(metric, truth, written) == score(metric, truth, prediction)


@pytest.mark.parametrize("name, kind", PAIRS)
@pytest.mark.parametrize("rows", [0, 1, 12])
def test_degenerate_rows_give_a_figure_or_nan_without_a_warning(name, kind, rows):
    truth, prediction = draw(kind)
    truth = np.repeat(truth[:1], rows, axis=0)  # one class, one label set, one value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = [score(metric_of(name, kind), truth, p) for p in (prediction[:rows], truth)]
    assert all(type(f) is float for f in figures)
    if rows == 0 or name in ("auc", "mean_column_auc", "average_precision", "gini", "spearman"):
        assert np.isnan(figures).all()


def test_rows_must_agree():
    metric = metric_of("accuracy", "binary")
    truth = pd.DataFrame({"cat": [0.0, 1.0]}, index=["a", "b"])
    for other in (truth[::-1], truth.rename(columns={"cat": "dog"}), truth.replace(0.0, np.nan)):
        with pytest.raises(AssertionError):
            metric.score(truth, other)


# --- decisions and rankings


def test_labels_of_classes():
    halves = np.array([[0.5, 0.0, 0.1, 0.4]])
    classes = ("1", "2", "5", "10")  # expected level: step 1.4, value 5.0
    assert labels(metric_of("accuracy", "ordinal", classes), "ordinal", halves) == [0]
    assert labels(metric_of("qwk", "ordinal", classes), "ordinal", halves) == [1]
    assert labels(metric_of("mae", "ordinal", classes), "ordinal", halves) == [2]
    assert labels(metric_of("mae", "ordinal", ("low", "mid", "high", "top")), "ordinal", halves) == [1]


def test_distance_is_in_class_values():
    truth, prediction = np.eye(3)[[0, 2]], np.eye(3)[[2, 2]]
    assert figure(metric_of("mae", "ordinal", ("1", "2", "10")), truth, prediction) == 4.5
    assert figure(metric_of("mae", "ordinal", ("low", "mid", "high")), truth, prediction) == 1.0


def test_labels_of_columns():
    assert labels(metric_of("mcc", "binary"), "binary", np.array([[0.49], [0.5], [1]])).tolist() == [0, 1, 1]
    rows = np.array([[0.1, 0.4, 0.2], [0.6, 0.1, 0.7]])
    assert labels(metric_of("accuracy", "multilabel"), "multilabel", rows).tolist() == [[0, 0, 0], [1, 0, 1]]
    assert labels(metric_of("f1_samples", "multilabel"), "multilabel", rows).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_a_label_for_an_empty_row_never_lowers_f1_samples():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(2, size=(50, 3)).astype(float), 0.6 * rng.uniform(size=(50, 3))
    truth[:5] = 0
    left_empty = sk.f1_score(truth, prediction >= 0.5, average="samples", zero_division=0)
    assert figure(metric_of("f1_samples", "multilabel"), truth, prediction) > left_empty


def test_qwk_counts_levels_that_no_row_has():
    truth, prediction = np.eye(6)[[0, 5, 3, 0]], np.eye(6)[[0, 3, 3, 5]]
    expected = sk.cohen_kappa_score([0, 5, 3, 0], [0, 3, 3, 5], labels=range(6), weights="quadratic")
    assert figure(metric_of("qwk", "ordinal"), truth, prediction) == pytest.approx(expected)
    assert expected != pytest.approx(sk.cohen_kappa_score([0, 5, 3, 0], [0, 3, 3, 5], weights="quadratic"))


def test_ranking_is_stable_and_no_longer_than_the_classes():
    assert ranking(np.array([[0.3, 0.4, 0.3]]), 2).tolist() == [[1, 0]]
    assert ranking(np.array([[0.3, 0.4, 0.3]]), 5).tolist() == [[1, 0, 2]]
    ties = np.random.default_rng(0).integers(3, size=(1, 500)) / 3
    assert ranking(ties, 500)[0].tolist() == sorted(range(500), key=lambda j: -ties[0, j])


@pytest.mark.parametrize("k", [1, 3, 9])
def test_length_of_the_list(k):
    truth, prediction = draw("multiclass")
    assert metric_of("mapk", "multiclass", k=k).k == k and metric_of("mapk", "multiclass").k == 5
    expected = np.mean([apk([a.argmax()], list(np.argsort(-b)), k) for a, b in zip(truth, prediction)])
    assert figure(metric_of("mapk", "multiclass", k=k), truth, prediction) == pytest.approx(expected)
    error = 1 - sk.top_k_accuracy_score(truth.argmax(1), prediction, k=k) if k < len(CLASSES) else 0
    assert figure(metric_of("top_error", "multiclass", k=k), truth, prediction) == pytest.approx(error)


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_quantile_asks_for_its_alpha(alpha):
    """Too low costs alpha, too high 1 - alpha; a model reads from the metric what it must fit to."""
    truth, prediction = draw("regression")
    metric = metric_of("quantile", "regression", alpha=alpha)
    assert (metric.name, metric.params, metric.greater) == ("quantile", {"alpha": alpha}, False)
    expected = sk.mean_pinball_loss(truth, prediction, alpha=alpha)
    assert figure(metric, truth, prediction) == pytest.approx(expected)
    assert figure(metric, truth, truth - 1) == pytest.approx(alpha)
    assert metric_of("quantile", "regression").params == {"alpha": 0.5}
    assert (metric_of("rmse", "regression").params, metric_of("mapk", "multiclass").params) == ({}, {"k": 5})


# --- formulas at their edges


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro", "f1_micro", "mcc"])
def test_counts_agree_with_scikit_learn_where_classes_are_absent(name, kind):
    """Three rows of six classes: some are never true, some never said, some neither."""
    for seed in range(40):
        truth, prediction = draw(kind, seed, n=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = REFERENCES[kind][name](truth, prediction)
        assert figure(metric_of(name, kind), truth, prediction) == pytest.approx(expected, abs=1e-12)


def test_column_of_one_class_is_left_out():
    truth, prediction = draw("multilabel")
    truth[:, 2] = 0
    for name in ("auc", "mean_column_auc"):
        expected = sk.roc_auc_score(truth[:, [0, 1, 3]], prediction[:, [0, 1, 3]])
        assert figure(metric_of(name, "multilabel"), truth, prediction) == pytest.approx(expected)


def test_logloss_is_kaggles():
    truth = np.eye(len(CLASSES))[:2]
    wrong = truth[::-1]
    assert figure(metric_of("logloss", "multiclass"), truth, wrong) == pytest.approx(-np.log(1e-15))
    assert figure(metric_of("logloss", "binary"), truth[:, :1], wrong[:, :1]) == pytest.approx(-np.log(1e-15), rel=1e-3)
    _, prediction = draw("multiclass", n=2)
    doubled = figure(metric_of("logloss", "multiclass"), truth, 2 * prediction)
    assert doubled == pytest.approx(figure(metric_of("logloss", "multiclass"), truth, prediction))


def test_soft_truth():
    _, truth = draw("multiclass", seed=1)
    _, prediction = draw("multiclass", seed=2)
    divergence = figure(metric_of("kl", "multiclass"), truth, prediction)
    assert divergence == pytest.approx(entropy(truth, prediction, axis=1).mean())
    cross = figure(metric_of("logloss", "multiclass"), truth, prediction)
    assert cross - entropy(truth, axis=1).mean() == pytest.approx(divergence)
    hard = np.eye(len(CLASSES))[truth.argmax(1)]
    for name in ("accuracy", "auc", "mapk"):
        metric = metric_of(name, "multiclass")
        assert score(metric, truth, prediction) == score(metric, hard, prediction)


def test_gini_does_not_depend_on_the_order_of_equal_predictions():
    truth = np.sort(np.random.default_rng(0).integers(2, size=(40, 1)), axis=0)[::-1].astype(float)
    prediction = np.random.default_rng(1).integers(4, size=(40, 1)) / 4
    gini = metric_of("gini", "binary")
    assert figure(gini, truth, np.full((40, 1), 0.5)) == pytest.approx(0)
    assert figure(gini, truth, prediction) == pytest.approx(2 * sk.roc_auc_score(truth, prediction) - 1)


def test_smape_is_a_percentage_and_zero_for_zero():
    truth, prediction = np.array([[0.0], [1.0]]), np.array([[0.0], [3.0]])
    assert figure(metric_of("smape", "regression"), truth, prediction) == pytest.approx(50)


def test_undefined_is_nan():
    truth, prediction = draw("regression")
    prediction[0, 0] = -1
    assert np.isnan(score(metric_of("rmsle", "regression"), truth, prediction))
    prediction[:, 1] = 3
    assert np.isnan(score(metric_of("spearman", "regression"), truth, prediction))
    assert np.isnan(score(metric_of("lwlrap", "multilabel"), np.zeros((3, 4)), draw("multilabel", n=3)[1]))


# --- the user's own function

OWN = """
def error(truth, prediction, power=2):
    return (abs(truth - prediction) ** power).mean()
error.greater_is_better = False

def agreement(truth, prediction):
    assert truth.shape == prediction.shape == (len(truth),), "class indices"
    return (truth == prediction).mean()
agreement.needs = "label"

def first(truth, prediction, k):
    return k * (truth * prediction).sum(axis=1).mean()
first.needs = "ranking"

def odd(truth, prediction):
    return 0
odd.needs = "labels"
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return lambda name, kind, **params: metric_of(f"own.py:{name}", kind, folder=tmp_path, **params)


def test_own_function(own):
    truth, prediction = draw("regression")
    error = own("error", "regression", power=3)
    assert (error.needs, error.greater) == ("value", False)
    assert score(error, truth, prediction) == pytest.approx(-(abs(truth - prediction) ** 3).mean())
    again = pickle.loads(pickle.dumps(error))
    assert score(again, truth, prediction) == score(error, truth, prediction)
    soft = own("error", "multilabel")
    assert soft.needs == "probability"
    assert figure(soft, prediction / 9, prediction / 9) == 0


def test_own_function_gets_what_it_needs(own):
    truth, prediction = draw("multiclass")
    expected = score(metric_of("accuracy", "multiclass"), truth, prediction)
    assert score(own("agreement", "multiclass"), truth, prediction) == expected
    first = own("first", "multiclass", k=2)
    assert (first.needs, first.k, own("first", "multiclass").k) == ("ranking", 2, 5)
    assert score(first, truth, prediction) == pytest.approx(2 * (truth * prediction).sum(1).mean())


@pytest.mark.parametrize(
    "name, kind, params, mend",
    [
        ("own.py:eror", "binary", {}, "'error'"),
        ("own.py", "binary", {}, "the choices are error, agreement"),
        ("other.py:error", "binary", {}, "file.py:function"),
        ("own.py:error", "regression", {"powr": 3}, "powr"),
        ("own.py:odd", "binary", {}, "'label'"),
        ("own.py:agreement", "regression", {}, "value"),
        ("own.py:first", "multiclass", {"k": 0}, "from 1 up"),
    ],
)
def test_own_function_that_does_not_fit(tmp_path, name, kind, params, mend):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ConfigFault) as fault:
        metric_of(name, kind, folder=tmp_path, **params)
    assert mend in str(fault.value) and str(tmp_path / "competition.yaml") in str(fault.value)


# --- what a user is told


@pytest.mark.parametrize(
    "name, kind, params, code, mend",
    [
        ("acuracy", "binary", {}, "CFG-VALUE", "'accuracy'"),
        ("log_loss", "binary", {}, "CFG-VALUE", "'logloss'"),
        ("rmse", "multiclass", {}, "CFG-VALUE", "kind: regression or ordinal"),
        ("auc", "regression", {}, "CFG-VALUE", "the choices are"),
        ("mean_column_rmsle", "multilabel", {}, "CFG-VALUE", "'mean_column_auc'"),
        ("accuracy", "binary", {"k": 5}, "CFG-UNKNOWN", "no parameter"),
        ("mapk", "multiclass", {"K": 5}, "CFG-UNKNOWN", "'k'"),
        ("mapk", "multiclass", {"k": 0}, "CFG-VALUE", "from 1 up"),
        ("mapk", "multiclass", {"k": True}, "CFG-VALUE", "from 1 up"),
        ("top_error", "multiclass", {"k": "5"}, "CFG-VALUE", "from 1 up"),
        ("quantile", "regression", {"alpha": 1}, "CFG-VALUE", "between 0 and 1"),
        ("quantile", "regression", {"alpha": 90.0}, "CFG-VALUE", "between 0 and 1"),
        ("quantile", "regression", {"quantile": 0.9}, "CFG-UNKNOWN", "alpha"),
    ],
)
def test_a_mistake_names_the_nearest_choice(name, kind, params, code, mend):
    with pytest.raises(ConfigFault) as fault:
        metric_of(name, kind, **params)
    (finding,) = fault.value.findings
    assert finding.code == code and mend in finding.mend
    assert "configs/toy/competition.yaml" in finding.where


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METRICS)
def test_every_other_kind_is_refused(name, kind):
    if (name, kind) in PAIRS:
        needs = metric_of(name, kind).needs
        assert (needs == "value") == (kind == "regression")
    else:
        with pytest.raises(ConfigFault, match="does not score"):
            metric_of(name, kind)


def test_import_is_light():
    code = "import sys, competition.metrics; sys.exit(str({'sklearn', 'scipy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
