"""Steps of training: their even average (SWA), the range test of the rate, and the estimate of what a run takes."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import TEST, TRAIN, write
from safetensors.numpy import load_file
from test_pipeline import podium
from torch import nn
from torch.optim.swa_utils import update_bn

from competition import averages, backbone, cli, costs, loop, plan, pseudo, rates, rehearsal, runs
from competition.config import load_run
from competition.costs import Cost
from competition.data import load
from competition.errors import ConfigFault, DataFault, Stopped
from competition.image.feed import ImageBatch
from competition.knobs import Training
from competition.plan import Estimate, Work
from competition.ranks import ALONE
from competition.task import Adaptive, Fold, Stepped

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def batches(epoch: int, first: int) -> Iterator[ImageBatch]:
    for step in range(first, 5):
        rng = torch.Generator().manual_seed(100 * epoch + step)
        x = torch.randn(8, 3, generator=rng) * 2 + 1
        yield ImageBatch(x, x[:, :2] * 0.5, torch.ones(8), torch.empty(8, 0))


def squared(run: nn.Module, batch: ImageBatch) -> torch.Tensor:
    return (run(batch.images) - batch.targets).square().mean()


def job_of(model: nn.Module, validate: Callable[[nn.Module, int], float] | None = None) -> loop.Job:
    return loop.Job(model, torch.optim.SGD(model.parameters(), lr=0.1), 5, batches, squared, validate)


def fold_in(folder: Path, stop: Callable[[], bool] = lambda: False) -> Fold:
    """What the loop asks of a fold."""
    fold: Any = SimpleNamespace(name="fold0", folder=folder, log=lambda *_: None, progress=lambda *_: None, ranks=ALONE)
    fold.origin, fold.seed = {"run": "toy/base", "folds": "a"}, 0
    fold.stop = stop
    return fold


# ---- stochastic weight averaging


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_swa_is_the_plain_mean_of_the_last_epochs_ends_with_its_norms_measured(tmp_path: Path, clip: float):
    knobs = Training(epochs=6, swa=3, warmup=1, batch=8, lr=0.05, clip=clip)
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: nn.Module, epoch: int) -> float:
        seen.append({k: v.clone() for k, v in plain.model.state_dict().items()})
        assert (model is plain.model) == (epoch < 5), "the average is looked at once it is whole"
        return 0.0

    plain = job_of(network(), validate)
    kept, _ = loop.train(plain, knobs, fold_in(tmp_path), CPU)
    assert len(seen) == 6
    for name, p in kept.named_parameters():
        torch.testing.assert_close(p, torch.stack([s[name] for s in seen[-3:]]).mean(dim=0))
    reference = network()
    reference.load_state_dict(kept.state_dict())
    update_bn((b.images for b in batches(5, 0)), reference)
    for name, value in kept.named_buffers():
        torch.testing.assert_close(value, dict(reference.named_buffers())[name])
    assert not torch.allclose(kept[1].running_mean, seen[-1]["1.running_mean"])  # ty: ignore[not-subscriptable]


def test_rate_of_swa_falls_to_half_the_peak_and_stays():
    steps = [loop.learning_rate(n, 60, 10, 1.0, averages.SWA_RATE) for n in range(1, 101)]
    assert steps[30] == 0.5 + 0.25 * (1 + math.cos(math.pi * 21 / 50)), "(pi * 21) / 50, not pi * (21 / 50)"
    assert steps[9] == 1.0
    assert (np.diff(steps[9:60]) < 0).all()
    assert set(steps[59:]) == {0.5}


def test_norms_of_frozen_layers_keep_what_they_have():
    import timm

    model = timm.create_model("test_resnet", num_classes=2)
    backbone.freeze(model, 2)
    frozen = {n: b.clone() + 1 for n, b in model.named_buffers() if "running" in n}
    model.load_state_dict(frozen, strict=False)
    trains = {
        f"{n}.{b}" for n, m in model.train().named_modules() if m.training for b, _ in m.named_buffers(recurse=False)
    }
    averages.measure_norms(model, [torch.randn(8, 3, 32, 32)], lambda run, x: run(x).mean())
    after = dict(model.named_buffers())
    same = {n for n in frozen if torch.equal(after[n], frozen[n])}
    assert same == set(frozen) - trains
    assert same and trains
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_swa_stopped_at_any_step_and_repeated_gives_the_same_bits(tmp_path: Path):
    """Before the average, at an epoch's end, within it, and while batch norms are measured: 20 steps, then 5 batches."""
    knobs = Training(epochs=4, swa=2, warmup=1, batch=8, lr=0.05)
    whole, _ = loop.train(job_of(network()), knobs, fold_in(tmp_path / "whole"), CPU)
    asked, stops = 0, {3, 10, 13, 22}

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked in stops

    for _ in stops:
        with pytest.raises(Stopped):
            loop.train(job_of(network()), knobs, fold_in(tmp_path / "cut", stop), CPU)
    kept, _ = loop.train(job_of(network()), knobs, fold_in(tmp_path / "cut", stop), CPU)
    assert asked == 22 + 5, "no step is done again, only the norms are measured"
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), kept.state_dict().values(), strict=True))


