"""The metrics by name: what each computes, of which kinds, and which way it points. `METRICS` at the end is the list.

Truth and prediction are arrays [n, columns], of decisions as `metrics.labels` returns them. Scikit-learn and SciPy are
imported when a metric is computed: `--help` would wait more than a second for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from competition import confusion
from competition.boxes import scores
from competition.boxes.matching import Matches, match
from competition.keys import Kind
from competition.kinds import ANY_CLASS, BOXES, CLASSES, COLUMNS, ONE_LABEL, RANKED, VALUES, ranking

Needs = Literal["probability", "label", "ranking", "value", "boxes"]
Function = Callable[..., float]
Matching = Callable[..., Matches]

EPSILON = 1e-15  # Kaggle's clip of a probability before its logarithm; scikit-learn's is the machine's 2e-16


@dataclass(frozen=True)
class Entry:
    """A line of METRICS.

    functions: by kind. needs: for kinds with classes; regression's is always value. soft: takes soft truth as it is;
    the others get the nearest 0/1. levels: makes an ordinal's `Metric.levels` of the class names. params: what the
    config may set, with defaults. matching: of boxes, what makes the Matches that the function is of; it gets the
    parameters `iou` and `ious` as its `ious`, the function gets the others. cuts: as in Metric.
    """

    functions: dict[tuple[Kind, ...], Function]
    needs: Needs
    greater: bool
    soft: bool = False
    levels: Callable[[Sequence[str]], tuple[float, ...]] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    matching: Matching | None = None
    cuts: bool = False


def _steps(classes: Sequence[str]) -> tuple[float, ...]:
    return tuple(range(len(classes)))


def _numbers(classes: Sequence[str]) -> tuple[float, ...]:
    """The classes as numbers; their positions where one of them is no number."""
    try:
        return tuple(float(c) for c in classes)
    except ValueError:
        return _steps(classes)


def _sklearn(name: str, /, truth: np.ndarray, prediction: np.ndarray, **options: Any) -> float:
    """A function of sklearn.metrics. Its warnings are of classes that these rows lack, which is common in a fold."""
    from sklearn import metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return getattr(metrics, name)(truth, prediction, **options)


def _mean_column(function: Function, /, truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean over columns; of classes, each against the rest. nan where one column is nan.

    Columns of constant truth are left out, for it has no order to be found; nan where no other column is.
    """
    varied = np.flatnonzero(truth.min(axis=0) < truth.max(axis=0))
    return float(np.mean([function(truth[:, j], prediction[:, j]) for j in varied])) if len(varied) else float("nan")


