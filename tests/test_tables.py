"""Tables as they arrive: bad ones are refused with a message, odd ones are handled and the handling is said."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import artifacts, cli, data, yaml
from competition.data import load
from competition.inspect import columns
from competition.tabular.columns import Column, Columns, infer, read, resolve

ROWS, TEST = 80, 60
Change = Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame] | None]  # of train and test


@pytest.fixture
def tables(workspace: Path) -> Callable[..., None]:
    """Writes data/ in train's and test's form after `change`; the answer is a noisy sum of size and colour."""

    def make(change: Change | None = None, kind: str = "binary", separator: str = ",", encoding: str = "utf-8") -> None:
        rng = np.random.default_rng(0)
        n = ROWS + TEST
        colour, size = rng.choice(["red", "green", "blue"], n), rng.normal(50, 10, n).round(2)
        score = size / 10 + (colour == "red") * 2 + rng.normal(0, 1, n)
        table = pd.DataFrame({"id": [f"{i:04d}" for i in range(n)], "size": size, "colour": colour})
        table = table.assign(other=rng.integers(0, 1000, n)).astype(str)
        answer = {"binary": (score > 5.5).astype(int), "regression": score.round(3)}[kind].astype(str)
        train, test = table[:ROWS].assign(answer=answer[:ROWS]), table[ROWS:].reset_index(drop=True)
        if change is not None:
            train, test = change(train, test) or (train, test)
        for name, part in (("train", train), ("test", test), ("sample_submission", test[["id"]].assign(answer="0.5"))):
            path = workspace / "data" / f"{name}.csv"
            path.parent.mkdir(exist_ok=True)
            part.to_csv(path, index=False, sep=separator, encoding=encoding)
        data.load.cache_clear()

    return make


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def init() -> int:
    return podium("init", "data", "toy")


def baseline() -> dict:
    return yaml.read(Path("configs/toy/baseline.yaml"))[0]


def test_init_writes_the_types_and_says_the_command(tables, capsys: pytest.CaptureFixture):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        for part in (train, test):
            part["a: b, 'c'"] = part["other"].map(lambda cell: f"0{cell}")
            part["no"] = "7"
            part["size again"] = part["size"]
            part["when"] = [f"{i % 28 + 1}/01/2020" for i in range(len(part))]
            part["told"] = [f"it is number {i} of them" for i in range(len(part))]
        train["casual"] = train["size"]

    tables(change)
    assert init() == 0
    assert baseline() == {
        "task": "tabular",
        "preset": "good",
        "columns": {
            "number": ["size", "other"],
            "category": ["colour", "a: b, 'c'"],
            "date": ["when"],
            "text": ["told"],
            "ignore": ["no", "size again"],
        },
    }
    text = Path("configs/toy/baseline.yaml").read_text()
    assert '- "no"   # constant' in text and "# the same as column 'size'" in text and "# test lacks it" in text
    assert "# make tabular RUN=toy/baseline" in text
    said = capsys.readouterr().out
    assert said.strip().endswith("next: make tabular RUN=toy/baseline")
    assert "test lacks it" in said and "dates like 1/01/2020" in said
    assert "column 'when' is a time, but test does not lie after train by it" in " ".join(said.replace("│", "").split())
    told = resolve(load("toy").train.table.drop(columns="casual"), Columns.model_validate(baseline()["columns"]))
    assert {c.name: c.type for c in columns.of(load("toy")) if c.name != "casual"}.items() <= {
        c.name: c.type for c in told
    }.items()
    Path("configs/toy/baseline.yaml").write_text("mine")
    assert init() == 0
    assert Path("configs/toy/baseline.yaml").read_text() == "mine"


def test_a_rare_class_hides_no_leak_and_a_row_number_no_copy(tables, capsys: pytest.CaptureFixture):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        doubled(train, test)
        train["answer"] = [["a", "b", "c"][i % 3] for i in range(ROWS)]
        train.loc[:1, "answer"] = "rare"
        train["told"], test["told"] = train["answer"].str.upper(), "A"
        train["Unnamed: 0"], test["Unnamed: 0"] = range(ROWS), range(TEST)

    tables(change)
    assert podium("init", "data", "toy", "--metric", "accuracy") == 0
    capsys.readouterr()
    assert podium("check", "toy") == 0
    out = capsys.readouterr().out
    assert (
        out.count("TAB-LEAK") == 1 and "TAB-LEAK: column 'told' alone" in out and "TAB-COPY (2): training rows" in out
    )


def test_many_columns_are_summed_up_and_wrapped(capsys: pytest.CaptureFixture):
    many = [Column(f"column number {n}", "number" if n % 3 else "ignore", "constant") for n in range(90)]
    columns.show(many, "toy")
    shown = capsys.readouterr().out
    assert "90 columns" in shown and "60" in shown and "number 40" not in shown
    text = columns.text(many, "toy")
    assert max(map(len, text.splitlines())) <= 120
    values = yaml.parse(text, "text")[0]["columns"]
    assert Columns.model_validate(values).number == tuple(c.name for c in many if c.type == "number")


def test_a_zip_may_hold_pictures(tables, capsys: pytest.CaptureFixture):
    tables()
    Path("data/images.zip").write_bytes(b"")
    assert init() == 0
    assert "images.zip may have to be unpacked first" in capsys.readouterr().out


def test_without_shared_columns_there_is_no_baseline(tables, capsys: pytest.CaptureFixture):
    tables(lambda train, test: (train, test[["id"]]))
    assert init() == 0
    assert "no baseline" in capsys.readouterr().out
    assert not Path("configs/toy/baseline.yaml").exists()


def put(column: str, *cells: str, part: str = "both") -> Change:
    """The first rows of a column."""

    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        for name, table in (("train", train), ("test", test)):
            if part in (name, "both"):
                table.loc[: len(cells) - 1, column] = list(cells)

    return change


def new(column: str, cell: Callable[[int], str], shift: int = 0) -> Change:
    """A column of cells by number of the row; test's are counted on from `shift`."""

    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        train[column] = [cell(i) for i in range(len(train))]
        test[column] = [cell(i + shift) for i in range(len(test))]

    return change


