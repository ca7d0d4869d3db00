"""The competition's metric: what it takes, which way it points, and how probabilities become decisions.

`METRICS` at the end of the file is the list of names. `metric: file.py:function`, beside competition.yaml, is the
user's own:

    def rmspe(truth, prediction, floor=1.0):   # numpy arrays [n, columns]; further parameters come from the YAML
        return (((prediction - truth) / truth.clip(floor)) ** 2).mean() ** 0.5
    rmspe.greater_is_better = False            # default True
    rmspe.needs = "value"                      # regression: value; otherwise probability (default), label or ranking

With needs "label" it gets decisions, in the form that `labels` returns; with "ranking" probabilities and a `k`. Of
boxes it gets two tables of them (boxes/table.py), a row a box by the id of its picture, and may set `cuts` (see Metric).
Scikit-learn and SciPy are imported when a metric is computed: `--help` would wait more than a second for them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from competition import confusion, hooks
from competition.boxes import scores
from competition.boxes.matching import Matches, match
from competition.boxes.table import EDGES, holds_boxes
from competition.errors import ConfigFault, Finding, examples, nearest
from competition.keys import Kind, MetricSpec

Needs = Literal["probability", "label", "ranking", "value", "boxes"]
Function = Callable[..., float]
Matching = Callable[..., Matches]

EPSILON = 1e-15  # Kaggle's clip of a probability before its logarithm; scikit-learn's is the machine's 2e-16
CLASSES: tuple[Kind, ...] = ("multiclass", "ordinal")  # one probability a class, rows sum to 1
COLUMNS: tuple[Kind, ...] = ("binary", "multilabel")  # each column is a yes or no of its own
VALUES: tuple[Kind, ...] = ("regression",)
BOXES: tuple[Kind, ...] = ("boxes",)
ANY_CLASS = CLASSES + COLUMNS
ONE_LABEL: tuple[Kind, ...] = (*CLASSES, "binary")
RANKED: tuple[Kind, ...] = (*CLASSES, "multilabel")


@dataclass(frozen=True)
class Metric:
    """A competition's metric.

    name: as in the config. needs: what the submission must hold. greater: whether the competition's figure is better
    when greater. function: (truth [n, c], prediction [n, c]) -> the competition's figure, nan where the rows leave it
    undefined. params: its parameters, defaults filled in, such as {"alpha": 0.9}: with the name all that a model needs
    to know to fit to it. levels: of an ordinal metric of distance, where each class stands; the decision is then the
    class nearest to the expected level. of_labels: with needs label, `function` of decisions.

    With needs boxes, `function` takes two tables of boxes. matching: which of them found which; of_matches: `function`
    of that; both None for a user's own, which wants the tables. cuts: whether it counts the boxes that it is given, so
    that a score below which they are left out must be chosen; the others go by their order, and are best given all.
    """

    name: str
    needs: Needs
    greater: bool
    function: Function
    params: dict[str, Any] = field(default_factory=dict)
    levels: tuple[float, ...] | None = None
    of_labels: Function | None = None
    matching: Matching | None = None
    of_matches: Function | None = None
    cuts: bool = False

    @property
    def k(self) -> int | None:
        """Length of a ranked list (mapk, top_error)."""
        return self.params["k"] if self.needs == "ranking" else None

    @property
    def sign(self) -> int:
        return 1 if self.greater else -1

    def score(self, truth: pd.DataFrame, prediction: pd.DataFrame) -> float:
        """Greater is better. nan: no rows, or rows on which the metric is undefined (one class only for auc)."""
        if self.needs == "boxes":
            _assert_boxes(truth, prediction)
            return self.sign * float(self.function(truth, prediction)) if len(truth) else float("nan")
        assert truth.index.equals(prediction.index), "truth and prediction have other ids, or another order of ids"
        assert list(truth.columns) == list(prediction.columns), f"{[*truth.columns]} is not {[*prediction.columns]}"
        guess = prediction.to_numpy(float)
        assert np.isfinite(guess).all(), "the prediction holds nan or inf, of which argmax would make class 0"
        return self.sign * float(self.function(truth.to_numpy(float), guess)) if len(truth) else float("nan")

    def score_labels(self, true: np.ndarray, said: np.ndarray) -> float:
        """`score` of decisions, as `labels` and `hard` return them; of a metric that needs labels."""
        assert self.of_labels is not None, f"{self.name} does not score decisions"
        return self.sign * float(self.of_labels(true, said))

    def match(self, truth: pd.DataFrame, prediction: pd.DataFrame) -> Matches:
        """What `score_matches` takes, of tables of boxes; not of a user's metric, whose `of_matches` is None."""
        assert self.matching is not None, f"{self.name} does not score matches"
        _assert_boxes(truth, prediction)
        return self.matching(truth, prediction)

    def score_matches(self, matches: Matches) -> float:
        """`score` of what `match` returned, or of a part of it (`Matches.take`, `Matches.above`)."""
        assert self.of_matches is not None, f"{self.name} does not score matches"
        return self.sign * float(self.of_matches(matches))

    def shown(self, score: float) -> float:
        """The competition's own figure of a score."""
        return self.sign * score


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


