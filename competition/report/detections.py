"""Where a run is wrong, of boxes: precision against recall of each class, its average precision, and kinds of mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from competition.boxes.geometry import iou
from competition.boxes.matching import Matches, match
from competition.boxes.scores import average_precision, by_class, curve
from competition.boxes.sheet import IOU, MEAN, Judged, class_table, judge
from competition.boxes.table import EDGES
from competition.kinds import BOXES
from competition.report.blocks import Chart, Column, Grid, Prose, Section
from competition.report.outcome import along
from competition.report.palette import GREY, axis, colour, dash, figure, plain, rounded, short
from competition.report.subject import Subject
from competition.standings import Standing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CURVES = 6  # on a phone each has a line of the legend
NEAR = 0.1  # overlap below which a wrong box is on nothing (Bolya et al. 2020, TIDE)


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of boxes; nothing of other kinds."""
    if subject.problem.kind not in BOXES:
        return
    truth, said, classes = subject.truth, subject.oof(standing), subject.problem.classes
    if truth.empty or said.empty:
        lacking = "no true box" if truth.empty else "no predicted box"
        yield Section("detections", "Boxes", [Prose([f"There is {lacking}: nothing to draw."])], standing.name)
        return
    matches = match(truth, said)
    judged = judge(truth, said, matches)
    path = subject.folder(standing) / "by_class.csv"
    table = pd.read_csv(path, index_col="class", dtype={"class": str}) if path.exists() else class_table(
        truth, said, matches, classes)  # fmt: skip
    blocks = [_precision(matches, judged.threshold), _classes(table), _mistakes(mistakes(judged, classes), judged)]
    yield Section("detections", "Boxes", blocks, standing.name)


def _precision(matches: Matches, threshold: float) -> Chart:
    """The classes of least AP first; all boxes of at least the threshold's score as a dot on each."""
    scores = by_class(matches)
    scores = scores[scores["boxes"] > 0].sort_values("map50", kind="stable")
    points = {str(label): curve(matches, str(label), IOU) for label in scores.index[:CURVES]}
    mean, half = average_precision(matches), average_precision(matches.at(IOU))
    of = f"; drawn are the {CURVES} of {len(scores)} classes with the least" if len(scores) > CURVES else ""
    least = f"least {scores['map50'].iloc[0]:.4f} of {scores.index[0]}"
    text = f"mAP {mean:.4f} over IoU 0.50 to 0.95, {half:.4f} at {IOU}, {least}"
    return Chart(
        f"Precision against recall at IoU {IOU}: mAP50 {half:.3f}",
        _curves(points, scores["map50"], threshold),
        f"{text}{of}. Dots stand for boxes of score {threshold:.2f} or more, where F1 is greatest.",
        440,
    )


def _curves(points: dict[str, pd.DataFrame], half: pd.Series, threshold: float) -> Figure:
    traces: list[dict[str, Any]] = []
    dots: list[tuple[float, float, str]] = []
    for n, (label, line) in enumerate(points.items()):
        recall, precision = along(line["recall"].to_numpy(), line["precision"].to_numpy())
        traces.append({
            "type": "scatter", "mode": "lines", "name": f"{short(label, 14)} {half[label]:.3f}", "text": plain(label),
            "x": rounded(recall, 3), "y": rounded(precision, 3),
            "line": {"color": colour(n), "dash": dash(n), "width": 2},
            "hovertemplate": "%{text}<br>recall %{x:.3f}<br>precision %{y:.3f}<extra></extra>",
        })  # fmt: skip
        said = int((line["score"] >= threshold).sum())
        if said:
            dots.append((line["recall"].iloc[said - 1], line["precision"].iloc[said - 1], plain(label)))
    if dots:
        traces.append({
            "type": "scatter", "mode": "markers", "name": f"score {threshold:.2f}", "x": rounded([d[0] for d in dots], 3),
            "y": rounded([d[1] for d in dots], 3), "text": [d[2] for d in dots],
            "marker": {"color": GREY, "size": 9, "symbol": "diamond"},
            "hovertemplate": "%{text}<br>recall %{x:.3f}<br>precision %{y:.3f}<extra></extra>",
        })  # fmt: skip
    unit = {"range": [-0.02, 1.02]}
    return figure(traces, xaxis=axis("recall", **unit), yaxis=axis("precision", **unit))


