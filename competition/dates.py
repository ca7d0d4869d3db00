"""Text cells as dates, in whatever form a competition writes them, and whether test lies after train by a column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.tables import MISSING

SHARE = 0.95  # of the distinct cells of a column that must be read for it to be one of dates
MIXED = 3  # forms that one column may mix
LATE = 0.99  # test lies after train where its rows come after this share of train's
SAMPLE = 100  # distinct cells that are looked at before all are read
TIMES = re.compile(r".*((?<!candi)(?<!up)(?<!man)(?<!vali)date|timestamp|epoch).*|.*dt|time|year|month|week|day", re.I)

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_WORD = r"(?P<word>[a-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?)?(?: ?(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?: ?(?:z|utc|gmt|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)))?"
FORMS = {
    form: re.compile(
        rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?{pattern}(?:(?:,? |t){_CLOCK})?{_ZONE}", re.I | re.A
    )
    for form, pattern in {
        "2020-01-31": r"(?P<year>\d{4})(?:(?P<s>[-/.])(?P<month>\d{1,2})(?P=s)(?P<day>\d{1,2})|-(?P<only>\d\d))",
        "31/01/2020": r"(?P<month>\d{1,2})(?:(?P<s>[-/.])(?P<day>\d{1,2})(?P=s)(?P<year>\d{4})"
        r"|/(?P<second_of_two>\d{1,2})/(?P<short>\d\d))",
        "Jan 31, 2020": rf"{_WORD} {_DAY},? (?P<year>\d{{4}})",
        "31 Jan 2020": rf"{_DAY}[ -]{_WORD},?[ -](?P<year>\d{{4}}|\d\d)",
    }.items()
}
SLASHED = "31/01/2020"  # the form whose first number may be the day or the month


@dataclass(frozen=True)
class Dates:
    """times: [cells] datetime64[us] in UTC, NaT where unread. forms: form -> cells, the commonest first.

    day_first: how 05/06/2020 was read. ambiguous: no such cell tells which of the two is the day.
    """

    times: np.ndarray
    forms: dict[str, int]
    day_first: bool
    ambiguous: bool

    @property
    def nearly_all(self) -> bool:
        """Whether a column of these cells is one of dates: nearly all are read, in up to three forms."""
        return len(self.times) > 0 and sum(list(self.forms.values())[:MIXED]) >= SHARE * len(self.times)


def read(cells: Sequence[str], day_first: bool | None = None) -> Dates:
    """Each cell in its own form; day or month first as the column as a whole says (month, where it does not).

    day_first: as another table of the same column was read. Numbers alone (20200131, 2020) are no dates.
    """
    found = [_parts(cell) for cell in cells]
    forms = np.array([part[0] if part else "" for part in found], dtype=object)
    year, month, day, clock = (
        np.array([part[1:] if part else (0, 0, 0, 0) for part in found], dtype="int64").reshape(-1, 4).T
    )
    slashed = forms == SLASHED
    first, second = (month[slashed] > 12).sum(), (day[slashed] > 12).sum()
    ambiguous = bool(first == second == 0 and (month[slashed] != day[slashed]).any())
    swap = bool(first > second) if day_first is None else day_first
    if swap:
        month, day = np.where(slashed, day, month), np.where(slashed, month, day)
    times = _calendar(year, month, day) + clock.astype("timedelta64[us]")
    return Dates(times, dict(Counter(forms[~np.isnat(times)]).most_common()), swap, ambiguous)


def likely(cells: Sequence[str]) -> bool:
    """Whether half of some of these distinct cells are dates: a quick look before all are read."""
    some = cells[:: max(1, len(cells) // SAMPLE)]
    return sum(_parts(cell) is not None for cell in some) >= max(1, len(some) / 2)


def hold_dates(column: pd.Series) -> bool:
    """Whether the cells that are not missing are nearly all dates."""
    cells = [cell for raw in column.unique() if (cell := str(raw).strip()) not in MISSING]
    return likely(cells) and read(cells).nearly_all


def times(cells: pd.Series) -> pd.Series:
    """The dates of a column in UTC, by its index; NaT where unread."""
    codes, distinct = pd.factorize(cells)
    read_once = np.append(read([str(cell).strip() for cell in distinct]).times, np.datetime64("NaT"))
    return pd.Series(read_once[codes], index=cells.index).dt.tz_localize("UTC")


@dataclass(frozen=True)
class Order:
    """How test lies to train by a column of time.

    later: share of test rows after 99% of train's. apart: every test row is after every train row. stretches: into how
    many stretches of time of its own test falls, between train's; 0 where the two mix, or one stretch is all. end: train's
    last cell, start: test's first. dated: dates, not numbers. different: times in train.
    """

    column: str
    dated: bool
    different: int
    later: float
    apart: bool
    stretches: int
    end: str
    start: str


def orders(train: pd.DataFrame, test: pd.DataFrame, columns: Iterable[str]) -> Iterator[Order]:
    """One for each of these columns that holds dates, or numbers under a name that says time."""
    for name in columns:
        both = pd.concat([train[name], test[name]], ignore_index=True)
        dated = hold_dates(both)
        time = times(both) if dated else pd.to_numeric(both, errors="coerce") if TIMES.fullmatch(name) else None
        if time is None or (not dated and time.isna().any()):
            continue
        old, new = time[: len(train)], time[len(train) :]
        if old.nunique() < 2 or new.isna().all():
            continue
        later = float((new > old.quantile(LATE)).sum() / new.notna().sum())
        apart = bool(old.notna().all() and new.notna().all() and new.min() > old.max())
        ends = both[old.idxmax()], both[new.idxmin()]
        yield Order(name, dated, old.nunique(), later, apart, _stretches(old, new), *ends)


def _stretches(old: pd.Series, new: pd.Series) -> int:
    """`Order.stretches`. The two mix where they share a time, or test has a quarter of the stretches of a random draw."""
    times = np.unique(old.dropna()), np.unique(new.dropna())
    order = np.argsort(np.concatenate(times), kind="stable")
    is_test = np.repeat([0, 1], [len(times[0]), len(times[1])])[order]
    found = int((np.diff(is_test, prepend=0) == 1).sum())
    drawn = len(times[0]) * len(times[1]) / len(is_test)
    mixed = len(np.intersect1d(*times)) > 0 or found > drawn / 4
    return 0 if mixed or found < 2 else found


def _parts(cell: str) -> tuple[str, int, int, int, int] | None:
    """(form, year, month, day, microseconds of the day in UTC); the first of two numbers counts as the month."""
    if len(cell) > 40:
        return None
    for form, pattern in FORMS.items():
        if found := pattern.fullmatch(cell):
            part = found.groupdict()
            year = int(part.get("year") or part["short"])
            year += 0 if year > 99 else 2000 if year < 69 else 1900
            month = _month(part["word"]) if "word" in part else int(part["month"] or part["only"])
            clock = _clock(part)
            day = int(part["day"] or part.get("second_of_two") or 1)
            return None if clock is None else (form, year, month, day, clock)
    return None


def _month(word: str) -> int:
    """1 to 12 for `jan`, `Sept`, `March`; 0 for any other word."""
    return next((n for n, month in enumerate(MONTHS, 1) if month.startswith(word.lower())), 0)


def _clock(part: dict[str, str | None]) -> int | None:
    """Microseconds since midnight in UTC; None for a time that no day has."""
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if part["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (part["half"] in "pP")
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = int(f"{part['sign']}1") * (int(part["hours"] or 0) * 60 + int(part["minutes"] or 0)) if part["sign"] else 0
    micro = int((part["part"] or "0").ljust(6, "0")[:6])
    return ((hour * 60 + minute - offset) * 60 + second) * 1_000_000 + micro


def _calendar(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """datetime64[us] of each day; NaT for those that no calendar has."""
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (day - 1)
    real = (
        (year >= 1000)
        & (year < 3000)
        & (month >= 1)
        & (month <= 12)
        & (day >= 1)
        & (date.astype("datetime64[M]") == first)
    )
    return np.where(real, date, np.datetime64("NaT")).astype("datetime64[us]")
