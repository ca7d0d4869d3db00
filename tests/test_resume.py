"""Each thing that a checkpoint holds is needed: left out of a resume the result is another, with all it is the same bits."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import RUNS, write
from filelock import FileLock
from safetensors.numpy import load_file
from test_pipeline import ROOT
from test_steps import CPU
from torch import nn

from competition import artifacts, cli, loop, runs
from competition.checkpoint import State
from competition.config import load_run
from competition.errors import Stopped
from competition.image.feed import ImageBatch
from competition.knobs import Training
from competition.ranks import ALONE
from competition.task import Fold
from competition.tracking import read
from competition.train import Watch, fill_caches, fit_fold, open_fold

STEPS, EPOCHS = 25, 4  # more steps than lines of history, so that some lie between two
POLLS = STEPS + 1  # of an epoch: after each step but the last, in the validation, after it
STOP = 2 * POLLS + 6  # a step without a line, in an epoch after the first of `swa`
LOUD = 100.0  # times the loss, so that under fp16 the first scale overflows
BASE: dict[str, Any] = {"epochs": EPOCHS, "warmup": 1, "batch": 8, "lr": 0.05, "ema": 0.9, "clip": 1.0}
WIDE = 400_000  # numbers whose sum threads share
CASES: dict[str, dict[str, Any]] = {
    "model": {}, "ema": {}, "swa": {"swa": 3}, "optimizer": {}, "scaler": {"amp": "fp16"}, "random": {},
    "step": {}, "loss": {}, "recent": {}, "open": {}, "accumulate": {}, "threads": {}, "seconds": {},
    "first": {}, "bad": {"amp": "fp16"}, "rollbacks": {},
}  # fmt: skip
STOPS_AT = {"open": 2 * POLLS - 1, "rollbacks": 3 * POLLS + 10}  # some of these are steps done again
ELSEWHERE = {"cuda_random", "makers"}  # of a GPU; of test_versions.py: only told


def unspoilt(step: int, rate: float) -> float:
    return 1.0


def first_seen(step: int, rate: float) -> float:
    """A factor of the loss that is too much for one who takes a later loss for that of the first step."""
    return 3000.0 if step == 80 and rate > 0.005 else 1.0


def too_many(step: int, rate: float) -> float:
    """Eleven steps in a row, by half of which it is stopped."""
    return math.nan if step in range(STOP - 7, STOP + 4) and rate > 0.02 else 1.0


def too_fast(step: int, rate: float) -> float:
    """Which half the rate is not: the steps after it are done at that."""
    return math.nan if step in range(STEPS, STEPS + 3) and rate > 0.03 else 1.0


SPOILT = {"first": first_seen, "bad": too_many, "rollbacks": too_fast}
TIMED = ("seconds", "images_per_second")


@dataclass
class Memory:
    """The first process runs out of it with a batch of eight, the second does not. spoils: (step, rate) -> factor."""

    short: bool = True
    spoils: Callable[[int, float], float] = unspoilt


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 2))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) * self.scale


def job(memory: Memory, fold: Fold) -> loop.Job:
    torch.manual_seed(0)
    network, wide = Network(), torch.rand(WIDE, generator=torch.Generator().manual_seed(1))

    def batches(epoch: int, first: int) -> Iterator[ImageBatch]:
        for step in range(first, STEPS):
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(100 * epoch + step))
            yield ImageBatch(x, x[:, :2] * 0.5, torch.full((8,), epoch * STEPS + step), torch.empty(8, 0))

    def loss(run: nn.Module, batch: ImageBatch) -> torch.Tensor:
        if memory.short and len(batch) > 4:
            raise RuntimeError("can't allocate memory")
        factor = LOUD * memory.spoils(int(batch.weights[0]), optimizer.param_groups[0]["lr"])
        error = (run(batch.images).float() - batch.targets).square().mean()
        return error * factor + 1e-6 * (wide * network.scale).sum()

    def validate(model: nn.Module, epoch: int) -> float:
        fold.check(0)
        return float(epoch)

    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    return loop.Job(network, optimizer, STEPS, batches, loss, validate)


def fold_of(folder: Path, lines: list[dict[str, Any]], stops: Callable[[], bool]) -> Fold:
    fold: Any = SimpleNamespace(name="fold0", folder=folder, seed=0, progress=lambda *_: None, stop=stops, ranks=ALONE)
    fold.origin = {"run": "toy/base"}
    fold.check = lambda done: Fold.check(fold, done)

    def log(step: int, values: dict[str, Any]) -> None:
        lines[:] = [line for line in lines if line["step"] < step] + [{"step": step, **values}]  # some are done again

    fold.log = log
    return fold


def trained(folder: Path, item: str, stop: int | None = None) -> list[Any]:
    """What comes out of a fold, ended and gone on with after `stop`: weights, history, record."""
    knobs, lines, asked = Training(**BASE | CASES[item]), [], 0

    def stops() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop

    before, memory = torch.get_num_threads(), Memory(item == "accumulate", SPOILT.get(item, unspoilt))
    torch.set_num_threads(1)
    try:
        fold = fold_of(folder, lines, stops)
        if stop is not None:
            with pytest.raises(Stopped):
                loop.train(job(memory, fold), knobs, fold, CPU)
            memory.short = False
            torch.set_num_threads(2)
        model, record = loop.train(job(memory, fold), knobs, fold, CPU)
    finally:
        torch.set_num_threads(before)
    weights = [tensor.tolist() for tensor in model.state_dict().values()]
    told = [{k: v for k, v in line.items() if k not in TIMED} for line in lines if "note" not in line]
    return [weights, told, record["accumulate"], record["seconds"] >= 100]


QUICK = ("optimizer", "random")


@pytest.mark.parametrize("item", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in CASES])
def test_each_item_of_a_checkpoint_is_needed(item: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    take, values, stop = State.take, State.values, STOPS_AT.get(item, STOP)
    long = {"seconds": 100.0}  # of a process that took its time
    monkeypatch.setattr(State, "values", lambda state: values(state) | long)
    monkeypatch.setattr(State, "elapsed", lambda state: state.seconds)
    whole = trained(tmp_path / "whole", item)
    with_all = trained(tmp_path / "all", item, stop)
    assert with_all[:3] == whole[:3] and with_all[3]
    monkeypatch.setattr(State, "take", lambda state, there: take(state, there | {item: values(state)[item]}))
    assert trained(tmp_path / "without", item, stop) != with_all


# ---- every step


def steps_of(run: str) -> int:
    """The steps of the first fold."""
    at = runs.look(load_run(run))
    task = at.run.task
    return len(at.table.ids(at.splits[0])[0]) // task.batch * task.epochs


def fitted(run: str, stop: int | None = None) -> dict[str, Any]:
    """The first fold's weights and history, ended at a step and gone on with."""
    config, asked = load_run(run), 0
    split = runs.look(config).splits[0]

    def stops() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop

    folder = artifacts.run_folder(run) / split.name
    shutil.rmtree(folder, ignore_errors=True)
    watch = Watch(run, lambda epoch, score: None, stops)
    if stop is not None:
        with pytest.raises(Stopped):
            fit_fold(config, split, watch)
        assert not (folder / "fit.json").exists()
    fit_fold(config, split, watch)
    history = [{k: v for k, v in line.items() if k not in TIMED} for line in read(folder / "history.jsonl", steps=True)]
    return {"history": history} | {k: v.tobytes() for k, v in load_file(folder / "model.safetensors").items()}


