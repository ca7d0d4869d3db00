"""Which predicted boxes found a true one: matched once, then cut down to any pictures and score threshold at no cost.

A match depends on nothing outside its picture and class, nor on predictions of a lower score, so `Matches.take` and
`Matches.above` give what matching the smaller tables would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from competition.boxes.geometry import areas, shared
from competition.boxes.table import EDGES

Rule = Literal["coco", "voc"]
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # prediction, true box, their IoU; [pairs] each

COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # to the last bit as pycocotools has them
ANY_AREA = (0.0, float("inf"))
AT_ONCE = 1_000_000  # pairs that are compared at a time: 100 MB


@dataclass(frozen=True)
class Matches:
    """Predictions, each right, wrong or passed over at each IoU threshold, and the true boxes that count.

    ious: [t]. pictures: ids of all that were matched, sorted; classes: names, sorted. picture, label, score: [n] of each
    prediction, the first two as positions there; sorted by label, then falling score, then picture. hit: [t, n] whether
    it found a box that counts. ignored: [t, n] whether it is neither right nor wrong. true_picture, true_label: [m].
    row: [n] place of each prediction in its table. box: [t, n] place in truth's of the box that it took, -1 for none.
    """

    ious: np.ndarray
    pictures: pd.Index
    classes: pd.Index
    picture: np.ndarray
    label: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    true_picture: np.ndarray
    true_label: np.ndarray
    row: np.ndarray
    box: np.ndarray

    def take(self, ids: pd.Index) -> Matches:
        """Those of these pictures; an id without any box is no fault, and one that comes twice counts once."""
        kept = self.pictures.isin(ids)
        true = kept[self.true_picture]
        small = replace(self, true_picture=self.true_picture[true], true_label=self.true_label[true])
        return small._predictions(np.flatnonzero(kept[self.picture]))

    def drawn(self, times: np.ndarray) -> Matches:
        """Each picture as often as `times` [pictures] says, every time as a picture of its own, as a bootstrap draws them.

        Equal to matching tables in which its boxes stand so often, but that equal scores may come in another order.
        """
        first = np.cumsum(times) - times

        def copies(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            rows = np.repeat(np.arange(len(picture)), times[picture])
            return rows, first[picture[rows]] + _rank(rows)

        pictures = self.pictures[np.repeat(np.arange(len(times)), times)]
        rows, picture = copies(self.picture)
        true, true_picture = copies(self.true_picture)
        small = replace(self, true_picture=true_picture, true_label=self.true_label[true])
        return replace(small._predictions(rows), picture=picture, pictures=pictures)

    def above(self, score: float) -> Matches:
        """With the predictions of at least this score only."""
        return self._predictions(np.flatnonzero(self.score >= score))

    def at(self, iou: float) -> Matches:
        """At this threshold only, which must be one of `ious`."""
        place = np.flatnonzero(np.isclose(self.ious, iou, rtol=0, atol=1e-9))
        assert len(place) == 1, f"matched at IoU {self.ious.tolist()}, not at {iou}"
        return replace(self, ious=self.ious[place], hit=self.hit[place], ignored=self.ignored[place])

    def _predictions(self, rows: np.ndarray) -> Matches:
        cut = {name: getattr(self, name)[rows] for name in ("picture", "label", "score", "row")}
        return replace(self, **cut, **{name: getattr(self, name)[:, rows] for name in ("hit", "ignored", "box")})


def match(
    truth: pd.DataFrame,
    prediction: pd.DataFrame,
    ious: Sequence[float] = COCO_IOUS,
    most: int | None = 100,
    area: tuple[float, float] = ANY_AREA,
    rule: Rule = "coco",
) -> Matches:
    """Boxes (columns TRUTH) and predictions (PREDICTED) of any pictures, matched within picture and class.

    Predictions choose by falling score, equal ones in the order of their rows; `most` a picture and class take part.
    coco: as pycocotools' COCOeval, each takes the free box that it overlaps most, at least `iou`. Boxes of a crowd are
    never used up, overlap by their share of the prediction's area, and are taken where nothing else is left; predictions
    on them are passed over. area: of boxes in square pixels, ends included; true ones outside are treated likewise but
    used up, and predictions outside that found nothing are passed over.
    voc: as VOCdevkit's VOCevaldet, without its one pixel more of width and height: each may take only the box that it
    overlaps most, and is wrong where that is used up; those on a crowd's (VOC's difficult) are passed over.
    """
    (picture, true_picture), pictures = _positions(prediction.index, truth.index)
    (label, true_label), classes = _positions(prediction["label"], truth["label"])
    group, true_group = picture * len(classes) + label, true_picture * len(classes) + true_label

    order = np.lexsort((-prediction["score"].to_numpy(float), group))
    order = order[_rank(group[order]) < (len(order) if most is None else most)]
    true_order = np.argsort(true_group, kind="stable")
    guess, group = prediction[[*EDGES]].to_numpy(float)[order], group[order]
    true, true_group = truth[[*EDGES]].to_numpy(float)[true_order], true_group[true_order]
    crowd = truth["crowd"].to_numpy(bool)[true_order]

    skipped = crowd | _outside(true, area)
    covering = crowd if rule == "coco" else np.zeros_like(crowd)  # VOC measures its difficult boxes as any other
    near = [_near(*part, guess, true, covering, min(ious)) for part in _pairs(group, true_group)]
    pairs = _preferred(_joined(near), skipped, rule)
    found = _assign(pairs, group, crowd, np.minimum(ious, 1 - 1e-10))

    passed = np.append(skipped, False)[found] | ((found == len(true)) & _outside(guess, area))
    hit = np.append(~skipped, False)[found]
    picture, label, score = picture[order], label[order], prediction["score"].to_numpy(float)[order]
    final = np.lexsort((picture, -score, label))
    return Matches(
        np.array(ious, float),
        pictures,
        classes,
        picture[final],
        label[final],
        score[final],
        hit[:, final],
        passed[:, final],
        true_picture[true_order][~skipped],
        true_label[true_order][~skipped],
        order[final],
        np.append(true_order, -1)[found[:, final]],
    )


def _positions(predicted: pd.Series | pd.Index, true: pd.Series | pd.Index) -> tuple[list[np.ndarray], pd.Index]:
    """The place of each text in the sorted index of all of them."""
    codes, names = pd.factorize(pd.Index(predicted).append(pd.Index(true)), sort=True)
    return np.split(codes, [len(predicted)]), pd.Index(names)


def _rank(group: np.ndarray) -> np.ndarray:
    """How many of its group stand before each; `group` is sorted."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def _outside(boxes: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    return (areas(boxes) < area[0]) | (areas(boxes) > area[1])