def get(spec: MetricSpec, kind: Kind, classes: Sequence[str], folder: Path) -> Metric:
    """The metric of a config. folder: where competition.yaml lies.

    Raises ConfigFault: unknown name or parameter, a kind that the metric does not take, a mistake in the user's file.
    """
    entry = (_user_entry if ".py" in spec.name else _table_entry)(spec, kind, folder)
    function = next(f for kinds, f in entry.functions.items() if kind in kinds)
    needs: Needs = "value" if kind in VALUES else entry.needs
    params = _params(spec, entry.params, folder)
    if kind in BOXES:
        return _of_boxes(spec.name, entry, function, params)
    levels = entry.levels(classes) if entry.levels and kind == "ordinal" else None
    metric = Metric(spec.name, needs, entry.greater, partial(function, **params), params, levels)
    if needs == "label":  # partials, since a Metric travels to other processes
        metric = replace(metric, of_labels=partial(_at_levels, levels, metric.function) if levels else metric.function)
        return replace(metric, function=partial(_score_labels, metric, kind))
    return metric if entry.soft or kind in VALUES else replace(metric, function=partial(_score_hard, metric, kind))


def _of_boxes(name: str, entry: Entry, function: Function, params: dict[str, Any]) -> Metric:
    metric = Metric(name, "boxes", entry.greater, partial(function, **params), params, cuts=entry.cuts)
    if entry.matching is None:
        return metric
    ious = [value if key == "ious" else [value] for key, value in params.items() if key in ("iou", "ious")]
    others = {key: value for key, value in params.items() if key not in ("iou", "ious")}
    matching = partial(entry.matching, ious=ious[0]) if ious else entry.matching
    of_matches = partial(function, **others)
    return replace(
        metric, function=partial(_score_boxes, matching, of_matches), matching=matching, of_matches=of_matches
    )


def labels(metric: Metric, kind: Kind, prediction: np.ndarray) -> np.ndarray:
    """Decisions of probabilities [n, c], for the score and for the submission alike.

    multiclass, ordinal: index of the class [n], the most probable one or, for a metric of distance (`metric.levels`),
    the one nearest to the expected level. binary: 0 or 1 [n], 1 from 0.5 up. multilabel: 0 or 1 [n, labels], likewise;
    under f1_samples a row without a label gets its most probable one. There an empty row scores 0 whatever the truth,
    so a label can only gain; under other metrics "no label" can be right, and stays.
    """
    assert kind != "regression", "values are submitted as they are"
    if metric.levels is not None:
        levels = np.array(metric.levels)
        return np.abs((prediction @ levels)[:, None] - levels).argmin(axis=1)
    chosen = hard(kind, prediction)
    if metric.name == "f1_samples":
        empty = ~chosen.any(axis=1)
        chosen[empty, prediction[empty].argmax(axis=1)] = 1
    return chosen


def ranking(prediction: np.ndarray, k: int) -> np.ndarray:
    """Column indices [n, min(k, c)], the most probable first, equal ones in column order; score and file use it."""
    return np.argsort(-prediction, axis=1, kind="stable")[:, :k]


def hard(kind: Kind, table: np.ndarray) -> np.ndarray:
    """The nearest decisions of truth [n, c] that may be soft, in the form that `labels` returns."""
    if kind in CLASSES:
        return table.argmax(axis=1)
    return (table[:, 0] >= 0.5).astype(int) if kind == "binary" else (table >= 0.5).astype(int)


def _score_boxes(matching: Matching, of_matches: Function, truth: pd.DataFrame, prediction: pd.DataFrame) -> float:
    return of_matches(matching(truth, prediction))


