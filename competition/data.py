"""A competition's rows, as tables keyed by id: reads the CSVs as text, checks them, and encodes the targets."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, hooks, metrics, prior, targets
from competition.boxes import loading, reading
from competition.config import load_competition
from competition.errors import DataFault, Finding, examples, nearest
from competition.keys import Competition
from competition.tables import is_csv, pictures, read_csv, read_rows
from competition.task import Problem, Rows

WRITING = {"template", "nothing", "fractions"}  # keys of `boxes` that say how a submission is written


@dataclass(frozen=True)
class Data:
    """One competition, read and checked. `notes` are the sentences that a user should see (rows left out, and why).

    hash: of the tables and of what the configuration makes of them; a run is of one. metric_hash: of the metric, of the
    user's own file of it and of `prior`; another one needs a new score, not a new run.
    """

    name: str
    config: Competition
    problem: Problem
    train: Rows
    test: Rows
    sample: pd.DataFrame
    sample_id: str
    hash: str
    metric_hash: str
    notes: tuple[str, ...]
    unlabeled: Rows | None = None

    @property
    def unknown(self) -> dict[str, Rows]:
        """The rows to predict that have no label, by the name of the file of their predictions."""
        return {"test": self.test} | ({} if self.unlabeled is None else {"unlabeled": self.unlabeled})


@functools.lru_cache(maxsize=4)
def load(name: str) -> Data:
    """Reads configs/<name>/competition.yaml and the files it names. Raises ConfigFault, DataFault or SafetyFault."""
    config = load_competition(name)
    root = Path(config.data)
    if not root.is_dir():
        raise DataFault(
            Finding(
                "DATA-FOLDER",
                "the data folder is missing",
                str(artifacts.competition_yaml(name)),
                f"data: {root}",
                "unpack the competition there, or mend `data:`",
            )
        )
    parts = ["train", "test"] + ["unlabeled"] * (config.unlabeled is not None)
    tables = {part: read_rows(root, getattr(config, part)) for part in parts}
    sample = read_csv(root / config.sample)
    sample_id = config.id if config.id in sample.columns else sample.columns[0]
    problems = _missing_columns(config, tables, name)
    if problems:
        raise DataFault(*problems)
    if config.id not in tables["test"].columns:  # the sample serves as test, under its own name for the id
        tables["test"] = tables["test"].rename(columns={sample_id: config.id})
    tables = {part: table.assign(**{config.id: table[config.id].str.strip()}) for part, table in tables.items()}
    _check_ids(config, tables, sample, sample_id)
    if config.ids == "test":
        sample = _of_test(sample, sample_id, tables["test"][config.id].drop_duplicates())
    test = tables["test"].drop_duplicates(config.id)
    test = test.set_index(test[config.id].rename("id"))
    if config.kind == "boxes":
        target = loading.read(name, config, tables["train"], test)
    else:
        target = targets.read(tables["train"].set_index(tables["train"][config.id].rename("id")), config)
    train, classes, notes = target.table, target.classes, target.notes
    home = artifacts.competition_yaml(name).parent
    metric = metrics.get(config.metric, config.kind, classes, home)
    found = describing(train, config)
    inputs = tuple(column for column in found if column in test.columns)
    if inputs and len(inputs) < len(found):
        lacking = [column for column in found if column not in inputs]
        notes += (f"test lacks {len(lacking)} columns of train, so no model looks at them: {examples(lacking)}",)
    further = None if config.unlabeled is None else _further(config, tables["unlabeled"], inputs)
    upright = config.boxes is None or config.boxes.upright
    problem = Problem(name, config.kind, config.targets, classes, target.columns, metric, inputs, upright)
    prior.check(config.prior, problem, home)
    names = [p for p in (config.train, config.test) if "{" not in p and (root / p).is_file()]
    content = [artifacts.file_digest(root / p) for p in names]
    templates = [artifacts.digest(*tables[p]["path"]) for p in ("train", "test") if "{" in getattr(config, p)]
    meaning = config.model_dump(mode="json", include={"id", "target", "kind", "classes", "separator"})
    meaning["image"] = config.image and config.image.model_dump(exclude={"unlabeled"})
    if config.boxes is not None:
        content.append(target.digest)
        meaning["boxes"] = config.boxes.model_dump(mode="json", exclude=WRITING)
    return Data(
        name=name,
        config=config,
        problem=problem,
        train=Rows(train, target.truth, pictures=pictures(train, config, "train"), sizes=target.sizes),
        test=Rows(test, pictures=pictures(test, config, "test"), sizes=target.test_sizes),
        sample=sample,
        sample_id=sample_id,
        hash=artifacts.digest(*content, *templates, json.dumps(meaning, sort_keys=True)),
        metric_hash=artifacts.digest(
            config.metric.model_dump_json(), hooks.content(config.metric.name, home), json.dumps(config.prior)
        ),
        notes=notes,
        unlabeled=further,
    )


def _further(config: Competition, table: pd.DataFrame, inputs: tuple[str, ...]) -> Rows:
    """The rows of `unlabeled:`. Raises DataFault CSV-HEADER where they lack a column that train and test share."""
    missing = [column for column in inputs if column not in table.columns]
    if missing:
        where, found = f"{config.data}/{config.unlabeled}", f"it lacks {examples(missing)}, which train and test have"
        mend = "give it the columns of test, or leave `unlabeled:` out"
        raise DataFault(Finding("CSV-HEADER", "unlabelled rows lack columns", where, found, mend))
    table = table.set_index(table[config.id].rename("id"))
    part = "unlabeled" if config.image is not None and config.image.unlabeled is not None else "test"
    return Rows(table, pictures=pictures(table, config, part))


def _of_test(sample: pd.DataFrame, sample_id: str, ids: pd.Series) -> pd.DataFrame:
    """A sample with a row for each of these ids: its own, and for others its cells in turn, which show the form."""
    known = sample.drop_duplicates(sample_id).set_index(sample_id)
    turn = sample.iloc[np.arange(len(ids)) % len(sample)].assign(**{sample_id: ids.to_numpy()}).set_index(sample_id)
    turn.update(known.loc[known.index.isin(turn.index)])
    return turn.reset_index()[list(sample.columns)]


def describing(train: pd.DataFrame, config: Competition) -> tuple[str, ...]:
    """Columns of train beside the id, the targets and what a picture's path is made of."""
    templates = f"{config.image.train}{config.image.test}" if config.image else ""
    skip = {config.id, *config.targets, "path", "stem", *re.findall(r"{([^}]*)}", templates)}
    return tuple(column for column in train.columns if column not in skip)


