"""Rows 30 to 46: CSV files and ids."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from competition import data
from faults.case import Case, Make, tables_of

TRAIN, TEST, SAMPLE = Path("data/train.csv"), Path("data/test.csv"), Path("data/sample_submission.csv")
FOLDS = ("folds", "toy")
Change = Callable[[str], str]


def toy(make: Make, **keys: object) -> None:
    """Numbers, names and words beside each label."""
    tables_of(make, "multiclass", **keys)


def edited(*changes: tuple[Path, Change], **keys: object) -> Callable[[Make], object]:
    def build(make: Make) -> None:
        toy(make, **keys)
        for path, change in changes:
            path.write_text(change(path.read_text()))

    return build


def recoded(change: Callable[[str], bytes], *paths: Path) -> Callable[[Make], object]:
    def build(make: Make) -> None:
        toy(make)
        for path in paths or (TRAIN,):
            path.write_bytes(change(path.read_text()))

    return build


def each_line(change: Callable[[int, str], str]) -> Change:
    return lambda text: "\n".join(change(n, line) for n, line in enumerate(text.splitlines())) + "\n"


def renamed(old: str, new: str) -> tuple[tuple[Path, Change], ...]:
    """An id of a test row is another."""
    change = each_line(lambda n, line: new + line[len(old) :] if line.startswith(f"{old},") else line)
    return (TEST, change), (SAMPLE, change)


def refused(row: int, name: str, build: Callable[[Make], object], code: str, *said: str) -> Case:
    return Case(row, name, build, FOLDS, "error", code, 3, said)


def read_as_text(*names: str) -> Callable[[], None]:
    def holds() -> None:
        toy = data.load("toy")
        assert set(names) <= set(toy.test.ids) and set(names) <= set(toy.sample["id"])

    return holds


def whole() -> None:
    toy = data.load("toy")
    assert len(toy.train) == 60 and len(toy.test) == 12 and toy.problem.inputs == ("size", "colour", "day", "note")


def kept(row: int, *names: str) -> Case:
    """Ids that other readers change."""
    changes = [change for n, name in enumerate(names) for change in renamed(f"06{n}", name)]
    return Case(row, f"ids {' '.join(names)}", edited(*changes), FOLDS, "handled", holds=read_as_text(*names))


def named_na() -> None:
    assert data.load("toy").problem.classes == ("NA", "dark", "grey")
    assert len(data.load("toy").train) == 60


IDS = [
    kept(30, "0070", "1e5", "1.0", "0x1F", "+5", "TRUE", "1_000"),
    kept(31, "NA", "None", "null", "nan", "Infinity"),
    refused(30, "zeros lost in the sample", edited((SAMPLE, lambda t: t.replace("\n0", "\n"))), "CSV-IDTYPE",
            "leading zeros", "'060'"),
    Case(31, "class NA", edited((TRAIN, lambda t: t.replace(",light", ",NA"))), FOLDS, "handled", holds=named_na),
    Case(32, "ids over 2**53", edited(*renamed("060", "9007199254740993")), FOLDS, "handled",
         holds=read_as_text("9007199254740993")),
    refused(32, "an empty id", edited((TRAIN, lambda t: t.replace("\n003,", "\n,"))), "CSV-EMPTYID", "'5'", "train.csv"),
    refused(32, "a blank id", edited((TEST, lambda t: t.replace("\n061,", "\n ,"))), "CSV-EMPTYID", "'3'", "test.csv"),
    refused(42, "an id twice with one label", edited((TRAIN, lambda t: t + t.splitlines()[4] + "\n")), "ID-DUP",
            "'003' in lines 5 and 62", "duplicates: first"),
    Case(42, "an id twice, the first kept", edited((TRAIN, lambda t: t + t.splitlines()[4] + "\n"), duplicates="first"),
         FOLDS, "warning", "ID-DUP", said=("1 training rows", "'003'"), holds=whole),
    refused(42, "an id twice in test", edited((TEST, lambda t: t + t.splitlines()[1] + "\n")), "ID-DUP", "lines 2 and 14"),
    refused(42, "an id twice in the sample", edited((SAMPLE, lambda t: t + t.splitlines()[1] + "\n")), "ID-DUP", "'060'"),
    refused(43, "an id twice with other labels",
            edited((TRAIN, lambda t: t + t.splitlines()[4].replace("dark", "light") + "\n")), "ID-CONFLICT",
            "'003' in lines 5 ('dark') and 62 ('light')"),
    refused(43, "other labels, although the first may be kept",
            edited((TRAIN, lambda t: t + t.splitlines()[4].replace("dark", "light") + "\n"), duplicates="first"),
            "ID-CONFLICT", "'003'"),
    refused(44, "a row of test in train", edited((TRAIN, lambda t: t + TEST.read_text().splitlines()[1] + ",dark\n")),
            "ID-OVERLAP", "'060'"),
    Case(44, "an id of test in train, of another row", edited((TRAIN, lambda t: t.replace("\n003,", "\n060,"))), FOLDS,
         "warning", "ID-OVERLAP", said=("'060'",), holds=whole),
    Case(45, "whole numbers here, text there", edited(*renamed("060", "a60")), FOLDS, "handled", holds=read_as_text("a60")),
    refused(45, "numbers with a point in the sample", edited((SAMPLE, each_line(
        lambda n, line: line.replace(",", ".0,", 1) if n else line))), "SUB-IDS", "'060.0'"),
    Case(46, "an index without a name",
         edited(*((path, each_line(lambda n, line: f"{n - 1},{line}" if n else f",{line}")) for path in (TRAIN, TEST))),
         FOLDS, "warning", "CSV-INDEX", said=("'Unnamed: 0'",), holds=whole),
    Case(46, "an index saved twice",
         edited(*((path, each_line(lambda n, x: f"{n},{x}" if n else f"Unnamed: 0,{x}")) for path in (TRAIN, TEST))),
         FOLDS, "warning", "CSV-INDEX", holds=whole),
]  # fmt: skip


def latin(text: str) -> bytes:
    return text.replace("it is", "caf\u00e9").encode("latin1")


def windows(text: str) -> bytes:
    return text.replace("it is", "\u201ccaf\u00e9\u201d").encode("cp1252")


ENCODINGS = [
    Case(33, "byte-order mark", recoded(lambda t: codecs.BOM_UTF8 + t.encode(), TRAIN, TEST, SAMPLE),
         FOLDS, "handled", holds=whole),
    Case(33, "two byte-order marks", recoded(lambda t: codecs.BOM_UTF8 * 2 + t.encode(), TRAIN, TEST, SAMPLE), FOLDS,
         "handled", holds=whole),
    refused(33, "UTF-16", recoded(lambda t: t.encode("utf-16")), "CSV-ENCODING", "utf-16", "byte 0", "iconv"),
    refused(33, "UTF-16 without a mark", recoded(lambda t: t.encode("utf-16-le")), "CSV-NUL", "UTF-16", "iconv"),
    refused(33, "Latin-1", recoded(latin), "CSV-ENCODING", "latin1", "line 2", "caf\u00e9", "iconv -f latin1"),
    refused(33, "Windows", recoded(windows), "CSV-ENCODING", "cp1252", "iconv -f cp1252"),
    refused(40, "a zero byte", edited((TRAIN, lambda t: t.replace("\n003,", "\n00\0003,"))), "CSV-NUL", "line 5", "is 0"),
    refused(40, "a tail of zeros", recoded(lambda t: t.encode()[:1000] + bytes(500)), "CSV-NUL", "byte 1,000"),
]  # fmt: skip


def separated(mark: str) -> Callable[[Make], object]:
    return edited(*((path, lambda t: t.replace(",", mark)) for path in (TRAIN, TEST, SAMPLE)))


def with_decimal_comma(make: Make) -> None:
    tables_of(make, "regression")
    table = pd.read_csv(TRAIN, dtype=str)
    table.assign(label=table["label"].str.replace(".", ",")).to_csv(TRAIN, index=False, sep=";")


def with_commas_inside(make: Make) -> None:
    toy(make)
    for path in (TRAIN, TEST):
        table = pd.read_csv(path, dtype=str)
        table.assign(size=table["size"].str.replace(".", ",")).to_csv(path, index=False, sep=";")


def drop_last(text: str, letters: int) -> str:
    return text[: len(text.rstrip("\n")) - letters]


def only_label(change: Change) -> Callable[[Make], object]:
    """A table of ids and labels alone."""

    def build(make: Make) -> None:
        make("multiclass")
        TRAIN.write_text(change(TRAIN.read_text()))

    return build


FORMS = [
    *(Case(34, f"delimiter {name}", separated(mark), FOLDS, "handled", holds=whole)
      for name, mark in (("semicolon", ";"), ("tab", "\t"), ("bar", "|"))),
    refused(34, "a delimiter that nobody knows", edited((TRAIN, lambda t: t.replace(",", "~"))), "CSV-HEADER", "id~size"),
    refused(35, "decimal comma in the target", with_decimal_comma, "CSV-DECIMAL", "decimal point", "'label'"),
    Case(35, "decimal comma in a column", with_commas_inside, FOLDS, "warning", "CSV-DECIMAL", said=("'size'",)),
    refused(36, "blanks in the header", edited((TRAIN, lambda t: t.replace("label", " label ", 1))), "CSV-HEADER",
            "' label '", "did you mean"),
    refused(36, "no header", edited((TRAIN, lambda t: t.split("\n", 1)[1])), "CSV-HEADER", "header missing"),
    refused(36, "a name twice", edited((TRAIN, lambda t: t.replace("size", "label", 1))), "CSV-HEADER", "'label'", "twice"),
    refused(36, "a quoted name twice", edited((TRAIN, lambda t: t.replace("size", '"label"', 1))), "CSV-HEADER", "twice"),
    refused(36, "another case", edited((TRAIN, lambda t: t.replace("label", "Label", 1))), "CSV-HEADER", "'Label'"),
    refused(37, "empty", edited((TRAIN, lambda t: "")), "CSV-EMPTY", "train.csv"),
    refused(37, "blank lines", edited((TEST, lambda t: "\n\n\n")), "CSV-EMPTY", "test.csv"),
    refused(37, "a header alone", edited((SAMPLE, lambda t: t.split("\n")[0] + "\n")), "CSV-EMPTY", "no rows", "id,label"),
    refused(38, "every row one field more", edited((TRAIN, each_line(lambda n, x: f"{n},{x}" if n else x))), "CSV-RAGGED",
            "line 2 has 7", "name the first column", "(60 in all)"),
    refused(38, "every row an empty field more", edited((TRAIN, each_line(lambda n, x: f"{x}," if n else x))), "CSV-RAGGED",
            "line 2 has 7"),
    refused(39, "a longer row", edited((TRAIN, each_line(lambda n, x: f"{x},x" if n == 3 else x))), "CSV-RAGGED",
            "more fields", "line 4 has 7"),
    refused(39, "a shorter row", edited((TRAIN, each_line(lambda n, x: "002,1.0" if n == 3 else x))), "CSV-RAGGED",
            "fewer fields", "line 4 has 2", "the header has 6"),
    refused(39, "shorter and longer rows", edited((TRAIN, each_line(lambda n, x: x + ",," * (n == 9) if n != 3 else "2"))),
            "CSV-RAGGED", "line 4 has 1", "line 10 has 8"),
    refused(40, "a quote that is never closed", edited((TRAIN, each_line(lambda n, x: f'"{x}' if n == 7 else x))),
            "CSV-QUOTE", "line 8", "inside the quotes"),
    refused(41, "cut in the last label", only_label(lambda t: drop_last(t, 2)), "CSV-CUT", "'lig'", "'light'", "line 61"),
    refused(41, "cut in the last row", edited((TRAIN, lambda t: drop_last(t, 30))), "CSV-CUT", "line 61"),
    Case(41, "no last line end, and a label of its own", only_label(lambda t: t.rstrip("\n") + "er"), FOLDS, "warning",
         "CSV-CUT", said=("'lighter'",)),
    Case(41, "no last line end", only_label(lambda t: t.rstrip("\n")), FOLDS, "handled",
         holds=lambda: data.load("toy").problem.classes.index("light") == 2),
]  # fmt: skip

CASES = [*IDS, *ENCODINGS, *FORMS]
UNTRIED: dict[int, str] = {}