@pytest.mark.parametrize("swa", [0, 1])
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_stopped_in_a_validation_goes_on_with_it_to_the_same_bits(asked: int, swa: int, tmp_path: Path):
    """The epoch's steps are saved, its line of history is written once, and a second stop in it loses nothing either."""
    knobs, lines = Training(epochs=3, batch=8, lr=0.1, swa=swa, ema=0.9), {}

    def trained(folder: Path, stops: int) -> nn.Module:
        folder.mkdir(exist_ok=True)
        calls = []

        def validate(run: nn.Module, epoch: int) -> float:
            calls.append(epoch)
            if len(calls) == stops:
                raise Stopped("in a validation")
            return float(epoch)

        fold: Any = fold_in(folder)
        fold.log = lambda step, values: lines.setdefault(folder.name, {}).update({step: values})
        return loop.train(job_of(network(), validate), knobs, fold, CPU)[0]

    whole = trained(tmp_path / "whole", stops=0)
    for stops in (asked, 1):
        with pytest.raises(Stopped):
            trained(tmp_path / "stopped", stops)
    again = trained(tmp_path / "stopped", stops=0)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    told = [
        [
            (step, line["loss"], line["train_loss"], line["valid"])
            for step, line in lines[name].items()
            if "valid" in line
        ]
        for name in ("whole", "stopped")
    ]
    assert told[0] == told[1]