def _pairs(group: np.ndarray, true_group: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(prediction, true box) of all pairs within groups, about AT_ONCE of them at a time."""
    first = np.searchsorted(true_group, group)
    count = np.searchsorted(true_group, group, side="right") - first
    ends = np.flatnonzero(np.diff(np.cumsum(count) // AT_ONCE)) + 1
    for part in np.split(np.arange(len(group)), ends):
        guess = np.repeat(part, count[part])
        yield guess, first[guess] + _rank(guess)


def _near(i: np.ndarray, j: np.ndarray, guess: np.ndarray, true: np.ndarray, crowd: np.ndarray, least: float) -> Pairs:
    """Those of the pairs i, j that overlap enough for the lowest threshold."""
    both = shared(guess[i], true[j])
    meet = np.flatnonzero(both > 0)
    i, j, both = i[meet], j[meet], both[meet]
    own = areas(guess)[i]
    iou = both / np.where(crowd[j], own, own + areas(true)[j] - both)
    enough = iou >= min(least, 1 - 1e-10)
    return i[enough], j[enough], iou[enough]


def _joined(parts: list[Pairs]) -> Pairs:
    i, j, iou = (np.concatenate(some) for some in zip(*parts, strict=True))
    return i, j, iou


def _preferred(pairs: Pairs, skipped: np.ndarray, rule: Rule) -> Pairs:
    """By prediction, the box it would rather have first; of boxes equally near COCO takes the last, VOC the first."""
    i, j, iou = pairs
    order = np.lexsort((-j, -iou, skipped[j], i) if rule == "coco" else (j, -iou, i))
    if rule == "voc":
        order = order[_rank(i[order]) == 0]
    return i[order], j[order], iou[order]


def _assign(pairs: Pairs, group: np.ndarray, crowd: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """The true box that each prediction takes [t, n]; len(crowd) for none.

    In turns: all groups at once, first the surest prediction of each that has a box near, then the next one.
    """
    i, j, iou = pairs
    none = len(crowd)
    found = np.full((len(ious), len(group)), none)
    if not len(i):
        return found
    who, row = np.unique(i, return_inverse=True)
    column = _rank(i)
    choice = np.full((len(who), column.max() + 1), none)
    overlap = np.full(choice.shape, -1.0)
    choice[row, column], overlap[row, column] = j, iou

    taken = np.zeros((len(ious), none + 1), bool)
    turn = _rank(group[who])
    for turns in np.split(np.argsort(turn, kind="stable"), np.cumsum(np.bincount(turn))[:-1]):
        free = (overlap[turns] >= ious[:, None, None]) & ~taken[:, choice[turns]]
        t, k = np.nonzero(free.any(axis=2))
        box = choice[turns[k], free[t, k].argmax(axis=1)]
        found[t, who[turns[k]]] = box
        taken[t, box] = ~crowd[box]
    return found
