"""How rows are split: by class, label set, boxes, quantile, group or time, alike whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition import dates
from competition.errors import DataFault, Finding, examples
from competition.keys import Folds, Kind
from competition.tables import MISSING
from competition.task import Rows

REGRESSION_BINS = 20  # quantile bins; against 10, fold means 13 to 38% closer (100 to 3,000 log-normal rows)
BOX_BINS = 4  # quantile bins of the number of boxes in a picture
NO_BOX = "no box"  # the column of pictures without boxes, beside those of the classes
RARE_SHOWN = 10  # classes that get a sentence each
UNEVEN = 1.5  # largest over smallest fold, from which on the user is told


ALL = -1


@dataclass(frozen=True)
class Split:
    """A unit of work: one fold of one repeat, fitted from one seed; fold ALL is all rows, none held out.

    `name` is its folder in a run: `fold2`, `fold2-repeat1`, `fold2-seed1`, `foldall`.
    """

    fold: int
    repeat: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        seed = f"-seed{self.seed}" if self.seed else ""
        return self.plain + (f"-{self.column}" if self.repeat else "") + seed

    @property
    def plain(self) -> str:
        """Its name as a fold of the first repeat and seed, under which decisions of the fold are kept."""
        return "foldall" if self.fold == ALL else f"fold{self.fold}"

    @property
    def column(self) -> str:
        return f"repeat{self.repeat}" if self.repeat else "fold"


def split(rows: Rows, kind: Kind, folds: Folds, always: pd.Index | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The table [rows, repeats] by id, and the notes (FOLD-RARE, FOLD-BALANCE). Repeat r is split by seed + r.

    always: ids of rows that are always in training, -1 in the table. Raises DataFault FOLD-ROWS, FOLD-GROUP or FOLD-TIME
    where no table can be made.
    """
    rows = rows.take(pd.Index(sorted(rows.ids)))
    dealt = rows if always is None else rows.take(rows.ids[~rows.ids.isin(always)])
    problems = [*_too_few(dealt, folds), *bad_cells(rows, folds)]
    if problems:
        raise DataFault(*problems)
    numbers = {Split(0, r).column: _split_once(dealt, kind, folds, folds.seed + r) for r in range(folds.repeats)}
    table = pd.DataFrame(numbers, index=dealt.ids, dtype="int64").reindex(rows.ids.rename("id"), fill_value=-1)
    return table, notes_of(rows, kind, folds, table)


def inner(rows: Rows, kind: Kind, folds: Folds, n: int, seed: int) -> list[tuple[pd.Index, pd.Index]]:
    """Ids (to fit, to hold out) of a fold's training rows, split as the folds are: n, or fewer where groups or rows are few.

    Of rows in the order of time, one: the last of n + 1 blocks is held out. Two rows or groups or times are the least.
    """
    rows = rows.take(pd.Index(sorted(rows.ids)))
    units = rows.table[folds.group].nunique() if folds.group else len(rows)
    if folds.time:
        units = times_of(rows.table[folds.time]).nunique() - 1
    n = min(n, units)
    if n < 2:
        return []
    number = _split_once(rows, kind, folds.model_copy(update={"n": n}), seed)
    chosen = [n - 1] if folds.time else range(n)
    return [(rows.ids[number != k], rows.ids[number == k]) for k in chosen]


def _split_once(rows: Rows, kind: Kind, folds: Folds, seed: int) -> np.ndarray:
    """[rows] fold numbers; `rows` sorted by id."""
    random = np.random.RandomState(seed % 2**32)  # its stream is frozen; that of default_rng may change with numpy
    if folds.time:
        return _blocks(pd.factorize(times_of(rows.table[folds.time]), sort=True)[0], folds.n)
    strata = _strata(rows, kind, folds)
    if folds.group:
        return _whole_groups(strata, pd.factorize(rows.table[folds.group], sort=True)[0], folds.n, random)
    if kind in ("multilabel", "boxes") and strata.shape[1] > 1:
        return _by_label_set(strata, folds.n, random)
    return _deal(strata @ np.arange(1, strata.shape[1] + 1), folds.n, random)


def labels_of(rows: Rows, kind: Kind) -> pd.DataFrame:
    """[rows, classes or labels] 0 or 1, soft truth rounded; binary has both classes, regression no column; boxes those of
    the classes that a picture has, and NO_BOX where some picture has none."""
    truth = truth_of(rows)
    if kind == "boxes":
        return _classes_in(rows.ids, truth)
    if kind == "regression":
        return truth.iloc[:, :0]
    if kind in ("multiclass", "ordinal"):
        top = truth.to_numpy().argmax(axis=1)[:, None] == np.arange(truth.shape[1])
        return pd.DataFrame(top, index=truth.index, columns=truth.columns).astype("int64")
    known = truth >= 0.5
    if kind == "binary":
        known.insert(0, f"not {truth.columns[0]}", ~known.iloc[:, 0])
    return known.astype("int64")


