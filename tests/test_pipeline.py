"""The whole chain on tiny competitions: every kind, a blend, repetition, kills, and what a user's mistake gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TEST, TRAIN
from safetensors.numpy import load_file

from competition import artifacts, cli, decide, interrupt, metrics
from competition.config import TASKS, task_class
from competition.data import load
from competition.folds import load as load_folds
from competition.keys import ROW_KINDS
from competition.task import pick
from competition.tracking import read as read_history

ROOT = Path(__file__).parent.parent


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {str(p): (p.stat().st_mtime_ns, artifacts.file_digest(p)) for p in sorted(folder.rglob("*")) if p.is_file()}


LEARNERS = sorted(TASKS.keys() - {"imported", "soup"})  # which learn nothing: tests/test_import.py, tests/test_soup.py


KINDS = [(task, kind, "") for task in LEARNERS for kind in task_class(task).kinds]
BESIDE = [("image", kind, "columns=all") for kind in ROW_KINDS]


@pytest.mark.parametrize("task, kind, keys", [*KINDS, *(pytest.param(*p, marks=pytest.mark.slow) for p in BESIDE)])
def test_contract_of_every_task_and_kind(
    kind: str, task: str, keys: str, competition: Callable[..., str], workspace: Path
):
    """From the YAML to a checked CSV: OOF has each training row once, the score is theirs, a second call does nothing."""
    run = competition(kind, run=keys, task=task, columns=bool(keys))
    before = state(workspace / "data")
    assert cli.main(["submission", run]) == 0
    data, folder = load("toy"), Path("runs/toy/base")
    oof, test = (pd.read_parquet(folder / f"{n}.parquet") for n in ("oof", "test"))
    assert list(oof.columns) == list(test.columns) == list(data.problem.columns)
    if kind == "boxes":
        assert set(oof.index) <= set(data.train.ids) and set(test.index) <= set(data.test.ids)
        assert len(oof) > 0 and len(test) > 0
    else:
        assert sorted(oof.index) == sorted(data.train.ids)
        assert len(oof) == TRAIN
        assert list(test.index) == list(data.test.ids)
        assert len(test) == TEST
    for table in (oof, test):
        numbers = table.select_dtypes("number")
        assert np.isfinite(numbers.to_numpy()).all()
        if kind == "boxes":
            assert table["score"].between(0, 1).all()
            assert numbers["x_max"].max() <= 64 and numbers["y_max"].max() <= 48 and numbers.min(axis=None) >= 0
            continue
        if kind != "regression":
            assert table.min(axis=None) >= 0 and table.max(axis=None) <= 1 + 1e-9
        if kind in ("multiclass", "ordinal"):
            np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-9)
    score = json.loads((folder / "score.json").read_text())
    truth = data.train.truth
    assert truth is not None
    again = data.problem.metric.shown(data.problem.metric.score(truth, pick(oof, data.train.ids)))
    assert score["score"] == pytest.approx(again)
    submitted = pd.read_csv(f"submissions/{run}.csv", dtype=str)
    sample = pd.read_csv("data/sample_submission.csv", dtype=str)
    assert list(submitted.columns) == list(sample.columns)
    assert list(submitted["id"]) == list(sample["id"]), "one row an id, in the sample's order"
    assert len(pd.read_csv("submissions/ledger.csv")) == 1
    assert state(workspace / "data") == before, "the competition's files are read only"
    done = state(Path("runs")) | state(Path("submissions"))
    assert cli.main(["submission", run]) == 0
    after = state(Path("runs")) | state(Path("submissions"))
    assert {k: v for k, v in after.items() if not k.endswith("log.txt")} == {
        k: v for k, v in done.items() if not k.endswith("log.txt")
    }


def test_it_learns(competition: Callable[..., str]):
    """Three levels of brightness are told apart by rows that the model has not seen."""
    run = competition("multiclass", run="epochs=6")
    assert cli.main(["submission", run]) == 0
    assert json.loads(Path("runs/toy/base/score.json").read_text())["score"] > 0.8


def test_same_seed_same_bytes_and_workers_do_not_matter(competition: Callable[..., str]):
    run = competition("multiclass", run="mixup=0.4 cutmix=1.0 drop=0.1")
    for name, extra in (("a", "workers=0"), ("b", "workers=3"), ("c", "seed=1")):
        assert cli.main(["train", run, "--fold", "0", "--set", extra, "--as", f"toy/{name}"]) == 0

    def weights(name: str) -> dict[str, np.ndarray]:
        return load_file(f"runs/toy/{name}/fold0/model.safetensors")

    assert all((weights("a")[k] == v).all() for k, v in weights("b").items())
    assert any((weights("a")[k] != v).any() for k, v in weights("c").items())


def test_blend_is_a_run_with_nested_weights(competition: Callable[..., str]):
    run = competition("multiclass")
    assert cli.main(["submission", run]) == 0
    assert cli.main(["submission", run, "--set", "seed=1 epochs=1", "--as", "toy/second"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert cli.main(["submission", "toy/blend"]) == 0
    weights = artifacts.read_json(Path("runs/toy/blend/weights.json"))
    assert set(weights) == {"all", "fold0", "fold1"}
    assert all(sum(w.values()) == pytest.approx(1) for w in weights.values())
    data = load("toy")
    fold = load_folds(data).table["fold"]
    oof = pd.read_parquet("runs/toy/blend/oof.parquet")
    members = {m: pd.read_parquet(f"runs/{m}/oof.parquet") for m in weights["all"]}
    for k in (0, 1):
        ids = fold.index[fold == k]
        expected = sum(members[m].loc[ids] * w for m, w in weights[f"fold{k}"].items())
        pd.testing.assert_frame_equal(oof.loc[ids], expected, check_like=True, check_names=False)
    assert len(pd.read_csv("submissions/ledger.csv")) == 3


def test_blend_of_blends(competition: Callable[..., str]):
    run = competition("multiclass")
    for seed in (1, 2):
        assert cli.main(["submission", run, "--set", f"seed={seed} epochs=1", "--as", f"toy/s{seed}"]) == 0
    assert cli.main(["ensemble", "toy", "--runs", "s1 s2"]) == 0
    assert cli.main(["ensemble", "toy", "--runs", "blend s1", "--as", "toy/deeper"]) == 0
    assert Path("runs/toy/deeper/fold1/test.parquet").exists()


@pytest.mark.slow
def test_repeats_and_parallel_folds(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    """Folds in two processes give the bytes of one, and repeated splits are averaged."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = competition("multiclass", run="epochs=1", folds={"n": 2, "repeats": 2})
    assert cli.main(["submission", run]) == 0
    assert cli.main(["submission", run, "--set", "jobs=2", "--as", "toy/two"]) == 0
    assert sorted(p.name for p in Path("runs/toy/two").glob("fold*")) == [
        "fold0",
        "fold0-repeat1",
        "fold1",
        "fold1-repeat1",
    ]
    one, two = (artifacts.file_digest(Path(f"runs/toy/{n}/fold1-repeat1/test.parquet")) for n in ("base", "two"))
    assert one == two