def class_logloss(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Cross-entropy of rows in nats, 0..34.5, rows normalised first. Truth may be soft, which scikit-learn refuses."""
    prediction = prediction / prediction.sum(axis=1, keepdims=True)
    return -(truth * np.log(prediction.clip(EPSILON, 1 - EPSILON))).sum(axis=1).mean()


def column_logloss(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Binary cross-entropy in nats, mean over rows and columns; soft truth as in `class_logloss`."""
    prediction = prediction.clip(EPSILON, 1 - EPSILON)
    return -(truth * np.log(prediction) + (1 - truth) * np.log(1 - prediction)).mean()


def class_brier(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Squared distance of rows, 0..2 (Brier 1950); columns have half of it, the squared error. Truth may be soft."""
    return np.square(truth - prediction).sum(axis=1).mean()


def kl(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Kullback-Leibler divergence of the prediction from soft truth, in nats, mean over rows; Kaggle's clip."""
    from scipy.special import rel_entr

    return rel_entr(truth, prediction.clip(EPSILON, 1 - EPSILON)).sum(axis=1).mean()


def rmsle(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root mean squared difference of log(1 + value), mean over columns; nan where a value is -1 or less."""
    if min(truth.min(), prediction.min()) <= -1:
        return float("nan")
    return _sklearn("root_mean_squared_log_error", truth, prediction)


def smape(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Symmetric mean absolute percentage error, 0..200 as Kaggle shows it; 0 where truth and prediction are both 0."""
    size = np.abs(truth) + np.abs(prediction)
    return 200 * np.divide(np.abs(truth - prediction), size, out=np.zeros_like(size), where=size > 0).mean()


def spearman(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Rank correlation of one column [n], -1..1; nan for a constant prediction, which Kaggle refuses."""
    from scipy.stats import spearmanr

    return spearmanr(truth, prediction).statistic if np.ptp(prediction) > 0 else float("nan")


def gini(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Normalised Gini of one column [n], -1..1; 2 AUC - 1 for 0/1 truth.

    The area between Lorenz curve and diagonal is the covariance of truth and rank (Lerman and Yitzhaki 1984). Equal
    predictions share a rank: by row order, as in Kaggle's script, a constant would score 1 on rows sorted by truth.
    """
    from scipy.stats import rankdata

    centred = truth - truth.mean()
    return centred @ rankdata(prediction) / (centred @ rankdata(truth))


def mapk(truth: np.ndarray, prediction: np.ndarray, k: int) -> float:
    """Mean average precision at k, 0..1; a row without a label scores 0 (github.com/benhamner/Metrics, apk)."""
    hits = np.take_along_axis(truth, ranking(prediction, k), axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return ((hits * precision).sum(axis=1) / truth.sum(axis=1).clip(1, k)).mean()


def top_error(truth: np.ndarray, prediction: np.ndarray, k: int) -> float:
    """Share of rows whose class is not among the k most probable ones, 0..1."""
    return 1 - np.take_along_axis(truth, ranking(prediction, k), axis=1).any(axis=1).mean()


def lwlrap(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Label-weighted label-ranking average precision, 0..1 (Freesound 2019); nan where no row has a label."""
    weight = truth.sum(axis=1)
    if not weight.any():
        return float("nan")
    some = weight > 0
    return _sklearn("label_ranking_average_precision_score", truth[some], prediction[some], sample_weight=weight[some])


def _is_iou(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 1


def _are_ious(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(map(_is_iou, values)) and values == sorted({*values})


VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "k": (lambda k: type(k) is int and k >= 1, "k is the length of a ranked list, a whole number from 1 up"),
    "alpha": (lambda a: type(a) is float and 0 < a < 1, "alpha is the quantile that is asked for, between 0 and 1"),
    "iou": (_is_iou, "iou is how much of a true box a prediction must cover: a number above 0, up to 1"),
    "ious": (_are_ious, "ious is a list of different numbers above 0, up to 1, in rising order: [0.5, 0.55, 0.6]"),
    "beta": (
        lambda b: type(b) in (int, float) and 0 < b < float("inf"),
        "beta is how many times as much recall counts as precision, a number above 0",
    ),
    "points": (
        lambda p: p == "all" or (type(p) is int and p == 11),
        "points is all (the area under the curve, VOC 2010 and later) or 11 (the recalls of VOC 2007)",
    ),
}
LENGTH = {"k": 5}
AUC = partial(_mean_column, partial(_sklearn, "roc_auc_score"))
AP = partial(_mean_column, partial(_sklearn, "average_precision_score"))
RMSE = partial(_sklearn, "root_mean_squared_error")
MSE = partial(_sklearn, "mean_squared_error")
MAE = partial(_sklearn, "mean_absolute_error")
WHEAT = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75]  # Global Wheat Detection 2020; RSNA Pneumonia 2018 began at 0.4

METRICS: dict[str, Entry] = {
    # decisions. accuracy of multilabel: the share of rows with every label right
    "accuracy": Entry({ANY_CLASS: confusion.accuracy}, "label", True),
    "balanced_accuracy": Entry({ONE_LABEL: confusion.balanced_accuracy}, "label", True),
    "f1_macro": Entry({ANY_CLASS: confusion.f1_macro}, "label", True),
    "f1_micro": Entry({ANY_CLASS: confusion.f1_micro}, "label", True),
    "f1": Entry({("binary",): confusion.f1}, "label", True),
    "f1_samples": Entry({("multilabel",): confusion.f1_samples}, "label", True),
    "mcc": Entry({ONE_LABEL: confusion.mcc}, "label", True),
    "qwk": Entry({("ordinal",): confusion.qwk}, "label", True, levels=_steps),
    # probabilities
    "auc": Entry({ANY_CLASS: AUC}, "probability", True),
    "mean_column_auc": Entry({ANY_CLASS: AUC}, "probability", True),
    "average_precision": Entry({ANY_CLASS: AP}, "probability", True),
    "logloss": Entry({CLASSES: class_logloss, COLUMNS: column_logloss}, "probability", False, soft=True),
    "brier": Entry({CLASSES: class_brier, COLUMNS: MSE}, "probability", False, soft=True),
    "kl": Entry({CLASSES: kl}, "probability", False, soft=True),
    "lwlrap": Entry({RANKED: lwlrap}, "probability", True),
    # rankings
    "mapk": Entry({RANKED: mapk}, "ranking", True, params=LENGTH),
    "top_error": Entry({CLASSES: top_error}, "ranking", False, params=LENGTH),
    # values: each the mean over the target columns. mape is a share (0.1), smape a percentage (10)
    "rmse": Entry({VALUES: RMSE, ("ordinal",): confusion.rmse}, "label", False, levels=_numbers),
    "mae": Entry({VALUES: MAE, ("ordinal",): confusion.mae}, "label", False, levels=_numbers),
    "rmsle": Entry({VALUES: rmsle}, "value", False),
    "mean_column_rmsle": Entry({VALUES: rmsle}, "value", False),
    "mape": Entry({VALUES: partial(_sklearn, "mean_absolute_percentage_error")}, "value", False),
    "smape": Entry({VALUES: smape}, "value", False),
    "quantile": Entry({VALUES: partial(_sklearn, "mean_pinball_loss")}, "value", False, params={"alpha": 0.5}),
    "r2": Entry({VALUES: partial(_sklearn, "r2_score")}, "value", True),
    "spearman": Entry({(*VALUES, "multilabel"): partial(_mean_column, spearman)}, "probability", True, soft=True),
    "gini": Entry({(*VALUES, "binary"): partial(_mean_column, gini)}, "probability", True),
    # boxes. COCO scores the 100 surest of a picture and class, the others all
    "map": Entry({BOXES: scores.average_precision}, "boxes", True, matching=match),
    "map50": Entry({BOXES: scores.average_precision}, "boxes", True, matching=partial(match, ious=[0.5])),
    "voc_map": Entry(
        {BOXES: scores.average_precision},
        "boxes",
        True,
        params={"iou": 0.5, "points": "all"},
        matching=partial(match, most=None, rule="voc"),
    ),
    "mean_precision": Entry(
        {BOXES: scores.mean_precision},
        "boxes",
        True,
        params={"ious": WHEAT},
        matching=partial(match, most=None),
        cuts=True,
    ),
    "fbeta_boxes": Entry(
        {BOXES: scores.fbeta},
        "boxes",
        True,
        params={"beta": 2.0, "iou": 0.5},
        matching=partial(match, most=None),
        cuts=True,
    ),
}
