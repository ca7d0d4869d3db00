"""TIME=: a valid submission whatever was planned, of the best that there is; nothing of it is taken for a whole run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import KINDS, TEST, write

from competition import (
    artifacts,
    cli,
    constant,
    data,
    early,
    guard,
    kept,
    late,
    ledger,
    limit,
    predict,
    runs,
    train,
    upload,
)
from competition.config import load_run
from competition.engine import Demand
from competition.errors import Stopped
from competition.local import Local
from competition.tabular.presets import Preset
from competition.tabular.task import TabularTask
from competition.train import Watch

ROOT = Path(__file__).parent.parent
CSV = Path("submissions/toy/base.csv")
FIRST = {"model": "lightgbm", "params": {"num_iterations": 20, "min_data_in_leaf": 3}, "bag": 1}
ENDLESS = {"model": "lightgbm", "params": {"num_iterations": 10**7, "learning_rate": 1e-7}, "bag": 1}


def said(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def fit(name: str, fold: int, predicted: bool = True) -> None:
    run = load_run(name)
    with runs.opened(run) as at:
        train.prepare(at)
        runs.record(at)
        train.fit_fold(run, at.splits[fold])
        if predicted:
            predict.predict_fold(run, at.splits[fold])


def fit_partly(name: str, fold: int, steps: int) -> None:
    """A fold that is stopped after so many questions, and predicts early."""
    run, left = load_run(name), iter(range(steps))
    with runs.opened(run) as at:
        train.prepare(at)
        with pytest.raises(Stopped):
            train.fit_fold(run, at.splits[fold], Watch("", lambda *_: None, lambda: next(left, None) is None))
        early.predict_early(run, at.splits[fold])


def valid(run: str = "toy/base") -> None:
    verdict = guard.known(artifacts.submission_csv(run))
    assert not verdict.faults, verdict.faults


def whole_files() -> list[bytes]:
    """Weights without the order of their notes, which safetensors draws; predictions of folds and run; the CSV."""
    from safetensors.numpy import load_file

    weights = [load_file(f"runs/toy/base/fold{k}/model.safetensors") for k in (0, 1)]
    files = [f"fold{k}/{part}.parquet" for k in (0, 1) for part in ("oof", "test")] + ["oof.parquet", "test.parquet"]
    tables = [Path("runs/toy/base", file).read_bytes() for file in files]
    return [w[name].tobytes() for w in weights for name in sorted(w)] + tables + [CSV.read_bytes()]


def state(run: str = "toy/base") -> dict:
    found = kept.state(run)
    assert found is not None
    return found


@pytest.mark.parametrize("wrong", ["0s", "-1h", "soon", "0.0h", "9"])
def test_a_time_that_is_none_is_told(wrong: str, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition(task="tabular")
    assert cli.main(["submission", run, f"--time={wrong}"]) == 2
    assert "error CFG-VALUE" in said(capsys)
    assert not CSV.exists()


@pytest.mark.parametrize("seconds", [60, 90, 600, 9 * 3600])
@pytest.mark.parametrize("start", [0.5, 10])
def test_the_parts_of_a_limit_follow_one_another(seconds: int, start: float):
    now = time.monotonic()
    found = limit.Limit(load_run, f"{seconds}s", now - start, seconds).measured()  # ty: ignore[invalid-argument-type]
    times = [now - start, found.training, found.closing, found.deciding, found.ends, now - start + seconds]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert found.training - found.began > 0.6 * seconds, "most of it is for training"


OFTEN = ("multiclass", "boxes")


@pytest.mark.parametrize("kind", [*OFTEN, *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k not in OFTEN)])
def test_a_valid_csv_comes_first_and_stands(kind: str, competition: Callable[..., str]):
    run = load_run(competition(kind, task="detection" if kind == "boxes" else "tabular"))
    late.net(limit.of(run, "1h"))
    valid()
    before = CSV.read_bytes()
    assert state()["rung"] == late.NET and len(before.splitlines()) == TEST + 1
    assert runs.recorded("toy/base") is None, "nothing has begun"
    CSV.write_bytes(before[:-20])
    late.net(limit.of(run, "1h"))
    assert CSV.read_bytes() == before, "one that can't be submitted gives way"
    other = before.replace(b"dark", b"grey") if kind == "multiclass" else before.replace(b"\n", b"\r\n")
    CSV.write_bytes(other)
    late.net(limit.of(run, "1h"))
    assert CSV.read_bytes() == other and kept.state("toy/base") is None


@pytest.mark.parametrize("metric", ["rmse", "mae", "mape", "rmsle", {"name": "quantile", "alpha": 0.9}])
def test_the_constant_is_the_best_of_its_metric(metric: str, competition: Callable[..., str]):
    competition("regression", task="tabular", metric=metric)
    toy = data.load("toy")
    truth = toy.train.truth.clip(lower=1.0)
    toy.train.truth.update(truth)
    value = float(constant.prediction(toy).iloc[0, 0])

    def score(constant: float) -> float:
        return toy.problem.metric.score(truth, truth * 0 + constant)

    slack = 0.02 * abs(score(value))
    if metric != "mape":  # whose best lies below the median
        assert score(value) >= max(score(value * f) for f in (0.5, 0.8, 0.95, 1.05, 1.25, 2)) - slack


def test_a_sample_of_one_row_a_box_gets_a_box(competition: Callable[..., str]):
    run = load_run(competition("boxes", task="detection"))
    table = pd.read_csv("data/sample_submission.csv", dtype=str)[["id"]]
    edges = {"x_min": 0, "y_min": 0, "x_max": 10, "y_max": 10}
    pd.concat([table, table]).assign(label="dim", score=0.5, **edges).to_csv("data/sample_submission.csv", index=False)
    data.load.cache_clear()
    late.net(limit.of(run, "1h"))
    valid()
    assert len(pd.read_csv(CSV)) == 1


@pytest.mark.slow
def test_folds_that_are_whole_make_a_submission(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("binary", task="tabular")
    late.net(limit.of(load_run(run), "1h"))
    net = CSV.read_bytes()
    fit(run, 0)
    late.rescue(load_run(run))
    found = state()
    assert (found["rung"], found["amount"]) == (late.FOLDS, 1) and found["told"] == "fold0 of 2 folds"
    valid()
    assert "out-of-fold predictions of fold0 of 2 folds" in guard.known(CSV).told
    assert found["score"]["rows"] == 30 and CSV.read_bytes() != net
    assert "RUN-BUDGET: time is up" in said(capsys)
    row = ledger.rows_of(run)[-1]
    assert row["cv"] == f"{found['score']['score']:.6f}".rstrip("0") and row["folds"].endswith("fold0 of 2 folds")
    assert upload._known(run)["folds"] == row["folds"]
    for words in (["predict", run], ["ensemble", "toy", "--runs", "base other"]):
        assert cli.main(words) == 2, "nothing half-done is whole"
    assert cli.main(["compare", "toy"]) == 0
    assert "1 of 2 folds are trained" in said(capsys)
    first = CSV.read_bytes()
    late.net(limit.of(load_run(run), "1h"))
    assert CSV.read_bytes() == first

    assert cli.main(["submission", run]) == 0
    whole, table = CSV.read_bytes(), artifacts.read_table(Path("runs/toy/base/oof.parquet"))
    assert kept.state(run) is None and not kept.folder(run).exists()
    assert len(ledger.rows_of(run)) == 2 and guard.known(CSV).told.endswith("predictions of toy/base")
    late.rescue(load_run(run))
    assert CSV.read_bytes() == whole, "that of a whole run stays"
    for folder in ("runs", "submissions"):
        Path(folder).rename(f"{folder}-before")
    assert cli.main(["submission", run]) == 0
    assert CSV.read_bytes() == whole, "a limit leaves no trace"
    pd.testing.assert_frame_equal(artifacts.read_table(Path("runs/toy/base/oof.parquet")), table, check_exact=True)


def test_models_of_a_bag_make_a_submission(competition: Callable[..., str]):
    run = competition("regression", task="tabular")
    params = {"num_iterations": 30, "early_stopping_round": 30, "min_data_in_leaf": 3}
    write("configs/toy/base.yaml", {"task": "tabular", "model": "lightgbm", "bag": 2, "jobs": 1, "params": params})
    fit_partly(run, 0, 45)
    late.rescue(load_run(run))
    valid()
    assert state()["rung"] == late.EARLY and state()["told"] == "unfinished folds: fold0 (1 of 2 models)"
    assert state()["score"]["rows"] == 30
    assert not list(Path("runs/toy/base").glob("fold*/*.parquet"))
    fit(run, 1)
    late.rescue(load_run(run))
    assert state()["told"] == "fold1 of 2 folds"
    assert late._may(load_run(run), late.EARLY, 9.0) is False, "a worse one never comes after"


@pytest.mark.slow
def test_of_a_blend_its_whole_members_count(competition: Callable[..., str]):
    competition("binary", task="tabular")
    for name in ("second", "third"):
        write(f"configs/toy/{name}.yaml", {"task": "tabular", "jobs": 1} | FIRST)
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/second", "toy/third"]})
    blend = load_run("toy/blend")
    late.net(limit.of(blend, "1h"))
    fit("toy/second", 1)
    late.rescue(blend)
    assert state("toy/blend")["told"] == "toy/second: fold1 of 2 folds"
    assert cli.main(["submission", "toy/base"]) == 0
    late.rescue(blend)
    assert state("toy/blend")["told"] == "1 of 3 members: toy/base" and state("toy/blend")["score"]["rows"] == 60
    valid("toy/blend")
    assert not Path("runs/toy/blend/score.json").exists()
    late.net(limit.of(load_run("toy/third"), "1h"))
    assert cli.main(["submission", "toy/blend"]) == 0 and kept.state("toy/blend") is None
    assert state("toy/third")["rung"] == late.NET, "it is whole, its CSV is not"
    child = {"task": "tabular", "jobs": 1, "pseudo": "toy/base"} | FIRST
    write("configs/toy/child.yaml", child)
    late.rescue(load_run("toy/child"))
    assert state("toy/child")["told"] == "1 of 1 runs that it learns from: toy/base"
    valid("toy/child")


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize(("items", "jobs"), [pytest.param(1, 1, marks=pytest.mark.slow), (6, 2)])
def test_a_worker_that_does_not_hear_the_clock_is_ended(items: int, jobs: int):
    """More items than workers, too: those that wait for one are not waited for."""
    with Local() as engine:
        now = time.monotonic()
        with pytest.raises(Stopped, match="time is up"), engine.until(now + 10, now + 0.5):
            engine.map(_sleep, [90.0] * items, Demand("cpu", jobs))
        assert time.monotonic() - now < 60
        assert engine.deadline == engine.closing == float("inf")


# A process of its own ------------------------------------------------------------------------------------------------


def podium(*words: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "competition", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 60])
def test_no_process_outlives_its_limit(seconds: int, competition: Callable[..., str]):
    run = competition("binary", task="tabular")
    write("configs/toy/base.yaml", {"task": "tabular", "jobs": 2} | ENDLESS)
    began = time.monotonic()
    process = podium("tabular", run, "--time", f"{seconds}s")
    text, _ = process.communicate(timeout=120)
    assert time.monotonic() - began < seconds
    assert "RUN-BUDGET" in text and "Traceback" not in text
    assert process.returncode == (0 if CSV.exists() else 4)
    if seconds == 60:
        valid()


@pytest.mark.slow
def test_a_signal_reaches_the_process_below(competition: Callable[..., str]):
    run = competition("binary", task="tabular")
    write("configs/toy/base.yaml", {"task": "tabular", "jobs": 1} | ENDLESS)
    process = podium("submission", run, "--time", "10m")
    while not list(Path("runs/toy/base").glob("fold0/model*")) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 75 and "The same command continues" in text
    assert state()["rung"] == late.NET, "who stops a command wants no submission of it"
    valid()


@pytest.mark.slow
def test_steps_that_are_done_make_a_submission_and_go_on_to_the_same_bytes(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=4")
    fit_partly(run, 0, 5)
    fit_partly(run, 1, 7)
    late.rescue(load_run(run))
    assert re.fullmatch(r"unfinished folds: fold0 \([56] of 12 steps\), fold1 \([678] of 12 steps\)", state()["told"])
    valid()
    assert state()["score"]["rows"] == 60 and not list(Path("runs/toy/base").glob("fold*/*.json"))
    assert cli.main(["submission", run, "--time", "10m"]) == 0
    found = whole_files()
    assert not kept.folder(run).exists()
    for folder in ("runs", "submissions"):
        Path(folder).rename(f"{folder}-before")
    assert cli.main(["submission", run]) == 0
    assert found == whole_files()


@pytest.mark.slow
def test_boxes_of_an_unfinished_detector_make_a_submission(competition: Callable[..., str]):
    run = competition("boxes", task="detection", run="epochs=20")
    fit_partly(run, 0, 30)
    late.rescue(load_run(run))
    valid()
    assert state()["rung"] == late.EARLY
    fit(run, 1)
    late.rescue(load_run(run))
    valid()
    assert state()["told"] == "fold1 of 2 folds" and state()["score"]["rows"] == 30


@pytest.mark.slow
def test_the_clock_stops_a_run_in_time_for_its_submission(competition: Callable[..., str]):
    """Steps of an endless run are predicted in its own workers, those that are left are not begun."""
    run = competition("multiclass", run="epochs=100000")
    assert cli.main(["submission", run, "--time", "150s"]) == 0
    assert state()["rung"] == late.EARLY and "steps" in state()["told"]
    valid()


@pytest.mark.slow
def test_a_preset_keeps_what_is_whole(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys):
    run = competition(columns=True)
    monkeypatch.setitem(TabularTask.presets, "mine", Preset("10m", {"first": FIRST, "endless": ENDLESS}))
    write("configs/toy/base.yaml", {"task": "tabular", "preset": "mine", "jobs": 1})
    assert cli.main(["tabular", run, "--time", "120s"]) == 0
    assert "1 of 2 models are whole; the same command goes on with endless" in said(capsys)
    assert kept.state(run) is None and Path("runs/toy/base/score.json").exists()
    valid()
