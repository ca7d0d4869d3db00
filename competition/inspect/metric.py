"""By which metric predictions are scored: the one given, or the usual one of the kind and the sample's form."""

from __future__ import annotations

from typing import Any

from competition import artifacts, formulas, metrics, yaml
from competition.inspect.guess import Guess
from competition.inspect.target import Form, Shape
from competition.keys import Kind, MetricSpec

DEFAULT_METRICS: dict[tuple[str, Form], str] = {
    ("binary", "labels"): "accuracy",
    ("binary", "probabilities"): "auc",
    ("multiclass", "labels"): "accuracy",
    ("multiclass", "probabilities"): "logloss",
    ("multiclass", "ranking"): "mapk",
    ("multilabel", "labels"): "f1_samples",
    ("multilabel", "probabilities"): "mean_column_auc",
    ("ordinal", "labels"): "qwk",
    ("ordinal", "probabilities"): "logloss",
    ("regression", "values"): "rmse",
    ("boxes", "boxes"): "map",
}


def read_metric(value: Any) -> dict[str, Any] | None:
    """`auc`, `mapk@5`, `voc_map@0.4` (the first parameter), {"name": "mapk", "k": 5} -> {"name": ..., parameters}."""
    if value is None or isinstance(value, dict):
        return value
    name, at, parameter = str(value).partition("@")
    if ".py" not in name:
        name = "mapk" if name.lower() == "map" and parameter.isdigit() else name.lower()
    takes = formulas.METRICS[name].params if name in formulas.METRICS else {}
    return {"name": name} | ({next(iter(takes), "k"): yaml.scalar(parameter)} if at else {})


def find_metric(given: dict[str, Any] | None, shape: Shape, kind: Kind, classes: tuple[str, ...], name: str) -> Guess:
    """The key `metric`; a given one is checked, all but a file of the user's. Raises ConfigFault CFG-VALUE."""
    if given is not None:
        ranked = given["name"] in ("mapk", "top_error") and shape.k
        spec: dict[str, Any] = ({"k": shape.k} if ranked else {}) | given
        if ".py" not in spec["name"]:
            metrics.get(MetricSpec.model_validate(spec), kind, classes, artifacts.competition_yaml(name).parent)
        return Guess("metric", spec["name"] if len(spec) == 1 else spec, "given")
    of_kind = next((m for (k, _), m in DEFAULT_METRICS.items() if k == kind), "accuracy")
    metric = DEFAULT_METRICS.get((kind, shape.form), of_kind)
    reason = f"usual where the sample has {shape.form}; set METRIC= if the competition says otherwise"
    return Guess("metric", {"name": "mapk", "k": shape.k} if metric == "mapk" else metric, reason, sure=False)
