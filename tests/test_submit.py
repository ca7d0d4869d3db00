"""Every form of a submission, written and read back; damage is found, harmless change is not; the ledger adds once."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition import artifacts, data, form, ledger, spelling, submit
from competition.errors import DataFault

IDS = ["007", "010", 'a "b", c', "1e5", "NA", "-x"]
ANIMALS = {"y": ["cat", "cow", "hot dog"]}
SETS = {"y": ["a b", "b", "", "a", "c"]}
FLAGS = {"toxic": ["1", "0", "1"], "rude": ["0", "1", "1"]}
LEVELS = {"y": ["0", "1", "2"]}
VALUES = {"price": ["1.5", "2", "-3"]}
THREE = (0.1, 0.7, 0.2)


def compete(workspace: Path, train: dict[str, list[str]], sample: dict[str, str], **config: object) -> data.Data:
    """A competition whose training rows are repetitions of `train`, and whose sample repeats one row over IDS."""
    import yaml

    (workspace / "configs/toy").mkdir(parents=True, exist_ok=True)
    (workspace / "data").mkdir(exist_ok=True)
    rows = pd.DataFrame(train)
    rows = pd.concat([rows] * 4, ignore_index=True)
    rows.insert(0, "id", [f"t{n}" for n in range(len(rows))])
    rows.to_csv("data/train.csv", index=False)
    pd.DataFrame({"id": IDS[::-1]}).to_csv("data/test.csv", index=False)
    pd.DataFrame({"id": IDS, **sample}).to_csv("data/sample_submission.csv", index=False)
    values = {"data": "data", "id": "id", "target": [*train] if len(train) > 1 else next(iter(train)), **config}
    Path("configs/toy/competition.yaml").write_text(yaml.safe_dump(values))
    data.load.cache_clear()
    return data.load("toy")


def predict(toy: data.Data, first: tuple[float, ...] = ()) -> pd.DataFrame:
    """Predictions in an order that is not the sample's; those of the sample's first id are given."""
    rng, columns = np.random.default_rng(0), list(toy.problem.columns)
    if toy.problem.kind in ("multiclass", "ordinal"):
        numbers = rng.dirichlet(np.ones(len(columns)), len(IDS))
    else:
        numbers = rng.random((len(IDS), len(columns)))
    table = pd.DataFrame(numbers, index=pd.Index(IDS, name="id"), columns=columns)
    if first:
        table.iloc[0] = first
    return table.iloc[::-1]


def codes(problems: list) -> set[str]:
    return {p.code for p in problems}


FORMS = {
    "class name": (ANIMALS, {"y": "cat"}, {"kind": "multiclass", "metric": "accuracy"}, THREE, ["cow"]),
    "class name of another column": (ANIMALS, {"p": "cow"}, {"kind": "multiclass", "metric": "mcc"}, THREE, ["cow"]),
    "level": (LEVELS, {"y": "0"}, {"kind": "ordinal", "metric": "qwk"}, (0.1, 0.1, 0.8), ["2"]),
    "level near the mean": (LEVELS, {"y": "0"}, {"kind": "ordinal", "metric": "mae"}, (0.45, 0.1, 0.45), ["1"]),
    "0 or 1": ({"y": ["0", "1"]}, {"y": "0"}, {"kind": "binary", "metric": "accuracy"}, (0.5,), ["1"]),
    "True": ({"y": ["False", "True"]}, {"y": "False"}, {"kind": "binary", "metric": "accuracy"}, (0.4,), ["False"]),
    "007": ({"y": ["007", "7", "8"]}, {"y": "8"}, {"kind": "multiclass", "metric": "accuracy"}, (0.9, 0.1, 0), ["007"]),
    "1 as 1.0": (LEVELS, {"y": "0.0"}, {"kind": "multiclass", "metric": "accuracy"}, THREE, ["1.0"]),
    "1.0 as 1": ({"y": ["1.0", "2.0"]}, {"y": "2"}, {"kind": "binary", "metric": "accuracy"}, (0.1,), ["1"]),
    "1 as True": ({"y": ["0", "1"]}, {"y": "False"}, {"kind": "binary", "metric": "accuracy"}, (0.9,), ["True"]),
    "Yes as 1": ({"y": ["No", "Yes"]}, {"y": "0"}, {"kind": "binary", "metric": "accuracy"}, (0.9,), ["1"]),
    "True as 0, turned": (
        {"y": ["True", "False"]}, {"y": "0"},
        {"kind": "binary", "metric": "accuracy", "classes": ["True", "False"]}, (0.9,), ["0"],
    ),
    "Cat as cat": ({"y": ["Cat", "Cow"]}, {"y": "cow"}, {"kind": "binary", "metric": "accuracy"}, (0.9,), ["cow"]),
    "unknown sample label": (ANIMALS, {"y": "?"}, {"kind": "multiclass", "metric": "accuracy"}, THREE, ["cow"]),
    "probability": ({"y": ["0", "1"]}, {"y": "0"}, {"kind": "binary", "metric": "auc"}, (0.1,), ["0.1"]),
    "probability of no": ({"y": ["no", "yes"]}, {"No": "0"}, {"kind": "binary", "metric": "auc"}, (0.25,), ["0.75"]),
    "top 2": (
        {"y": ["a", "b", "c"]}, {"y": "a b"}, {"kind": "multiclass", "metric": {"name": "mapk", "k": 2}}, THREE,
        ["b c"],
    ),
    "top 5 of 3": ({"y": ["a", "b", "c"]}, {"y": "a"}, {"kind": "multiclass", "metric": "top_error"}, THREE, ["b c a"]),
    "top 2, ;": (
        ANIMALS, {"y": "cat"}, {"kind": "multiclass", "metric": {"name": "mapk", "k": 2}, "separator": ";"}, THREE,
        ["cow;hot dog"],
    ),
    "labels": (SETS, {"y": "a"}, {"kind": "multilabel", "metric": "f1_micro"}, (0.6, 0.4, 0.5), ["a c"]),
    "no label": (SETS, {"y": "a"}, {"kind": "multilabel", "metric": "f1_micro"}, (0.1, 0.4, 0.2), [""]),
    "at least one label": (SETS, {"y": "a"}, {"kind": "multilabel", "metric": "f1_samples"}, (0.1, 0.4, 0.2), ["b"]),
    "labels by |": (
        {"y": ["a b|c", "c", "d"]}, {"y": "a b|d"}, {"kind": "multilabel", "metric": "f1_macro", "separator": "|"},
        (0.6, 0.4, 0.5), ["a b|d"],
    ),
    "labels of columns": (
        FLAGS, {"tags": "rude"}, {"kind": "multilabel", "metric": "accuracy"}, (0.6, 0.7), ["toxic rude"],
    ),
    "wide": (
        ANIMALS, {"hot dog": "0.3", "cat": "0.3", "cow": "0.4"}, {"kind": "multiclass", "metric": "logloss"},
        (0.125, 0.25, 0.625), ["0.625", "0.125", "0.25"],
    ),
    "wide, normalised": (
        ANIMALS, {"cat": "0", "cow": "0", "hot dog": "1"}, {"kind": "multiclass", "metric": "logloss"},
        (0.25, 0.25, 0.0), ["0.5", "0.5", "0.0"],
    ),
    "wide, other case": (
        ANIMALS, {"Cat": "0", "COW": "0", "HotDog": "1"}, {"kind": "multiclass", "metric": "auc"},
        (0.25, 0.5, 0.25), ["0.25", "0.5", "0.25"],
    ),
    "wide, Class_1": (
        {"y": ["1", "2", "10"]}, {"Class_1": "0", "Class_2": "0", "Class_10": "1"},
        {"kind": "multiclass", "metric": "logloss"}, (0.25, 0.5, 0.25), ["0.25", "0.5", "0.25"],
    ),
    "wide, prob_cat": (
        ANIMALS, {"prob_cat": "0", "prob_cow": "0", "prob_hot_dog": "1"}, {"kind": "multiclass", "metric": "brier"},
        (0.25, 0.5, 0.25), ["0.25", "0.5", "0.25"],
    ),
    "wide, cat_vote": (
        ANIMALS, {"cat_vote": "0", "cow_vote": "0", "hot dog_vote": "1"}, {"kind": "multiclass", "metric": "kl"},
        (0.25, 0.5, 0.25), ["0.25", "0.5", "0.25"],
    ),
    "wide, unseen class": (
        LEVELS, {"p0": "0", "p1": "0", "p2": "1", "p3": "0"}, {"kind": "ordinal", "metric": "logloss"},
        (0.25, 0.5, 0.25), ["0.25", "0.5", "0.25", "0.0"],
    ),
    "wide, binary": (
        {"y": ["no", "yes"]}, {"yes": "0.5", "no": "0.5"}, {"kind": "binary", "metric": "auc"}, (0.25,),
        ["0.25", "0.75"],
    ),
    "wide, 0 or 1": (
        ANIMALS, {"cat": "0", "cow": "0", "hot dog": "1"}, {"kind": "multiclass", "metric": "accuracy"}, THREE,
        ["0", "1", "0"],
    ),
    "wide, binary, 0 or 1": (
        {"y": ["no", "yes"]}, {"no": "0", "yes": "1"}, {"kind": "binary", "metric": "f1_macro"}, (0.7,), ["0", "1"],
    ),
    "wide labels": (
        FLAGS, {"toxic": "0", "rude": "0"}, {"kind": "multilabel", "metric": "auc"}, (0.9, 0.8), ["0.9", "0.8"],
    ),
    "wide labels, turned": (
        FLAGS, {"rude": "0", "toxic": "0"}, {"kind": "multilabel", "metric": "mean_column_auc"}, (0.9, 0.8),
        ["0.8", "0.9"],
    ),
    "wide labels, 0 or 1": (
        FLAGS, {"toxic": "0", "rude": "0"}, {"kind": "multilabel", "metric": "f1_macro"}, (0.9, 0.1), ["1", "0"],
    ),
    "wide labels of one column": (
        SETS, {"a": "0", "b": "0", "c": "0"}, {"kind": "multilabel", "metric": "lwlrap"}, THREE, ["0.1", "0.7", "0.2"],
    ),
    "value": (VALUES, {"anything": "0"}, {"kind": "regression", "metric": "rmse"}, (-2.5e-7,), ["-2.5e-07"]),
    "values": (
        {"x": ["1", "2"], "y": ["3", "4"]}, {"pred_y": "0", "pred_x": "0"}, {"kind": "regression", "metric": "mae"},
        (1.5, 2.0), ["2.0", "1.5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("train, sample, config, first, cells", FORMS.values(), ids=FORMS)
def test_forms(train, sample, config, first, cells, workspace: Path):
    """The first row holds what it should; the file has the sample's header, ids and order; a check passes it."""
    toy = compete(workspace, train, sample, **config)
    prediction = predict(toy, first)
    table = submit.render(toy, prediction)
    assert list(table.iloc[0, 1:]) == cells
    path, _ = submit.write(toy, "toy/base", prediction)
    assert submit.check(toy, path) == []
    with open(path, encoding="utf-8", newline="") as f:
        lines = list(csv.reader(f))
    assert lines[0] == list(toy.sample.columns)
    assert [line[0] for line in lines[1:]] == IDS
    assert [line[1:] for line in lines[1:]] == table.iloc[:, 1:].to_numpy().tolist()
    if form.infer(toy).exclusive:
        np.testing.assert_allclose([sum(map(float, line[1:])) for line in lines[1:]], 1, atol=1e-6)


