"""`make bench` beside other programs: one data for all, each in its form; what they leave behind is scored by one rule; and
what can't be run is said. Nothing is installed here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import log_loss

from benchmarks import processes
from benchmarks.rivals import __main__ as command
from benchmarks.rivals import environments, pictures, programs, told
from benchmarks.rivals.environments import ENVIRONMENTS, Refused
from benchmarks.rivals.programs import OURS, Program, Result, Trained
from competition import folds
from competition.data import load


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    place = tmp_path_factory.mktemp("rivals")
    return pictures.folded(pictures.draw(place / "raw", 60), place / "folded", 3)


def test_drawn_pictures_have_labels_without_gaps_and_a_file_each(rows: pd.DataFrame):
    assert sorted(rows["label"].unique()) == list(range(rows["label"].nunique()))
    assert rows["path"].is_unique and all(Path(path).stat().st_size > 1000 for path in rows["path"])
    assert sorted(rows["fold"].unique()) == [0, 1, 2]


def test_timm_sees_every_row_once_a_fold_under_its_label(rows: pd.DataFrame, tmp_path: Path):
    pictures.lay_folders(rows, tmp_path / "folders")
    names = (tmp_path / "folders" / "classes.txt").read_text().split()
    assert names == sorted(names) and len(names) == rows["label"].nunique()
    for k in range(3):
        for part, wanted in (("train", rows["fold"] != k), ("validation", rows["fold"] == k)):
            files = list((tmp_path / "folders" / f"fold{k}" / part).glob("*/*"))
            found = {file.stem: (names.index(file.parent.name), os.path.realpath(file)) for file in files}
            assert len(files) == len(found)
            real = [os.path.realpath(path) for path in rows["path"][wanted]]
            assert found == dict(zip(rows["name"][wanted], zip(rows["label"][wanted], real, strict=True), strict=True))


def test_a_class_that_a_fold_lacks_keeps_its_number(rows: pd.DataFrame, tmp_path: Path):
    rows = rows.assign(fold=np.where(rows["label"] == 2, 0, rows["fold"]))
    pictures.lay_folders(rows, tmp_path / "folders")
    assert not (tmp_path / "folders" / "fold0" / "train" / "2").exists()
    assert (tmp_path / "folders" / "classes.txt").read_text().split()[2] == "2"


def test_we_are_given_the_same_rows_labels_and_folds(rows: pd.DataFrame, tmp_path: Path):
    pictures.lay_competition(rows, tmp_path / "ours", {"task": "image"}, 3)
    with contextlib.chdir(tmp_path / "ours"):
        load.cache_clear()
        data = load(pictures.NAME)
        table = folds.load(data)
    load.cache_clear()
    assert data.train.truth is not None and data.train.pictures is not None
    named = rows.set_index("name").loc[data.train.ids]
    assert (data.train.truth.to_numpy().argmax(axis=1) == named["label"]).all()
    assert (table.table["fold"].loc[named.index] == named["fold"]).all()
    given = [os.path.realpath(tmp_path / "ours" / path) for path in data.train.pictures.loc[named.index]]
    assert given == [os.path.realpath(path) for path in named["path"]]


@pytest.mark.slow
def test_rows_of_a_given_competition_keep_their_labels(tmp_path: Path):
    """Of 60 rows 30 are taken, each class by its share, with their own pictures."""
    (tmp_path / "kept").mkdir()
    table = pictures.draw(tmp_path / "raw", 60)
    pictures.lay_competition(table, tmp_path / "kept", {"task": "image"}, 2)
    taken = pictures.given(tmp_path / "kept" / "data", tmp_path / "given", 30)
    real = dict(zip(map(os.path.realpath, table["path"]), table["label"], strict=True))
    assert len(taken) == 30 and taken["path"].is_unique
    assert [real[os.path.realpath(path)] for path in taken["path"]] == list(taken["label"])


def test_scores_do_not_depend_on_order_and_every_row_must_be_there_once(rows: pd.DataFrame):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(rows["label"].nunique()), len(rows))
    oof = pd.DataFrame(p, index=rows["name"])
    accuracy, loss = programs.scored(oof.sample(frac=1, random_state=0), rows)
    assert accuracy == np.mean(p.argmax(axis=1) == rows["label"])
    assert loss == pytest.approx(log_loss(rows["label"], p))
    for wrong, said in (
        (oof[1:], "59 rows of 60"),
        (pd.concat([oof, oof[:1]]), "61 rows"),
        (oof * 2, "no probabilities"),
    ):
        with pytest.raises(Refused, match=said):
            programs.scored(wrong, rows)


def test_the_rate_counts_folds_at_once_and_leaves_out_what_lies_between():
    apart = [Trained(0, 10, 100), Trained(20, 30, 300)]
    at_once = [Trained(0, 10, 100), Trained(2, 12, 100), Trained(3, 5, 10)]
    assert programs.rate(apart) == 400 / 20
    assert programs.rate(at_once) == 210 / 12


def test_lines_compare_within_a_round_and_name_what_was_not_run():
    results = {
        "bare step": [Result(100, 5, 8, 1), Result(50, 5, 8, 1)],
        "ours": [Result(90, 10, 16, 2, 0.5, 1.0), Result(45, 20, 16, 2, 0.7, 0.8)],
        "fastai": [Result(45, 30, 24, 1, 0.4, 1.2), Result(25, 40, 48, 1, 0.5, 1.1)],
        "timm": [Result(1, 1, 1, 1, 0.1, 2.0)],
    }
    lines = {line[0]: line for line in told.lines(results, {"timm": "it ended with 1", "autogluon": "no network"})}
    assert list(lines) == ["bare step", "ours", "fastai", "timm", "autogluon"]
    assert lines["ours"][2] == "0.90 (0.90 to 0.90)"  # not 67.5 / 75: the machine was slower in round 2
    assert lines["fastai"][4] == "2.50 (2.00 to 3.00)"
    assert lines["fastai"][5:7] == ["36.0", "2.25 (1.50 to 3.00)"]
    assert lines["fastai"][8:] == ["0.4500", "1.1500"]
    assert lines["timm"][1] == "not run: it ended with 1" and lines["autogluon"][1] == "not run: no network"
    page = told.markdown(list(lines.values())).splitlines()
    assert {line.count("|") for line in page} == {len(told.HEADS) + 1}


def test_an_environment_that_cannot_be_made_is_refused_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(Refused, match="uv pip ended with 1: .+"):
        environments.python_of("fastai", tmp_path / "environments", Console(quiet=True))
    assert not (tmp_path / "environments" / "fastai" / "installed.txt").exists()
    assert all((programs.HERE / f"by_{name}.py").is_file() for name in ENVIRONMENTS)


def test_train_py_must_be_named(tmp_path: Path):
    with pytest.raises(Refused, match="by --timm"):
        environments.checkout(None)
    (tmp_path / "train.py").touch()
    with pytest.raises(Refused, match=r"has no inference.py, timm/version.py"):
        environments.checkout(tmp_path)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "version.py").write_text("__version__ = '1.0.31'\n")
    (tmp_path / "inference.py").touch()
    assert environments.version_of(environments.checkout(tmp_path)) == "1.0.31"


def test_a_program_that_fails_is_told_once_and_the_others_go_on(rows: pd.DataFrame, tmp_path: Path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text("{}")
    leave = "import json, sys; json.dump([[0, 2, 64]], open(sys.argv[1] + '/trained.json', 'w'))"
    fails = Program(
        "fails", lambda recipe, folder: [sys.executable, "-c", "raise OSError('no such weights')"], programs.left
    )
    works = Program("works", lambda recipe, folder: [sys.executable, "-c", leave, str(folder)], programs.left)
    refused: dict[str, str] = {}
    results = command.play([fails, works], 2, rows, recipe, tmp_path, refused)
    assert refused == {"fails": "it ended with 1: OSError: no such weights"}
    assert [r.rate for r in results["works"]] == [32, 32] and "fails" not in results


def test_memory_and_cores_are_those_of_all_processes_together():
    """A child that a thread of a child starts holds 80 MB of its own, and has worked for 0.2 s."""
    hold = "import sys, time; kept = b'1' * 80_000_000\nwhile time.process_time() < 0.2: pass\n"
    hold += "print('there', flush=True); sys.stdin.read()"
    start = f"import sys, threading; from subprocess import run; keep = [sys.executable, '-c', {hold!r}]; "
    start += "threading.Thread(target=run, args=(keep,)).start()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", start], text=True, **pipes) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "there\n"
        taken: dict[str, float] = {}
        assert 0.08 < processes.family(process.pid, taken) < 0.2
        assert len(taken) == 2 and sum(taken.values()) > 0.19
        process.stdin.close()


@pytest.mark.slow
def test_ours_is_measured_from_pictures_to_the_score_of_its_own_run(rows: pd.DataFrame, tmp_path: Path):
    recipe = tmp_path / "recipe.json"
    keys = {
        "backbone": "test_resnet",
        "size": 32,
        "epochs": 1,
        "batch": 8,
        "lr": 1e-3,
        "weight_decay": 0.05,
        "mixup": 0.2,
    }
    images = [int((rows["fold"] != k).sum()) for k in range(3)]
    recipe.write_text(json.dumps(keys | {"cutmix": 1.0, "device": "cpu", "images": images}))
    result = programs.measure(OURS, rows, recipe, tmp_path / "round")
    score = json.loads((tmp_path / "round" / "runs" / "bench" / "ours" / "score.json").read_text())["score"]
    assert result.accuracy == pytest.approx(score)
    seen = sum(n // keys["batch"] * keys["batch"] for n in images)
    assert 0 < seen / result.rate < result.seconds  # trained within the time that the command took
    assert result.memory > 0.1
