"""The competition's metric: what it takes, which way it points, and how probabilities become decisions.

`formulas.METRICS` is the list of names. `metric: file.py:function`, beside competition.yaml, is the
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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import hooks
from competition.boxes.matching import Matches
from competition.boxes.table import EDGES, holds_boxes
from competition.errors import ConfigFault, Finding, examples, nearest
from competition.formulas import LENGTH, METRICS, VALID, Entry, Function, Matching, Needs
from competition.keys import Kind, MetricSpec
from competition.kinds import BOXES, CLASSES, VALUES, hard


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
