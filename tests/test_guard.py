"""The guard: no valid submission is refused, and how one was spoilt is seen, by the competition and by the sample alone."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corruptions import DOUBT, FAULT, KINDS, UNSEEN, Valid, text
from test_zoo import ZOO, entered
from zoo.entry import Entry

from competition import form, guard, hostread, submit
from competition.boxes.table import EDGES
from competition.cli import main
from competition.data import Data, load

SEEDS = 3  # random predictions of each competition
FIRST = ("aerial-cactus-identification", "titanic")  # of which `make test` spoils files, of all others `make test-all`


def predicted(data: Data, seed: int) -> pd.DataFrame:
    """A random prediction of the test rows, as some model could make it."""
    rng, ids, columns = np.random.default_rng(seed), data.test.ids, list(data.problem.columns)
    if data.problem.kind == "boxes":
        return boxes(data, rng)
    if data.problem.kind in ("multiclass", "ordinal"):
        numbers = rng.dirichlet(np.ones(len(columns)), len(ids))
    elif data.problem.kind == "regression":
        truth = data.train.truth
        assert truth is not None
        numbers = truth.to_numpy(float)[rng.integers(len(truth), size=len(ids))] * rng.uniform(0.9, 1.1, (len(ids), 1))
    else:
        numbers = rng.random((len(ids), len(columns)))
    return pd.DataFrame(numbers, index=pd.Index(ids, name="id"), columns=columns)


def boxes(data: Data, rng: np.random.Generator) -> pd.DataFrame:
    """One to three boxes on two of three pictures."""
    assert data.test.sizes is not None
    ids = [i for i in data.test.ids if rng.random() < 0.67 or i == data.test.ids[0]]
    pictures = np.repeat(ids, rng.integers(1, 4, len(ids)))
    sizes = data.test.sizes.loc[pictures, ["width", "height"]].to_numpy(float)
    start = rng.uniform(0, 0.6, (len(pictures), 2)) * sizes
    edges = np.hstack([start, start + rng.uniform(0.1, 0.4, (len(pictures), 2)) * sizes])
    table = pd.DataFrame(edges, pd.Index(pictures, name="id", dtype="str"), list(EDGES))
    table.insert(0, "label", rng.choice(list(data.problem.classes), len(pictures)))
    table.insert(1, "score", rng.uniform(0.05, 0.99, len(pictures)))
    return table


def lines(content: bytes, delimiter: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=delimiter))


def level(verdict: guard.Verdict, before: guard.Verdict) -> str:
    """What is told of a file beyond what was told of the valid one."""
    if verdict.faults or verdict.unlike:
        return FAULT
    said = Counter(d.partition(":")[0] for d in verdict.doubts) - Counter(d.partition(":")[0] for d in before.doubts)
    return DOUBT if said else UNSEEN


def outcomes(data: Data, sample: Path, seed: int) -> dict[str, tuple[str, str]]:
    """kind -> what the competition tells of it, and what the sample alone; the valid file itself is without fault."""
    path, _ = submit.write(data, "zoo/tiny", predicted(data, seed))
    own, bare = guard.known(path), guard.alone(path, sample)
    assert not own.faults and not own.unlike and not bare.faults, (own.faults, own.unlike, bare.faults)
    split = hostread.delimiter_of(sample)
    valid = Valid(lines(path.read_bytes(), split), lines(sample.read_bytes(), split), data, form.infer(data))
    found = {}
    for kind, (spoil, *_) in KINDS.items():
        spoilt = spoil(valid)
        if spoilt is None or spoilt == valid.lines:
            continue
        other = Path("spoilt.csv")
        other.write_bytes(spoilt if isinstance(spoilt, bytes) else text(spoilt, split))
        found[kind] = level(guard.known(other, data.name), own), level(guard.alone(other, sample), bare)
    return found


@pytest.mark.parametrize(
    "entry", [pytest.param(e, id=e.slug, marks=() if e.slug in FIRST else pytest.mark.slow) for e in ZOO]
)
def test_every_kind_of_spoilt_file_is_seen_and_no_valid_one_refused(entry: Entry, workspace: Path):
    entered(entry)
    data = load("zoo")
    sample = Path(data.config.data) / data.config.sample
    for seed in range(SEEDS):
        found = outcomes(data, sample, seed)
        for kind, (known, alone) in found.items():
            print(f"{entry.slug}\t{kind}\t{known}\t{alone}")
        missed = [kind for kind, (known, _) in found.items() if known == UNSEEN]
        assert not missed, missed
        wanted = {k: (KINDS[k][1] or known, KINDS[k][2] or alone) for k, (known, alone) in found.items()}
        assert found == wanted
        assert len(found) >= 20


# What a sample tells, form by form ------------------------------------------------------------------------------------

IDS = ["07", "10", "11", "12"]
BOXES = ["0.5 1 2 3 4", "", "0.25 1 2 30 40 0.5 5 5 9 9", ""]
ALONE = {  # the sample's columns, the file's, what is told of it
    "a price that the sample has as 0.5": ({"y": ["0.5"] * 4}, {"y": ["350000.0", "12", "7", "-1"]}, "SUB-PROB"),
    "two labels of one half each": (
        {"a": ["0.5"] * 4, "b": ["0.5"] * 4}, {"a": ["1", "0", "1", "0.5"], "b": ["1"] * 4}, "SUB-PROB",
    ),
    "three classes of one third": (
        dict.fromkeys("abc", ["0.3333"] * 4), {"a": ["0.9"] * 4, "b": ["0.9"] * 4, "c": ["0"] * 4}, "error SUB-PROB",
    ),
    "whole numbers": ({"y": ["0", "1", "2", "3"]}, {"y": ["0", "1", "2.5", "3"]}, "SUB-LABEL"),
    "whole numbers with a point": ({"y": ["0"] * 4}, {"y": ["0.0", "1.0", "0.0", "1.0"]}, "SUB-LABEL"),
    "no name": ({"y": ["cat", "cow", "cat", "cow"]}, {"y": ["cat", "", "cow", "cow"]}, "SUB-LABEL"),
    "nan for a name": ({"y": ["cat"] * 4}, {"y": ["cat", "nan", "cow", "cow"]}, "error SUB-NONFINITE"),
    "a name with a blank": ({"y": ["cat", "cow"] * 2}, {"y": ["cat", " cow", "cow", "cow"]}, "error SUB-LABEL"),
    "a misspelt name": ({"y": ["cat", "cow"] * 2}, {"y": ["cat", "cwo", "cow", "cow"]}, "SUB-LABEL"),
    "top 3": ({"y": ["a b c"] * 4}, {"y": ["a b d", "c a", "d e f", "a c e"]}, "SUB-LIST"),
    "a name twice": ({"y": ["a b c"] * 4}, {"y": ["a b d", "c a a", "d e f", "a c e"]}, "SUB-LIST"),
    "boxes": ({"PredictionString": BOXES}, {"PredictionString": ["0.9 1 2 3", "", "", ""]}, "error SUB-BOX"),
    "a box of no area": ({"PredictionString": BOXES}, {"PredictionString": ["0.9 1 2 0 4", "", "", ""]}, "error SUB-BOX"),
    "lists of five numbers": (
        {"y": ["0 1 2 3 4"] * 4}, {"y": ["7 3 2 1 0", "1 2 3 4 5", "5 4 3 2 1", "9 8 7 6 5"]}, "SUB-PROB",
    ),
    "one row a box": (
        dict(zip(("score", "x_min", "y_min", "x_max", "y_max"), (["0.5"] * 4, *[[str(n)] * 4 for n in (1, 2, 3, 4)]))),
        dict(zip(("score", "x_min", "y_min", "x_max", "y_max"), (["0.5"] * 4, *[[str(n)] * 4 for n in (9, 2, 3, 4)]))),
        "error SUB-BOX",
    ),
    "no column names a row": ({"id": ["a"] * 4, "y": ["0"] * 4}, {"y": ["3", "4", "5", "6"]}, "SUB-IDS: no columns"),
    "two columns name a row": (
        {"day": ["1", "2", "1", "2"], "y": ["0"] * 4}, {"day": ["1", "2", "1", "1"], "y": ["3", "4", "5", "6"]},
        "error SUB-IDS",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sample, file, told", ALONE.values(), ids=ALONE)
def test_what_a_sample_tells(sample: dict, file: dict, told: str, workspace: Path, capsys: pytest.CaptureFixture):
    ids = {"id": ["07", "07", "10", "10"] if "day" in sample else sample.get("id", IDS)}
    pd.DataFrame(ids | sample).to_csv("sample.csv", index=False)
    pd.DataFrame(ids | file).to_csv("mine.csv", index=False)
    assert main(["guard", "sample.csv", "sample.csv"]) == 0, "a sample is valid beside itself"
    assert "error" not in capsys.readouterr().err
    assert main(["guard", "mine.csv", "sample.csv"]) == (3 if told.startswith("error") else 0)
    said = capsys.readouterr()
    assert (told if told.startswith("error") else f"warning {told}") in said.out + said.err


def test_a_table_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch):
    """Of whatever size these are: lines keep their numbers, and a cell may be longer than csv's own limit."""
    content = b'\xef\xbb\xbfid,y\r\n1,a\r\n\r\n2,"b\r\nc"\r\n3,' + b"d" * 150_000 + b"\n"
    whole = hostread.parse(content, ",", "")
    assert isinstance(hostread.parse(b"id\n1\n", ",", ""), pd.DataFrame) and csv.field_size_limit() >= len(content)
    monkeypatch.setattr(hostread, "CELLS", 1)
    assert isinstance(whole, pd.DataFrame) and [*whole["y"]] == ["a", "b\r\nc", "d" * 150_000]
    pd.testing.assert_frame_equal(hostread.parse(content, ",", ""), whole)
    torn = hostread.parse(content + b"4\n5,6\n7,8,9\n", ",", "")
    assert isinstance(torn, hostread.Finding) and torn.found == "2 lines with other than 2 cells: '6', '8'"