def _classes_in(ids: pd.Index, truth: pd.DataFrame) -> pd.DataFrame:
    present = pd.crosstab(truth.index, truth["label"]).clip(upper=1).reindex(ids, fill_value=0)
    present = present.rename_axis(index="id", columns=None).astype("int64")
    empty = (~ids.isin(truth.index)).astype("int64")
    return present.assign(**{NO_BOX: empty}) if empty.any() else present


def truth_of(rows: Rows) -> pd.DataFrame:
    assert rows.truth is not None, "training rows have a truth"
    return rows.truth


def _strata(rows: Rows, kind: Kind, folds: Folds) -> np.ndarray:
    """[rows, strata] 0 or 1: what is spread evenly over the folds. Scheme plain has none."""
    if folds.scheme == "plain":
        return np.zeros((len(rows), 0), dtype="int64")
    labels = labels_of(rows, kind).to_numpy()
    if kind not in ("regression", "boxes"):
        return labels
    units = rows.table[folds.group].nunique() if folds.group else len(rows)
    few = units // folds.n  # no bin of fewer than there are folds
    if kind == "regression":
        return _quantile_bins(truth_of(rows).iloc[:, 0].to_numpy(), min(REGRESSION_BINS, few))
    boxes = truth_of(rows).groupby(level=0).size().reindex(rows.ids, fill_value=0).to_numpy()
    bins = _quantile_bins(boxes, min(BOX_BINS, few))
    return np.hstack([labels, bins[:, bins.any(axis=0)]])


