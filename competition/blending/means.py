"""Means of members: weighted, of powers, of ranks, and with weights of their own for each column.

A decision says how the tables of a stack become one, row by row; stacking.py has those that are models of their own. What
is said here of members is as true of a run's views.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from competition.blending.stack import Stack
from competition.keys import Kind
from competition.kinds import CLASSES, COLUMNS

FLOOR = 1e-6  # of a probability, before its logarithm or a negative power
POINTS = 500  # of a curve of ranks, at most


class Decision(Protocol):
    """How the tables of a stack become one, row by row: what it makes of an id depends on no other."""

    @property
    def weights(self) -> dict[str, float]:
        """By name, sum 1; tables of none, or that are not named, are not looked at."""
        ...

    def combine(self, stack: Stack) -> pd.DataFrame: ...

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `decide.read` is the way back."""
        ...


@dataclass(frozen=True)
class Mean:
    """The weighted sum of tables that share index and columns; those without a weight are not looked at."""

    weights: dict[str, float]

    def combine(self, stack: Stack) -> pd.DataFrame:
        weighted = [stack[name] * w for name, w in self.weights.items() if w]
        return functools.reduce(operator.add, weighted)

    def plain(self) -> dict[str, Any]:
        return self.weights


def mean(stack: Iterable[str]) -> Mean:
    names = list(stack)
    return Mean(dict.fromkeys(names, 1 / len(names)))


@dataclass(frozen=True)
class Power:
    """The weighted power mean, at exponent 0 the geometric one; probabilities of a row (of yes and no) then sum to 1 again.

    floor: cells below it count as it, for a power of 0 or of a negative number says nothing.
    """

    weights: dict[str, float]
    exponent: float
    kind: Kind
    floor: float = FLOOR

    def combine(self, stack: Stack) -> pd.DataFrame:
        p = cells(stack, self.weights)
        mixed = self._mix(p)
        if self.kind in COLUMNS:
            mixed /= mixed + self._mix(1 - p)
        return table_like(stack, self.weights, normal(mixed) if self.kind in CLASSES else mixed)

    def _mix(self, p: np.ndarray) -> np.ndarray:
        p, w = p.clip(self.floor), np.array(list(self.weights.values()))
        return np.exp(np.log(p) @ w) if self.exponent == 0 else (p**self.exponent @ w) ** (1 / self.exponent)

    def plain(self) -> dict[str, Any]:
        return {"method": "power"} | asdict(self)


def power(stack: Stack, exponent: float, kind: Kind) -> Power:
    """Of equal weights. The floor of values is the smallest that the members have said; they must be above 0."""
    floor = FLOOR if kind in (*CLASSES, *COLUMNS) else min(float(t.to_numpy().min()) for t in stack.values())
    assert floor > 0, "a power mean is of values above 0"
    return Power(mean(stack).weights, exponent, kind, floor)


@dataclass(frozen=True)
class Ranked:
    """The weighted mean of ranks, 0..1. curves: by member and column, ascending values and their ranks among the rows that
    it was fitted on; between two of them a rank is interpolated, beyond them it is that of the last.
    """

    weights: dict[str, float]
    curves: dict[str, dict[str, tuple[list[float], list[float]]]]

    def combine(self, stack: Stack) -> pd.DataFrame:
        ranks = {
            name: stack[name].apply(lambda column, name=name: np.interp(column, *self.curves[name][str(column.name)]))
            for name in self.weights
        }
        return Mean(self.weights).combine(ranks)

    def plain(self) -> dict[str, Any]:
        curves = {m: {c: list(curve) for c, curve in columns.items()} for m, columns in self.curves.items()}
        return {"method": "rank", "weights": self.weights, "curves": curves}


def ranked(stack: Stack) -> Ranked:
    """Of equal weights, with the ranks of these rows."""
    curves = {name: {str(c): _curve(table[c].to_numpy(float)) for c in table} for name, table in stack.items()}
    return Ranked(mean(stack).weights, curves)


def _curve(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Values and their ranks in 0..1, of equal values the middle one; POINTS of them, even in rank."""
    points, count = np.unique(values, return_counts=True)
    ranks = (count.cumsum() - count / 2) / len(values)
    kept = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], POINTS)))
    return points[kept].tolist(), ranks[kept].tolist()


@dataclass(frozen=True)
class PerColumn:
    """A weighted mean for each column (class, label or target); probabilities of classes then sum to 1 again."""

    by_column: dict[str, dict[str, float]]
    kind: Kind

    @property
    def weights(self) -> dict[str, float]:
        """The mean over columns."""
        return pd.DataFrame(self.by_column).mean(axis=1).to_dict()

    def combine(self, stack: Stack) -> pd.DataFrame:
        columns = [Mean(w).combine({m: stack[m][[c]] for m in w if w[m]}) for c, w in self.by_column.items()]
        mixed = pd.concat(columns, axis=1)
        if self.kind not in CLASSES:
            return mixed
        return pd.DataFrame(normal(mixed.to_numpy()), mixed.index, mixed.columns)

    def plain(self) -> dict[str, Any]:
        return {"method": "per_class"} | asdict(self)


def read(record: dict[str, Any]) -> Decision:
    """The decision of a score.json; weights by name are those of a mean."""
    values = {key: value for key, value in record.items() if key != "method"}
    if record.get("method") == "rank":
        curves = {m: {c: (v, r) for c, (v, r) in columns.items()} for m, columns in record["curves"].items()}
        return Ranked(record["weights"], curves)
    return {"power": Power, "per_class": PerColumn}[record["method"]](**values)


def cells(stack: Stack, names: Iterable[str]) -> np.ndarray:
    """[rows, columns, members]."""
    tables = [stack[name] for name in names]
    assert all(t.index.equals(tables[0].index) and list(t) == list(tables[0]) for t in tables), "tables of other rows"
    return np.stack([table.to_numpy(float) for table in tables], axis=2)


def table_like(stack: Stack, names: Iterable[str], values: np.ndarray) -> pd.DataFrame:
    first = stack[next(iter(names))]
    return pd.DataFrame(values, first.index, first.columns)


def normal(p: np.ndarray) -> np.ndarray:
    """Rows that sum to 1; those of zeros become even."""
    p = p.clip(1e-12)
    return p / p.sum(axis=1, keepdims=True)