def _assert_boxes(truth: pd.DataFrame, prediction: pd.DataFrame) -> None:
    assert holds_boxes(truth) and holds_boxes(prediction), "one of the two is no table of boxes"
    assert np.isfinite(prediction[["score", *EDGES]].to_numpy(float)).all(), "a predicted box holds nan or inf"
    assert np.isfinite(truth[[*EDGES]].to_numpy(float)).all(), "a true box holds nan or inf"


def _score_labels(metric: Metric, kind: Kind, truth: np.ndarray, prediction: np.ndarray) -> float:
    assert metric.of_labels is not None
    return metric.of_labels(hard(kind, truth), labels(metric, kind, prediction))


def _at_levels(levels: tuple[float, ...], function: Function, true: np.ndarray, said: np.ndarray) -> float:
    place = np.array(levels)
    return function(place[true], place[said])


def _score_hard(metric: Metric, kind: Kind, truth: np.ndarray, prediction: np.ndarray) -> float:
    """Soft truth becomes 0 or 1 [n, c]; one 1 a row where classes exclude each other."""
    certain = hard(kind, truth)[:, None] == np.arange(truth.shape[1]) if kind in CLASSES else truth >= 0.5
    return metric.function(certain.astype(int), prediction)


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


def _table_entry(spec: MetricSpec, kind: Kind, folder: Path) -> Entry:
    if spec.name not in METRICS:
        mend = f"{nearest(spec.name, METRICS)}; or write file.py:function"
        raise _fault(folder, f"unknown metric {spec.name!r}", mend)
    entry = METRICS[spec.name]
    takes = [kind for kinds in entry.functions for kind in kinds]
    if kind not in takes:
        fitting = [name for name, e in METRICS.items() if any(kind in kinds for kinds in e.functions)]
        mend = f"set kind: {' or '.join(takes)}, or another metric; {nearest(spec.name, fitting)}"
        raise _fault(folder, f"{spec.name} does not score kind: {kind}", mend)
    unknown = [key for key in spec.params if key not in entry.params]
    if unknown:
        mend = nearest(unknown[0], entry.params) if entry.params else "it takes no parameter"
        raise _fault(folder, f"{spec.name} has no parameter {examples(unknown)}", mend, code="CFG-UNKNOWN")
    return entry


def _user_entry(spec: MetricSpec, kind: Kind, folder: Path) -> Entry:
    function = hooks.find(spec.name, folder, "metric")
    name = getattr(function, "__name__", spec.name)
    rows: tuple[Needs, ...] = ("value",) if kind in VALUES else ("probability", "label", "ranking")
    choices = ("boxes",) if kind in BOXES else rows
    needs = getattr(function, "needs", choices[0])
    if needs not in choices:
        raise _fault(folder, f"{name}.needs = {needs!r} with kind: {kind}", nearest(needs, choices))
    defaults = LENGTH if needs == "ranking" else {}
    try:
        inspect.signature(function).bind(None, None, **_params(spec, defaults, folder))
    except TypeError as e:
        mend = f"it is called as {name}(truth, prediction, **parameters of the config)"
        raise _fault(folder, f"{name}{inspect.signature(function)}: {e}", mend) from None
    greater = bool(getattr(function, "greater_is_better", True))
    call = partial(hooks.call, spec.name, folder, "metric")
    cuts = bool(getattr(function, "cuts", False))
    return Entry({(kind,): call}, needs, greater, soft=needs == "probability", params=defaults, cuts=cuts)


def _params(spec: MetricSpec, defaults: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config's parameters over the defaults; those that have one are checked."""
    params = defaults | spec.params
    wrong = [key for key in defaults if not VALID[key][0](params[key])]
    if wrong:
        raise ConfigFault(*[_finding(folder, f"{key}: {params[key]!r}", VALID[key][1]) for key in wrong])
    return params


def _fault(folder: Path, found: str, mend: str, code: str = "CFG-VALUE") -> ConfigFault:
    return ConfigFault(_finding(folder, found, mend, code))


def _finding(folder: Path, found: str, mend: str, code: str = "CFG-VALUE") -> Finding:
    where, what = f"{folder / 'competition.yaml'}, key metric", "the metric can't be used"
    return Finding(code=code, what=what, where=where, found=found, risk="nothing was started", mend=mend)


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
