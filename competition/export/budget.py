"""What of a bundle's models is left out so that all rows are predicted in time: the views, members and folds that add least.

What a view or a member adds is known from OOF (score.json). Of folds nothing of the kind is known, for each row has one
model's word there: they go last, one of each run at a time. What is turned off counts from the next chunk on, and comes back
where the time allows it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from competition import board
from competition.export.recipe import Recipe, shares, used

WARM, MOST = 32, 512  # rows of the first chunk, whose time tells little, and of the second one, of pictures
SAMPLE = 0.05  # of the time that the second chunk may take
SPARE, BACK = 1.05, 1.3  # what a chunk may take longer than those before it; and for what was off to come back


@dataclass(frozen=True)
class Grid:
    """The models and views of a leaf that are asked."""

    views: tuple[str, ...]
    folds: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What is turned off: a view of a leaf, a leaf (no view), or the last fold of each (neither). adds: in the metric."""

    leaf: str = ""
    view: str = ""
    adds: float = 0.0
    number: int = 0  # of folds

    def __str__(self) -> str:
        if not self.leaf:
            return "a fold of each run"
        return f"{f'view {self.view} of ' if self.view else ''}{self.leaf} (adds {self.adds:+.2g})"


@dataclass
class Budget:
    """ends: by `time.monotonic`, when all rows should be predicted; inf: there is no limit. rows: of test.

    rate: of a leaf and view, seconds a row and model, of the largest chunk so far, and how many rows that has.
    """

    recipe: Recipe
    rows: int
    ends: float = math.inf
    left: dict[str, int] = field(default_factory=dict)
    rate: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    pictures: tuple[float, int] = (0.0, 0)
    off: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = dict.fromkeys(used(self.recipe), self.rows)

    # What is told -----------------------------------------------------------------------------------------------------

    def decoded(self, rows: int, seconds: float) -> None:
        self.pictures = _larger(self.pictures, rows, seconds)

    def took(self, leaf: str, view: str, rows: int, seconds: float) -> None:
        self.rate[leaf, view] = _larger(self.rate.get((leaf, view), (0.0, 0)), rows, seconds)

    def told(self, leaf: str, rows: int) -> None:
        self.left[leaf] -= rows

    # What follows -----------------------------------------------------------------------------------------------------

    def sample(self, leaves: Sequence[str], most: int) -> int:
        """Rows of their second chunk."""
        each = sum(self._each(leaf, grid) for leaf, grid in self.grids([]).items() if leaf in leaves)
        return max(WARM, min(most, int(SAMPLE * (self.ends - time.monotonic()) / max(each, 1e-9))))

    def plan(self) -> None:
        """Chooses what is off from now on, and says so where that is something else than before."""
        steps = [*order(self.recipe)]
        less = (step for step in steps if step not in self.off)
        off = [*self.off]
        while not self._fits(off) and self._models(off) > self._decoding and (step := next(less, None)):
            off.append(step)
        off.sort(key=steps.index)
        for step in reversed(off):  # what adds most comes back first
            rest = [s for s in off if s != step]
            if self._fits(rest, BACK if step in self.off else SPARE):
                off = rest
        if off != self.off:
            done = self.rows - max(self.left.values())
            what = ", ".join(map(str, off)) or "nothing"
            board.say(
                f"RUN-BUDGET: from row {done:,} on, turned off so that all {self.rows:,} are predicted in time: {what}"
            )
            self.off = off

    def grid(self, leaf: str) -> Grid:
        return self.grids(self.off)[leaf]

    def grids(self, off: Sequence[Step]) -> dict[str, Grid]:
        """Of every leaf; of one that is off no fold."""
        fewer = sum(not step.leaf for step in off)
        found = {}
        for name in self.left:
            leaf = self.recipe.leaves[name]
            mine = [step.view for step in off if step.leaf == name]
            folds = _without(tuple(leaf.folds), fewer)
            found[name] = Grid(tuple(v for v in leaf.views if v not in mine), () if "" in mine else folds)
        return found

    def seconds(self, off: Sequence[Step] = ()) -> float:
        """That the rows that are left take. Pictures are decoded beside."""
        return max(self._models(off), self._decoding)

    def _models(self, off: Sequence[Step]) -> float:
        return sum(self.left[leaf] * self._each(leaf, grid) for leaf, grid in self.grids(off).items())

    @property
    def _decoding(self) -> float:
        """Where this takes longest, nothing is won by fewer models."""
        return self.pictures[0] * max(self.left.values(), default=0)

    def _fits(self, off: Sequence[Step], spare: float = SPARE) -> bool:
        return time.monotonic() + spare * self.seconds(off) <= self.ends

    def _each(self, leaf: str, grid: Grid) -> float:
        return len(grid.folds) * sum(self.rate.get((leaf, view), (0.0, 0))[0] for view in grid.views)


def _without(folds: tuple[str, ...], fewer: int) -> tuple[str, ...]:
    """At least one is left; the models of all rows go last."""
    order = sorted(range(len(folds)), key=lambda n: (folds[n].startswith("foldall"), -n))
    gone = order[: min(fewer, len(folds) - 1)]
    return tuple(fold for n, fold in enumerate(folds) if n not in gone)


def _larger(known: tuple[float, int], rows: int, seconds: float) -> tuple[float, int]:
    return (seconds / rows, rows) if rows and rows >= known[1] else known


def order(recipe: Recipe) -> Iterator[Step]:
    """All that may be turned off, what adds least first: views, but for each leaf's best; members, but for the best; folds,
    but for one of each leaf."""
    weight, names = shares(recipe), used(recipe)
    views = [
        Step(name, view, weight[name] * recipe.leaves[name].gains.get(view, 0.0))
        for name in names
        for view in recipe.leaves[name].views
    ]
    last = {max((s for s in views if s.leaf == name), key=lambda s: s.adds) for name in names}
    yield from sorted((s for s in views if s not in last), key=lambda s: s.adds)
    members = sorted((Step(name, adds=adds) for name, adds in _members(recipe, weight).items()), key=lambda s: s.adds)
    yield from members[:-1]
    yield from (Step(number=n) for n in range(1, max(len(recipe.leaves[name].folds) for name in names)))


def _members(recipe: Recipe, weight: Mapping[str, float]) -> dict[str, float]:
    """What each leaf adds to the blends that it is in, as they count."""
    adds = dict.fromkeys(used(recipe), 0.0)
    for name, blend in recipe.blends.items():
        for member in set(blend.members) & set(adds):
            adds[member] += weight[name] * blend.gains.get(member, 0.0)
    return adds