def _quantile_bins(value: np.ndarray, bins: int) -> np.ndarray:
    """[rows, bins] 0 or 1; equal values share a bin."""
    below = np.searchsorted(np.sort(value), value)
    return (below[:, None] * bins // len(value) == np.arange(bins)).astype("int64")


def _deal(stratum: np.ndarray, n: int, random: np.random.RandomState) -> np.ndarray:
    """Deals the rows out like cards, one stratum after the other: what scikit-learn's StratifiedKFold does.

    Strata and folds differ by at most one row, and k rows of a stratum rarer than the folds lie in k folds. Own code
    because scikit-learn (1.9.1) refuses when every class is rarer than the folds.
    """
    fold, start = np.empty(len(stratum), dtype="int64"), 0
    for value in np.unique(stratum):
        mine = np.flatnonzero(stratum == value)
        hand = np.sort(np.arange(start, start + len(mine)) % n)
        random.shuffle(hand)
        fold[mine] = hand
        start += len(mine)
    return fold


def _by_label_set(labels: np.ndarray, n: int, random: np.random.RandomState) -> np.ndarray:
    """Iterative stratification (Sechidis et al., ECML PKDD 2011). labels: [rows, labels], two labels or more."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    fold = np.empty(len(labels), dtype="int64")
    splitter = MultilabelStratifiedKFold(n, shuffle=True, random_state=random)
    for k, (_, held) in enumerate(splitter.split(labels, labels)):
        fold[held] = k
    return fold


def _whole_groups(strata: np.ndarray, group: np.ndarray, n: int, random: np.random.RandomState) -> np.ndarray:
    """Group by group, large ones first, to the fold where the chi-square of (rows, strata) x folds grows least.

    A group counts by its sums, so classes, label sets, bins and plain rows go the same way. An empty fold costs nothing
    and any other something, so n groups fill n folds. Own code because StratifiedGroupKFold takes no label sets and
    refuses all-rare classes; on six shapes of data, 15 draws each, classes lie as evenly (within a tenth) and fold sizes
    are 1.1 to 3 times as even.
    """
    counts = np.zeros((group.max() + 1, 1 + strata.shape[1]), dtype="int64")
    np.add.at(counts, group, np.column_stack([np.ones(len(group), dtype="int64"), strata]))
    weight = 2**32 // np.maximum(counts.sum(axis=0), 1)  # whole numbers: ties are ties on every machine
    fold, held = np.empty(len(counts), dtype="int64"), np.zeros((n, counts.shape[1]), dtype="int64")
    shuffled = random.permutation(len(counts))
    for g in shuffled[np.argsort(-counts[shuffled, 0], kind="stable")]:
        fold[g] = np.argmin(held @ (weight * counts[g]))
        held[fold[g]] += counts[g]
    return fold[group]


def _blocks(time: np.ndarray, n: int) -> np.ndarray:
    """n + 1 blocks of consecutive times, as equal as undivided times allow; the first is -1. time: [rows] ranks."""
    order = np.argsort(time, kind="stable")
    starts = np.flatnonzero(np.diff(time[order], prepend=-1))
    cuts, at = [], 0
    for i in range(1, n + 1):
        allowed = starts[at + 1 : len(starts) - (n - i)]
        at += 1 + int(np.argmin(np.abs(allowed * (n + 1) - len(time) * i)))
        cuts.append(starts[at])
    return np.searchsorted(time[order][cuts], time, side="right") - 1


def times_of(cells: pd.Series) -> pd.Series:
    """Numbers if all are, else dates, in one form for the whole column (month first where both fit) if all have it; null
    where unread."""
    from pandas.tseries.api import guess_datetime_format

    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().all():
        return numbers
    forms = [guess_datetime_format(min(cells), dayfirst=first) for first in (False, True)] + ["ISO8601"]
    read = [pd.to_datetime(cells, format=form, errors="coerce", utc=True) for form in forms if form]
    return max([*read, dates.times(cells)], key=lambda times: times.notna().sum())


def notes_of(rows: Rows, kind: Kind, folds: Folds, table: pd.DataFrame) -> list[str]:
    """What a user should know of the first split: FOLD-RARE a class, FOLD-BALANCE."""
    fold, labels = table["fold"].loc[rows.ids], labels_of(rows, kind)
    if kind == "boxes":
        labels = labels.drop(columns=NO_BOX, errors="ignore")  # no class that a model has to see
    held = labels.groupby(fold.to_numpy()).sum()  # [-1 and folds, classes]
    seen = held.cumsum() - held if folds.time else held.sum() - held
    held, seen = held[held.index >= 0], seen[held.index >= 0]
    lacking = held.columns[(held == 0).any()]
    notes = [_rare(c, held[c], seen[c], rows.table[labels[c] == 1], folds.group) for c in lacking[:RARE_SHOWN]]
    if len(lacking) > RARE_SHOWN:
        notes.append(f"FOLD-RARE: so have {len(lacking) - RARE_SHOWN} more classes: {examples(lacking[RARE_SHOWN:])}")
    size = fold[fold >= 0].value_counts()
    if size.max() > UNEVEN * size.min() and size.max() - size.min() > 1:
        note = f"FOLD-BALANCE: the folds have {size.min()} to {size.max()} rows"
        group = rows.table[folds.group].value_counts() if folds.group else None
        notes.append(note if group is None else f"{note}; the largest group, {group.index[0]!r}, has {group.iloc[0]}")
    unknown = rows.table[folds.group].isin(MISSING).sum() if folds.group else 0
    if unknown:
        note = f"FOLD-GROUP: {unknown} rows have no group but a word for none in column {folds.group!r}"
        notes.append(
            f"{note}, and are kept together; where they belong to the groups of others, the CV score is too good"
        )
    return notes


def _rare(label: str, held: pd.Series, seen: pd.Series, table: pd.DataFrame, group: str | None) -> str:
    """held, seen: [folds] rows of the class in the fold, and in what its model is trained on. table: the class's rows."""
    size = f"{len(table)} row{'s' * (len(table) != 1)}" + (f" in {table[group].nunique()} groups" if group else "")
    without, unseen = (", ".join(map(str, held.index[which])) for which in (held == 0, (held > 0) & (seen == 0)))
    note = f"FOLD-RARE: class {label!r} has {size} for {len(held)} folds: folds without it: {without}"
    return f"{note}; fold {unseen} is scored on it by a model that never saw it" if unseen else note


def _too_few(rows: Rows, folds: Folds) -> Iterator[Finding]:
    counts = [("FOLD-ROWS", "rows", len(rows), folds.n)]
    if folds.group:
        counts.append(("FOLD-GROUP", f"groups in column {folds.group!r}", rows.table[folds.group].nunique(), folds.n))
    if folds.time:
        times = times_of(rows.table[folds.time]).nunique()
        counts.append(("FOLD-TIME", f"different times in column {folds.time!r}", times, folds.n + 1))
    for code, of, have, want in counts:
        if have < want:
            what, where = f"there are fewer {of} than the folds need", f"competition.yaml, folds: n: {folds.n}"
            yield Finding(code, what, where, f"{have} {of}; {want} are needed", "lower folds: n")


def bad_cells(rows: Rows, folds: Folds) -> Iterator[Finding]:
    """Cells of the group or time column that no split can use."""
    if folds.group and (empty := rows.table[folds.group].str.strip() == "").any():
        where, found = f"column {folds.group!r}", f"ids {examples(rows.ids[empty])}"
        risk = "such rows may belong to any group, which would then be trained on and scored at once"
        mend = "fill the column (a value of its own for a row that stands alone), or take another by folds: group"
        yield Finding("FOLD-GROUP", "training rows have no group", where, found, mend, risk)
    if folds.time and (unread := times_of(rows.table[folds.time]).isna()).any():
        where = f"column {folds.time!r}, ids {examples(rows.ids[unread])}"
        mend = "write all of them as numbers, or all as dates of one form such as 2024-01-31"
        found = examples(rows.table.loc[unread, folds.time])
        yield Finding("FOLD-TIME", "times are neither numbers nor dates of one form", where, found, mend)