@pytest.mark.slow
def test_swa_killed_in_mid_epoch_and_repeated_ends_with_the_same_weights(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=40 swa=36 drop=0.2 mixup=0.4")
    assert cli.main(["train", run, "--fold", "0", "--as", "toy/whole"]) == 0
    process, checkpoint = podium("train", run, "--fold", "0"), Path("runs/toy/base/fold0/last.ckpt")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert checkpoint.exists()
    assert torch.load(skipped(checkpoint), weights_only=True)["ema"] is None
    assert cli.main(["train", run, "--fold", "0"]) == 0
    whole, base = (load_file(f"runs/toy/{n}/fold0/model.safetensors") for n in ("whole", "base"))
    assert all((whole[k] == base[k]).all() for k in whole)


def skipped(checkpoint: Path):
    from competition.artifacts import read_sealed

    return read_sealed(checkpoint)


@pytest.mark.parametrize("values", [{"epochs": 3, "swa": 4}, {"epochs": 3, "swa": 3, "warmup": 0.5}, {"swa": -1}])
def test_more_epochs_of_swa_than_there_are_is_refused(values: dict[str, float], competition: Callable[..., str]):
    with pytest.raises(ConfigFault) as fault:
        load_run(competition(), " ".join(f"{k}={v}" for k, v in values.items()))
    assert "swa" in str(fault.value)


# ---- the range test


def test_the_range_test_finds_the_rate_of_a_quadratic(tmp_path: Path):
    """exp(-2 sum of rates), whose rates grow by g a step, falls fastest at a rate of log(g) / 2."""
    knobs, model = Training(epochs=3, clip=0.0, ema=0.0, batch=8), nn.Linear(3, 2, bias=False)
    nn.init.constant_(model.weight, 3.0)

    def loss(run: nn.Module, batch: ImageBatch) -> torch.Tensor:
        return model.weight.square().sum() / 2

    job = replace(job_of(model), loss=loss)
    climb = np.geomspace(1e-4, 10, 100)
    found = []
    for n, one in enumerate(rehearsal.steps(job, knobs, fold_in(tmp_path), lambda n: climb[n])):
        found.append(one)
        if n == 99 or one > 100:
            break
    curve = rates.read(climb[: len(found)], np.array(found))
    assert curve.steepest is not None and curve.least is not None
    assert curve.rates[curve.steepest] == pytest.approx(np.log(climb[1] / climb[0]) / 2, rel=0.4)
    assert curve.rates[curve.least] > 2 * curve.rates[curve.steepest]


def test_noise_suggests_no_rate_and_a_loss_that_climbs_at_once_is_told():
    noise = 1 + 0.1 * np.random.default_rng(0).normal(size=150)
    curve = rates.read(np.geomspace(1e-7, 10, 150), noise)
    assert curve.steepest is None
    with pytest.raises(DataFault) as fault:
        rates.read(np.array([1e-7]), np.array([2.0]))
    assert fault.value.findings[0].code == "LR-CURVE"


@pytest.mark.parametrize(
    "kind, task", [("multiclass", "image"), pytest.param("boxes", "detection", marks=pytest.mark.slow)]
)
def test_lr_draws_a_curve_and_leaves_nothing_else(
    kind: str,
    task: str,
    competition: Callable[..., str],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    run = competition(kind, task=task)
    assert isinstance(load_run(run).task, Stepped)
    monkeypatch.setattr(rates, "STEPS", 60)
    assert cli.main(["lr", run]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "falls fastest at" in said or "nothing is suggested" in said
    there = {str(p) for p in Path("runs").rglob("*") if p.is_file() and ".cache" not in p.parts}
    assert there == {"runs/toy/base/lr.png"}
    picture = cv2.imread("runs/toy/base/lr.png")
    assert picture is not None and picture.std() > 5
    assert cli.main(["train", run, "--fold", "0", "--set", "epochs=1 mix_off=0 warmup=0.1"]) == 0, (
        "the run is not begun by it"
    )


@pytest.mark.parametrize("what", ["tabular", "blend", "preset"])
def test_lr_of_what_has_no_steps_is_refused(what: str, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass", task="tabular")
    assert not isinstance(load_run(run).task, Stepped)
    if what == "preset":
        Path("configs/toy/many.yaml").write_text("task: tabular\npreset: quick\n")
        run = "toy/many"
    if what == "blend":
        Path("configs/toy/other.yaml").write_text("extends: base.yaml\nseed: 1\n")
        Path("configs/toy/blend.yaml").write_text("members: [toy/base, toy/other]\n")
        run = "toy/blend"
    assert cli.main(["lr", run]) == 2
    assert "error CFG-TASK" in capsys.readouterr().err
    assert not Path("runs").exists()


# ---- the estimate


COST = Cost(start=5.0, epoch=10.0, rows=80, views={"plain": 0.01, "hflip": 0.02})
EVERY = [Work(80, 20, 30, ("plain", "hflip"))] * 5


def test_the_estimate_deals_folds_to_processes_and_grows_with_rows_epochs_and_views():
    one, two = (Estimate(COST, slots, ready=3.0, epochs=4, stepped=True) for slots in (1, 2))
    fold, views = 4 * 10 + 4 * 20 * 0.01, 50 * 0.03
    assert one.fold(EVERY[0]) == pytest.approx(fold)
    assert one.whole(EVERY) == pytest.approx(8 + 5 * (fold + views))
    assert two.whole(EVERY) == pytest.approx(8 + 3 * (fold + views)), "three rounds of two"
    assert one.fold(replace(EVERY[0], rows=160)) == pytest.approx(80 + 0.8)
    assert one.whole([Work(0, 20, 30, ())] * 5) == 0, "all is done"
    norms = replace(one, cost=replace(COST, norms=True))
    assert norms.fold(EVERY[0]) == pytest.approx(fold + 80 * 0.01), "one more pass, without gradients"
    assert one.scaled(0.25).fold(EVERY[0]) == pytest.approx(fold / 4)
    assert plan.makespan([4, 3, 2, 1], 2) == 5


@pytest.mark.parametrize(
    "points, power", [([(100, 1.0), (200, 2.0)], 1.0), ([(100, 1.0), (200, 4.0)], 2.0), ([(9, 1)], 1.0)]
)
def test_the_power_of_the_rows_is_found(points: list[tuple[int, float]], power: float):
    assert costs.growth(points) == pytest.approx(power)


def test_a_fit_settles_what_goes_by_the_number_of_rows(competition: Callable[..., str]):
    task = load_run(competition("multiclass", task="tabular"), "bag=null").task
    assert isinstance(task, Adaptive)
    assert [task.settled(rows).bag for rows in (100, 10_000, 40_000, 10**6)] == [8, 5, 3, 1]


@pytest.mark.parametrize("kind, task", [("multiclass", "image"), ("boxes", "detection"), ("multiclass", "tabular")])
def test_plan_of_a_toy_run_says_what_fits(
    kind: str,
    task: str,
    competition: Callable[..., str],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(costs, "SECONDS", 0.3)
    run = competition(kind, task=task)
    assert cli.main(["plan", run, "--time", "1h"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "an estimate" in said and "all 2 folds, 1 at once" in said
    assert f"{run} fits as it is" in said
    assert ("epochs=30" in said) == (task != "tabular"), "ten times the epochs of the run at most"
    assert not Path("runs/toy/base").exists()
    assert len(load("toy").train) == TRAIN


def test_plan_shortens_what_does_not_fit(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    run = load_run(competition(run="epochs=20 size=64"))
    at = runs.look(run)
    found = Estimate(replace(COST, rows=30, start=0.0), 1, 0.0, 20, True)
    whole = found.whole(plan.works(at, anew=True))

    def change(share: float) -> str | None:
        ways = plan.options(at, found, share * whole)
        best = plan.chosen(ways, found, run.task.size, share * whole)
        assert best is None or best.seconds <= share * whole
        return None if best is None else best.change

    assert change(1.01) == ""
    assert change(0.76).startswith("epochs=15")
    assert change(0.3) == "size=32", "half of the epochs would not do, half the side does"
    assert "epochs=2" in change(0.12)
    assert change(0.01) is None


def test_plan_of_a_blend_adds_up_what_its_members_still_take(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", task="tabular", run="bag=1")
    for name in ("other", "third"):
        Path(f"configs/toy/{name}.yaml").write_text("extends: base.yaml\nseed: 1\n")
    Path("configs/toy/blend.yaml").write_text("members: [toy/base, toy/other]\n")
    assert cli.main(["submission", run]) == 0
    capsys.readouterr()
    assert cli.main(["plan", "toy/blend", "--time", "0.01s"]) == 0
    said = capsys.readouterr().out
    assert "does not fit" in said and "toy/other" in said
    base = next(line for line in said.splitlines() if "toy/base " in line)
    assert " 0 s" in base
    assert cli.main(["plan", run]) == 0
    assert "nothing is left" in capsys.readouterr().out


def test_plan_counts_seeds_the_refit_and_pseudo_labels_and_what_comes_first(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", task="tabular", run="bag=1")
    write("configs/toy/child.yaml", {"extends": "base.yaml", "seeds": 2, "refit": "beside", "pseudo": run})
    child = load_run("toy/child")
    table = runs.look(child).table
    every = plan.works(plan.look(child))
    real = [len(table.ids(split)[0]) for split in table.splits]
    assert [w.rows for w in every] == [n + TEST for n in [*real, *real, TRAIN, TRAIN]], "all of test at most"
    assert [w.valid for w in every] == [TRAIN - n for n in [*real, *real]] + [0, 0]
    assert list(plan.made(child)) == [run, "toy/child"]
    assert cli.main(["plan", "toy/child", "--time", "1h"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "what comes first" in said and f"{TEST} test rows too, at most, until {run} has labelled them" in said
    assert "all 6 folds" in said and "seeds=1 refit=null" in said
    assert not Path("runs/toy/child").exists()

    assert cli.main(["submission", run]) == 0
    sure = load_run("toy/child", f"pseudo={{run: {run}, cut: 0.9}}")
    at = plan.look(sure)
    joined = [pseudo.count(at, split) for split in table.splits]
    assert [w.rows - n for w, n in zip(plan.works(at), real)] == joined and max(joined) < TEST


def test_a_rehearsal_has_the_rows_of_training(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=1 warmup=0.5")
    assert cli.main(["submission", run]) == 0
    write("configs/toy/child.yaml", {"extends": "base.yaml", "pseudo": run})
    child = load_run("toy/child")
    split = runs.look(child).splits[0]
    with rehearsal.fold_of(child, split) as fold:
        assert len(fold.train) == len(runs.look(child).table.ids(split)[0]) + TEST
    assert not Path("runs/toy/child").exists()


def test_lr_of_a_run_whose_labels_are_not_there_is_refused(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition()
    write("configs/toy/child.yaml", {"extends": "base.yaml", "pseudo": run})
    assert cli.main(["lr", "toy/child"]) == 2
    assert "error RUN-PARTIAL" in capsys.readouterr().err


@pytest.mark.slow
def test_plan_of_a_soup_adds_up_what_its_runs_still_take(
    competition: Callable[..., str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(costs, "SECONDS", 0.1)
    competition(run="epochs=1 warmup=0.5 swa=0")
    write("configs/toy/other.yaml", {"extends": "base.yaml", "seed": 1})
    write("configs/toy/soup.yaml", {"task": "soup", "of": ["toy/base", "toy/other"], "jobs": 1})
    assert plan.made(load_run("toy/soup"))["toy/other"][1] is False, "trained, not predicted"
    assert cli.main(["plan", "toy/soup"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "toy/base" in said and "toy/other" in said and "toy/soup: an estimate" in said
    assert not list(Path("runs").rglob("fit.json"))


def test_plan_of_a_preset_is_its_time_and_a_bad_time_is_told(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", task="tabular")
    Path("configs/toy/many.yaml").write_text("task: tabular\npreset: quick\n")
    assert cli.main(["plan", "toy/many"]) == 0
    assert "trains for 2 min at most" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["--json", "plan", run, "--time", "9 hours"]) == 2
    assert json.loads(capsys.readouterr().err)["findings"][0]["code"] == "CFG-VALUE"