def doubled(train: pd.DataFrame, test: pd.DataFrame) -> None:
    train.loc[1, ["size", "colour", "other"]] = train.loc[0, ["size", "colour", "other"]]
    train.loc[:1, "answer"] = ["0", "1"]
    test.loc[0, ["size", "colour", "other"]] = train.loc[0, ["size", "colour", "other"]]


def leaking(train: pd.DataFrame, test: pd.DataFrame) -> None:
    train["paid"] = train["answer"].map({"0": "3", "1": "9"})
    train["state"] = train["answer"].map({"0": "open", "1": "won"})
    test["paid"], test["state"] = "3", "open"


def drifting(train: pd.DataFrame, test: pd.DataFrame) -> None:
    test["size"] = (test["size"].astype(float) + 25).astype(str)


def unseen(train: pd.DataFrame, test: pd.DataFrame) -> None:
    test.loc[:5, "colour"] = "pink"


def twice(train: pd.DataFrame, test: pd.DataFrame) -> None:
    for part in (train, test):
        part["size2"] = part["size"]


def undated(train: pd.DataFrame, test: pd.DataFrame) -> None:
    new("when", FORMS["one month"])(train, test)
    test.loc[0, "when"] = "soon"


FORMS: dict[str, Callable[[int], str]] = {
    "ISO": lambda i: f"{2000 + i // 12}-{i % 12 + 1:02}-03",
    "day first": lambda i: f"{i % 28 + 1:02}.{i // 28 % 12 + 1:02}.2020",
    "month first": lambda i: f"{i // 28 % 12 + 1}/{i % 28 + 1}/20 4:05 PM",
    "worded": lambda i: f"{['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul'][i // 28]} {i % 28 + 1}, 2020",
    "mixed": lambda i: f"{i % 28 + 1}/{i // 28 + 1}/2020" if i % 2 else f"2020-{i // 28 + 1:02}-{i % 28 + 1:02}",
    "one month": lambda i: f"2020-01-{i % 28 + 1:02}",
    "one month, three forms": lambda i: [
        f"2020-01-{i % 28 + 1:02}", f"{i % 28 + 1}/01/2020", f"Jan {i % 28 + 1}, 2020"][i % 3],
    "day or month": lambda i: f"0{i % 9 + 1}/0{i % 7 + 1}/2020",
}  # fmt: skip

