"""A competition's rows, as tables keyed by id: reads the CSVs as text, checks them, and encodes the targets."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from competition import artifacts, badpictures, dates, ids, metrics, prepared, prior, targets
from competition.boxes import loading, reading
from competition.config import load_competition, metric_hash
from competition.csvfile import read_csv
from competition.decoding import Reading
from competition.errors import DataFault, Finding, examples, nearest
from competition.keys import AUTO, Competition
from competition.tables import passed_over, pictures, read_rows
from competition.task import Problem, Rows

SEEN = 100  # cells that tell the form of a column
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
    root = prepared.present(name, Path(config.data))
    if config.read is not None:
        root = prepared.folder(name, root, config.read)
        config = config.model_copy(update={"data": str(root)})
    parts = ["train", "test"] + ["unlabeled"] * (config.unlabeled is not None)
    tables = {part: read_rows(root, getattr(config, part)) for part in parts}
    skipped = tuple(note for part in parts for note in passed_over(root, getattr(config, part)))
    sample = read_csv(root / config.sample)
    sample_id = config.id if config.id in sample.columns else sample.columns[0]
    problems = _missing_columns(config, tables, name)
    if problems:
        raise DataFault(*problems)
    if config.id not in tables["test"].columns:  # the sample serves as test, under its own name for the id
        tables["test"] = tables["test"].rename(columns={sample_id: config.id})
    tables = {part: table.assign(**{config.id: table[config.id].str.strip()}) for part, table in tables.items()}
    tables, doubled = ids.without_doubles(tables, config)
    ids.check(config, tables, sample, sample_id)
    told = ids.numbered_anew(config, tables)
    if config.folds.of_ids:
        tables["train"] = tables["train"].assign(**{config.folds.of_ids: ids.groups(tables["train"], config)})
    if config.ids == "test":
        sample = ids.of_test(sample, sample_id, tables["test"][config.id].drop_duplicates())
    test = tables["test"].drop_duplicates(config.id)
    test = test.set_index(test[config.id].rename("id"))
    if config.kind == "boxes":
        target = loading.read(name, config, tables["train"], test)
    else:
        target = targets.read(tables["train"].set_index(tables["train"][config.id].rename("id")), config)
    train, classes = target.table, target.classes
    notes = (*skipped, *doubled, *target.notes, *told)
    home = artifacts.competition_yaml(name).parent
    metric = metrics.get(config.metric, config.kind, classes, home)
    numbered = index_columns(train, config)
    if numbered:
        notes += (f"CSV-INDEX: nameless columns that only number the rows are left out: {examples(numbered)}",)
    found = describing(train, config)
    inputs = tuple(column for column in found if column in test.columns)
    commas = [c for c in inputs if train[c].head(SEEN).str.fullmatch(r"[-+]?\d+,\d+").all()]
    if commas:
        notes += (f"CSV-DECIMAL: columns have decimal commas and are read as words, not numbers: {examples(commas)}",)
    if inputs and len(inputs) < len(found):
        lacking = [column for column in found if column not in inputs]
        notes += (
            f"TAB-COLUMNS: test lacks {len(lacking)} columns of train, so no model looks at them: {examples(lacking)}",
        )
    further = None if config.unlabeled is None else _further(config, tables["unlabeled"], inputs)
    reading = reading_of(config)
    problem = Problem(name, config.kind, config.targets, classes, target.columns, metric, inputs, reading)
    prior.check(config.prior, problem, home)
    names = [p for p in (config.train, config.test) if "{" not in p and (root / p).is_file()]
    content = [artifacts.file_digest(root / p) for p in names]
    templates = [artifacts.digest(*tables[p]["path"]) for p in ("train", "test") if "{" in getattr(config, p)]
    meaning = config.model_dump(mode="json", include={"id", "target", "kind", "classes", "separator"})
    meaning["image"] = config.image and config.image.model_dump(exclude={"unlabeled"}, exclude_defaults=True)
    if config.duplicates != "refuse":
        meaning["duplicates"] = config.duplicates
    if config.boxes is not None:
        content.append(target.digest)
        meaning["boxes"] = config.boxes.model_dump(mode="json", exclude=WRITING)
    parts = {
        "train": Rows(train, target.truth, pictures=pictures(train, config, "train"), sizes=target.sizes),
        "test": Rows(test, pictures=pictures(test, config, "test"), sizes=target.test_sizes),
    } | ({} if further is None else {"unlabeled": further})
    if config.image is not None and config.image.bad != "refuse":
        parts, lost = badpictures.left_out(name, parts, config.image.bad, reading)
        content.append(artifacts.digest(*parts["train"].ids))
        notes += lost
    return Data(
        name=name,
        config=config,
        problem=problem,
        train=parts["train"],
        test=parts["test"],
        sample=sample,
        sample_id=sample_id,
        hash=artifacts.digest(*content, *templates, json.dumps(meaning, sort_keys=True)),
        metric_hash=metric_hash(name, config),
        notes=notes,
        unlabeled=parts.get("unlabeled"),
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


def describing(train: pd.DataFrame, config: Competition) -> tuple[str, ...]:
    """Columns of train beside the id, targets and what a picture's path is made of. An id that is a time describes too."""
    some = train[config.id].head(100).tolist()
    is_time = dates.likely(some) and dates.hold_dates(train[config.id])
    templates = f"{config.image.train}{config.image.test}" if config.image else ""
    skip = {*config.targets, config.folds.of_ids, "path", "stem", *re.findall(r"{([^}]*)}", templates)}
    skip.update(index_columns(train, config))
    return tuple(column for column in train.columns if column not in skip and (column != config.id or is_time))


