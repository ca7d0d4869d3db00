"""One fold by several processes is the fold by one; what is killed, stopped or has other ranks goes on; what can't be."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file
from test_pipeline import ROOT

from competition import artifacts, cli, launch, ranks, runs
from competition.config import load_run
from competition.errors import EnvironmentFault, Stopped
from competition.image.feed import Feed
from competition.image.supply import supply_of
from competition.image.task import ImageTask
from competition.local import Local
from competition.ranks import Ranks
from competition.split import Split
from competition.tracking import read
from competition.train import fill_caches, fit_fold

Make = Callable[..., str]
NO_NORM = "backbone=test_convnext drop=0 mixup=0.4 cutmix=1.0 epochs=4"  # layer norms: a row's outputs are its own
DRAWS = "backbone=test_resnet drop=0.3 mixup=0.4 epochs=12 swa=2"  # batch norms, dropout, an average


# ---- what each rank computes


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_row_of_a_batch_is_some_rank_s(size: int):
    for rows in range(2 * size, 40):
        parts = [list(range(rows)[Ranks(rank, size).part(rows)]) for rank in range(size)]
        assert [row for part in parts for row in part] == list(range(rows))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    "mixes", [{}, {"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "balance": "sampling"}]
)
def test_the_parts_of_a_batch_are_the_rows_that_one_process_has(mixes: dict):
    task = ImageTask(size=32, epochs=2, augment="heavy", symmetry="all", batch=10, **mixes)
    rng = np.random.default_rng(0)
    pictures, odds = rng.integers(0, 256, (30, 37, 37, 3)).astype(np.uint8), rng.dirichlet(np.ones(30))
    supply = supply_of(task, pictures, np.arange(30), 0, torch.device("cpu"))

    def feed(*place: int) -> Feed:
        drawn = odds if "balance" in mixes else None
        return Feed(task, supply, ["?"] * 30, np.eye(30), rng.random(30), drawn, 3, ranks=Ranks(*place))

    for size in (2, 3):
        whole, *parts = (list(f.batches(0)) for f in (feed(), *(feed(rank, size) for rank in range(size))))
        for step, batch in enumerate(whole):
            for name in ("images", "targets"):
                made = torch.cat([getattr(part[step], name) for part in parts])
                assert torch.equal(made, getattr(batch, name)), (step, name)


# ---- what can't be


def refusal(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, list[dict]]:
    code = cli.main(["--json", *arguments])
    return code, json.loads(capsys.readouterr().err)["findings"]


def test_keys_that_ranks_do_not_go_with_are_told_at_once(competition: Make, capsys: pytest.CaptureFixture):
    run = competition("multiclass")
    code, findings = refusal(capsys, "train", run, "--set", "device=cpu ranks=5 jobs=2 sync_bn=true")
    assert code == 2 and [f["code"] for f in findings] == ["CFG-VALUE"] * 3
    assert [f["where"] for f in findings] == ["key jobs: 2", "key batch: 8", "key sync_bn: true"]
    assert "batch: 10" in findings[1]["mend"]
    code, findings = refusal(capsys, "train", run, "--set", "ranks=0")
    assert code == 2 and findings[0]["code"] == "CFG-VALUE" and findings[0]["where"].endswith("key ranks")
    assert not Path("runs/toy/base").exists() or not list(Path("runs/toy/base").glob("fold*"))


def test_a_table_or_a_search_has_no_ranks(competition: Make, capsys: pytest.CaptureFixture, monkeypatch):
    run = competition("multiclass", task="tabular")
    code, findings = refusal(capsys, "train", run, "--set", "ranks=2")
    assert code == 2 and findings[0]["code"] == "CFG-UNKNOWN"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(launch.ConfigFault, match="trains no network"):
        launch.check(load_run(run), Local())
    code, findings = refusal(capsys, "predict", run)
    assert code == 2 and findings[0]["where"] == "RANK and WORLD_SIZE"


def test_a_search_of_a_run_with_ranks_is_refused(competition: Make, capsys: pytest.CaptureFixture):
    code, findings = refusal(capsys, "tune", competition("multiclass", run="ranks=2"))
    assert code == 2 and findings[0]["where"] == "key ranks"


def test_too_few_rows_for_the_ranks(competition: Make, capsys: pytest.CaptureFixture):
    run = competition("multiclass", run="batch=64 device=cpu")
    code, findings = refusal(capsys, "train", run, "--set", "ranks=16")
    assert code == 2 and findings[0]["code"] == "CFG-BATCH" and "16 ranks" in findings[0]["what"]


@pytest.mark.parametrize(
    ("size", "device", "gpus", "told"),
    [(2, "cuda", 1, "this machine has 1 GPU"), (2, "cuda", 2, ""), (4, "cpu", 0, ""), (2, "mps", 1, "NVIDIA and AMD")],
)
def test_a_gpu_for_each_rank(size: int, device: str, gpus: int, told: str):
    found = launch.lacking(size, device, gpus)
    assert bool(found) == bool(told) and (found is None or (found.code == "ENV-DEVICE" and told in found.found))


def test_ranks_that_see_other_data_are_told():
    same = {"data": "a", "torch": "2"}
    ranks._refuse_others({"rank 0": same, "rank 1": same})
    with pytest.raises(EnvironmentFault, match="ENV-RANKS.*\n.*\n.*data: a at rank 0, b at rank 2"):
        ranks._refuse_others({"rank 0": same, "rank 1": same, "rank 2": same | {"data": "b"}})


def test_a_rank_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks, "MEETING", 0.0)
    with pytest.raises(ranks.Lost, match="never there: rank 1, rank 2"):
        Ranks(0, 3, torch.distributed.HashStore()).join(torch.device("cpu"), {})


# ---- the same training


@pytest.fixture
def fold(competition: Make) -> Callable[..., tuple[Path, Split]]:
    """Opens toy/base with these keys; the folder of its first fold, removed, and its split."""

    def begin(keys: str) -> tuple[Path, Split]:
        name = competition("multiclass", run=f"device=cpu {keys}") if not Path("configs").exists() else "toy/base"
        run = load_run(name)
        with runs.opened(run) as at:
            fill_caches(run, at.data, lambda *_: None)
            return at.folder / at.splits[0].name, at.splits[0]

    return begin


def trained(folder: Path, split: Split, keys: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses by step and weights of the fold with these keys, from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    fit_fold(load_run("toy/base", keys), split)
    losses = [line["train_loss"] for line in read(folder / "history.jsonl", steps=True)]
    return np.array(losses), load_file(folder / "model.safetensors")


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(value - other[name]).max()) for name, value in one.items() if value.dtype == np.float32)


def same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(one[name].tobytes() == value.tobytes() for name, value in other.items()) and len(one) == len(other)


@pytest.mark.slow
def test_ranks_have_the_loss_curve_of_one_process(fold: Callable):
    """7 rows of 3 ranks are 2, 2 and 3. One process that adds up pieces is another order of the same sums."""
    folder, split = fold(NO_NORM)
    losses, weights = trained(folder, split, "batch=7")
    assert len(losses) == 16 and losses[-1] < losses[0]
    for keys, size in {"ranks=2": 2, "ranks=3": 3, "accumulate=3": 1}.items():
        others, theirs = trained(folder, split, f"batch=7 {keys}")
        np.testing.assert_allclose(others, losses, rtol=2e-4)
        assert apart(theirs, weights) < 2e-3
        assert artifacts.read_json(folder / "fit.json")["ranks"] == size


@pytest.mark.slow
def test_batch_norms_of_ranks_see_what_those_of_pieces_see(fold: Callable):
    """Norms of four rows each, by two ranks or one after another, have the same losses. The running figures are the mean of
    both ranks': the first norm's mean after a step is that of the whole batch."""
    folder, split = fold("backbone=test_resnet drop=0 epochs=4 ema=0")
    losses, weights = trained(folder, split, "accumulate=2")
    others, theirs = trained(folder, split, "ranks=2")
    np.testing.assert_allclose(others, losses, rtol=2e-3)
    assert apart({name: value for name, value in weights.items() if "running" not in name}, theirs) < 5e-3
    first = next(name for name in timm.create_model("test_resnet").state_dict() if "running_mean" in name)
    (_, whole), (_, halves) = (trained(folder, split, f"batch=30 epochs=1 warmup=0 {keys}") for keys in ("", "ranks=2"))
    np.testing.assert_allclose(halves[first], whole[first], rtol=1e-4, atol=1e-6)
    assert np.abs(whole[first]).max() > 0.001


@pytest.mark.slow
def test_a_fold_that_diverges_goes_back_in_all_its_ranks(fold: Callable):
    folder, split = fold("backbone=test_resnet epochs=4 opt=sgd clip=0 warmup=0")
    for keys in ("lr=3e7", "lr=3e7 ranks=2"):
        with pytest.raises(EnvironmentFault, match="RUN-NAN"):
            trained(folder, split, keys)
    assert not multiprocessing.active_children()


# ---- ended, and gone on with


def at_line(folder: Path, number: int, act: Callable[[], None]) -> threading.Thread:
    """Does it as soon as the fold's history has so many lines."""

    def watch() -> None:
        path = folder / "history.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < number:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def end(which: int, how: signal.Signals) -> None:
    """One of the ranks after the first."""
    os.kill(multiprocessing.active_children()[which].pid or 0, how)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_a_rank_that_is_killed_ends_the_others_and_the_same_command_has_the_same_bytes(fold: Callable, size: int):
    folder, split = fold(DRAWS)
    keys = f"ranks={size} batch={4 * size}"
    _, whole = trained(folder, split, keys)
    shutil.rmtree(folder)
    run = load_run("toy/base", keys)
    at_line(folder, 3, lambda: end(0, signal.SIGKILL))
    with pytest.raises(EnvironmentFault, match=r"RUN-WORKER[^$]*rank \d ended by SIGKILL"):
        fit_fold(run, split)
    assert not multiprocessing.active_children() and not (folder / "fit.json").exists()
    at_line(folder, 6, lambda: end(size - 2, signal.SIGTERM))  # what one hears, all do
    with pytest.raises(Stopped, match="saved"):
        fit_fold(run, split)
    fit_fold(run, split)
    assert same_bits(load_file(folder / "model.safetensors"), whole)


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_and_says_so(fold: Callable, capsys: pytest.CaptureFixture):
    folder, split = fold(NO_NORM + " batch=8")
    losses, _ = trained(folder, split, "")
    shutil.rmtree(folder)
    at_line(folder, 4, lambda: end(0, signal.SIGTERM))
    with pytest.raises(Stopped):
        fit_fold(load_run("toy/base", "ranks=2"), split)
    for keys in ("ranks=3", ""):
        if keys:
            at_line(folder, 8, lambda: end(0, signal.SIGTERM))
            with pytest.raises(Stopped):
                fit_fold(load_run("toy/base", keys), split)
        else:
            fit_fold(load_run("toy/base"), split)
    told = capsys.readouterr().out
    assert "ranks 2 there, 3 now" in told and "ranks 3 there, 1 now" in told
    others = [line["train_loss"] for line in read(folder / "history.jsonl", steps=True) if "train_loss" in line]
    np.testing.assert_allclose(others, losses, rtol=2e-4)


@pytest.mark.slow
def test_torchrun_has_the_same_bytes(fold: Callable):
    folder, split = fold(DRAWS)
    _, whole = trained(folder, split, "ranks=2")
    shutil.rmtree(folder)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "competition",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, "train", "toy/base", "--fold", str(split.fold)], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert same_bits(load_file(folder / "model.safetensors"), whole)
