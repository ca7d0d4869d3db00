"""The test rows of a competition's folder that nobody has seen yet, as `data.load` would have them; its train is not read.

Other rows than at export, in any number and order, with the columns in any order. The sample decides form and order where it
has all the rows of test; where it lacks some, it decides the form alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from competition import ids
from competition.boxes import sizes
from competition.boxes.checking import of_boxes
from competition.csvfile import read_csv
from competition.data import Data
from competition.errors import DataFault, Finding, examples, nearest
from competition.export.recipe import Recipe
from competition.keys import Competition
from competition.tables import pictures, read_rows
from competition.task import Rows


def read(recipe: Recipe, root: Path) -> Data:
    """The rows of test below `root`, with the training labels of the recipe. `notes` are what a user should see.

    Raises DataFault DATA-FOLDER, CSV-HEADER, CSV-EMPTYID, and what `read_rows` raises.
    """
    config = recipe.config.model_copy(update={"data": str(root)})
    _there(root)
    test, sample = read_rows(root, config.test), read_csv(root / config.sample)
    sample_id = config.id if config.id in sample.columns else sample.columns[0]
    if config.id not in test.columns and config.test == config.sample:
        test = test.rename(columns={sample_id: config.id})
    problems = [*_lacking(recipe, config, test)]
    if problems:
        raise DataFault(*problems)
    idle = [column for column in recipe.problem.inputs if column not in test.columns]  # no model looks at them
    test = test.assign(**{config.id: test[config.id].str.strip()} | dict.fromkeys(idle, ""))
    _named(config, test)
    sample, notes = _ordered(config, test, sample, sample_id)
    test = test.drop_duplicates(config.id)
    test = test.set_index(test[config.id].rename("id"))
    rows = Rows(test, pictures=pictures(test, config, "test"))
    if config.kind == "boxes":
        assert rows.pictures is not None
        found = sizes.headers(list(rows.pictures))
        rows = Rows(test, pictures=rows.pictures, sizes=of_boxes(found.set_axis(rows.ids), config))
    train = Rows(pd.DataFrame(index=recipe.truth.index), truth=recipe.truth)
    return Data(
        name=recipe.problem.competition,
        config=config,
        problem=recipe.problem,
        train=train,
        test=rows,
        sample=sample,
        sample_id=sample_id,
        hash="",
        metric_hash="",
        notes=notes,
    )


def _there(root: Path) -> None:
    """Raises DataFault DATA-FOLDER."""
    if not root.is_dir():
        what, mend = "the data folder is missing", "--data names the competition's folder, which holds its sample"
        raise DataFault(Finding("DATA-FOLDER", what, "--data", f"no folder {root}", mend))


def _lacking(recipe: Recipe, config: Competition, test: pd.DataFrame) -> Iterator[Finding]:
    """The columns that the models or the paths of pictures are made of, and that are not there."""
    template = config.image.test if config.image else ""
    wanted = [config.id, *re.findall(r"{([^}]*)}", template), *_read(recipe)]
    for column in dict.fromkeys(wanted):
        if column not in test.columns:
            where = f"{config.data}/{config.test}, column {column!r}"
            found = f"the columns are {examples(test.columns, 12)}"
            risk = "the models have learned from it"
            yield Finding("CSV-HEADER", "a column is missing", where, found, nearest(column, test.columns), risk)


def _read(recipe: Recipe) -> list[str]:
    """The columns that its models look at."""
    tasks = [leaf.run.task for leaf in recipe.leaves.values()]
    return [column for task in tasks if hasattr(task, "reads") for column in task.reads(recipe.problem)]


def _named(config: Competition, test: pd.DataFrame) -> None:
    """Raises DataFault CSV-EMPTYID."""
    empty = test.index[test[config.id] == ""]
    if len(empty):
        where, lines = f"{config.data}/{config.test}, column {config.id!r}", examples(str(n + 2) for n in empty)
        raise DataFault(Finding("CSV-EMPTYID", "rows have no id", where, f"lines {lines}", "give each row an id"))


def _ordered(
    config: Competition, test: pd.DataFrame, sample: pd.DataFrame, sample_id: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The sample with the rows that are to be submitted, and what a user should know of it."""
    have, notes = test[config.id].drop_duplicates(), []
    if len(have) < len(test) and config.kind != "boxes":
        notes.append(f"ID-DUP: {len(test) - len(have)} rows of test repeat an id, the first counts")
    if config.kind == "boxes" and ids.a_row_a_box(sample):
        return sample, tuple(notes)
    lacking, beyond = set(have) - set(sample[sample_id]), set(sample[sample_id]) - set(have)
    stale = lacking and (config.ids != "sample" or len(lacking) == len(have))
    if stale or config.ids == "test":
        if config.ids != "test":
            notes.append(
                f"SUB-STALE: the sample lacks {len(lacking)} of {len(have)} rows of test, so it tells the form alone"
            )
        return ids.of_test(sample, sample_id, have), tuple(notes)
    if beyond:
        some = examples(sorted(beyond))
        notes.append(f"SUB-IDS: {len(beyond)} ids of the sample are not in test, and get what fits all rows: {some}")
    return sample, tuple(notes)
