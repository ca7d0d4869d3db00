"""Whether the ids of a competition's tables name its rows: each once, none of test in train, those of test the sample's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import DataFault, Finding, examples
from competition.keys import Competition
from competition.tables import is_csv

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


def check(config: Competition, tables: dict[str, pd.DataFrame], sample: pd.DataFrame, sample_id: str) -> None:
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
        overlap = set(tables[one][config.id]) & set(tables[other][config.id])
        if overlap and getattr(config, one) != getattr(config, other) and "path" not in tables[one].columns:
            problems.append(
                Finding(
                    "ID-OVERLAP",
                    f"ids stand in {one} and in {other}",
                    f"column {config.id!r}",
                    examples(sorted(overlap)),
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
