"""An outside model's predictions as a run: scored, blended and submitted like any, and every wrong file refused."""

from __future__ import annotations

import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write

from competition import artifacts, cli, data
from competition.boxes.table import EDGES

ROOT = Path(__file__).parent.parent
ROWS, TEST = 60, 12
ANSWERS = {
    "multiclass": ("accuracy", lambda x: np.array(["ash", "elm", "oak"])[np.digitize(x, [-0.5, 0.5])]),
    "binary": ("auc", lambda x: np.where(x > 0, "yes", "no")),
    "regression": ("rmse", lambda x: x * 10),
}
Change = Callable[[pd.DataFrame], object]


@pytest.fixture
def brought(workspace: Path) -> Callable[..., None]:
    """A table, a linear run on it, and its predictions as oof.csv and test.csv, with the column fold."""

    def make(kind: str = "multiclass", always: int = 0) -> None:
        metric, answer = ANSWERS[kind]
        rng = np.random.default_rng(0)
        x = rng.normal(size=ROWS + TEST)
        table = pd.DataFrame({"id": [f"{i:03d}" for i in range(ROWS + TEST)], "x": x.round(3)})
        table["y"] = answer(x + rng.normal(0, 0.3, len(x)))
        Path("data").mkdir()
        Path("folds").mkdir()
        table[:ROWS].to_csv("data/train.csv", index=False)
        table[ROWS:].drop(columns="y").to_csv("data/test.csv", index=False)
        example = {"multiclass": "ash"}.get(kind, 0.5)
        table[ROWS:][["id"]].assign(y=example).to_csv("data/sample_submission.csv", index=False)
        fold = [-1] * always + [i % 3 for i in range(ROWS - always)]
        pd.DataFrame({"id": table["id"][:ROWS], "fold": fold}).to_csv("folds/toy.csv", index=False)
        values = {"data": "data", "id": "id", "target": "y", "kind": kind, "metric": metric, "folds": {"n": 3}}
        write("configs/toy/competition.yaml", values)
        write("configs/toy/own.yaml", {"task": "tabular", "model": "linear", "jobs": 1})
        assert podium("submission", "toy/own") == 0
        oof, test = (artifacts.read_table(Path(f"runs/toy/own/{part}.parquet")) for part in ("oof", "test"))
        oof.assign(fold=pd.read_csv("folds/toy.csv", dtype={"id": str}).set_index("id")["fold"]).to_csv("oof.csv")
        test.to_csv("test.csv")

    return make


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def bring(run: str = "toy/out") -> int:
    return podium("import", "oof.csv,test.csv", run)


