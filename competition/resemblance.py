"""Whether a submission looks like its run's out-of-fold predictions: the shares of what is predicted, means, spread,
quantiles, and how sure the rows are.

Both are rendered in the sample's form and measured alike. The distance of one measure is the area between its two
distributions (Wasserstein-1) in standard deviations of both together: 0 for the same, at most 2 for two that lie apart. Of
two draws of n and m rows from one distribution it is around sqrt(1/n + 1/m). Rows that were moved by one have the same
distribution, and so have two classes of equal shares that were swapped: nothing here can see that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.boxes import strings, submitting
from competition.boxes.form import BoxForm
from competition.boxes.table import EDGES
from competition.data import Data
from competition.form import Form
from competition.hostread import floats
from competition.tables import label_sets

GRID = np.linspace(0, 1, 201)  # quantiles by which distributions are compared
LEAST = 8  # rows, of either, that tell something
# Distances from which on a measure is told: the one of sureness is larger, for the mean of several folds' models is less
# sure than each. In 74 runs on real and toy data the largest of a right file was 0.35, of sureness 0.73 (docs/results.md).
FAR, FAR_SURE = 0.5, 1.0
NOISE = 3.0  # times sqrt(1/n + 1/m), which are added
FINE = 0.02  # the least standard deviation of a probability that counts: below it are models that never predict a class
CHANCE = 1e-9  # of a right file to hold one value alone, below which it is refused
OVERLAP = 0.05  # share of values within the middle 98% of the others, below which the two have nothing in common
MOVED = 0.1  # distance from which on columns may have changed places
NEARER = 0.25  # of the distances that is left once they are put back


@dataclass(frozen=True)
class Measured:
    """numbers: [rows, measures]. held: names of the measures that are columns or classes, which could be swapped.
    limited: whether these are shares or probabilities. of: what stands in a row, for CHANCE: [rows] text."""

    numbers: pd.DataFrame
    held: tuple[str, ...]
    limited: bool
    of: pd.Series


@dataclass(frozen=True)
class Likeness:
    """faults: (what, found) of what can't be a right file; doubts: sentences."""

    faults: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]


def compare(oof: Measured, test: Measured, moved: bool = False) -> Likeness:
    """Of a run's out-of-fold predictions and its submission, both `measured`. moved: the shares of test are others, on
    purpose."""
    sizes = len(oof.numbers), len(test.numbers)
    if min(sizes) < LEAST:
        return Likeness((), ())
    noise = float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))
    faults = [*_constant(oof, test)]
    if moved:
        return Likeness(tuple(faults), ())
    if not faults:
        faults = [*_swapped(oof, test, noise), *_apart(oof, test)]
    return Likeness(tuple(faults), tuple(_far(oof, test, noise)))


def distances(oof: Measured, test: Measured) -> pd.Series:
    """[measures] distance of each."""
    a, b = _levelled(oof, test)
    area = np.abs(_quantiles(a) - _quantiles(b)).mean(axis=0)
    scale = _scale(a, b, oof.limited)
    return pd.Series(np.divide(area, scale, out=np.zeros_like(area), where=scale > 0), a.columns)


def _levelled(oof: Measured, test: Measured) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures; values as their ranks among all of both, for a few large ones would hide all others."""
    a, b = oof.numbers, test.numbers[list(oof.numbers)]
    if oof.limited:
        return a, b
    whole = np.concatenate([a.to_numpy(float), b.to_numpy(float)])
    ranks = pd.Series(whole.ravel()).rank(pct=True).to_numpy().reshape(whole.shape)
    return pd.DataFrame(ranks[: len(a)], columns=a.columns), pd.DataFrame(ranks[len(a) :], columns=a.columns)


# Measures -------------------------------------------------------------------------------------------------------------


def measured(form: Form, table: pd.DataFrame) -> Measured:
    """table: a submission's columns as text."""
    if form.names:
        return _of_names(form, table)
    numbers = table[list(form.source)].apply(floats)
    held, limited = tuple(numbers.columns), form.cells != "value"
    text = strings.joined(table[list(form.source)], ",")
    if form.exclusive:
        p = numbers.to_numpy(float).clip(1e-12, 1)
        first = pd.get_dummies(pd.Categorical.from_codes(p.argmax(axis=1), [f"rows of {c}" for c in held]))
        shares = first.set_index(numbers.index).astype(float)
        sure = pd.Series(-(p * np.log(p)).sum(axis=1), numbers.index, name="entropy")
        return Measured(pd.concat([numbers, shares, sure], axis=1), held, limited, text)
    if form.cells == "probability" and len(held) == 1:
        turned = (1 - numbers).add_prefix("1 - ")
        return Measured(pd.concat([numbers, turned], axis=1), (*held, *turned), limited, text)
    if form.cells == "probability":
        numbers = numbers.assign(**{"labels in a row": numbers.sum(axis=1)})
    return Measured(numbers, held, limited, text)


def of_boxes(boxes: pd.DataFrame, sizes: pd.DataFrame, classes: tuple[str, ...]) -> Measured:
    """boxes: a table of boxes; sizes: of all pictures that could have some. One row a picture, for its boxes go together:
    their number, the shares of the classes, the mean of their scores, places and sizes as fractions of the picture."""
    whole = sizes.loc[boxes.index, ["width", "height", "width", "height"]].to_numpy(float)
    x_min, y_min, x_max, y_max = (boxes[list(EDGES)].to_numpy(float) / whole).T
    each = pd.DataFrame(
        {"score": boxes["score"].to_numpy(float), "x_center": (x_min + x_max) / 2, "y_center": (y_min + y_max) / 2,
         "width": x_max - x_min, "height": y_max - y_min}
        | {f"boxes of {c}": (boxes["label"] == c).to_numpy(float) for c in (classes if len(classes) > 1 else ())},
        index=boxes.index,
    )  # fmt: skip
    rows = each.groupby(level=0).mean().reindex(sizes.index)
    counts = boxes.index.value_counts().reindex(sizes.index).fillna(0.0)
    rows.insert(0, "boxes", counts.to_numpy(float))
    text = strings.joined(rows.round(9).astype(str), ",")
    return Measured(rows, tuple(c for c in rows if c.startswith("boxes of ")), True, text)


