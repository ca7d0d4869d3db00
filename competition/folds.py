"""The fold table, folds/<name>.csv: which fold each training row is scored in. `make folds COMP=leaves` writes it.

Columns `id,fold`, and `repeat1`, `repeat2`, ... for further splits of the same rows; with `folds: {group: auto}` also
`group`, the first id of the rows that are copies of one another. Folds count from 0; -1 is always
in training and never scored. Rows are sorted by id before they are split, so that their order in train.csv doesn't
count. A table made by hand is used as it is, if it passes the checks of `load`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from competition import artifacts, dates, foldfile, groups
from competition.data import Data, describing
from competition.errors import DataFault, Finding, examples
from competition.foldfile import GROUP
from competition.keys import AUTO, Folds
from competition.likeness import least_like_test
from competition.split import ALL, Split, bad_cells, labels_of, notes_of, split, times_of, truth_of
from competition.tables import read_csv
from competition.task import Rows

LATER = 0.95  # share of test after train, from which on a random split is called wrong
ANEW = "delete the file and give `make folds` again (runs on the old table can't be compared with new ones)"


@dataclass(frozen=True)
class FoldTable:
    """table: [rows, 1 + repeats] whole numbers by id (text, sorted), columns `fold`, `repeat1`, ...

    ordered: fold k is trained on -1 and the folds before it only (scheme time). hash: of ids, numbers, `ordered`, groups.
    groups: of copies, by id, where the folds keep them together (folds.group: auto).
    """

    table: pd.DataFrame
    ordered: bool
    hash: str
    groups: pd.Series | None = None

    @property
    def splits(self) -> list[Split]:
        """Every fold of `fold`, then every fold of `repeat1`, and so on."""
        return [Split(fold, r) for r, column in enumerate(self.table) for fold in range(self.table[column].max() + 1)]

    def ids(self, split: Split) -> tuple[pd.Index, pd.Index]:
        """Ids to train on, and ids held out."""
        fold = self.table[split.column]
        if split.fold == ALL:
            return fold.index, fold.index[:0]
        train = fold < split.fold if self.ordered else fold != split.fold
        return fold.index[train], fold.index[fold == split.fold]

    @property
    def share(self) -> float:
        """Held-out rows over training rows, the mean over the folds of the first repeat."""
        sizes = [[len(ids) for ids in self.ids(split)] for split in self.splits if split.repeat == 0]
        return sum(held / train for train, held in sizes) / len(sizes)

    def grouped(self, rows: Rows) -> Rows:
        """The training rows with their groups as a column, where there are some."""
        return rows if self.groups is None else with_groups(rows, self.groups)


def with_groups(rows: Rows, groups: pd.Series) -> Rows:
    return replace(rows, table=rows.table.assign(**{AUTO: groups.loc[rows.ids]}))


def make(data: Data) -> tuple[FoldTable, list[str]]:
    """Writes folds/<name>.csv, unless a table that fits is there. Returns it and the sentences that a user should see."""
    path, folds = artifacts.fold_table(data.name), data.config.folds
    if not path.exists():
        table, notes = draw(data)
        artifacts.write_text(path, table.to_csv(lineterminator="\n"))
        return load(data), notes + left_alone(data, table)
    found = load(data)
    notes = [f"{path} exists and fits the data; it is left as it is (delete it to split anew)"]
    notes += mismatch(data, found) + notes_of(found.grouped(data.train), data.config.kind, folds, found.table)
    return found, notes + left_alone(data, found.table)


def draw(data: Data) -> tuple[pd.DataFrame, list[str]]:
    """The table as the configuration asks for it, not written, and the sentences that a user should see."""
    if data.config.folds.group == AUTO:
        from competition.check import groups

        data = replace(data, train=with_groups(data.train, groups.of_copies(data)))
    always, told = least_like_test(data) if data.config.folds.scheme == "test_like" else (None, [])
    table, notes = split(data.train, data.config.kind, data.config.folds, always)
    if data.config.folds.group == AUTO:
        table[GROUP] = data.train.table[AUTO].loc[table.index]
        told = [_told(table[GROUP]), *told]
    return table, told + notes


def _told(copies: pd.Series) -> str:
    size = copies.value_counts()
    return f"folds.group: auto: {size[size > 1].sum():,} rows are copies of others, in {(size > 1).sum():,} groups"


def left_alone(data: Data, table: pd.DataFrame) -> list[str]:
    """What the rows suggest and the split doesn't follow: FOLD-GROUP, FOLD-TIME."""
    return [*_group_notes(data, table), *time_notes(data)]


