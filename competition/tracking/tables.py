"""The tables and charts of a summary run, by W&B's own kinds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from competition.tracking.summary import Classes, Summary

FACTS = ("truth", "predicted", "loss", "confidence", "fold", "kind", "why")  # columns of the worst rows


def of(summary: Summary) -> dict[str, Any]:
    """By the name that each is logged under; only those that the run has something for."""
    found: dict[str, Any] = {}
    if len(summary.worst):
        found["worst_rows"] = worst(summary)
    if summary.matched is not None:
        found |= _classes(summary.matched)
    return found


def _classes(matched: Classes) -> dict[str, Any]:
    import wandb

    names, truth = list(matched.names), matched.truth.tolist()
    found: dict[str, Any] = {
        "confusion_matrix": wandb.plot.confusion_matrix(
            y_true=truth, preds=matched.said.tolist(), class_names=names, title="Confusion matrix"
        )
    }
    curves: tuple[Any, ...] = (matched.true, matched.probabilities, names)
    if len(np.unique(matched.true)) > 1:
        found["precision_recall"] = wandb.plot.pr_curve(*curves, title="Precision and recall")
        found["roc"] = wandb.plot.roc_curve(*curves, title="ROC")
    return found


def worst(summary: Summary) -> Any:
    import wandb
    from PIL import Image

    facts = [name for name in FACTS if name in summary.worst]
    table = wandb.Table(columns=["id", *facts] + ["picture"] * bool(summary.pictures))
    for name, row in zip(summary.worst.index, summary.worst[facts].to_dict("records")):
        picture = summary.pictures.get(name)
        shown = None if picture is None else wandb.Image(Image.open(io.BytesIO(picture)), file_type="png")
        table.add_data(str(name), *(_plain(row[fact]) for fact in facts), *([shown] if summary.pictures else []))
    return table


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


def coordinates(trials: pd.DataFrame, keys: Sequence[str], metric: str) -> Figure | None:
    """Parallel coordinates of what was tried and what it scored; None where no trial has a score."""
    import plotly.graph_objects as go

    scored = trials[trials["score"].notna()]
    if scored.empty:
        return None
    dimensions = [_dimension(key, scored[key]) for key in keys if scored[key].notna().all()]
    line = {"color": scored["score"], "colorscale": "Viridis", "showscale": True}
    return go.Figure(go.Parcoords(dimensions=[*dimensions, {"label": metric, "values": scored["score"]}], line=line))


def _dimension(key: str, values: pd.Series) -> dict[str, Any]:
    """Of numbers; of words an axis with a place for each."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return {"label": key, "values": values}
    codes, names = pd.factorize(values.astype(str), sort=True)
    return {"label": key, "values": codes, "tickvals": list(range(len(names))), "ticktext": list(names)}
