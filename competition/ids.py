"""What ids say: whether they name each row once and test's are the sample's, whether two tables mean the same rows by them,
and which groups of rows they name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import DataFault, Finding, examples
from competition.keys import Competition
from competition.tables import fill, is_csv, pattern

LOOKED = 10_000  # common ids whose cells are compared
COPIED = 0.5  # share of common ids with equal cells beyond chance: nearly all where rows were copied, else none

Tables = dict[str, pd.DataFrame]


def a_row_a_box(sample: pd.DataFrame) -> bool:
    """Of a sample of boxes: whether it has one row a box, in several columns beside the id, not one a picture."""
    return len(sample.columns) > 2


def without_doubles(tables: Tables, config: Competition) -> tuple[Tables, tuple[str, ...]]:
    """The tables, and what a user should know: of training rows of one id and one label the first, where that is asked."""
    train = tables["train"]
    again = train.duplicated([config.id, *config.targets])
    if config.duplicates == "refuse" or config.kind == "boxes" or not again.any():
        return tables, ()
    note = f"ID-DUP: {again.sum()} training rows repeat an id and its label and are left out (duplicates: first): "
    return tables | {"train": train[~again]}, (note + examples(train.loc[again, config.id]),)


def check(config: Competition, tables: Tables, sample: pd.DataFrame, sample_id: str) -> None:
    """Raises DataFault: CSV-EMPTYID, ID-DUP, ID-CONFLICT, ID-OVERLAP, SUB-IDS, SUB-STALE, CSV-IDTYPE."""
    problems = []
    for part, ids in (*((p, t[config.id]) for p, t in tables.items()), ("sample", sample[sample_id])):
        where = f"{config.data}/{getattr(config, part)}, column {sample_id if part == 'sample' else config.id!r}"
        if (ids == "").any():
            lines = [str(n + 2) for n in np.flatnonzero(ids == "")]
            problems.append(
                Finding("CSV-EMPTYID", "rows have no id", where, f"lines {examples(lines)}", "give each row an id")
            )
        if part != "sample" and not (config.kind == "boxes" and is_csv(getattr(config, part))):
            problems += _doubled(tables[part], config, part)
        elif part == "sample" and config.kind != "boxes" and ids.duplicated().any():
            twice = ids[ids.duplicated()].unique()
            mend = "fetch the sample again: it has a row an id"
            problems.append(Finding("ID-DUP", "an id stands in more than one row", where, examples(twice), mend))
    for one, other in combinations(tables, 2):
        overlap = shared(config, tables, one, other)
        if overlap and same_rows(config, tables, one, other, overlap):
            problems.append(
                Finding(
                    "ID-OVERLAP",
                    f"ids stand in {one} and in {other}",
                    f"column {config.id!r}",
                    examples(overlap),
                    "remove them from one of the two",
                    risk="rows would be scored by a model that has seen them",
                )
            )
    want, have = set(sample[sample_id]), set(tables["test"][config.id])
    some = config.kind == "boxes" and a_row_a_box(sample)  # pictures without boxes have no row there
    fits = want <= have if some or config.ids == "sample" else want == have
    if not fits and config.ids != "test" and not problems:
        missing, extra = sorted(want - have), sorted(have - want)
        code, hint = "SUB-IDS", "set `test:` to the file that holds the sample's ids"
        if {i.lstrip("0") for i in want} == {i.lstrip("0") for i in have}:
            code = "CSV-IDTYPE"
            hint = "the two differ only by leading zeros: one file was saved by a tool that read ids as numbers"
        if {Path(i).stem for i in want} == {Path(i).stem for i in have}:
            hint = "the two differ only by the file extension: name a column of test that holds the sample's form"
        if (want < have or have < want) and want and have:
            code, hint = (
                "SUB-STALE",
                "`ids: test` in competition.yaml writes a row for each of test, in the sample's form",
            )
            hint += "; `ids: sample` only those of the sample" if want < have else ", and leaves out what only it has"
        problems.append(
            Finding(code, "the sample's ids are not the test rows' ids", f"{config.data}/{config.sample}",
                   f"{len(missing)} of the sample not in test: {examples(missing)}; {len(extra)} of test not in the sample: "
                   f"{examples(extra)}", hint, risk="the submission would be refused")
        )  # fmt: skip
    if problems:
        raise DataFault(*problems)


def of_test(sample: pd.DataFrame, sample_id: str, ids: pd.Series) -> pd.DataFrame:
    """A sample with a row for each of these ids: its own, and for others its cells in turn, which show the form."""
    known = sample.drop_duplicates(sample_id).set_index(sample_id)
    turn = sample.iloc[np.arange(len(ids)) % len(sample)].assign(**{sample_id: ids.to_numpy()}).set_index(sample_id)
    turn.update(known.loc[known.index.isin(turn.index)])
    return turn.reset_index()[list(sample.columns)]


def shared(config: Competition, tables: Tables, one: str, other: str) -> list[str]:
    """Ids that two tables have in common; none of one table that serves as both, nor where the files' names are the ids."""
    if getattr(config, one) == getattr(config, other) or "path" in tables[one].columns:
        return []
    return sorted(set(tables[one][config.id]) & set(tables[other][config.id]))