TASKS = {"image": "drop=0.2 mixup=0.4 cutmix=1.0 ema=0.9 mix_off=1", "detection": "ema=0.9"}
LAST = 9  # steps of a fold
STOPS = [("image", n) for n in range(1, 12)]  # all: 2 within each epoch, in its validation, after it but the last
STOPS += [("detection", n) for n in (1, 2, 3, 20, 32, 33, 34, 35, 36, 66, 67, 68, 69, 98)]  # a poll a picture validated


@pytest.mark.parametrize(
    ("task", "stop"), [pytest.param(*one, marks=[pytest.mark.slow] * (one != ("image", 3))) for one in STOPS]
)
def test_gone_on_with_from_any_step_a_fold_is_the_same(task: str, stop: int, competition: Callable[..., str]):
    run = competition("boxes" if task == "detection" else "multiclass", run=TASKS[task], task=task)
    with runs.opened(load_run(run)) as at:
        fill_caches(at.run, at.data, lambda *_: None)
    assert steps_of(run) == LAST
    whole, found = fitted(run), fitted(run, stop)
    assert found == whole
    assert len(whole["history"]) == LAST


# ---- locks, and processes left alone


@pytest.mark.parametrize("verb", ["train", "predict", "submission", "ensemble"])
def test_a_second_command_on_a_run_says_who_holds_it(verb: str, competition: Callable[..., str], capsys: Any):
    run = competition("multiclass", task="tabular", run="model=linear")
    if verb == "ensemble":
        write("configs/toy/blend.yaml", {"members": [run, "toy/other"]})
        write("configs/toy/other.yaml", RUNS["tabular"] | {"seed": 1})
    folder = artifacts.run_folder("toy/blend" if verb == "ensemble" else run)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        words = ["toy", "--runs", "base other", "--as", "toy/blend"] if verb == "ensemble" else [run]
        assert cli.main([verb, *words]) == 4
    told = capsys.readouterr().err
    assert "RUN-LOCKED" in told and f"process {os.getpid()}" in told
    assert list(folder.iterdir()) == [folder / ".lock"]