def index_columns(train: pd.DataFrame, config: Competition) -> tuple[str, ...]:
    """Columns without a name that count the rows: an index that was saved with the table."""
    known = {config.id, *config.targets, config.folds.group, config.folds.time}
    unnamed = [c for c in train.columns if re.fullmatch(r"Unnamed: \d+", c) and c not in known]
    return tuple(c for c in unnamed if _counts(train[c]))


def _counts(cells: pd.Series) -> bool:
    """Whether each is greater by one than the one before; rows without a target may be left out in between."""
    numbers = pd.to_numeric(cells, errors="coerce")
    return bool(
        numbers.notna().all() and (numbers % 1 == 0).all() and numbers.is_monotonic_increasing and numbers.is_unique
    )


def reading_of(config: Competition) -> Reading:
    """How files of pictures become pixels."""
    upright = config.boxes is None or config.boxes.upright
    return Reading(upright) if config.image is None else Reading(upright, config.image.depth, config.image.alpha)


def _missing_columns(config: Competition, tables: dict[str, pd.DataFrame], name: str) -> list[Finding]:
    own = reading.columns(config) if config.kind == "boxes" else (config.id, *config.targets)
    wanted = [
        ("train", c)
        for c in (*own, config.folds.group, config.folds.time)
        if c and c not in (config.folds.of_ids, AUTO)
    ]
    wanted += [(part, config.id) for part in tables if part != "train" and getattr(config, part) != config.sample]
    return [
        Finding("CSV-HEADER", "a column is missing", f"{config.data}/{getattr(config, part)}, column {column!r}",
               f"the columns are {examples(tables[part].columns, 12)}{_headless(tables[part])}",
               f"mend {artifacts.competition_yaml(name)}; {nearest(column, tables[part].columns)}")
        for part, column in wanted
        if column not in tables[part].columns
    ]  # fmt: skip


def _headless(table: pd.DataFrame) -> str:
    """Whether the names look like cells: a name that stands in its column again, or a number."""
    like = [c for c in table.columns if c in set(table[c]) or re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", c)]
    return f"; is the first line a row, and the header missing? {examples(like)}" if like else ""