def test_groups_and_time_go_through_the_whole_chain(competition: Callable[..., str]):
    """Rows of a group share a fold; in the order of time the first block is trained on and never scored."""
    run = competition("multiclass", run="epochs=1", folds={"n": 3, "scheme": "time", "time": "id"})
    assert cli.main(["submission", run]) == 0
    fold = pd.read_csv("folds/toy.csv", dtype=str).set_index("id")["fold"].astype(int)
    assert (fold.sort_index().diff().dropna() >= 0).all()
    assert sorted(pd.read_parquet("runs/toy/base/oof.parquet").index) == sorted(fold.index[fold >= 0])
    Path("folds/toy.csv").unlink()
    data_of_all = pd.read_csv("data/train.csv", dtype=str)
    data_of_all.assign(patient=[str(n // 5) for n in range(TRAIN)]).to_csv("data/train.csv", index=False)
    load.cache_clear()
    edited = (
        Path("configs/toy/competition.yaml")
        .read_text()
        .replace("scheme: time", "group: patient")
        .replace("  time: id\n", "")
    )
    Path("configs/toy/competition.yaml").write_text(edited)
    assert cli.main(["submission", run, "--set", "seed=2", "--as", "toy/grouped"]) == 0
    fold = pd.read_csv("folds/toy.csv", dtype=str).set_index("id")["fold"]
    assert (fold.groupby([int(i) // 5 for i in fold.index]).nunique() == 1).all()


def podium(*words: str, **more: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        [sys.executable, "-m", "competition", *words], env=environment, stderr=subprocess.PIPE, text=True
    )


SAVED = interrupt.heard()  # no hang-up below nohup


@pytest.mark.parametrize("number", [signal.SIGKILL, *(pytest.param(s, marks=pytest.mark.slow) for s in SAVED)])
def test_killed_in_mid_epoch_and_repeated_ends_with_the_same_files(
    number: signal.Signals, competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    run = competition("multiclass", run="epochs=80 drop=0.2 mixup=0.4")
    assert cli.main(["train", run, "--fold", "0", "--as", "toy/whole"]) == 0
    process = podium("train", run, "--fold", "0")
    checkpoint = Path("runs/toy/base/fold0/last.ckpt")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (75 if number in SAVED else -9), errors
    assert checkpoint.exists()
    assert not Path("runs/toy/base/fold0/fit.json").exists()
    assert cli.main(["train", run, "--fold", "0"]) == 0
    whole, base = (load_file(f"runs/toy/{n}/fold0/model.safetensors") for n in ("whole", "base"))
    assert all((whole[k] == base[k]).all() for k in whole)
    paths = (Path(f"runs/toy/{n}/fold0/history.jsonl") for n in ("whole", "base"))
    whole, base = (read_history(path, steps=True) for path in paths)
    timed = ("seconds", "images_per_second")
    assert [{k: v for k, v in line.items() if k not in timed} for line in base] == [
        {k: pytest.approx(v) for k, v in line.items() if k not in timed} for line in whole
    ]
    assert sum("epoch" in line for line in base) == 80
    assert len(base) == 80 * 3  # a line a step


@pytest.mark.slow
def test_the_second_ctrl_c_ends_at_once_and_nohup_passes_a_hang_up_over(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=4000")
    process, checkpoint = podium("train", run, "--fold", "0"), Path("runs/toy/base/fold0/last.ckpt")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # both lie there when it goes on
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    try:
        process = podium("train", run, "--fold", "0")
    finally:
        signal.signal(signal.SIGHUP, ignored)
    before = checkpoint.stat().st_mtime_ns
    while checkpoint.stat().st_mtime_ns == before and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)


def test_another_configuration_is_refused_and_as_is_offered(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run, "--set", "lr=0.002"]) == 0
    assert cli.main(["predict", run]) == 0, "the recorded SET is remembered"
    assert cli.main(["train", run, "--set", "lr=0.1 batch=16"]) == 2
    said = capsys.readouterr().err
    assert "RUN-DIFFERS" in said
    assert "key lr" in said
    assert "key batch" in said
    assert "AS=toy/" in said
    assert cli.main(["train", run, "--set", "workers=2 views=[plain]"]) == 0, (
        "machine and predict fields are no identity"
    )
    assert cli.main(["predict", run]) == 0
    assert list(json.loads(Path("runs/toy/base/score.json").read_text())["parts"]) == ["plain"]


def test_a_views_gain_is_reported_and_a_bad_one_dropped():
    """A view of pure noise is dropped, one that helps is kept, and the nested prediction never uses its own fold."""
    from competition.keys import MetricSpec
    from competition.task import Problem

    rng = np.random.default_rng(0)
    ids = pd.Index([str(n) for n in range(600)])
    labels = rng.integers(0, 3, len(ids))
    truth = pd.DataFrame(np.eye(3)[labels], index=ids, columns=list("abc"))
    fold = pd.Series(np.arange(len(ids)) % 5, index=ids)
    spec = MetricSpec(name="logloss")
    problem = Problem(
        "t", "multiclass", ("y",), tuple("abc"), tuple("abc"), metrics.get(spec, "multiclass", "abc", Path())
    )

    def view(strength: float) -> pd.DataFrame:
        p = np.exp(strength * truth.to_numpy() + rng.normal(0, 1, truth.shape))
        return pd.DataFrame(p / p.sum(axis=1, keepdims=True), index=ids, columns=list("abc"))

    stack = {"plain": view(2.5), "hflip": view(2.5), "noise": view(0.0)}
    result = decide.nested("views", stack, truth, fold, problem)
    assert result.final.weights == {"plain": 0.5, "hflip": 0.5}
    assert all(set(decision.weights) == {"plain", "hflip"} for decision in result.by_fold.values())