def a_row_a_box(sample: pd.DataFrame) -> bool:
    """Of a sample of boxes: whether it has one row a box, in several columns beside the id, not one a picture."""
    return len(sample.columns) > 2


def _missing_columns(config: Competition, tables: dict[str, pd.DataFrame], name: str) -> list[Finding]:
    own = reading.columns(config) if config.kind == "boxes" else (config.id, *config.targets)
    wanted = [("train", c) for c in (*own, config.folds.group, config.folds.time) if c]
    wanted += [(part, config.id) for part in tables if part != "train" and getattr(config, part) != config.sample]
    return [
        Finding("CSV-HEADER", "a column is missing", f"{config.data}/{getattr(config, part)}, column {column!r}",
               f"the columns are {examples(tables[part].columns, 12)}",
               f"mend {artifacts.competition_yaml(name)}; {nearest(column, tables[part].columns)}")
        for part, column in wanted
        if column not in tables[part].columns
    ]  # fmt: skip


def _check_ids(config: Competition, tables: dict[str, pd.DataFrame], sample: pd.DataFrame, sample_id: str) -> None:
    problems = []
    for part, ids in (*((p, t[config.id]) for p, t in tables.items()), ("sample", sample[sample_id])):
        where = f"{config.data}/{getattr(config, part)}, column {sample_id if part == 'sample' else config.id!r}"
        if (ids == "").any():
            lines = [str(n + 2) for n in np.flatnonzero(ids == "")]
            problems.append(
                Finding("CSV-EMPTYID", "rows have no id", where, f"lines {examples(lines)}", "give each row an id")
            )
        twice = ids[ids.duplicated()].unique()
        if len(twice) and not (config.kind == "boxes" and is_csv(getattr(config, part))):
            problems.append(
                Finding(
                    "ID-DUP",
                    "an id stands in more than one row",
                    where,
                    examples(twice),
                    "remove the double rows, or name the column that is unique by `id:`",
                    risk="predictions are joined by id; rows would be mixed",
                )
            )
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
        hint = "set `test:` to the file that holds the sample's ids"
        if {i.lstrip("0") for i in want} == {i.lstrip("0") for i in have}:
            hint = "the two differ only by leading zeros: one file was saved by a tool that read ids as numbers"
        if {Path(i).stem for i in want} == {Path(i).stem for i in have}:
            hint = "the two differ only by the file extension: name a column of test that holds the sample's form"
        code = "SUB-IDS"
        if (want < have or have < want) and min(len(want), len(have)):
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