def _classes(table: pd.DataFrame) -> Grid:
    told = {"boxes": "true ones", "ap": "average precision, mean over IoU 0.50 to 0.95", "ap50": "at IoU 0.50"}
    sizes = {
        name: f"of {name.removeprefix('ap_')} boxes, as COCO divides them" for name in table if name.startswith("ap_")
    }
    columns = [Column("class"), *(Column(str(name), 0 if name == "boxes" else 4, (told | sizes).get(str(name), ""))
                                  for name in table)]  # fmt: skip
    rows = [
        [str(label), *(None if np.isnan(v) else int(v) if key == "boxes" else float(v) for key, v in values.items())]
        for label, values in table.iterrows()
    ]
    return Grid("Average precision of each class", columns, rows, f"{MEAN}: over classes with true boxes.")


def mistakes(judged: Judged, classes: tuple[str, ...]) -> pd.DataFrame:
    """[classes and all of them] right, missed (true boxes that nothing found), and by what is wrong with them the boxes that
    are said: double (its true box was found by a surer one), other class, ill placed (IoU 0.1 to 0.5), on nothing.
    """
    wrong = judged.prediction[~judged.prediction["right"]]
    kinds = pd.Series(_kinds(wrong, judged.truth), wrong.index, dtype=object)
    columns = {
        "right": judged.prediction.loc[judged.prediction["right"], "label"],
        "missed": judged.truth.loc[~judged.truth["found"], "label"],
        **{kind: wrong.loc[(kinds == kind).to_numpy(), "label"] for kind in KINDS},
    }
    counts = {name: labels.value_counts().reindex(classes, fill_value=0) for name, labels in columns.items()}
    table = pd.DataFrame(counts, index=pd.Index(classes, name="class"))
    return pd.concat([table, table.sum().to_frame("(all)").T])


KINDS = ("double", "other class", "ill placed", "on nothing")


def _kinds(wrong: pd.DataFrame, truth: pd.DataFrame) -> list[str]:
    """What is wrong with each box, from the true ones of its picture that it overlaps most, of its class and of others."""
    left = wrong.assign(place=np.arange(len(wrong)))[[*EDGES, "label", "place"]]
    pairs = left.join(truth[[*EDGES, "label"]], how="inner", suffixes=("", "_true"))
    overlap = iou(pairs[[*EDGES]].to_numpy(float), pairs[[f"{edge}_true" for edge in EDGES]].to_numpy(float))
    same = (pairs["label"] == pairs["label_true"]).to_numpy()
    own, other = np.zeros(len(wrong)), np.zeros(len(wrong))
    np.maximum.at(own, pairs["place"].to_numpy()[same], overlap[same])
    np.maximum.at(other, pairs["place"].to_numpy()[~same], overlap[~same])
    return np.select([own >= IOU, other >= IOU, own >= NEAR], KINDS[:3], KINDS[3]).tolist()


def _mistakes(table: pd.DataFrame, judged: Judged) -> Grid:
    columns = [
        Column("class"), Column("right", 0), Column("missed", 0, "true boxes that nothing found"),
        Column("double", 0, "the true box was found by a surer one"),
        Column("other class", 0, "on a true box of another class"),
        Column("ill placed", 0, f"overlap of {NEAR} to {IOU} with a true box of the class"),
        Column("on nothing", 0),
    ]  # fmt: skip
    rows = [[str(name), *map(int, values)] for name, values in table.iterrows()]
    note = f"Boxes of score {judged.threshold:.2f} or more, where F1 is greatest (in sample), matched at IoU {IOU}."
    return Grid("Kinds of mistakes", columns, rows, note)