NOTES: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "infinite values": (
        put("size", "inf", "-Infinity"), "TAB-INF",
        ("'size' has infinite values, taken as missing: 2 in train, 2 in test",)),
    "mixed types": (
        put("other", "soon", part="train"), "TAB-MIXED",
        ("'other' has cells that are no numbers, taken as missing: 1 in train: 'soon'",)),
    "an unseen category": (unseen, "TAB-UNSEEN", ("'colour': 10.0% of test's cells", "'pink'")),
    "a constant column": (new("same", lambda i: "x"), "TAB-CONST", ("1 columns", "'same'")),
    "a column twice": (twice, "TAB-DUP", ("1 columns", "size2 (the same as column 'size')")),
    "a column that test lacks": (
        lambda train, test: (train, test.drop(columns="other")), "TAB-COLUMNS", ("no model looks at them: 'other'",)),
    "a column by another name": (
        lambda train, test: (train, test.rename(columns={"size": "Size"})), "TAB-COLUMNS",
        ("no model looks at them: 'size'", "test has columns that train lacks, which play no part: 'Size'")),
    "columns that give the target away": (
        leaking, "TAB-LEAK", ("'paid' alone tells the target (AUC 1.0000)", "'state' alone")),
    "test of another kind": (
        drifting, "TAB-DRIFT", ("a model tells test from train by table columns (AUC 0.9", "is none): 'size'")),
    "copies": (
        doubled, "TAB-COPY",
        ("TAB-COPY (2): training rows are copies", "copies have another target: '0000', '0001'",
         "TAB-COPY (1): test rows stand in train too: '0080'")),
    "dates": (new("when", FORMS["one month"]), "FOLD-TIME", ("'when' holds dates and folds.scheme is stratified",)),
    "dates in three forms": (new("when", FORMS["one month, three forms"]), "FOLD-TIME", ("'when' holds dates",)),
    "an unread date": (
        undated, "TAB-DATE FOLD-TIME", ("'when' has cells that are no dates, taken as missing: 1 in test: 'soon'",)),
    "day or month": (
        new("when", FORMS["day or month"]), "TAB-DATE FOLD-TIME", ("no cell tells day from month", "read as month first")),
}  # fmt: skip


def noted(out: str) -> set[str]:
    """Codes of the page's notes, but for that of test's ids, which go on where those of train end."""
    return set(re.findall(r"^(?:error|warn|info) +([A-Z]+-[A-Z]+)", out, re.MULTILINE)) - {"ID-ORDER"}


@pytest.mark.parametrize("name", NOTES)
def test_what_is_odd_is_handled_and_said(name: str, tables, capsys: pytest.CaptureFixture):
    change, codes, said = NOTES[name]
    tables(change)
    assert init() == 0
    capsys.readouterr()
    assert podium("check", "toy") == 0
    out = capsys.readouterr().out
    for part in said:
        assert part in out
    assert noted(out) == set(codes.split())


def test_sound_tables_get_no_note(tables, capsys: pytest.CaptureFixture):
    for kind in ("binary", "regression"):
        tables(kind=kind)
        Path("configs/toy/competition.yaml").unlink(missing_ok=True)
        assert init() == 0
        capsys.readouterr()
        assert podium("check", "toy") == 0
        assert noted(capsys.readouterr().out) == set()


def test_a_regression_target_may_leak_as_rank_or_as_name(tables, capsys: pytest.CaptureFixture):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        value = pd.qcut(train["answer"].astype(float), 5, labels=False)
        train["answer"] = (value + 0.5).astype(str)
        train["cubed"], test["cubed"] = (value**3).astype(str), "1"
        train["named"], test["named"] = value.map(lambda level: f"v{level}"), "v1"

    tables(change, kind="regression")
    assert podium("init", "data", "toy", "--metric", "rmse") == 0
    capsys.readouterr()
    assert podium("check", "toy") == 0
    out = capsys.readouterr().out
    for name in ("named", "cubed"):
        assert f"TAB-LEAK: column {name!r} alone tells the target (rank correlation 1.0000)" in out
    assert "TAB-LEAK: column 'size'" not in out


