"""Scores of matched boxes: average precision as COCO and VOC have it, precision over thresholds, F-beta, the curve.

All are in 0..1, greater is better, and nan where no true box counts. `match` comes first, and `Matches.take` before
the scores of some of the pictures.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from competition.boxes.matching import COCO_IOUS, Matches, match

Points = Literal[101, 11, "all"]

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}  # pixels, as COCO's
RECALLS = {101: np.linspace(0, 1, 101), 11: np.arange(11) / 10}  # the first to the last bit as pycocotools has it


def average_precision(matches: Matches, points: Points = 101) -> float:
    """Mean over classes and thresholds; classes without a true box in these pictures don't count.

    points: precision at 101 recalls (COCO), at 11 (VOC 2007), or the area under all of them (VOC 2010 and later). Each
    time precision at a recall is the best one at that recall or a higher one.
    """
    return _mean(_average_precisions(matches, points))


def by_class(matches: Matches) -> pd.DataFrame:
    """By label: map and map50 (nan without a true box), and boxes, the true ones. Of matches at COCO_IOUS."""
    ap, half = _average_precisions(matches, 101), _average_precisions(matches.at(0.5), 101)
    boxes = np.bincount(matches.true_label, minlength=len(matches.classes))
    columns = {"map": ap.mean(axis=0), "map50": half[0], "boxes": boxes}
    return pd.DataFrame(columns, index=matches.classes.rename("label"))


def by_size(truth: pd.DataFrame, prediction: pd.DataFrame, most: int | None = 100) -> pd.DataFrame:
    """As `by_class` for boxes below 32² pixels, to 96² and above; matched again, for each size passes over the others."""
    rows = {}
    for size, area in SIZES.items():
        matches = match(truth, prediction, COCO_IOUS, most, area)
        scores = {"map": average_precision(matches), "map50": average_precision(matches.at(0.5))}
        rows[size] = scores | {"boxes": len(matches.true_label)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("size")


def curve(matches: Matches, label: str, iou: float = 0.5) -> pd.DataFrame:
    """recall, precision and score after each prediction of this class, by falling score; no row without a true box."""
    place = matches.classes.get_loc(label)
    total = np.count_nonzero(matches.true_label == place)
    half = matches.at(iou)
    kept = (half.label == place) & ~half.ignored[0] & (total > 0)
    right = half.hit[0, kept].cumsum()
    said = np.arange(1, len(right) + 1)
    return pd.DataFrame({"recall": right / max(total, 1), "precision": right / said, "score": half.score[kept]})


def mean_precision(matches: Matches) -> float:
    """TP / (TP + FP + FN) of a picture, mean over thresholds, then over pictures (Kaggle's wheat and pneumonia hosts).

    A picture without a true box scores 0 if anything is predicted, and is left out otherwise.
    """
    n = len(matches.pictures)
    true = np.bincount(matches.true_picture, minlength=n)
    wrong = ~matches.hit & ~matches.ignored
    tp, fp = (np.array([np.bincount(matches.picture[at], minlength=n) for at in rows]) for rows in (matches.hit, wrong))
    counted = (true > 0) | fp.any(axis=0)
    share = tp[:, counted] / (fp[:, counted] + true[counted]).clip(1)
    return float(share.mean()) if true.any() else float("nan")


def fbeta(matches: Matches, beta: float = 2.0) -> float:
    """(1 + b²) TP / ((1 + b²) TP + b² FN + FP) of the boxes of all pictures and classes, at the one threshold."""
    assert len(matches.ious) == 1, f"matched at IoU {matches.ious.tolist()}, where F-beta is of one"
    true, tp = len(matches.true_label), np.count_nonzero(matches.hit)
    fp = np.count_nonzero(~matches.hit & ~matches.ignored)
    return (1 + beta**2) * tp / (beta**2 * true + tp + fp) if true else float("nan")


def _average_precisions(matches: Matches, points: Points) -> np.ndarray:
    """[t, classes], nan without a true box."""
    true = np.bincount(matches.true_label, minlength=len(matches.classes))
    ends = np.searchsorted(matches.label, np.arange(len(true) + 1))
    scores = np.full((len(matches.ious), len(true)), np.nan)
    for c in np.flatnonzero(true):
        rows = slice(ends[c], ends[c + 1])
        hit, wrong = matches.hit[:, rows], ~matches.hit[:, rows] & ~matches.ignored[:, rows]
        scores[:, c] = [_under_curve(_best_precision(*at), int(true[c]), points) for at in zip(hit, wrong, strict=True)]
    return scores


def _best_precision(hit: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Of predictions [n] by falling score: at the recall of each box found, the best precision there or later."""
    right = np.arange(1, np.count_nonzero(hit) + 1)
    precision = right / (right + wrong.cumsum()[hit])
    return np.maximum.accumulate(precision[::-1])[::-1]


def _under_curve(precision: np.ndarray, true: int, points: Points) -> float:
    """Of precision at the recalls 1 / true, 2 / true, ...; 0 beyond the last."""
    if points == "all":
        return precision.sum() / true
    place = np.searchsorted(np.arange(1, len(precision) + 1) / true, RECALLS[points])
    return np.append(precision, 0)[place].mean()


def _mean(scores: np.ndarray) -> float:
    counted = scores[~np.isnan(scores)]
    return float(counted.mean()) if len(counted) else float("nan")