REFUSED = {
    "probabilities of labels in one column": (SETS, {"y": "a"}, {"kind": "multilabel", "metric": "auc"}, "one column"),
    "probabilities of classes in one column": (
        ANIMALS, {"y": "0"}, {"kind": "multiclass", "metric": "logloss"}, "3 classes",
    ),
    "a class without a column": (
        ANIMALS, {"p_cat": "0", "p_cow": "1"}, {"kind": "multiclass", "metric": "logloss"}, "1 of 3 classes.*'hot dog'",
    ),
    "a target without a column": (
        {"x": ["1", "2"], "y": ["3", "4"]}, {"x": "0"}, {"kind": "regression", "metric": "mae"}, "1 of 2 targets.*'y'",
    ),
    "a column without a target": (VALUES, {"price": "0", "b": "0"}, {"kind": "regression", "metric": "mae"}, "'b'"),
    "ids alone": (ANIMALS, {}, {"kind": "multiclass", "metric": "accuracy"}, "3 of 3 classes"),
    "the separator in a name": (
        ANIMALS, {"y": "cat"}, {"kind": "multiclass", "metric": "mapk"}, "separator ' '.*'hot dog'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("train, sample, config, says", REFUSED.values(), ids=REFUSED)
def test_samples_that_cannot_hold_it(train, sample, config, says: str, workspace: Path):
    toy = compete(workspace, train, sample, **config)
    with pytest.raises(DataFault, match=re.compile(f"SUB-FORM.*{says}", re.S)):
        submit.render(toy, predict(toy))


WIDE = FORMS["wide"][:3]


@pytest.mark.parametrize(
    "damage, code, says",
    [
        (lambda p: p.drop(index="007"), "SUB-IDS", "1 missing: '007'"),
        (lambda p: p.rename(index={"007": "7"}), "SUB-IDS", "read as numbers"),
        (lambda p: pd.concat([p, p.loc[["NA"]]]), "SUB-IDS", "1 twice: 'NA'"),
        (lambda p: p.assign(cow=np.nan), "SUB-NONFINITE", "6: "),
        (lambda p: p.replace(p.loc["NA", "cat"], np.inf), "SUB-NONFINITE", "1: 'NA, cat: inf'"),
        (lambda p: p.replace(p.loc["NA", "cat"], 1.0001), "SUB-PROB", "1: 'NA, cat: 1.0001'"),
        (lambda p: p.replace(p.loc["NA", "cat"], -0.1), "SUB-PROB", "1: 'NA, cat: -0.1'"),
        (lambda p: p * 0, "SUB-PROB", "0 for every class"),
    ],
)
def test_bad_predictions_are_refused_and_nothing_is_left(damage, code: str, says: str, workspace: Path):
    toy = compete(workspace, WIDE[0], WIDE[1], **WIDE[2])
    with pytest.raises(DataFault, match=f"(?s){code}.*{re.escape(says)}"):
        submit.write(toy, "toy/base", damage(predict(toy)))
    assert not list(workspace.glob("submissions/**/*"))


def test_a_wrong_file_replaces_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever renders wrongly, the reader sees it before a byte is written; the old file stays."""
    toy = compete(workspace, WIDE[0], WIDE[1], **WIDE[2])
    path, _ = submit.write(toy, "toy/base", predict(toy))
    before, render = path.read_bytes(), submit.render
    monkeypatch.setattr(submit, "render", lambda *a: render(*a).replace({"id": {"NA": ""}}).assign(cat="nan"))
    with pytest.raises(DataFault) as caught:
        submit.write(toy, "toy/base", predict(toy))
    assert codes(caught.value.findings) == {"SUB-IDS", "SUB-NONFINITE"}
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_same_bytes_are_not_written_again(workspace: Path):
    toy = compete(workspace, WIDE[0], WIDE[1], **WIDE[2])
    path, _ = submit.write(toy, "toy/base", predict(toy))
    before = path.stat()
    submit.write(toy, "toy/base", predict(toy))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    submit.write(toy, "toy/base", predict(toy, (0.5, 0.25, 0.25)))
    assert path.stat().st_ino != before.st_ino


def test_float32_and_rounding_are_no_faults(workspace: Path):
    toy = compete(workspace, WIDE[0], WIDE[1], **WIDE[2])
    prediction = predict(toy, (1 + 5e-7, -5e-7, 0.0)).astype(np.float32)
    path, notes = submit.write(toy, "toy/base", prediction)
    assert submit.check(toy, path) == []
    assert not any("SUB-PROB" in note for note in notes)
    table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False).round(3)
    table.to_csv("rounded.csv", index=False)
    assert submit.check(toy, Path("rounded.csv")) == []


def test_the_samples_delimiter_is_kept(workspace: Path):
    toy = compete(workspace, VALUES, {"price": "0"}, kind="regression", metric="rmse")
    toy.sample.to_csv("data/sample_submission.csv", index=False, sep=";")
    path, _ = submit.write(toy, "toy/base", predict(toy))
    assert path.read_bytes().startswith(b"id;price\n007;")
    Path("comma.csv").write_bytes(b"id,price\n007,1\n")
    problems = submit.check(toy, Path("comma.csv"))
    assert codes(problems) == {"CSV-HEADER"} and "'id;price'" in problems[0].mend


@pytest.mark.parametrize(
    "content, code",
    [
        (None, "CSV-MISSING"),
        (b"", "CSV-EMPTY"),
        (b"id,price\n", "CSV-EMPTY"),
        (b"id,price\n007,\xff\n", "CSV-ENCODING"),
        (b"id,price\n007,1,2\n", "CSV-RAGGED"),
        (b'id,price\n007,"1\n', "CSV-QUOTE"),
        (b",id,price\n0,007,1\n", "CSV-HEADER"),
        (b"id,id\n0,007\n", "CSV-HEADER"),
        (b"id,price\n7.0,1\n", "SUB-IDS"),
    ],
)
def test_files_of_others(content: bytes | None, code: str, workspace: Path):
    toy = compete(workspace, VALUES, {"price": "0"}, kind="regression", metric="rmse")
    if content is not None:
        Path("other.csv").write_bytes(content)
    problems = submit.check(toy, Path("other.csv"))
    assert code in codes(problems)
    assert all(p.where == "other.csv" and p.found and p.mend for p in problems)


def test_a_file_with_bom_crlf_and_blank_lines_passes(workspace: Path):
    toy = compete(workspace, VALUES, {"price": "0"}, kind="regression", metric="rmse")
    path, _ = submit.write(toy, "toy/base", predict(toy))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert submit.check(toy, path) == []


DAMAGED = ["class name", "probability", "labels", "wide"]
DAMAGED += [
    pytest.param(n, marks=pytest.mark.slow) for n in ("1 as True", "top 2", "wide, 0 or 1", "wide labels", "values")
]
DAMAGES = ["drop a row", "double a row", "blank", "nan", "1e400", "-7", "half", "rename", "swap", "turn"]


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_found_and_harmless_change_is_not(name: str, workspace: Path):
    train, sample, config, first, _ = FORMS[name]
    toy = compete(workspace, train, sample, **config)
    path, _ = submit.write(toy, "toy/base", predict(toy, first))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    cells = form.infer(toy).cells

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(DAMAGES), st.integers(1, len(IDS)), st.integers(1, len(sample)), st.integers(1, len(IDS)))
    def damage(kind: str, row: int, column: int, other: int):
        table = [list(line) for line in rows]
        line = table[row]
        if kind == "drop a row":
            del table[row]
        elif kind == "double a row":
            table.insert(other, list(line))
        elif kind == "rename":
            table[0][column] += "_x"
        elif kind == "swap":
            table[row], table[other] = table[other], table[row]
        elif kind == "turn":
            table[row][0], table[other][0] = table[other][0], table[row][0]
        else:
            line[column] = {"blank": "", "half": "0.5"}.get(kind, kind)
        text = io.StringIO()
        csv.writer(text).writerows(table)
        Path("damaged.csv").write_text(text.getvalue())
        harmless = {"swap", "turn"}  # the second gives two ids each other's prediction, which no reader can see
        harmless |= {"blank"} if cells == "labels" else set()
        harmless |= {"-7", "half"} if cells == "value" else set()
        harmless |= {"half"} if cells == "probability" and not form.infer(toy).exclusive else set()
        assert bool(submit.check(toy, Path("damaged.csv"))) == (kind not in harmless), (kind, table)

    damage()


@pytest.mark.parametrize(
    "name, cell, code",
    [
        ("class name", "Cat", "SUB-LABEL"),
        ("1 as True", "1", "SUB-LABEL"),
        ("top 2", "a", "SUB-LIST"),
        ("top 2", "a b c", "SUB-LIST"),
        ("top 2", "a a", "SUB-LIST"),
        ("top 2", "a x", "SUB-LABEL"),
        ("labels", "a a", "SUB-LIST"),
        ("labels", "a,b", "SUB-LABEL"),
        ("wide", "0.4", "SUB-PROB"),
        ("wide, 0 or 1", "1", "SUB-PROB"),
        ("wide labels, 0 or 1", "0.5", "SUB-LABEL"),
        ("values", "1,5", "SUB-NONFINITE"),
    ],
)
def test_codes_of_wrong_cells(name: str, cell: str, code: str, workspace: Path):
    train, sample, config, first, _ = FORMS[name]
    toy = compete(workspace, train, sample, **config)
    table = submit.render(toy, predict(toy, first))
    table.iloc[0, 1] = cell
    table.to_csv("other.csv", index=False)
    problems = submit.check(toy, Path("other.csv"))
    assert codes(problems) == {code}
    assert "1: '007" in problems[0].found


def test_notes(workspace: Path):
    toy = compete(workspace, {"y": ["=a", "-1", "b"]}, {"y": "b"}, kind="multiclass", metric="accuracy")
    prediction = predict(toy) * 0
    prediction["=a"] = 1.0
    path, notes = submit.write(toy, "toy/base", prediction / 2)
    text = "\n".join(notes)
    assert "SUB-CONST: all 6 rows hold the same prediction, '=a'" in text
    assert "CSV-FORMULA" in text and "'=a'" in text and "'-x'" in text and "'-1'" not in text
    assert "SUB-PROB" in text
    assert b"\n007,=a\n" in path.read_bytes(), "a submission is never altered for a spreadsheet"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *reversed(lines[1:])]))
    assert submit.check(toy, path) == []
    assert any("SUB-ORDER" in note for note in submit.notes(toy, submit.read(toy, path.read_bytes(), str(path))))
    mixed = compete(workspace, *FORMS["wide, unseen class"][:2], **FORMS["wide, unseen class"][2])
    _, notes = submit.write(mixed, "toy/base", predict(mixed))
    assert [note for note in notes if "'p3'" in note] == notes[:1]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1), min_size=2, unique=True)
)
@settings(max_examples=40, deadline=None)
def test_columns_match_whatever_the_classes_are_called(names: list[str]):
    turned = [*reversed(names)]
    assert form.match(turned, names) == dict(zip(turned, turned))
    assert form.match([f"Class_{n}" for n in turned], names) == {f"Class_{n}": n for n in turned}
    assert spelling.dress(tuple(names), {names[0]}) == tuple(names)


ROW = {"time": "now", "competition": "toy", "run": "toy/base", "metric": "rmse", "cv": -0.25, "config": "c"}
ROW |= {"data": "d", "folds": "f"}


def test_ledger_adds_once(workspace: Path):
    assert ledger.record(ROW)
    assert ledger.record(ROW | {"run": "toy/blend", "members": "=toy/a;toy/b"})
    before = artifacts.LEDGER.read_bytes()
    assert not ledger.record(ROW | {"time": "later", "cv": 0.5})
    assert artifacts.LEDGER.read_bytes() == before
    assert ledger.record(ROW | {"data": "other"})
    rows = ledger.read()
    assert [row["run"] for row in rows] == ["toy/base", "toy/blend", "toy/base"]
    assert [row["cv"] for row in rows] == ["-0.25"] * 3, "a number is not a formula"
    assert rows[1]["members"] == "'=toy/a;toy/b"
    assert rows[0]["public"] == rows[0]["members"] == ""
    assert list(pd.read_csv(artifacts.LEDGER).columns) == list(ledger.COLUMNS)


def test_ledger_keeps_what_people_wrote(workspace: Path):
    ledger.record(ROW)
    text = artifacts.LEDGER.read_text().rstrip("\n").replace(",-0.25,,,,", ',-0.25,,0.81,"0,79",')
    artifacts.LEDGER.write_text(text)
    assert ledger.record(ROW | {"run": "-x"}) and not ledger.record(ROW | {"run": "-x"})
    assert artifacts.LEDGER.read_text().startswith(text + "\n")
    assert [row["private"] for row in ledger.read()] == ["0,79", ""]


@pytest.mark.parametrize("header", ["run,score\n", "time;run\n", "\n"])
def test_ledger_of_another_form_is_left_alone(header: str, workspace: Path):
    artifacts.SUBMISSIONS.mkdir()
    artifacts.LEDGER.write_text(header)
    with pytest.raises(DataFault, match="LEDGER-HEADER"):
        ledger.record(ROW)
    assert artifacts.LEDGER.read_text() == header