def test_ids_need_not_come_first(workspace: Path, capsys: pytest.CaptureFixture):
    Path("sample.csv").write_text("y,ImageId\n0,1\n0,2\n")
    Path("mine.csv").write_text("y,ImageId\n0.5,1\n0.5,7\n")
    assert main(["guard", "mine.csv", "sample.csv"]) == 3
    assert "1 missing: '2'; 1 extra: '7'" in capsys.readouterr().err


def test_anybody_s_files_that_are_none(workspace: Path, capsys: pytest.CaptureFixture):
    Path("sample.csv").write_text("id,y\n1,0\n")
    for name, content in {"none": None, "zip": b"PK\x03\x04\xff", "bytes": b"\xff", "ids": b"id\n1\n"}.items():
        if content is not None:
            Path(name).write_bytes(content)
        assert main(["guard", name, "sample.csv"]) == 3 and main(["guard", "sample.csv", name]) == 3
    told = capsys.readouterr().err
    assert "the file is packed" in told and "Traceback" not in told


def test_a_copy_of_another_submission(competition, workspace: Path):
    competition("binary")
    for run in ("toy/base", "toy/other"):
        path, _ = submit.write(load("toy"), run, predicted(load("toy"), 0))
    assert any(doubt.startswith("SUB-SAME: submissions/toy/base.csv") for doubt in guard.known(path).doubts)