def same_rows(config: Competition, tables: Tables, one: str, other: str, ids: list[str]) -> bool:
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


def numbered_anew(config: Competition, tables: Tables) -> tuple[str, ...]:
    """A sentence for each two tables that use the same ids for other rows; where neither holds rows of the other."""
    pairs = [(one, other, shared(config, tables, one, other)) for one, other in combinations(tables, 2)]
    return tuple(
        f"ID-OVERLAP: {len(ids)} ids stand in {one} and in {other}, of different rows: each table counts its own "
        f"({examples(ids)})"
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


def _doubled(table: pd.DataFrame, config: Competition, part: str) -> Iterator[Finding]:
    """Ids of more than one row, by whether the rows have the same label."""
    twice = table[table.duplicated(config.id, keep=False)]
    targets = [c for c in config.targets if c in table.columns and part == "train"]
    conflict = twice.groupby(config.id)[targets].nunique().gt(1).any(axis=1) if targets else pd.Series(dtype=bool)
    clashing = twice[twice[config.id].isin(conflict.index[conflict])]
    where = f"{config.data}/{getattr(config, part)}, column {config.id!r}"
    if len(clashing):
        yield Finding(
            "ID-CONFLICT",
            "an id stands in several rows with other labels",
            where,
            _lines(clashing, config.id, targets),
            "find out which of them is right, and remove the others",
            risk="predictions are joined by id; a row would be trained on and scored by another's label",
        )
    same = twice.drop(clashing.index)
    if len(same):
        mend = "remove the double rows, or name the column that is unique by `id:`"
        more = "; `duplicates: first` keeps the first of those with one label" if targets else ""
        risk = "predictions are joined by id; rows would be mixed"
        yield Finding(
            "ID-DUP", "an id stands in more than one row", where, _lines(same, config.id, []), mend + more, risk=risk
        )


def _lines(rows: pd.DataFrame, id: str, targets: list[str], most: int = 5) -> str:
    """`'a17' in lines 3 ('cat') and 9 ('dog')`, for a few ids."""

    told = []
    for name, group in list(rows.groupby(id, sort=False))[:most]:
        labels = [f" ({', '.join(map(repr, row))})" if targets else "" for row in group[targets].to_numpy()]
        lines = [f"{n + 2}{label}" for n, label in zip(group.index[:3], labels)]
        told.append(f"{name!r} in lines {' and '.join(lines)}")
    groups = rows[id].unique()
    return "; ".join(told) + (f"; ... ({len(groups)} in all)" if len(groups) > most else "")
