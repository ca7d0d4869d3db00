"""A fold that diverges: it goes back and on at half the rate, to the same bytes however often it is stopped meanwhile."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_steps import CPU, batches, fold_in, network, squared
from torch import Tensor, nn

from competition import artifacts, checkpoint, cli, divergence, loop
from competition.errors import EnvironmentFault, Stopped
from competition.image.feed import ImageBatch
from competition.knobs import Training
from competition.task import Fold
from competition.tracking import History, read

KNOBS = Training(epochs=4, warmup=1, batch=8, lr=0.05)  # 20 steps, 5 an epoch; the rate falls from the fifth on


def poisoned(limits: dict[float, float], factor: float = math.nan) -> Callable[[nn.Module], loop.Job]:
    """A job whose loss is multiplied by `factor` on batches of these first pixels while the rate is over the limit."""

    def job(model: nn.Module) -> loop.Job:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

        def loss(run: nn.Module, batch: ImageBatch) -> Tensor:
            limit = limits.get(float(batch.images[0, 0]), math.inf)
            return squared(run, batch) * (factor if optimizer.param_groups[0]["lr"] > limit else 1.0)

        return loop.Job(model, optimizer, 5, batches, loss, None)

    return job


def pixel(epoch: int, step: int) -> float:
    return float(next(batches(epoch, step)).images[0, 0])


@pytest.fixture
def twice() -> Callable[[nn.Module], loop.Job]:
    """Epoch 1 diverges at over 0.8 of the rate, epoch 2 at over 0.3."""
    return poisoned({pixel(1, 3): 0.8 * KNOBS.lr * 0.9, pixel(2, 1): 0.3 * KNOBS.lr * 0.5})


def logged(fold: Fold) -> Fold:
    object.__setattr__(fold, "log", History(fold.folder).log)
    return fold


def trained(job: Callable[[nn.Module], loop.Job], fold: Fold) -> tuple[dict[str, Tensor], dict[str, Any]]:
    model, record = loop.train(job(network()), KNOBS, logged(fold), CPU)
    return model.state_dict(), record


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_loss_that_is_no_number_goes_back_to_its_epoch_at_half_the_rate(twice: Any, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checkpoint.State, "plan_save", lambda state, seconds: setattr(state, "due", math.inf))
    weights, record = trained(twice, fold_in(tmp_path))
    lines = read(tmp_path / "history.jsonl", steps=True)
    notes = [line["note"] for line in lines if "note" in line]
    assert record["rollbacks"] == len(notes) == 2
    assert "not a number at step 9: gone on from its beginning, step 0; from step 5 on at 0.5 of the rate" in notes[0]
    assert (
        "at step 12: gone on from its beginning, step 0; from step 10 on at 0.25 of the rate (2 of 3 times)" in notes[1]
    )
    rates = {line["step"]: line["lr"] for line in lines if "lr" in line}
    assert sorted(rates) == list(range(1, 21)), "each step has its line once"
    for step, rate in rates.items():
        whole = loop.learning_rate(step, 20, 5, KNOBS.lr, KNOBS.lr * KNOBS.lr_min)
        assert rate == whole * (1 if step <= 5 else 0.5 if step <= 10 else 0.25)
    assert divergence.finite(weights.values())


@pytest.mark.parametrize("every", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 7))])
def test_stopped_at_any_step_it_comes_to_the_same_bytes(every: int, twice: Any, tmp_path: Path):
    whole, record = trained(twice, fold_in(tmp_path / "whole"))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked % (every + 1) == every

    for _ in range(200):
        try:
            parts, again = trained(twice, fold_in(tmp_path / "cut", stop))
            break
        except Stopped:
            continue
    assert same(whole, parts) and again["rollbacks"] == record["rollbacks"] == 2
    kept, cut = ([line for line in read(tmp_path / name / "history.jsonl", steps=True) if "note" not in line]
                 for name in ("whole", "cut"))  # fmt: skip
    assert [(line["step"], line["train_loss"], line["lr"]) for line in cut] == [
        (line["step"], line["train_loss"], line["lr"]) for line in kept
    ]


def test_every_step_saved_the_one_before_the_epoch_is_there_to_go_back_to(twice: Any, tmp_path: Path, monkeypatch):
    whole, _ = trained(twice, fold_in(tmp_path / "whole"))
    monkeypatch.setattr(checkpoint.State, "plan_save", lambda state, seconds: setattr(state, "due", 0.0))
    weights, _ = trained(twice, fold_in(tmp_path / "saved"))
    assert same(whole, weights)
    notes = [line["note"] for line in read(tmp_path / "saved" / "history.jsonl") if "note" in line]
    assert "gone on from epoch.ckpt, step 5; from step 5" in notes[0]
    assert "gone on from previous.ckpt, step 10; from step 10" in notes[1]


def test_what_diverges_at_an_eighth_of_the_rate_too_is_refused_and_the_last_good_one_kept(tmp_path: Path):
    hopeless = poisoned({pixel(1, 3): 0.0})
    for _ in range(2):  # the same command again does not begin to count anew
        with pytest.raises(EnvironmentFault, match="RUN-NAN") as fault:
            trained(hopeless, fold_in(tmp_path))
        assert "step 9" in fault.value.findings[0].where and "halved 3 times" in fault.value.findings[0].found
        values = torch.load(artifacts.read_sealed(tmp_path / "last.ckpt"), weights_only=True)
        assert values["rollbacks"] == [5, 5, 5] and divergence.finite(values["model"].values())
    assert sum("note" in line for line in read(tmp_path / "history.jsonl")) >= 1


def test_a_loss_a_thousand_times_that_of_the_first_step_diverges_and_a_bad_one_does_not(tmp_path: Path):
    first = float(squared(network().train(), next(batches(0, 0))).detach())
    _, record = trained(poisoned({pixel(1, 3): 0.04}, 900 * max(1, first)), fold_in(tmp_path / "bad"))
    assert record["rollbacks"] == 0
    _, record = trained(poisoned({pixel(1, 3): 0.04}, 1e6), fold_in(tmp_path / "exploded"))
    assert record["rollbacks"] == 1


def test_weights_that_are_no_numbers_are_neither_saved_nor_kept(tmp_path: Path):
    """A gradient that overflows where the loss does not: clipping by its norm makes every weight nan."""

    def job(model: nn.Module) -> loop.Job:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

        def loss(run: nn.Module, batch: ImageBatch) -> Tensor:
            plain = squared(run, batch)
            worse = float(batch.images[0, 0]) == pixel(1, 4) and optimizer.param_groups[0]["lr"] > 0.03
            return plain + (plain - plain.detach()) * 1e38 * worse * 1e3

        return loop.Job(model, optimizer, 5, batches, loss, None)

    fold = fold_in(tmp_path)
    state = loop.begin(job(network()), KNOBS, CPU)
    with torch.no_grad():
        next(state.job.model.parameters()).fill_(math.nan)
    assert not checkpoint.save(state, fold) and not (tmp_path / "last.ckpt").exists()
    weights, record = trained(job, fold)
    assert record["rollbacks"] == 1 and divergence.finite(weights.values())
    assert "weights are no numbers at step 10" in (tmp_path / "history.jsonl").read_text()


def test_the_scaler_of_fp16_may_skip_steps(tmp_path: Path):
    state = loop.begin(poisoned({})(network()), KNOBS, CPU)
    assert state.most() == 1
    state.scaler = torch.amp.GradScaler("cpu")
    state.bad = 9
    assert state.most() == 10 and state.good()
    state.bad = 10
    assert not state.good()


@pytest.mark.slow
def test_a_run_whose_rate_is_a_million_says_what_it_tried(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("regression", run="epochs=2 lr=1e6 clip=0 ema=0 opt=sgd warmup=0")
    assert cli.main(["train", run, "--fold", "0"]) == 4
    told = capsys.readouterr()
    assert "RUN-NAN" in told.err and "halved 3 times" in told.err and "(3 of 3 times)" in told.out
    assert not Path("runs/toy/base/fold0/fit.json").exists()


def test_a_run_that_goes_back_once_is_counted_in_its_record(competition: Callable[..., str], monkeypatch):
    from competition.image import fitting

    run, given, calls = competition("multiclass", run="epochs=2"), fitting.loss_of, iter(range(10**6))

    def once(*arguments: Any) -> Any:
        inner = given(*arguments)
        return lambda *tensors: inner(*tensors) * (math.nan if next(calls) == 4 else 1.0)

    monkeypatch.setattr(fitting, "loss_of", once)
    assert cli.main(["train", run, "--fold", "0"]) == 0
    fold = Path("runs/toy/base/fold0")
    assert json.loads((fold / "fit.json").read_text())["rollbacks"] == 1
    assert not list(fold.glob("*.ckpt"))


@pytest.mark.parametrize("item, stop, rollbacks", [("rollbacks", 18, 1), ("first", 11, 0)])
def test_each_item_that_tells_of_divergence_is_needed(
    item: str, stop: int, rollbacks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Left out, a fold that is stopped and gone on with comes to something else."""
    monkeypatch.setattr(checkpoint.State, "plan_save", lambda state, seconds: setattr(state, "due", math.inf))
    once = poisoned({pixel(1, 3): 0.8 * KNOBS.lr * 0.9})
    loud = poisoned({pixel(2, 3): 0.0}, 6000.0)  # under 1,000 times the first step's loss, over that of a later one
    job, take = {"rollbacks": once, "first": loud}[item], checkpoint.State.take

    def cut(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        asked = iter(range(1, 1000))
        fold = fold_in(folder, lambda: next(asked) == stop)
        with pytest.raises(Stopped):
            trained(job, fold)
        return trained(job, fold)

    weights, record = cut(tmp_path / "all")
    assert record["rollbacks"] == rollbacks and same(weights, trained(job, fold_in(tmp_path / "whole"))[0])
    monkeypatch.setattr(checkpoint.State, "take", lambda state, values: take(state, without_one(values, item)))
    without, record = cut(tmp_path / "without")
    assert record["rollbacks"] != rollbacks and not same(weights, without)


def without_one(values: dict[str, Any], item: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != item}


def test_steps_that_fp16_skips_in_a_row_are_counted_on():
    state, other = (loop.begin(poisoned({})(network()), KNOBS, CPU) for _ in range(2))
    state.scaler = other.scaler = torch.amp.GradScaler("cpu")
    state.bad = 10
    other.take(state.values())
    assert not other.good()