@pytest.mark.slow
def test_workers_of_a_killed_command_end_and_the_same_command_goes_on_at_once(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=80")
    command = [sys.executable, "-m", "competition", "train", run, "--set", "jobs=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while not list(Path("runs/toy/base").glob("fold*/last.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()  # and nobody tells its workers
    assert process.wait(60) == -signal.SIGKILL
    began = time.monotonic()
    assert cli.main(["train", run, "--set", "jobs=1"]) == 0
    while group(process.pid):
        assert time.monotonic() - began < 10
        time.sleep(0.05)


def group(leader: int) -> list[int]:
    """The processes of a group that are alive."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            alive += [int(stat.parent.name)] if int(group) == leader and state != "Z" else []
    return alive


# ---- what does not go on in its midst begins anew, and is the same


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lightgbm", "catboost", "xgboost", "tabm", "extratrees", "linear"])
def test_a_table_s_model_stopped_in_its_fit_is_the_same_when_fitted_anew(model: str, competition: Callable[..., str]):
    params = {"lightgbm": "params={num_iterations: 30}", "catboost": "params={iterations: 30}",
              "xgboost": "params={rounds: 30}", "tabm": "params={epochs: 3}"}.get(model, "params={}")  # fmt: skip
    run = competition("multiclass", task="tabular", run=f"model={model} {params} bag=2 jobs=1")
    with runs.opened(load_run(run)):
        config, split = load_run(run), runs.look(load_run(run)).splits[0]
    folder, asked = artifacts.run_folder(run) / split.name, 0

    def predicted() -> pd.DataFrame:
        fold = open_fold(config, split)
        assert fold.valid is not None
        return config.task.predict(fold.valid, fold, "plain")

    def stops() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    fit_fold(config, split)
    whole = predicted()
    shutil.rmtree(folder)
    with pytest.raises(Stopped):
        fit_fold(config, split, Watch(run, lambda epoch, score: None, stops))
    assert not (folder / "fit.json").exists()
    fit_fold(config, split)
    pd.testing.assert_frame_equal(predicted(), whole, check_exact=True)


def test_no_item_is_without_a_case():
    fold = fold_of(Path(), [], lambda: False)
    state = loop.begin(job(Memory(False), fold), Training(**BASE), CPU)
    assert set(CASES) <= set(state.values()) <= set(CASES) | ELSEWHERE