@pytest.mark.parametrize("form", ["ISO", "day first", "month first", "worded", "mixed"])
def test_a_test_after_train_is_split_by_time_or_warned_of(form: str, tables, capsys: pytest.CaptureFixture):
    tables(new("when", FORMS[form], shift=ROWS))
    assert init() == 0
    assert load("toy").config.folds.time == "when"
    assert podium("folds", "toy") == 0
    assert "FOLD-TIME" not in capsys.readouterr().out
    numbers = pd.read_csv("folds/toy.csv", dtype={"id": str}).set_index("id")["fold"]
    assert numbers.is_monotonic_increasing and set(numbers) == {-1, 0, 1, 2, 3, 4}
    for path in (Path("configs/toy/competition.yaml"), Path("folds/toy.csv")):
        path.unlink()
    assert podium("init", "data", "toy", "--set", "folds.scheme=plain") == 0
    for verb in ("check", "folds", "folds"):
        capsys.readouterr()
        assert podium(verb, "toy") == 0
        said = capsys.readouterr().out.replace("WARNING: ", "")  # which the page says by its severity
        assert "FOLD-TIME: test lies after train by column 'when'" in said


def refuse(code: str, capsys: pytest.CaptureFixture) -> str:
    assert init() == 3
    said = capsys.readouterr().err
    assert f"error {code}:" in said
    assert all(part in said for part in ("where:", "found:", "risk:", "mend:")) and "Traceback" not in said
    assert not Path("configs/toy").exists() or not list(Path("configs/toy").iterdir())
    return said


def test_double_ids_are_refused(tables, capsys: pytest.CaptureFixture):
    tables()
    path = Path("data/train.csv")
    path.write_text(path.read_text() + "0007,1.5,red,3,1\n")
    assert "'0007'" in refuse("ID-DUP", capsys)


def test_ids_of_train_may_be_counted_anew_in_test_but_not_be_its_rows(tables, capsys: pytest.CaptureFixture):
    def counted(train: pd.DataFrame, test: pd.DataFrame):
        return train, test.assign(id=train["id"].head(TEST).to_numpy())

    def copied(train: pd.DataFrame, test: pd.DataFrame):
        return train, pd.concat([test, train.head(3)[test.columns]])

    def flagged(train: pd.DataFrame, test: pd.DataFrame):
        """One column that is nearly always the same, so that most cells of other rows are equal."""
        for part, other in ((train, "2"), (test, "3")):
            del part["size"], part["other"]
            part["colour"] = np.where(np.arange(len(part)) % 9 == int(other), other, "1")
        return counted(train, test)

    tables(flagged)
    assert init() == 0
    shutil.rmtree("configs/toy")
    tables(counted)
    capsys.readouterr()
    assert init() == 0
    assert f"{TEST} ids stand in train and in test, of different rows" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree("configs/toy")
    tables(copied)
    assert "'0000', '0001', '0002'" in refuse("ID-OVERLAP", capsys)


def test_an_id_that_is_a_time_is_a_column_too(tables):
    def timed(train: pd.DataFrame, test: pd.DataFrame) -> None:
        for first, part in ((0, train), (ROWS, test)):
            part["id"] = (pd.Timestamp("2024-01-01") + pd.to_timedelta(first + np.arange(len(part)), "h")).astype(str)

    tables(timed)
    assert init() == 0
    assert data.load("toy").problem.inputs == ("id", "size", "colour", "other")
    assert baseline()["columns"]["date"] == ["id"]