def edit(path: str, change: Change) -> None:
    """change: of the table as text, in place or to a new one."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    new = change(table)
    (new if isinstance(new, pd.DataFrame) else table).to_csv(path, index=False)


def score(run: str) -> dict:
    return artifacts.read_json(Path(f"runs/{run}/score.json"))


def files(run: str) -> dict[str, int]:
    paths = [p for p in Path(f"runs/{run}").rglob("*") if p.is_file() and p.name != "log.txt"]
    return {str(p): p.stat().st_mtime_ns for p in paths} | {"yaml": Path(f"configs/{run}.yaml").stat().st_mtime_ns}


@pytest.mark.parametrize(
    "kind", ["multiclass", *(pytest.param(k, marks=pytest.mark.slow) for k in ("binary", "regression"))]
)
def test_it_is_a_run_like_any_other(kind: str, brought, capsys: pytest.CaptureFixture):
    brought(kind)
    assert bring() == 0
    assert "WARNING" not in capsys.readouterr().out
    assert score("toy/out")["score"] == pytest.approx(score("toy/own")["score"])
    assert score("toy/out")["folds"] == pytest.approx(score("toy/own")["folds"])
    for split in ("fold0", "fold1", "fold2"):
        assert {p.name for p in Path(f"runs/toy/out/{split}").iterdir()} >= {"fit.json", "oof.parquet", "test.parquet"}
        own, out = (artifacts.read_table(Path(f"runs/toy/{run}/{split}/oof.parquet")) for run in ("own", "out"))
        pd.testing.assert_frame_equal(own, out.loc[own.index], check_dtype=False)
    Path("oof.csv").unlink()
    Path("test.csv").unlink()
    assert podium("ensemble", "toy") == 0
    assert podium("ensemble", "toy", "--runs", "out blend", "--as", "toy/deeper") == 0
    shutil.rmtree("runs/toy/out/fold1")
    for run in ("out", "blend", "deeper"):
        assert podium("submission", f"toy/{run}") == 0
    submitted = [Path(f"submissions/toy/{run}.csv").read_text() for run in ("own", "out")]
    assert submitted[0] == submitted[1] or kind != "multiclass"
    assert len(pd.read_csv("submissions/ledger.csv")) == 4


def test_again_it_does_nothing_and_other_files_are_another_run(brought, capsys: pytest.CaptureFixture):
    brought()
    assert bring() == 0
    before = files("toy/out")
    assert bring() == 0
    assert files("toy/out") == before
    edit("test.csv", lambda t: t[::-1])
    for _ in ("its file is there", "only its folder is"):
        assert bring() == 2
        said = capsys.readouterr().err
        assert "RUN-DIFFERS" in said and "imported from other files" in said and "RUN=toy/<new name>" in said
        Path("configs/toy/out.yaml").unlink(missing_ok=True)
    assert bring("toy/own") == 2 and bring("toy/own+new") == 2
    assert "another task" in capsys.readouterr().err
    assert bring("toy/second") == 0
    assert score("toy/second")["score"] == score("toy/out")["score"]


def test_the_predictions_must_be_there(brought, capsys: pytest.CaptureFixture):
    brought()
    write("configs/toy/out.yaml", {"task": "imported", "oof": "a", "test": "b", "jobs": 1})
    assert podium("submission", "toy/out") == 3
    assert "make import FILE=oof.csv,test.csv RUN=toy/out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["yes", "y", "probability"])
def test_a_positive_class_has_three_names(name: str, brought, capsys: pytest.CaptureFixture):
    brought("binary")
    for path in ("oof.csv", "test.csv"):
        edit(path, lambda t: t.rename(columns={"yes": name}))
    assert bring() == 0
    assert score("toy/out")["score"] == pytest.approx(score("toy/own")["score"])


def test_the_other_class_is_not_the_positive_one(brought, capsys: pytest.CaptureFixture):
    brought("binary")
    edit("oof.csv", lambda t: t.rename(columns={"yes": "no"}))
    assert bring() == 3
    assert "IMPORT-COLUMNS" in capsys.readouterr().err


def test_what_is_odd_is_said(brought, capsys: pytest.CaptureFixture):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        rounded = table[["ash", "elm", "oak"]].astype(float).round(4)
        return table.assign(**(rounded * 1.0004), extra="1").drop(columns="fold")

    brought(always=6)
    edit("oof.csv", change)
    edit("oof.csv", lambda t: pd.concat([t, t[:6].assign(id=[f"{i:03d}" for i in range(6)])]))
    assert bring() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "IMPORT-FOLDS: WARNING: oof.csv has no column `fold`" in said
    assert "were divided by that" in said and "6 rows of oof.csv are always in training" in said
    assert "play no part: 'extra'" in said
    np.testing.assert_allclose(artifacts.read_table(Path("runs/toy/out/oof.parquet")).sum(axis=1), 1, atol=1e-9)


def put(column: str, cell: str, row: int = 3) -> Change:
    def change(table: pd.DataFrame) -> None:
        table.loc[row, column] = cell

    return change


WRONG: dict[str, tuple[str, Change, str, str]] = {
    "ids missing": ("oof.csv", lambda t: t[5:], "IMPORT-IDS", "5 missing: "),
    "ids unknown": ("oof.csv", put("id", "x9"), "IMPORT-IDS", "1 unknown: 'x9'"),
    "ids twice": ("oof.csv", lambda t: pd.concat([t, t[:2]]), "IMPORT-IDS", "2 twice: "),
    "other test ids": ("test.csv", put("id", "7"), "IMPORT-IDS", "1 missing: '063'; 1 unknown: '7'"),
    "no id": ("test.csv", lambda t: t.rename(columns={"id": "row"}), "IMPORT-COLUMNS", "the id is missing"),
    "a class missing": ("oof.csv", lambda t: t.rename(columns={"elm": "elms"}), "IMPORT-COLUMNS", "did you mean 'elms'"),
    "no number": ("oof.csv", put("oak", "high"), "IMPORT-NONFINITE", "1 rows"),
    "infinite": ("test.csv", put("oak", "inf"), "IMPORT-NONFINITE", "1 rows: '063'"),
    "logits": ("test.csv", put("oak", "2.5"), "IMPORT-PROB", "outside 0..1"),
    "sums": ("test.csv", lambda t: t.assign(oak="0.99", elm="0.9"), "IMPORT-PROB", "do not sum to 1"),
    "other folds": ("oof.csv", lambda t: t.assign(fold=t["fold"].iloc[::-1].values), "IMPORT-FOLDS", "of 60 rows"),
    "no file": ("oof.csv", lambda t: Path("test.csv").unlink(), "CSV-MISSING", "test.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(name: str, brought, capsys: pytest.CaptureFixture):
    path, change, code, said = WRONG[name]
    brought()
    edit(path, change)
    assert bring() == 3
    err = capsys.readouterr().err
    assert f"error {code}" in err and said in err and err.count("  mend:  ") == err.count("error ")
    assert not Path("configs/toy/out.yaml").exists() and not Path("runs/toy/out").exists()


def test_two_files_and_a_fold_table_are_needed(brought, capsys: pytest.CaptureFixture):
    brought()
    assert podium("import", "oof.csv", "toy/out") == 2
    assert "FILE=oof.csv,test.csv" in capsys.readouterr().err
    Path("folds/toy.csv").unlink()
    assert bring() == 3
    assert "FOLD-MISSING" in capsys.readouterr().err


# Boxes ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def found(competition, workspace: Path) -> Callable[..., None]:
    """The competition of plates, and its boxes moved by a pixel or two as oof.csv and test.csv, with the column fold."""

    def make(always: int = 0) -> None:
        competition("boxes")
        truth = data.load("toy").train.truth
        ids = [f"{n:03d}" for n in range(60)]
        Path("folds").mkdir()
        fold = pd.Series([-1] * always + [n % 2 for n in range(60 - always)], pd.Index(ids, name="id"), name="fold")
        fold.to_csv("folds/toy.csv")
        rng = np.random.default_rng(1)
        moved = truth[list(EDGES)] + rng.normal(0, 1.5, (len(truth), 4)).round(2)
        boxes = moved.assign(label=truth["label"], score=rng.uniform(0.3, 1, len(truth)).round(3), fold=fold)
        boxes.to_csv("oof.csv")
        test = boxes[:8].drop(columns="fold")
        test.set_index(pd.Index([f"{60 + n:03d}" for n in range(8)], name="id")).to_csv("test.csv")

    return make


@pytest.mark.slow
def test_boxes_are_a_run_like_any_other(found, capsys: pytest.CaptureFixture):
    found()
    assert bring() == 0
    assert "WARNING" not in capsys.readouterr().out
    assert artifacts.read_json(Path("runs/toy/out/run.json"))["versions"].keys() >= {"torch", "torchvision"}
    told = score("toy/out")
    loaded = data.load("toy")
    oof = pd.read_csv("oof.csv", dtype={"id": str}).set_index("id")[list(loaded.problem.columns)]
    plain = loaded.problem.metric.function(loaded.train.truth, oof)
    assert told["score"] == pytest.approx(plain, abs=0.02) and plain > 0.5
    edit("oof.csv", lambda t: t.assign(**{edge: t[edge].astype(float) + 1 for edge in EDGES}))
    assert bring("toy/second") == 0
    assert podium("ensemble", "toy") == 0
    for run in ("out", "blend"):
        assert podium("submission", f"toy/{run}") == 0
        cells = pd.read_csv(f"submissions/toy/{run}.csv", dtype=str, keep_default_na=False)["PredictionString"]
        assert len(cells) == 12 and (cells != "").sum() == 8
    assert score("toy/blend")["score"] >= told["score"] - 0.05


@pytest.mark.parametrize("with_folds", [True, False])
@pytest.mark.slow
def test_boxes_of_pictures_that_are_always_in_training_do_no_harm(with_folds, found, capsys: pytest.CaptureFixture):
    found(always=9)
    if not with_folds:
        edit("oof.csv", lambda t: t.drop(columns="fold"))
    assert bring() == 0
    assert ("has no column `fold`" in " ".join(capsys.readouterr().out.split())) == (not with_folds)
    oof = artifacts.read_table(Path("runs/toy/out/oof.parquet"))
    assert not set(oof.index) & {f"{n:03d}" for n in range(9)}


WRONG_BOXES: dict[str, tuple[Change, str, str]] = {
    "a class unknown": (put("label", "plate"), "IMPORT-LABEL", "1 boxes: 'plate'"),
    "an end before its beginning": (put("x_max", "-3"), "IMPORT-BOX", "1 boxes of '0"),
    "a score over 1": (put("score", "93"), "IMPORT-PROB", "1 boxes: '93.0'"),
    "an id unknown": (put("id", "x9"), "IMPORT-IDS", "1: 'x9'"),
    "a number that is none": (put("y_min", "top"), "IMPORT-NONFINITE", "1 boxes of '0"),
    "no scores": (lambda t: t.rename(columns={"score": "scores"}), "IMPORT-COLUMNS", "did you mean 'scores'"),
}


@pytest.mark.parametrize("path", ["oof.csv", "test.csv"])
@pytest.mark.parametrize("name", WRONG_BOXES)
def test_wrong_boxes_are_refused(name: str, path: str, found, capsys: pytest.CaptureFixture):
    change, code, said = WRONG_BOXES[name]
    found()
    edit(path, change)
    assert bring() == 3
    err = capsys.readouterr().err
    assert f"error {code}" in err and path in err and said in err
    assert err.count("  mend:  ") == err.count("error ") == 1
    assert not Path("configs/toy/out.yaml").exists() and not Path("runs/toy/out").exists()


def test_all_faults_of_both_files_of_boxes_are_told_at_once(found, capsys: pytest.CaptureFixture):
    found()
    edit("oof.csv", put("score", "2"))
    edit("oof.csv", put("fold", "7"))
    edit("test.csv", put("label", "plate"))
    assert bring() == 3
    err = capsys.readouterr().err
    assert [err.count(f"error IMPORT-{code}") for code in ("PROB", "FOLDS", "LABEL")] == [1, 1, 1]


# AutoGluon's script ---------------------------------------------------------------------------------------------------


class StandIn:
    """As much of AutoGluon's TabularPredictor as our script calls, on one linear model."""

    def __init__(self, label: str, eval_metric: str | None, path: str):
        self.label = label

    def fit(self, train_data: pd.DataFrame, presets: str, time_limit: int) -> StandIn:
        from sklearn.linear_model import LinearRegression, LogisticRegression

        x, y = train_data.drop(columns=self.label), train_data[self.label]
        self.problem_type = "regression" if pd.api.types.is_numeric_dtype(y) else "multiclass"
        self.model = (LinearRegression() if self.problem_type == "regression" else LogisticRegression()).fit(x, y)
        return self

    def predict(self, rows: pd.DataFrame) -> pd.Series:
        return pd.Series(self.model.predict(rows[["x"]]), rows.index)

    def predict_proba(self, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(self.model.predict_proba(rows[["x"]]), rows.index, self.model.classes_)


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_documented_script_makes_the_two_files(kind: str, brought, monkeypatch, capsys: pytest.CaptureFixture):
    brought(kind, always=6)
    script = re.findall(r"```python\n(.*?)```", (ROOT / "docs/autogluon.md").read_text(), re.S)[0]
    settings = {"DATA": "data", "FOLDS": "folds/toy.csv", "ID": "id", "TARGET": "y", "NUMBERS": kind == "regression"}
    for name, value in settings.items():
        script, found = re.subn(rf"^{name} = .*?(?=  #|$)", f"{name} = {value!r}", script, flags=re.M)
        assert found == 1
    module = types.ModuleType("autogluon.tabular")
    module.TabularPredictor = StandIn
    monkeypatch.setitem(sys.modules, "autogluon", types.ModuleType("autogluon"))
    monkeypatch.setitem(sys.modules, "autogluon.tabular", module)
    exec(script, {})
    assert bring() == 0
    assert "IMPORT-" not in capsys.readouterr().out
    assert score("toy/out")["score"] == pytest.approx(score("toy/own")["score"], rel=0.3)
