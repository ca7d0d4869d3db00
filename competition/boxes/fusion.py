"""Boxes of several models made one: nms, soft-nms and weighted boxes fusion, of arrays and of tables of boxes.

Every function takes boxes [n, 4] in pixels (x_min, y_min, x_max, y_max), scores [n] in 0..1 and `group` [n], whole
numbers from 0: boxes of different groups (pictures, classes) never meet. 256 groups go in step, each with its next box:
300 pictures of 5 models' 100 boxes take 0.8 s by wbf; a group at a time they take 14 s. Of equal scores the model's
number and then the edges decide, never the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from competition.boxes.table import EDGES, PREDICTED, empty

Method = Literal["nms", "soft_nms", "wbf"]
OWN = 0.6  # IoU of the nms of each model's own boxes before wbf
POOLED = 0.55  # IoU at which the models of a pool are fused once nms or soft-nms has been at each; wbf's default
TOGETHER = 256  # groups in a block: at 100 boxes a block's arrays stay in the processor's cache
MOST = 100  # boxes of a picture, as COCO scores them
TINY = 1e-12  # an area or a score of 0 may stand below a fraction


def nms(boxes: np.ndarray, scores: np.ndarray, iou: float, group: np.ndarray | None = None) -> np.ndarray:
    """Rows that stay, the best first: those without a better one that stays of an IoU above `iou`."""
    kept = np.zeros(len(boxes), dtype=bool)
    for rows, there in _blocks(boxes, scores, group):
        edges, alive = boxes.T[:, rows], there.copy()
        for j in range(rows.shape[1] - 1):
            at = np.flatnonzero(alive[:, j])
            over = _iou(edges[:, at, j, None], edges[:, at, j + 1 :]) > iou
            alive[at, j + 1 :] &= ~over
        kept[rows[alive]] = True
    rows = np.flatnonzero(kept)
    return rows[_order(boxes[rows], scores[rows])]


def soft_nms(
    boxes: np.ndarray, scores: np.ndarray, sigma: float, group: np.ndarray | None = None, most: int | None = None
) -> np.ndarray:
    """Scores [n], each times exp(-IoU² / sigma) for every better box (Bodla et al. 2017, Gaussian).

    0 for those after the `most` best of a group.
    """
    found = np.zeros(len(boxes))
    for rows, there in _blocks(boxes, scores, group):
        edges, left = boxes.T[:, rows], np.where(there, scores[rows], -1.0)
        each = np.arange(len(rows))
        for _ in range(min(rows.shape[1], most or rows.shape[1])):
            best = left.argmax(axis=1)
            value = left[each, best]
            found[rows[each, best][value > 0]] = value[value > 0]
            over = _iou(edges[:, each, best, None], edges)
            hit = over > 0  # a tenth of the pairs; the exponential is what costs
            left[hit] *= np.exp(-np.square(over[hit]) / sigma)
            left[each, best] = -1
    return found


def weighted_boxes_fusion(
    boxes: np.ndarray,
    scores: np.ndarray,
    model_index: np.ndarray,
    weights: np.ndarray,
    iou: float,
    skip: float = 0.0,
    group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of overlapping boxes, weighted by score: boxes [k, 4], scores [k] and group [k] (Solovyev et al. 2021).

    model_index: whose box it is, a place in `weights` [models]. skip: boxes of a lower score are left out. Equal to
    ensemble-boxes with conf_type avg and allows_overflow False: a box joins the cluster whose mean it overlaps most,
    above `iou`; a cluster's score is the mean of its boxes', times min(boxes, models) over the sum of weights. With
    unequal weights, and more boxes than one of a strong model, that can exceed 1.
    """
    group = np.zeros(len(boxes), dtype=int) if group is None else group
    rows = scores >= skip
    boxes, model_index, group = boxes[rows], model_index[rows], group[rows]
    weighted = scores[rows] * weights[model_index]
    parts = [
        _clusters(boxes.T[:, rows], weighted[rows], there, group[rows[:, 0]], iou)
        for rows, there in _blocks(boxes, weighted, group, model_index)
    ]
    if not parts:
        return np.empty((0, 4)), np.empty(0), np.empty(0, dtype=int)
    edges, total, count, of = (np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True))
    return edges.T, total / count * np.minimum(count, len(weights)) / weights.sum(), of


