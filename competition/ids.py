"""What ids say: whether two tables mean the same rows by them, and which groups of rows they name."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from competition.errors import DataFault, Finding, examples
from competition.keys import Competition
from competition.tables import fill, pattern

LOOKED = 10_000  # common ids whose cells are compared
COPIED = 0.5  # share of common ids with equal cells beyond chance: nearly all where rows were copied, else none


def shared(config: Competition, tables: dict[str, pd.DataFrame], one: str, other: str) -> list[str]:
    """Ids that two tables have in common; none of one table that serves as both, nor where the files' names are the ids."""
    if getattr(config, one) == getattr(config, other) or "path" in tables[one].columns:
        return []
    return sorted(set(tables[one][config.id]) & set(tables[other][config.id]))


def same_rows(config: Competition, tables: dict[str, pd.DataFrame], one: str, other: str, ids: list[str]) -> bool:
    """Whether these ids of two tables mean the same rows: the same pictures, or in most of them the same cells.

    Where each table counts its rows from 1, an id's cells agree as often as those of the row before; where rows were copied,
    all of them do.
    """
    rows = [tables[part].drop_duplicates(config.id).set_index(config.id, drop=False).loc[ids] for part in (one, other)]
    if config.image is not None:
        named = [part if getattr(config.image, part) else "test" for part in (one, other)]
        templates = [getattr(config.image, part) for part in named]
        paths = [fill(template, table, f"image: {template}") for template, table in zip(templates, rows, strict=True)]
        return bool(paths[0].isin(paths[1]).any())
    both = [c for c in rows[0].columns if c in rows[1].columns and c not in (config.id, *config.targets)]
    cells = [table[both].iloc[:: -(-len(ids) // LOOKED)].to_numpy() for table in rows]
    equal, chance = ((cells[0] == np.roll(cells[1], by, axis=0)).all(axis=1).mean() for by in (0, 1))
    return bool(equal - chance >= COPIED * (1 - chance))


def numbered_anew(config: Competition, tables: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """A sentence for each two tables that use the same ids for other rows; where neither holds rows of the other."""
    pairs = [(one, other, shared(config, tables, one, other)) for one, other in combinations(tables, 2)]
    return tuple(
        f"{len(ids)} ids stand in {one} and in {other}, of different rows: each table counts its own ({examples(ids)})"
        for one, other, ids in pairs
        if ids
    )


def groups(train: pd.DataFrame, config: Competition) -> pd.Series:
    """What the ids say by the template of `folds.group`. Raises DataFault FOLD-GROUP where one does not fit it."""
    assert config.folds.of_ids is not None
    found = train[config.id].str.extract(f"^{pattern(config.folds.of_ids).pattern}$")["group"]
    if found.isna().any():
        what = "ids don't fit the template of their groups"
        where, mend = (
            f"{config.data}/{config.train}, column {config.id!r}",
            f"mend folds.group: {config.folds.of_ids!r}",
        )
        raise DataFault(Finding("FOLD-GROUP", what, where, examples(train[config.id][found.isna()]), mend))
    return found
