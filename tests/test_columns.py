"""Column types: one for every column, told from the cells alone, and typed cells whatever stands in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from competition import dates
from competition.errors import DataFault
from competition.tabular.columns import Column, Columns, infer, notes, read, resolve

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "NA", "?", "-", "inf", "-inf", "nan", "1e400", "007", "0.5", "yes", "2020-01-31", "31/01/2020"]
    ),
    st.sampled_from(["99/99/9999", "Jan 5, 2020", "2020-01-05 25:00", "5 Foo 20", "0000-00-00", "1.1.2020 13:00 PM"]),
    st.floats().map(str),
    st.integers(-3, 300).map(str),
)
TABLES = st.integers(1, 9).flatmap(
    lambda rows: st.lists(st.lists(CELLS, min_size=rows, max_size=rows), min_size=1, max_size=5)
)


def table_of(columns: list[list[str]]) -> pd.DataFrame:
    ids = pd.Index([f"{i:03d}" for i in range(len(columns[0]))], name="id")
    return pd.DataFrame({f"c{n}": cells for n, cells in enumerate(columns)}, index=ids, dtype=str)


def one(cells: list[str], name: str = "a") -> Column:
    (column,) = infer(pd.DataFrame({name: cells}, dtype=str))
    return column


@FEW
@given(TABLES)
def test_every_column_has_one_type_and_any_text_is_read(columns: list[list[str]]) -> None:
    table = table_of(columns)
    told = infer(table)
    assert [c.name for c in told] == list(table.columns) and all(c.reason for c in told)
    frame = read(table[table.columns[::-1]], told)
    assert list(frame.columns) == [c.name for c in told if c.type != "ignore"] and frame.index.equals(table.index)
    assert isinstance(notes(table, table[::-1], told), list)
    for kind in ("number", "category", "date", "text"):
        frame = read(table, [Column(name, kind, "given") for name in table.columns])
        numbers = frame.to_numpy() if kind == "number" else np.zeros(1)
        assert not np.isinf(numbers).any()
        assert kind in ("number", "date") or all(isinstance(cell, str) for cell in frame.to_numpy().ravel())


@FEW
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_changes_no_type(columns: list[list[str]], random) -> None:
    table = table_of(columns)
    told = {c.name: (c.type, c.day_first) for c in infer(table)}
    assume(not any(c.reason.startswith("the same") for c in infer(table)))  # of two equal columns the later is left out
    rows, names = list(table.index), list(table.columns)
    random.shuffle(rows)
    random.shuffle(names)
    assert {c.name: (c.type, c.day_first) for c in infer(table.loc[rows, names])} == told


TYPES: dict[str, tuple[list[str], str, str]] = {
    "numbers": (["1", "2.5", "-3e4", "", "NA"], "number", "numbers, 2 missing"),
    "zeros and ones": (["0", "1"] * 5, "number", "numbers"),
    "infinite": (["1", "2", "inf", "-inf"], "number", "numbers, 2 infinite"),
    "a few words among numbers": ([*map(str, range(40)), "soon"], "number", "numbers, 1 of text"),
    "many words among numbers": (["1", "2", "3", "low", "high"], "category", "5 values of its own, a code"),
    "codes": (["00123", "00456", "7"], "category", "3 values with leading zeros, a code"),
    "fractions are no codes": (["0.5", "0.25", "0"], "number", "numbers"),
    "yes and no": (["yes", "no", "yes"], "category", "2 values"),
    "true and false": (["True", "False", "True"], "category", "2 values"),
    "constant": (["7"] * 3, "ignore", "constant"),
    "empty": (["", "NA", "?"], "ignore", "every cell is missing"),
    "one value or missing": (["7", "", "7"], "number", "numbers, 1 missing"),
    "counts the rows": ([str(n) for n in range(1, 13)], "ignore", "it counts the rows"),
    "ISO": (["2020-01-31", "2020-02-01 10:30:00", ""], "date", "dates like 2020-01-31, 1 missing"),
    "UTC": (["2020-01-31 10:30:00 UTC", "2020-02-01 00:00:01 UTC"], "date", "dates like 2020-01-31 10:30:00 UTC"),
    "day first": (["31/01/2020", "01/02/2020"], "date", "dates like 01/02/2020; day first"),
    "month first": (["1/31/20", "2/1/20"], "date", "dates like 1/31/20; month first"),
    "worded": (["Jan 5, 2020", "March 31 2021"], "date", "dates like Jan 5, 2020"),
    "three forms": (["2020-01-31", "31/01/2020", "Jan 5, 2020"], "date", "dates in 3 forms"),
    "four forms": (["2020-01-31", "31/01/2020", "Jan 5, 2020", "5 Jan 2020"], "category", "4 values"),
    "day or month": (["05/06/2020", "07/08/2020"], "date", "day or month first can't be told, read as month first"),
    "years are numbers": (["2019", "2020", "2021"], "number", "numbers"),
    "text": ([f"sentence {n} of some length" for n in range(5)], "text", "5 words a cell, 5 different"),
    "names": (["red car", "blue bus"] * 4, "category", "2 values"),
    "tickets": ([f"A/{n} 21" for n in range(6)], "category", "6 values of its own, a code"),
}  # fmt: skip


@pytest.mark.parametrize("cells, kind, reason", [pytest.param(*v, id=k) for k, v in TYPES.items()])
def test_types_and_their_reasons(cells: list[str], kind: str, reason: str) -> None:
    column = one(cells)
    assert column.type == kind
    assert reason in column.reason


def test_whole_numbers_under_a_name_that_says_category_are_names() -> None:
    assert one(["1", "104", "-1"], "ps_car_11_cat").type == "category"
    assert one(["1.5", "104", "-1"], "ps_car_11_cat").type == one(["1", "104", "-1"], "scat").type == "number"


def test_unnamed_numbers_of_rows_and_copies_are_left_out() -> None:
    table = pd.DataFrame(
        {"Unnamed: 0": list("9753"), "a": list("1224"), "b": list("1224"), "": list("4567")}, dtype=str
    )
    told = {c.name: (c.type, c.reason) for c in infer(table)}
    unnamed = ("ignore", "an unnamed column that numbers the rows")
    assert told["Unnamed: 0"] == told[""] == unnamed
    assert told["a"][0] == "number" and told["b"] == ("ignore", "the same as column 'a'")


def test_cells_become_values() -> None:
    table = pd.DataFrame(
        {
            "n": ["1", " 2 ", "inf", "soon", "NA", ""],
            "c": ["a", " a ", "NA", "?", "none", ""],
            "d": ["2020-01-31", "31/01/2020 1:30 PM", "Jan 31, 2020", "2020-01-31T02:00:00+02:00", "soon", ""],
            "x": list("uvwxyz"),
        },
        index=list("fedcba"),
    )
    columns = [Column("d", "date", "", True), Column("n", "number", ""), Column("c", "category", "")]
    frame = read(table, columns)
    assert list(frame.columns) == ["d", "n", "c"] and list(frame.index) == list("fedcba")
    assert frame["n"].dtype == "float64" and frame["n"].fillna(-1).tolist() == [1, 2, -1, -1, -1, -1]
    assert frame["c"].tolist() == ["a", "a", "", "", "", ""]
    day = pd.Timestamp("2020-01-31")
    assert frame["d"].tolist()[:4] == [day, day + pd.Timedelta("13h30min"), day, day]
    assert frame["d"].isna().tolist() == [False] * 4 + [True] * 2


def test_a_table_is_read_as_the_one_that_the_types_come_from() -> None:
    column = one(["31/01/2020", "01/02/2020"], "d")
    frame = read(pd.DataFrame({"d": ["05/06/2020"]}), [column])
    assert frame["d"].tolist() == [pd.Timestamp("2020-06-05")]


def test_given_types_come_first_and_misspelt_ones_are_told() -> None:
    table = pd.DataFrame({"Pclass": list("123"), "Age": ["1", "2.5", "7"], "junk": list("abb")}, dtype=str)
    told = resolve(table, Columns(category=("Pclass",), ignore=("junk",)))
    assert [(c.name, c.type) for c in told] == [("Pclass", "category"), ("junk", "ignore"), ("Age", "number")]
    assert told[0].reason == "given"
    with pytest.raises(DataFault, match="did you mean 'Pclass'") as error:
        resolve(table, Columns(category=("Plass",), date=("when",)))
    assert [f.code for f in error.value.findings] == ["TAB-COLUMNS"] * 2


def test_the_order_of_columns_is_free_and_missing_ones_are_all_named() -> None:
    table = pd.DataFrame({"a": ["1", "2", "4"], "b": ["x", "y", "y"], "c": ["k"] * 3}, dtype=str)
    columns = infer(table)
    assert read(table[["c", "b", "a"]].assign(more="1"), columns).equals(read(table, columns))
    with pytest.raises(DataFault, match="TAB-COLUMNS(?s:.*)'a', 'b'"):
        read(table[["c"]], columns)


def test_columns_take_lists_and_name_a_column_once() -> None:
    assert Columns.model_validate({"number": ["a", 2019]}).number == ("a", "2019")
    for twice in ({"number": ["a", "a"]}, {"number": ["a"], "text": ["a"]}):
        with pytest.raises(ValidationError, match="one type"):
            Columns.model_validate(twice)


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("2020-01-31 23:59:59.123456", "2020-01-31 23:59:59.123456"),
        ("2020-01-31T00:00:00Z", "2020-01-31"),
        ("2020-01-31 00:00:00 -0130", "2020-01-31 01:30"),
        ("2020-03", "2020-03-01"),
        ("Fri, 31 Jan 2020 10:00:00 GMT", "2020-01-31 10:00"),
        ("12/31/99 12:05 am", "1999-12-31 00:05"),
        ("31.12.2020", "2020-12-31"),
        ("2nd March 2020", "2020-03-02"),
        ("Sept. 1, 2020", "2020-09-01"),
        *((cell, None) for cell in ("2020-02-30", "30/02/2020", "1.2.3", "2020", "20200131", "10:30", "5 Foo 2020")),
        *((cell, None) for cell in ("2020-01-31 24:00", "2020-01-31 13:00 pm", "1/2-2020", "2020-1", "x" * 99)),
    ],
)
def test_dates_in_many_forms(cell: str, expected: str | None) -> None:
    (time,) = dates.read([cell]).times
    assert np.isnat(time) if expected is None else pd.Timestamp(time) == pd.Timestamp(expected)
