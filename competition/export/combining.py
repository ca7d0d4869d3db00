"""What the leaves of a bundle say becomes one prediction, as the blends decided; where some say nothing, by the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pandas as pd

from competition.blending.means import Decision, Mean, PerColumn, Power, Ranked, mean
from competition.boxes.deciding import Fusion
from competition.boxes.table import empty
from competition.export.recipe import Recipe
from competition.task import pick

Told = tuple[pd.DataFrame, pd.Index]  # what is said, and of which rows: of boxes a row may have none


def fewer(decision: Decision, names: Collection[str]) -> Decision:
    """The decision where only these of its tables are there, their weights in proportion. A model on all members
    (stacking) knows nothing of fewer: then each counts the same."""
    there = {name: weight for name, weight in decision.weights.items() if weight and name in names}
    if len(there) == sum(map(bool, decision.weights.values())):
        return decision
    if isinstance(decision, PerColumn) and all(sum(w.get(n, 0) for n in there) for w in decision.by_column.values()):
        return replace(decision, by_column={c: _normal(w, there) for c, w in decision.by_column.items()})
    if isinstance(decision, (Mean, Power, Ranked, Fusion)):
        return replace(decision, weights=_normal(decision.weights, there))
    return mean(there)


def _normal(weights: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    total = sum(weights.get(name, 0.0) for name in names)
    return {name: weights.get(name, 0.0) / total for name in names}


def combined(recipe: Recipe, said: Mapping[str, Told], name: str = "") -> Told | None:
    """What a run says, in the order of its rows: a leaf what is in `said`, a blend what it makes of its members."""
    name = name or recipe.run
    blend = recipe.blends.get(name)
    if blend is None:
        return said.get(name)
    weights = blend.decision.weights
    told = {m: found for m in blend.members if weights.get(m) and (found := combined(recipe, said, m)) is not None}
    if not told:
        return None
    parts, every = [], pd.Index([])
    for names, ids in _by_members(told):
        stack = {member: pick(told[member][0], ids) for member in names}
        parts.append(fewer(blend.decision, names).combine(stack))
        every = every.append(ids)
    return pd.concat(parts) if parts else empty(), every


def _by_members(told: Mapping[str, Told]) -> Iterator[tuple[list[str], pd.Index]]:
    """The members that know a row, and those rows."""
    knows = pd.DataFrame({member: pd.Series(True, ids) for member, (_, ids) in told.items()}).fillna(False)
    for _, rows in knows.groupby(list(knows), sort=False):
        yield [member for member in told if rows[member].iloc[0]], rows.index