def _group_notes(data: Data, table: pd.DataFrame) -> Iterator[str]:
    """FOLD-GROUP where a column's equal values should share a fold, by its name or as the host parts test, and don't."""
    folds, train = data.config.folds, data.train.table
    if folds.group or folds.scheme == "time":
        return
    shared = [c for c in data.problem.inputs if groups.repeats(train[c], folds.n)]
    own = [c for c in describing(train, data.config) if c not in data.test.table and groups.repeats(train[c], folds.n)]
    test = data.test.table
    named = [c for c in groups.named([*shared, *own]) if not groups.in_both(train, test, c)]
    suspect = dict.fromkeys([*named, *groups.parted(train, test, shared)])
    for column in suspect:
        crossing = (table["fold"].groupby(train[column].loc[table.index]).nunique() > 1).sum()
        if crossing:
            yield (
                f"FOLD-GROUP: WARNING: column {column!r} has {train[column].nunique()} values in {len(train)} rows, "
                f"{crossing} of which lie in more than one fold; if rows of one value are alike (a patient, a video), the "
                f"CV score is too good: set folds: {{group: {column}}} and make the fold table anew"
            )


def time_notes(data: Data) -> list[str]:
    """FOLD-TIME where a column tells the order of time and the split does not follow it: loud where test comes later."""
    scheme, group = data.config.folds.scheme, data.config.folds.group
    if scheme == "time":
        return []
    columns = [column for column in data.problem.inputs if column != group]
    orders = list(dates.orders(data.train.table, data.test.table, columns))
    late = [order for order in orders if order.later >= LATER]
    if late:
        how = f"train ends at {late[0].end}, {late[0].later:.0%} of test comes later"
        return [
            f"FOLD-TIME: WARNING: test lies after train by column {late[0].column!r} ({how}), but folds.scheme is {scheme}: "
            "a random split scores on the past with a model that knows the future, so the CV score is too good; "
            f"set folds: {{scheme: time, time: {late[0].column}}} and make the fold table anew"
        ]
    dated = [order.column for order in orders if order.dated]
    if dated:
        return [
            f"FOLD-TIME: {examples(dated, 3)} holds dates and folds.scheme is {scheme}; train and test share their times, "
            "so that is right, unless rows near in time are alike (then folds.scheme: time, or folds.group)"
        ]
    return []


def mismatch(data: Data, table: FoldTable) -> list[str]:
    """Sentences where the table has other folds than the configuration; the table counts."""
    have = f"{table.table['fold'].max() + 1} folds x {table.table.shape[1]}"
    want = f"{data.config.folds.n} folds x {data.config.folds.repeats}"
    differing = [(have, want)] if have != want else []
    if data.config.folds.scheme == "test_like" and (table.table["fold"] >= 0).all():
        differing.append(("no row that is always in training", "scheme: test_like"))
    path = artifacts.fold_table(data.name)
    counts = "the file counts (delete it to split anew)"
    return [f"{path} has {there}, competition.yaml says {said}: {counts}" for there, said in differing]


_checked: dict[Any, FoldTable] = {}  # the last file that was read: every fold of a run asks for it


def load(data: Data) -> FoldTable:
    """Reads and checks folds/<name>.csv. Raises DataFault with every problem: FOLD-MISSING, -IDS, -VALUE, -GROUP, -TIME."""
    path, folds = artifacts.fold_table(data.name), data.config.folds
    if not path.exists():
        mend = f"make folds COMP={data.name}"
        raise DataFault(Finding("FOLD-MISSING", "there is no fold table", str(path), "no such file", mend))
    key = (data.name, data.hash, folds, artifacts.file_digest(path))
    if key not in _checked:
        _checked.clear()
        _checked[key] = _read(path, data)
    return _checked[key]


def _read(path: Path, data: Data) -> FoldTable:
    folds = data.config.folds
    cells = read_csv(path).apply(lambda column: column.str.strip())
    named = cells.pop(GROUP) if folds.group == AUTO and GROUP in cells else None
    columns = [Split(0, r).column for r in range(max(1, len(cells.columns) - 1))]
    if set(cells.columns) != {"id", *columns}:
        mend = "name them id, fold and, for further splits, repeat1, repeat2, ...; remove any other"
        raise DataFault(Finding("FOLD-VALUE", "columns of no fold table", str(path), examples(cells.columns, 12), mend))
    ordered = folds.scheme == "time"
    bad = {column: list(_bad_values(path, cells["id"], cells[column], ordered)) for column in columns}
    known = cells[cells["id"].isin(data.train.ids) & ~cells["id"].duplicated()].set_index("id")
    table = known.loc[sorted(known.index), [column for column in columns if not bad[column]]].astype("int64")
    problems = [*_bad_ids(path, cells["id"], data.train.ids), *itertools.chain(*bad.values())]
    rows, groups = data.train, None
    if folds.group == AUTO and named is None:
        mend = f"{ANEW}, or give the file a column `group`"
        problems.append(Finding("FOLD-GROUP", "there are no groups", str(path), "folds: {group: auto}", mend))
    elif named is not None and not problems:
        groups = named.set_axis(cells["id"]).loc[table.index].rename(GROUP)
        rows = with_groups(rows, groups)
    if folds.group != AUTO or groups is not None:
        problems += list(bad_cells(rows, folds)) or list(_leaks(path, rows, folds, table))
    if problems:
        raise DataFault(*problems)
    named = None if groups is None else groups.tolist()
    content = foldfile.digest(table.columns, table.index, table.to_numpy().tolist(), ordered, named)
    return FoldTable(table, ordered, content, groups)


