"""Whatever stands in the files of a competition, it is read, or refused with a message: never another exception."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition import data
from competition.csvfile import read_csv
from competition.decoding import BadPicture, decode
from competition.errors import DataFault, Fault, SafetyFault

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MARKS = 'ab01.,;|\t"\r\n \ufeff\0é-'
TABLES = ("train", "test", "sample_submission")


@QUICK
@given(st.binary(max_size=80) | st.text(alphabet=MARKS, max_size=60).map(str.encode))
def test_any_bytes_are_a_table_or_a_fault(tmp_path: Path, content: bytes):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with suppress(DataFault, SafetyFault):  # bytes may begin as an archive does
        table = read_csv(path)
        assert len(table) and not table.isna().any(axis=None)


@QUICK
@given(st.text(alphabet='ab1,"\n ;', max_size=50))
def test_cells_are_those_of_the_csv_module(tmp_path: Path, text: str):
    path = tmp_path / "train.csv"
    path.write_text("a,b\n" + text)
    try:
        table = read_csv(path)
    except Fault:
        return
    rows = [row for row in csv.reader(io.StringIO(text)) if len(row) > 1 or "".join(row).strip()]
    assert table.to_numpy().tolist() == rows


@QUICK
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8), min_size=1, max_size=4
    )
)
def test_any_text_is_an_id_and_comes_back(tmp_path: Path, ids: list[str]):
    path = tmp_path / "train.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            [["id", "label"], *([i, "a"] for i in ids)]
        )
    assert read_csv(path)["id"].tolist() == ids


def mutated(text: str, kind: str, at: int, other: int) -> bytes:
    """A byte flipped, the rest cut, a cell put in, a column in another's place, two lines swapped, a line twice."""
    content = bytearray(text.encode())
    place = at % max(len(content), 1)
    if kind == "flip":
        content[place] ^= 1 << other % 8
        return bytes(content)
    if kind == "cut":
        return bytes(content[:place])
    rows = [line.split(",") for line in text.splitlines()]
    row = rows[at % len(rows)]
    if kind == "insert":
        row.insert(other % (len(row) + 1), ("", "x", '"', "\u00e9", "nan")[other % 5])
    elif kind == "columns":
        rows = [[*cells[1:], cells[0]] for cells in rows]
    elif kind == "lines":
        rows[at % len(rows)], rows[other % len(rows)] = rows[other % len(rows)], row
    else:
        rows.insert(other % len(rows), row)
    return ("\n".join(map(",".join, rows)) + "\n").encode()


MUTATION = st.tuples(
    st.sampled_from(TABLES), st.sampled_from(["flip", "cut", "insert", "columns", "lines", "twice"]),
    st.integers(0, 5000), st.integers(0, 5000),
)  # fmt: skip


def tried(mutation: tuple[str, str, int, int], act: Callable[[], object]) -> None:
    name, kind, at, other = mutation
    path = Path(f"data/{name}.csv")
    whole = path.read_text()
    path.write_bytes(mutated(whole, kind, at, other))
    data.load.cache_clear()
    with suppress(Fault):
        act()
    path.write_text(whole)


@pytest.mark.parametrize(
    "kind", ["multiclass", *(pytest.param(k, marks=pytest.mark.slow) for k in ("regression", "multilabel"))]
)
def test_a_changed_table_is_loaded_or_refused(kind: str, competition: Callable[..., str]):
    competition(kind, columns=True, image=None)

    @settings(QUICK, max_examples=60)
    @given(MUTATION)
    def check(mutation: tuple[str, str, int, int]) -> None:
        tried(mutation, lambda: data.load("toy"))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "regression", "multilabel", "boxes"])
def test_init_folds_and_check_survive_changed_tables(kind: str, competition: Callable[..., str]):
    from competition import folds
    from competition.check.audit import audit
    from competition.inspect import infer

    competition(kind, columns=kind != "boxes")

    def all_of_them() -> None:
        infer.infer("data", "new")
        folds.draw(data.load("toy"))
        audit("toy")

    @settings(QUICK, max_examples=40)
    @given(MUTATION)
    def check(mutation: tuple[str, str, int, int]) -> None:
        tried(mutation, all_of_them)
        shutil.rmtree("configs/new", ignore_errors=True)

    check()


@QUICK
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    st.integers(0, 10**6),
    st.integers(0, 7),
    st.booleans(),
)
def test_a_damaged_picture_decodes_or_is_refused(form: str, at: int, bit: int, cut: bool):
    from faults.pictures import photo, saved

    content = bytearray(saved(form, photo(24, 32)))
    content[at % len(content)] ^= 1 << bit
    content = content[: at % len(content)] if cut else content
    with suppress(BadPicture):
        assert decode(bytes(content), 8).dtype == "uint8"


def test_every_flipped_bit_of_a_png_is_noticed():
    """A PNG's chunks have checksums; a JPEG has none, so a run notices a change by the content's digest alone."""
    from faults.pictures import photo, saved

    content = saved("PNG", photo(12, 12))
    noticed = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1
        try:
            decode(bytes(damaged), 8)
        except BadPicture:
            noticed += 1
    assert noticed == len(content)