def test_groups_by_a_template_of_the_ids(tables, capsys: pytest.CaptureFixture):
    def grouped(train: pd.DataFrame, test: pd.DataFrame) -> None:
        for name, part in (("a", train), ("b", test)):
            part["id"] = [f"{name}{i // 4}_{i % 4}" for i in range(len(part))]

    tables(grouped)
    assert init() == 0
    loaded = data.load("toy")
    assert loaded.config.folds.group == "{group}_*" and "{group}_*" not in loaded.problem.inputs
    assert podium("folds", "toy") == 0
    folds = pd.read_csv("folds/toy.csv", dtype=str)
    assert (folds.groupby(folds["id"].str.split("_").str[0])["fold"].nunique() == 1).all()
    path = artifacts.competition_yaml("toy")
    path.write_text(path.read_text().replace("{group}_*", "{group}-*"))
    assert podium("folds", "toy") == 3
    assert "'a0_0'" in "".join(capsys.readouterr().err.split("FOLD-GROUP")[1:])


def test_a_constant_target_is_refused(tables, capsys: pytest.CaptureFixture):
    for kind in ("binary", "regression"):
        tables(lambda train, test: train.update(pd.DataFrame({"answer": ["1"] * ROWS})), kind=kind)
        assert "answer" in refuse("LABEL-ONECLASS", capsys)


def test_an_infinite_target_is_refused(tables, capsys: pytest.CaptureFixture):
    tables(put("answer", "inf", part="train"), kind="regression")
    assert "'inf'" in refuse("LABEL-INF", capsys)


@pytest.mark.parametrize("kind, cells", [("binary", ("", "NA")), ("regression", ("", "nan")), ("binary", ("", ""))])
def test_rows_without_a_target_are_left_out_and_counted(kind: str, cells: tuple[str, ...], tables, capsys):
    tables(put("answer", *cells, part="train"), kind=kind)
    assert init() == 0
    assert "2 training rows have no target and are left out: '0000', '0001'" in capsys.readouterr().out
    assert load("toy").problem.kind == kind and len(load("toy").train) == ROWS - 2
    assert podium("folds", "toy") == 0
    assert set(pd.read_csv("folds/toy.csv", dtype=str)["id"]) == {f"{i:04d}" for i in range(2, ROWS)}


def test_a_word_among_words_is_a_class(tables, capsys: pytest.CaptureFixture):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        train["answer"] = train["answer"].map({"0": "None", "1": "some"})

    tables(change)
    assert init() == 0
    assert load("toy").problem.classes == ("None", "some")


@pytest.mark.parametrize(
    "separator, encoding", [(";", "utf-8"), ("\t", "utf-8-sig"), (";", "utf-8-sig"), (",", "utf-8-sig")]
)
def test_semicolons_tabs_and_byte_order_marks_change_nothing(separator: str, encoding: str, tables):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        for part in (train, test):
            part["a, b"] = "x, y"

    tables(change)
    assert init() == 0
    plain, types = load("toy"), columns.of(load("toy"))
    tables(change, separator=separator, encoding=encoding)
    Path("configs/toy/competition.yaml").unlink()
    assert init() == 0
    same = load("toy")
    assert same.train.table.equals(plain.train.table) and same.test.table.equals(plain.test.table)
    assert columns.of(same) == types and list(same.train.ids)[:2] == ["0000", "0001"]


def test_ids_keep_their_zeros_and_are_no_feature(tables, capsys: pytest.CaptureFixture):
    tables()
    assert init() == 0
    assert "id" not in {c.name for c in columns.of(load("toy"))}
    text = Path("data/sample_submission.csv").read_text()
    Path("data/sample_submission.csv").write_text(text.replace("\n0", "\n").replace("\n0", "\n"))
    assert podium("check", "toy") == 3
    assert "CSV-IDTYPE" in (said := capsys.readouterr().err) and "leading zeros" in said


def test_the_order_of_tests_columns_is_free(tables, capsys: pytest.CaptureFixture):
    tables()
    assert init() == 0
    before = read(load("toy").test.table, columns.of(load("toy")))
    tables(lambda train, test: (train, test[test.columns[::-1]]))
    assert podium("check", "toy") == 0
    assert "TAB-COLUMNS" not in capsys.readouterr().out
    assert read(load("toy").test.table, infer(load("toy").train.table[["size", "colour", "other"]])).equals(before)