def _clusters(edges: np.ndarray, scores: np.ndarray, there: np.ndarray, group: np.ndarray, iou: float):
    """Of a block the clusters' edges [4, k], sum of scores [k], number of boxes [k] and group [k]."""
    fused, summed = np.zeros_like(edges), np.zeros_like(edges)
    total, count, used = np.zeros(there.shape), np.zeros(there.shape, dtype=int), np.zeros(len(there), dtype=int)
    for j, active in enumerate(there.sum(axis=0)):  # the largest groups come first
        each = np.arange(active)
        over = _iou(edges[:, :active, j, None], fused[:, :active, : used.max() + 1])
        best = over.argmax(axis=1)
        at = np.where(over[each, best] > iou, best, used[:active])
        used[:active] += at == used[:active]
        share = np.maximum(scores[:active, j], TINY)
        total[each, at] += share
        count[each, at] += 1
        summed[:, each, at] += share * edges[:, :active, j]
        fused[:, each, at] = summed[:, each, at] / total[each, at]
    found = count > 0
    return fused[:, found], total[found], count[found], np.repeat(group, used)


def _blocks(
    boxes: np.ndarray, scores: np.ndarray, group: np.ndarray | None, model: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups side by side, the largest first: rows [g, n], a group's best first, and which of them there are."""
    if not len(boxes):
        return
    group = np.zeros(len(boxes), dtype=int) if group is None else group
    order = _order(boxes, scores, group, model)
    start = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.diff(start, append=len(order))
    by_size = np.argsort(-size, kind="stable")
    for i in range(0, len(start), TOGETHER):
        block = by_size[i : i + TOGETHER]
        step = np.arange(size[block[0]])
        there = step < size[block, None]
        yield order[start[block, None] + np.where(there, step, 0)], there


def _order(
    boxes: np.ndarray, scores: np.ndarray, group: np.ndarray | None = None, model: np.ndarray | None = None
) -> np.ndarray:
    """Rows by group, score from the best, model and edges."""
    return np.lexsort((*boxes.T[::-1], *(key for key in (model, -scores, group) if key is not None)))


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU [g, n] of boxes [4, g, 1] and [4, g, n]; 0 of those without an area."""
    width = np.minimum(box[2], boxes[2])
    width -= np.maximum(box[0], boxes[0])
    height = np.minimum(box[3], boxes[3])
    height -= np.maximum(box[1], boxes[1])
    both = np.maximum(width, 0, out=width)
    both *= np.maximum(height, 0, out=height)
    either = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1]) + (box[2] - box[0]) * (box[3] - box[1])
    either -= both
    return both / np.maximum(either, TINY)


# Tables ----------------------------------------------------------------------------------------------------------


def pool(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Several models' boxes as one table, with the columns `model` (0, 1, ...) and `share` (1 / models)."""
    return pd.concat(part[[*PREDICTED]].assign(model=n, share=1 / len(parts)) for n, part in enumerate(parts))


def number_of_models(tables: Iterable[pd.DataFrame]) -> int:
    """Of each of these tables, pools of as many models: counted by the share, for a model may have found nothing."""
    counts = {round(1 / table["share"].iloc[0]) if "share" in table else 1 for table in tables if len(table)}
    assert len(counts) < 2, f"pools of different numbers of models, {counts}, have no first ones"
    return counts.pop() if counts else 1


def fuse(
    tables: Mapping[str, pd.DataFrame],
    weights: dict[str, float],
    method: Method,
    iou: float,
    skip: float = 0.0,
) -> pd.DataFrame:
    """Boxes of several tables as one, by picture and score: index id and the columns PREDICTED, scores in 0..1.

    weights: by the table's name, relative; one without, or of 0, is not looked at. A table with the columns of `pool`
    holds several models that share its weight, each as many. iou: of soft_nms its sigma. skip: boxes of a lower score
    are left out first. A picture keeps the best MOST boxes, or as many as one model found where that is more.

    wbf: each model's own boxes go through nms at OWN first. Detectors leave near copies, which would count as models
    that agree. nms, soft_nms: over the boxes of all tables, their scores times weight over the greatest weight. Of
    pools over the first model of each, then the second ones, as OOF rows were decided by one model a view; the results
    are fused at POOLED. All models at once would score a box by the surest of them: five of a simulation's models under
    nms then have F1 0.48 at the threshold that is best for one (0.77), so 0.82.
    """
    stack = _stack(tables, weights, skip)
    if not len(stack.scores):
        return empty()
    found = _fused(stack, iou) if method == "wbf" else _suppressed(stack, method, iou)
    return _table(stack, *found)


@dataclass(frozen=True)
class _Stack:
    """Boxes of all tables [n]. group: picture x labels + label. member: the table's number. model: that in its pool.

    models: of each table. weights: of the tables, the greatest 1.
    """

    ids: pd.Index
    labels: pd.Index
    group: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    member: np.ndarray
    model: np.ndarray
    models: int
    weights: np.ndarray

    @property
    def most(self) -> int:
        """Boxes that a picture keeps."""
        of_one = (self.member * self.models + self.model) * len(self.ids) + self.group // len(self.labels)
        return max(MOST, int(np.bincount(np.unique(of_one, return_inverse=True)[1]).max()))


def _stack(tables: Mapping[str, pd.DataFrame], weights: dict[str, float], skip: float) -> _Stack:
    used = {name: table for name, table in tables.items() if weights.get(name)}
    weight = np.array([weights[name] for name in used], dtype=float)
    above = [table[table["score"] >= skip] for table in used.values()]
    table = pd.concat(above)
    picture, ids = pd.factorize(table.index, sort=True)
    label, labels = pd.factorize(table["label"], sort=True)
    return _Stack(
        ids=pd.Index(ids),
        labels=pd.Index(labels),
        group=picture * len(labels) + label,
        boxes=table[[*EDGES]].to_numpy(float),
        scores=table["score"].to_numpy(float),
        member=np.repeat(np.arange(len(above)), [len(t) for t in above]),
        model=np.concatenate([t["model"] if "model" in t else np.zeros(len(t), dtype=int) for t in above]),
        models=number_of_models(used.values()),
        weights=weight / weight.max(),
    )


def _fused(stack: _Stack, iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    model = stack.member * stack.models + stack.model
    weights = np.repeat(stack.weights / stack.models, stack.models)
    own = nms(stack.boxes, stack.scores, OWN, stack.group * len(weights) + model)
    return weighted_boxes_fusion(stack.boxes[own], stack.scores[own], model[own], weights, iou, group=stack.group[own])


def _suppressed(stack: _Stack, method: Method, iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    models, boxes, scores = stack.models, stack.boxes, stack.scores * stack.weights[stack.member]
    group = stack.group * models + stack.model
    if method == "soft_nms":
        scores = soft_nms(boxes, scores, iou, group, stack.most)
    if method == "nms" or models > 1:
        kept = nms(boxes, scores, iou if method == "nms" else OWN, group)
    else:
        kept = np.arange(len(boxes))
    kept = kept[scores[kept] > 0]
    found = boxes[kept], scores[kept], stack.group[kept]
    if models == 1:
        return found
    return weighted_boxes_fusion(*found[:2], stack.model[kept], np.full(models, 1 / models), POOLED, group=found[2])


def _table(stack: _Stack, boxes: np.ndarray, scores: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """The best boxes of each picture."""
    picture, label = np.divmod(group, len(stack.labels))
    order = _order(boxes, scores, picture, label)
    picture = picture[order]
    order = order[np.arange(len(order)) - np.searchsorted(picture, picture) < stack.most]
    picture, label = np.divmod(group[order], len(stack.labels))
    values = {"label": stack.labels[label], "score": np.minimum(scores[order], 1)}
    edges = dict(zip(EDGES, boxes[order].T, strict=True))
    return pd.DataFrame(values | edges, index=stack.ids[picture].rename("id"))