def summary(data: Data, table: FoldTable) -> pd.DataFrame:
    """One row a split (and one for -1): rows, groups, times, share of each class or mean, min, max of each target.

    Of boxes their number, and of each class the share of the pictures that have it.
    """
    always = table.table.index[table.table["fold"] == -1]
    parts = ({"always in training": always} if len(always) else {}) | {s.name: table.ids(s)[1] for s in table.splits}
    shown = pd.DataFrame(
        {name: _describe(data, table.grouped(data.train).take(ids)) for name, ids in parts.items()}
    ).T.convert_dtypes()
    if data.config.folds.time:
        times = times_of(data.train.table[data.config.folds.time])
        shown["from"], shown["to"] = ([of(times[ids]) for ids in parts.values()] for of in (min, max))
    return shown


def _describe(data: Data, rows: Rows) -> dict[str, float]:
    group, truth = data.config.folds.group, truth_of(rows)
    counts: dict[str, float] = {"rows": len(rows)} | ({"groups": rows.table[group].nunique()} if group else {})
    if data.config.kind == "regression":
        return counts | {f"{how} of {t}": truth[t].agg(how) for t in truth for how in ("mean", "min", "max")}
    shares = labels_of(rows, data.config.kind).mean()
    if data.config.kind == "boxes":
        counts["boxes"] = len(truth)
        shares = shares.reindex(labels_of(data.train, "boxes").columns, fill_value=0)  # also of those this part lacks
    return counts | shares.add_prefix("share of ").to_dict()


def _bad_ids(path: Path, ids: pd.Series, train: pd.Index) -> Iterator[Finding]:
    missing, unknown, twice = train.difference(ids), pd.Index(ids).difference(train), ids[ids.duplicated()].unique()
    if len(missing) or len(unknown):
        parts = (("training rows are missing", missing), ("ids are unknown", unknown))
        found = "; ".join(f"{len(some)} {what}: {examples(some)}" for what, some in parts if len(some))
        yield Finding(
            "FOLD-IDS", "the fold table is of other data", str(path), found, ANEW, "the score would miss rows"
        )
    if len(twice):
        risk = "a row with two folds is trained on and scored at once"
        yield Finding("FOLD-IDS", "ids stand twice", str(path), examples(twice), "keep one line of each", risk)


def _bad_values(path: Path, ids: pd.Series, cells: pd.Series, ordered: bool) -> Iterator[Finding]:
    """One column of the file: -1 or whole numbers from 0 without a gap, and something to train fold 0 on."""
    where, mend = f"{path}, column {cells.name!r}", "folds count 0, 1, 2, ...; -1 is always in training"
    wrong = ~cells.str.fullmatch("-1|[0-9]{1,6}")
    have = set(cells[~wrong].astype("int64"))
    gaps = sorted(set(range(max({0, *have}) + 1)) - have)
    if wrong.any():
        found = examples(f"{i}: {cell}" for i, cell in zip(ids[wrong], cells[wrong], strict=True))
        yield Finding("FOLD-VALUE", "cells are no fold numbers", where, found, mend)
    elif gaps:
        yield Finding("FOLD-VALUE", "fold numbers have a gap", where, f"no row has {examples(gaps)}", mend)
    elif have == {0} or (ordered and -1 not in have):
        yield Finding("FOLD-VALUE", "fold 0 has no rows to train on", where, f"numbers {examples(sorted(have))}", mend)


def _leaks(path: Path, rows: Rows, folds: Folds, table: pd.DataFrame) -> Iterator[Finding]:
    """Groups that cross folds, and folds that are not in the order of time."""
    for column, fold in table.items() if folds.group else ():
        count = fold.groupby(rows.table[folds.group].loc[table.index]).nunique()
        crossing = count[count > 1].index
        if len(crossing):
            what, where = f"groups of {folds.group!r} lie in more than one fold", f"{path}, column {column!r}"
            found, risk = examples(crossing), "rows of a group are alike: the score would be too good"
            yield Finding("FOLD-GROUP", what, where, found, f"give each group one number, or {ANEW}", risk)
    for column, fold in table.items() if folds.time else ():
        span = times_of(rows.table[folds.time]).loc[table.index].groupby(fold).agg(["min", "max"])
        span = span[span.index >= 0]
        early = span.index[span["min"] < span["max"].cummax().shift()]
        if len(early):
            what, where = f"folds are not in the order of {folds.time!r}", f"{path}, column {column!r}"
            found = f"folds that begin before an earlier one ends: {examples(early)}"
            risk = "a fold is trained on those before it: the model would know the future"
            yield Finding("FOLD-TIME", what, where, found, f"order them, or {ANEW}", risk)
