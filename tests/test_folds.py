"""The fold table: a partition that keeps classes even, groups whole and time in order, and the checks of a given file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from competition import artifacts, folds
from competition.data import Data
from competition.errors import DataFault
from competition.folds import FoldTable, Split
from competition.keys import Competition, Folds, MetricSpec
from competition.task import Problem, Rows

FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
KINDS = ["multiclass", "ordinal", "binary", "multilabel", "regression"]


def make_rows(truth: np.ndarray, columns: list[str] | None = None, **cells: Iterable) -> Rows:
    ids = pd.Index([f"{i:04d}" for i in range(len(truth))], name="id")
    columns = columns or [f"c{j}" for j in range(truth.shape[1])]
    table = pd.DataFrame(
        {"id": list(ids)} | {k: list(map(str, cell)) for k, cell in cells.items()}, index=ids, dtype=str
    )
    return Rows(table, pd.DataFrame(truth, index=ids, columns=columns, dtype=float))


def of_classes(*counts: int, seed: int = 0, **cells: Iterable) -> Rows:
    """Multiclass rows, `counts[j]` of class cj, in random order."""
    y = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return make_rows(np.eye(len(counts))[y], **cells)


def random_rows(kind: str, rows: int, seed: int, groups: int = 0) -> Rows:
    random = np.random.RandomState(seed)
    y = random.choice(4, rows, p=[0.6, 0.25, 0.1, 0.05])
    truth = {
        "binary": (y == 1)[:, None],
        "multilabel": random.rand(rows, 4) < [0.5, 0.2, 0.1, 0.05],
        "regression": random.lognormal(size=(rows, 2)).round(1),
    }.get(kind, np.eye(4)[y])
    return make_rows(truth, g=random.choice(groups, rows) if groups else [""] * rows)


def make_data(rows: Rows, kind: str = "multiclass", name: str = "toy", **options) -> Data:
    columns = tuple(rows.truth.columns)
    config = Competition(
        data="data", id="id", target=list(columns), kind=kind, metric=MetricSpec(name="accuracy"), folds=Folds(**options)
    )  # fmt: skip
    problem = Problem(name, kind, columns, columns, columns, metric=None)
    return Data(name, config, problem, rows, rows, rows.table, "id", hash="", metric_hash="", notes=())


def faults(error: pytest.ExceptionInfo) -> dict[str, str]:
    """Code -> the whole text; each finding has its five parts."""
    assert all(all(vars(f).values()) for f in error.value.findings)
    return {f.code: str(f) for f in error.value.findings}


def write(text: str, name: str = "toy") -> None:
    artifacts.write_text(artifacts.fold_table(name), text)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@FEW
@given(
    kind=st.sampled_from(KINDS),
    scheme=st.sampled_from(["stratified", "plain"]),
    rows=st.integers(2, 70),
    n=st.integers(2, 7),
    groups=st.sampled_from([0, 3, 12, 60]),
    seed=st.integers(0, 2**33),
)
def test_every_split_is_a_partition_that_row_order_does_not_change(kind, scheme, rows, n, groups, seed):
    data = random_rows(kind, rows, seed % 2**32, groups)
    options = Folds(n=n, scheme=scheme, group="g" if groups else None, seed=seed, repeats=2)
    possible = rows >= n and (not groups or data.table["g"].nunique() >= n)
    if not possible:
        with pytest.raises(DataFault, match="FOLD-ROWS|FOLD-GROUP"):
            folds.split(data, kind, options)
        return
    table, notes = folds.split(data, kind, options)
    assert list(table.index) == sorted(data.ids) and list(table.columns) == ["fold", "repeat1"]
    for column in table:
        assert set(table[column]) == set(range(n))
        if groups:
            assert (table[column].groupby(data.table["g"]).nunique() == 1).all()
        elif kind != "multilabel" or scheme == "plain":
            assert np.ptp(table[column].value_counts()) <= 1
    shuffled = data.take(data.ids[np.random.RandomState(1).permutation(rows)])
    again, again_notes = folds.split(shuffled, kind, options)
    assert again.to_csv() == table.to_csv() and again_notes == notes


@FEW
@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=8), n=st.integers(2, 6), seed=st.integers(0, 99))
def test_classes_are_even_and_rare_ones_lie_in_as_many_folds_as_they_have_rows(counts, n, seed):
    assume(sum(counts) >= n)
    rows = of_classes(*counts, seed=seed)
    table, notes = folds.split(rows, "multiclass", Folds(n=n, seed=seed))
    held = rows.truth.groupby(table["fold"]).sum()
    assert (np.ptp(held.to_numpy(), axis=0) <= 1).all()
    assert ((held > 0).sum().to_numpy() == np.minimum(counts, n)).all()
    assert [f"c{j}" in " ".join(notes) for j in range(len(counts))] == [count < n for count in counts]


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_stratified_is_scikit_learns_where_that_has_an_answer():
    from sklearn.model_selection import StratifiedKFold

    for seed in range(5):
        y = np.r_[0, 1, 2, 3, np.random.RandomState(seed).choice(4, 60, p=[0.5, 0.3, 0.18, 0.02])]
        table, _ = folds.split(make_rows(np.eye(4)[y]), "multiclass", Folds(seed=seed))
        for k, (_, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(y, y)):
            assert (np.flatnonzero(table["fold"] == k) == held).all()


def test_groups_are_as_even_as_scikit_learns():
    from sklearn.model_selection import StratifiedGroupKFold

    def unevenness(fold: np.ndarray, y: np.ndarray) -> np.ndarray:
        share = np.stack([np.bincount(y[fold == k], minlength=3) / np.bincount(y) for k in range(5)])
        return np.array([np.abs(share - 1 / 5).mean(), np.ptp(np.bincount(fold, minlength=5))])

    ours, theirs = np.zeros(2), np.zeros(2)
    for seed in range(8):
        random = np.random.RandomState(seed)
        y, g = random.choice(3, 300, p=[0.6, 0.3, 0.1]), random.choice(40, 300, p=random.dirichlet(np.ones(40)))
        table, _ = folds.split(make_rows(np.eye(3)[y], g=g), "multiclass", Folds(group="g", seed=seed))
        fold = np.empty(300, dtype=int)
        for k, (_, held) in enumerate(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(y, y, g)):
            fold[held] = k
        ours, theirs = ours + unevenness(table["fold"].to_numpy(), y), theirs + unevenness(fold, y)
    assert (ours <= theirs * [1.15, 1.0]).all()


@pytest.mark.parametrize("group", [None, "g"])
def test_label_sets_and_quantiles_are_even(group):
    labels = random_rows("multilabel", 400, 0, 200)
    table, _ = folds.split(labels, "multilabel", Folds(group=group))
    held = labels.truth.groupby(table["fold"]).sum()
    assert (np.ptp(held.to_numpy(), axis=0) <= np.maximum(2, 0.3 * held.mean())).all()
    values = random_rows("regression", 400, 0, 200)
    table, _ = folds.split(values, "regression", Folds(group=group))
    mean = values.truth["c0"].groupby(table["fold"]).mean()
    assert np.ptp(mean) < 0.2 * values.truth["c0"].std() * (2 if group else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_truths_are_split_too(kind):
    for truth in (np.zeros((6, 1)), np.ones((6, 1)), np.zeros((6, 3)), np.full((6, 2), 0.5)):
        table, _ = folds.split(make_rows(truth), kind, Folds(n=6))
        assert set(table["fold"]) == set(range(6))


@FEW
@given(times=st.lists(st.integers(0, 30), min_size=3, max_size=60), n=st.integers(2, 5))
def test_time_blocks_follow_each_other_and_never_divide_a_time(times, n):
    rows = make_rows(np.eye(2)[np.arange(len(times)) % 2], t=times)
    options = Folds(n=n, scheme="time", time="t")
    if len(set(times)) <= n:
        with pytest.raises(DataFault, match="FOLD-TIME"):
            folds.split(rows, "multiclass", options)
        return
    table, _ = folds.split(rows, "multiclass", options)
    span = pd.Series(times, index=rows.ids).groupby(table["fold"]).agg(["min", "max"])
    assert list(span.index) == list(range(-1, n))
    assert (span["min"].to_numpy()[1:] > span["max"].to_numpy()[:-1]).all()
    if len(set(times)) == len(times):
        assert np.ptp(table["fold"].value_counts()) <= 1


def test_times_are_read_as_numbers_or_as_dates_of_one_form():
    truth = np.eye(2)[[0, 1] * 3]
    for cells in (
        ["9", "10", "100", "2000", "30000", "400000"],
        ["1600000000000000001", "1600000000000000002", *(f"160000000000000000{i}" for i in range(3, 7))],
        ["05/01/2020", "31/01/2020", "01/02/2020", "02/02/2020", "01/03/2021", "13/03/2021"],
        ["2020-01-01", "2020-01-01 00:00:01", "2020-01-02", "2020-01-02T10:00:00Z", "2020-02-01", "2021-01-01"],
    ):
        table, _ = folds.split(make_rows(truth, t=cells), "multiclass", Folds(n=5, scheme="time", time="t"))
        assert list(table["fold"]) == [-1, 0, 1, 2, 3, 4], cells
    cells = ["2020-01-01", "soon", "", "2020-01-02", "5", "2020-01-04"]
    with pytest.raises(DataFault) as error:
        folds.split(make_rows(truth, t=cells), "multiclass", Folds(n=2, scheme="time", time="t"))
    assert "'soon', '', '5'" in faults(error)["FOLD-TIME"]


def test_time_trains_on_the_past_only_and_says_which_class_comes_too_late():
    rows = make_rows(np.eye(2)[[0] * 4 + [1] * 2], t=range(6))
    table, notes = folds.make(make_data(rows, n=2, scheme="time", time="t"))
    assert table.ordered and [s.name for s in table.splits] == ["fold0", "fold1"]
    train, held = table.ids(Split(0))
    assert (list(train), list(held)) == (["0000", "0001"], ["0002", "0003"])
    train, held = table.ids(Split(1))
    assert (list(train), list(held)) == (["0000", "0001", "0002", "0003"], ["0004", "0005"])
    assert any("'c1' has 2 rows for 2 folds: folds without it: 0; fold 1 is scored on it" in note for note in notes)


def test_repeats_are_the_splits_of_the_next_seeds():
    rows = of_classes(20, 10)
    table, _ = folds.make(make_data(rows, repeats=3, seed=4))
    for r in range(3):
        alone, _ = folds.split(rows, "multiclass", Folds(seed=4 + r))
        assert table.table[Split(0, r).column].tolist() == alone["fold"].tolist()
    assert not table.table["fold"].equals(table.table["repeat1"])
    assert [s.name for s in table.splits][4:7] == ["fold4", "fold0-repeat1", "fold1-repeat1"] and len(
        table.splits
    ) == 15
    for s in table.splits:
        train, held = table.ids(s)
        assert sorted([*train, *held]) == sorted(rows.ids) and len(held) == 6


def test_same_seed_same_bytes_other_seed_other_table():
    rows = of_classes(30, 20)
    first = folds.make(make_data(rows, name="a"))[0]
    assert artifacts.fold_table("a").read_bytes() == folds.split(rows, "multiclass", Folds())[0].to_csv().encode()
    assert folds.make(make_data(rows.take(rows.ids[::-1]), name="b"))[0].hash == first.hash
    assert artifacts.fold_table("a").read_bytes() == artifacts.fold_table("b").read_bytes()
    assert folds.make(make_data(rows, name="c", seed=1))[0].hash != first.hash


def test_rare_classes_are_placed_and_told():
    _, notes = folds.split(of_classes(20, 2, 1), "multiclass", Folds())
    assert len(notes) == 2 and "FOLD-RARE: class 'c1' has 2 rows for 5 folds: folds without it: " in notes[0]
    assert "scored on it" not in notes[0] and "'c2' has 1 row for 5" in notes[1] and "never saw it" in notes[1]
    _, notes = folds.split(of_classes(*[1] * 30), "multiclass", Folds())
    assert len(notes) == 11 and "20 more classes" in notes[-1]
    _, notes = folds.split(make_rows(np.eye(2)[[0, 1] * 10], g=[0] * 16 + [1, 2, 3, 4]), "multiclass", Folds(group="g"))
    assert ["'c0' has 10 rows in 3 groups" in notes[0], "'c1' has 10 rows in 3 groups" in notes[1]] == [True, True]
    assert notes[2:] == ["FOLD-BALANCE: the folds have 1 to 16 rows; the largest group, '0', has 16"]
    _, notes = folds.split(of_classes(20, 20), "multiclass", Folds())
    assert notes == []


def test_what_cannot_be_split_is_refused_at_once():
    with pytest.raises(DataFault) as error:
        folds.split(of_classes(2, 1, g=["a", "", "a"]), "multiclass", Folds(group="g"))
    assert set(faults(error)) == {"FOLD-ROWS", "FOLD-GROUP"} and len(error.value.findings) == 3
    assert "ids '0001'" in str(error.value)


def test_summary_has_a_row_a_split():
    rows = make_rows(np.eye(2)[[0, 1] * 10], g=np.arange(20) // 2)
    data = make_data(rows, group="g", repeats=2)
    shown = folds.summary(data, folds.make(data)[0])
    assert shown.shape == (10, 4) and shown.loc["fold0-repeat1"].tolist() == [4, 2, 0.5, 0.5]
    rows = make_rows(np.arange(12.0)[:, None], ["price"], t=range(12))
    data = make_data(rows, "regression", "prices", n=3, scheme="time", time="t")
    shown = folds.summary(data, folds.make(data)[0])
    assert list(shown.index) == ["always in training", "fold0", "fold1", "fold2"]
    assert shown.loc["fold0"].to_dict() == {
        "rows": 3,
        "mean of price": 4,
        "min of price": 3,
        "max of price": 5,
        "from": 3,
        "to": 5,
    }


def test_a_table_made_by_hand_is_used_and_left_alone():
    data = make_data(of_classes(3, 3))
    text = '"fold";"id"\n1;0005\n1;"0000"\n0;0004\n0;0001\n-1;0002\n-1;0003\n'
    write(text)
    table, notes = folds.make(data)
    assert artifacts.fold_table("toy").read_text() == text
    assert "left as it is" in notes[0] and "2 folds x 1, competition.yaml says 5 folds x 1" in notes[1]
    assert list(table.table.index) == sorted(data.train.ids) and table.table["fold"].tolist() == [1, 0, -1, -1, 0, 1]
    train, held = table.ids(Split(0))
    assert (list(train), list(held)) == (["0000", "0002", "0003", "0005"], ["0001", "0004"])
    write("id,fold\n0000,1\n0001,0\n0002,-1\n0003,-1\n0004,0\n0005,1\n")
    assert folds.load(data).hash == table.hash
    write("id,fold\n0000,1\n0001,0\n0002,-1\n0003,-1\n0004,1\n0005,0\n")
    assert folds.load(data).hash != table.hash
    write("id,fold\n0000,-1\n0001,0\n0002,-1\n0003,-1\n0004,-1\n0005,-1\n")
    assert folds.load(data).splits == [Split(0)]


def test_ids_that_csv_must_quote_come_back():
    rows = of_classes(3, 3)
    ids = pd.Index(["a,b", 'say "x"', "007", "NA", "1e5", "ä b"], name="id")
    rows = Rows(rows.table.set_axis(ids), rows.truth.set_axis(ids))
    table, _ = folds.make(make_data(rows, n=2))
    assert isinstance(table, FoldTable) and list(table.table.index) == sorted(ids)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("id,fold\nx,0\n0001,0\n0002,1\n0003,1\n0004,1\n", "FOLD-IDS", "'0000'"),
        ("id,fold\nx,0\n0001,0\n0002,1\n0003,1\n0004,1\n", "FOLD-IDS", "1 ids are unknown: 'x'"),
        ("id,fold\n0000,0\n0000,1\n0001,0\n0002,1\n0003,1\n0004,1\n", "FOLD-IDS", "twice"),
        ("id,fold\n0000,0\n0001,1.5\n0002,1\n0003,\n0004,1\n", "FOLD-VALUE", "'0001: 1.5', '0003: '"),
        ("id,fold\n0000,0\n0001,-2\n0002,1\n0003,1\n0004,1\n", "FOLD-VALUE", "'0001: -2'"),
        ("id,fold\n0000,0\n0001,0\n0002,3\n0003,1\n0004,1\n", "FOLD-VALUE", "no row has '2'"),
        ("id,fold\n0000,-1\n0001,-1\n0002,-1\n0003,-1\n0004,-1\n", "FOLD-VALUE", "no row has '0'"),
        ("id,fold\n0000,0\n0001,0\n0002,0\n0003,0\n0004,0\n", "FOLD-VALUE", "no rows to train on"),
        ("id,fold,label\n0000,0,a\n0001,0,a\n0002,1,b\n0003,1,b\n0004,1,b\n", "FOLD-VALUE", "'label'"),
        ("id\n0000\n", "FOLD-VALUE", "name them id, fold"),
        ("id,fold\n0000,0\n0001,1\n0002,1\n0003,1\n0004,1\n", "FOLD-GROUP", "found: 'p'"),
        ("id,fold\n0000,0\n0001,0\n0002,1\n0003,-1\n0004,1\n", "FOLD-GROUP", "found: 'q'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text, code, says):
    data = make_data(make_rows(np.eye(2)[[0, 1, 0, 1, 1]], g="ppqqr"), group="g", n=2)
    write(text)
    for read in (folds.load, folds.make):
        with pytest.raises(DataFault) as error:
            read(data)
        assert says in faults(error)[code]
    assert artifacts.fold_table("toy").read_text() == text


def test_all_problems_of_a_file_come_in_one_pass():
    write("id,fold,repeat1\n0000,0,x\n0001,1,0\n0001,1,1\n0009,1,1\n0003,1,1\n")
    data = make_data(make_rows(np.eye(2)[[0, 1, 0, 1]], g="ppqq"), group="g", n=2)
    with pytest.raises(DataFault) as error:
        folds.load(data)
    assert [f.code for f in error.value.findings] == ["FOLD-IDS", "FOLD-IDS", "FOLD-VALUE", "FOLD-GROUP"]


def test_a_file_against_the_order_of_time_is_refused():
    data = make_data(make_rows(np.eye(2)[[0, 1] * 3], t=range(6)), n=2, scheme="time", time="t")
    write("id,fold\n0000,-1\n0001,1\n0002,1\n0003,0\n0004,0\n0005,1\n")
    with pytest.raises(DataFault) as error:
        folds.load(data)
    assert "begin before an earlier one ends: '1'" in faults(error)["FOLD-TIME"]
    write("id,fold\n0000,0\n0001,0\n0002,0\n0003,1\n0004,1\n0005,1\n")
    with pytest.raises(DataFault, match="no rows to train on"):
        folds.load(data)


def test_an_absent_file_names_the_command():
    with pytest.raises(DataFault) as error:
        folds.load(make_data(of_classes(3, 3)))
    assert "make folds COMP=toy" in faults(error)["FOLD-MISSING"]


GOLDEN = [
    ("multiclass", {}, "ebe7b181e731d61559062102aa461223"),
    ("multiclass", {"scheme": "plain"}, "76fca67b537d4e0a356fbca94da3279a"),
    ("multiclass", {"scheme": "time", "time": "t"}, "0ef43bb18a0e1779eebf443b0edfb1dd"),
    ("multilabel", {}, "45068991b325cb34e164e5af4e5770bd"),
    ("regression", {}, "1cee71b61946546db3e7340372cc672e"),
    ("multiclass", {"group": "g"}, "3ca7b5e53500b34f56eb511599b89935"),
    ("multilabel", {"group": "g"}, "067c0dc7c7b950e4cbc52036f4464a8e"),
    ("multiclass", {"group": "g", "scheme": "plain"}, "2eab36e7e46be3b48afb638a1c3402dc"),
]


@pytest.mark.parametrize(("kind", "options", "digest"), GOLDEN)
def test_the_split_is_the_same_on_every_machine_and_version(kind, options, digest):
    """A digest that differs means that a library splits differently: pin it, or runs can't be compared with old ones."""
    square = np.arange(60) ** 2 % 61  # no library's random numbers in the input
    truth = {"multilabel": square[:, None] % [2, 3, 5] == 0, "regression": square[:, None]}.get(
        kind, np.eye(3)[square % 3]
    )
    data = make_data(make_rows(truth, g=square % 17, t=square), kind, **options)
    assert folds.make(data)[0].hash == digest