def test_boxes(data: Data, form: BoxForm, table: pd.DataFrame) -> Measured:
    """table: a submission of boxes that has passed `submit.check`."""
    text, _ = submitting.boxes_of(data, form, table)
    found = strings.measured(strings.numbers(text))
    sizes = submitting.sizes_of(data, data.test.ids)
    if form.fractions:
        found[list(EDGES)] *= sizes.loc[found.index, ["width", "height", "width", "height"]].to_numpy(float)
    back = dict(zip(form.names, data.problem.classes, strict=True))
    labels = text["label"].map(back) if "label" in text else data.problem.classes[0]
    return of_boxes(found.assign(label=labels), sizes, data.problem.classes)


def _of_names(form: Form, table: pd.DataFrame) -> Measured:
    """Shares of the names; of lists that of the first name, and how many there are."""
    cells = table[next(iter(form.source))]
    lists = cells.map(lambda cell: [cell]) if form.cells == "label" else label_sets(cells, form.separator)
    if form.cells == "ranking":
        lists = lists.str[:1]
    codes = pd.Series([form.names.index(name) for names in lists for name in names], dtype=int)
    rows = np.repeat(np.arange(len(lists)), lists.map(len))
    flags = np.zeros((len(lists), len(form.names)))
    flags[rows, codes] = 1
    numbers = pd.DataFrame(flags, columns=list(form.names))
    if form.cells == "labels":
        numbers["labels in a row"] = lists.map(len).to_numpy(float)
    return Measured(numbers, form.names, True, cells)


# What they say --------------------------------------------------------------------------------------------------------


def _constant(oof: Measured, test: Measured) -> Iterator[tuple[str, str]]:
    """One value in all rows, which out-of-fold predictions make all but impossible."""
    if test.of.nunique() > 1:
        return
    shares = oof.of.value_counts(normalize=True).to_numpy(float)
    largest = min(1.0, shares[0] + NOISE * np.sqrt(shares[0] * (1 - shares[0]) / len(oof.of)) + 1 / len(oof.of))
    if largest ** len(test.of) < CHANCE:
        found = (
            f"all {len(test.of)} rows hold {test.of.iloc[0][:60]!r}; out of fold {oof.of.nunique():,} different ones"
        )
        yield "all rows hold the same prediction, out-of-fold predictions do not", found


def _swapped(oof: Measured, test: Measured, noise: float) -> Iterator[tuple[str, str]]:
    """Columns or names that are far from their own out-of-fold distribution, and near to each other's."""
    from scipy.optimize import linear_sum_assignment

    far = distances(oof, test)[list(oof.held)]
    some = [c for c in oof.held if far[c] > MOVED + NOISE * noise]
    if len(some) < 2:
        return
    left, right = (table[some] for table in _levelled(oof, test))
    scale = np.maximum(_scale(left, right, oof.limited), 1e-300)
    cost = np.abs(_quantiles(right)[:, :, None] - _quantiles(left)[:, None, :]).mean(axis=0) / scale  # [test, OOF]
    _, to = linear_sum_assignment(cost)
    turned = np.flatnonzero(to != np.arange(len(some)))
    if len(turned) and cost[turned, to[turned]].sum() < NEARER * cost[turned, turned].sum():
        pairs = [f"{some[i]!r} holds what looks like {some[to[i]]!r}" for i in turned]
        yield "columns or classes have changed places", "; ".join(pairs[:5]) + ", ..." * (len(pairs) > 5)


def _apart(oof: Measured, test: Measured) -> Iterator[tuple[str, str]]:
    """Values that lie where none of the out-of-fold predictions does."""
    for name in oof.held if not oof.limited else ():
        known, found = oof.numbers[name], test.numbers[name]
        within = found.between(known.quantile(0.01), known.quantile(0.99)).mean()
        if known.nunique() > 1 and within < OVERLAP:
            span, said = f"{known.min():.4g}..{known.max():.4g}", f"{found.min():.4g}..{found.max():.4g}"
            yield f"{name!r} has another range than out-of-fold predictions", f"{said}; out of fold {span}"


def _far(oof: Measured, test: Measured, noise: float) -> Iterator[str]:
    for name, distance in distances(oof, test).sort_values(ascending=False).items():
        if distance > (FAR_SURE if name in ("entropy", "score") else FAR) + NOISE * noise:
            a, b = oof.numbers[name], test.numbers[name]
            told = f"mean {b.mean():.4g}, out of fold {a.mean():.4g} ± {a.std():.4g}; spread {b.std():.4g}"
            yield f"{name}: {told} ({distance:.2g} standard deviations apart)"


def _quantiles(numbers: pd.DataFrame) -> np.ndarray:
    """[GRID, columns]."""
    return np.nan_to_num(np.nanquantile(numbers.to_numpy(float), GRID, axis=0))


def _scale(a: pd.DataFrame, b: pd.DataFrame, limited: bool) -> np.ndarray:
    """[columns] standard deviation of both together, each counting half."""
    means, spread = a.mean() - b.mean(), (a.var(ddof=0) + b.var(ddof=0)) / 2
    scale = np.sqrt(np.nan_to_num((spread + means**2 / 4).to_numpy(float)))
    return np.maximum(scale, FINE) if limited else scale
