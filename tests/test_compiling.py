"""The step: compiled once for all folds, eager where that fails; the moving average and the fused optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
from conftest import BACKBONE
from test_steps import fold_in
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch._dynamo.testing import CompileCounter

from competition import averages, backbone, compiling, loop
from competition.image.feed import ImageBatch
from competition.knobs import Training

CPU = torch.device("cpu")
KNOBS = {"backbone": BACKBONE, "size": 32, "epochs": 2, "batch": 9, "lr": 0.01, "compile": "on"}


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch: pytest.MonkeyPatch):
    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "_failed", [])


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def backbone_of_timm() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(BACKBONE, num_classes=2).to(memory_format=torch.channels_last)


def batches(epoch: int, first: int) -> Iterator[ImageBatch]:
    for step in range(first, 2):
        rng = torch.Generator().manual_seed(10 * epoch + step)
        yield ImageBatch(torch.randn(9, 3, 32, 32, generator=rng), torch.randn(9, 2), torch.ones(9), torch.empty(9, 0))


def squared(run: nn.Module, batch: ImageBatch) -> torch.Tensor:
    return (run(batch.images) - 0.5).square().mean()


def trained(folder: Path, make: Callable[[], nn.Module] = network, **keys: object) -> tuple[nn.Module, nn.Module]:
    """The network, and the average that is kept of it."""
    knobs, model = Training.model_validate(KNOBS | keys), make()
    job = loop.Job(model, torch.optim.SGD(model.parameters(), lr=0.1), 2, batches, squared, None)
    folder.mkdir(exist_ok=True)
    return model, loop.train(job, knobs, fold_in(folder), CPU)[0]


@pytest.mark.parametrize("make", [network, pytest.param(backbone_of_timm, marks=pytest.mark.slow)])
def test_one_graph_serves_all_folds_and_pieces_of_two_sizes_make_one_more(
    make: Callable[[], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counter = CompileCounter()
    monkeypatch.setattr(compiling, "BACKEND", counter)
    trained(tmp_path / "fold0", make)
    assert counter.frame_count == 1
    model, _ = trained(tmp_path / "fold1", make)
    assert counter.frame_count == 1, "the second fold's network is of the same shape"
    assert "forward" not in vars(model), "what is validated, averaged and kept is the network as it is"
    trained(tmp_path / "fold2", make, accumulate=4)  # pieces of 2, 2, 2 and 3 rows
    assert counter.frame_count <= 3
    before = counter.frame_count
    trained(tmp_path / "fold3", make, accumulate=2)  # of 4 and 5
    assert counter.frame_count == before, "any other size has its graph by now"


@pytest.mark.slow
def test_compiled_and_eager_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    (_, eager), (_, compiled) = (trained(tmp_path / mode, compile=mode) for mode in ("off", "on"))
    for a, b in zip(eager.state_dict().values(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_compiler_that_fails_loses_no_fold_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def broken(graph: object, inputs: object) -> Callable:
        raise ValueError("no such kernel")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    folds = [trained(tmp_path / name)[1] for name in ("fold0", "fold1")]
    assert capsys.readouterr().out.count("no such kernel") == 1
    _, eager = trained(tmp_path / "eager", compile="off")
    for fold in folds:
        assert all(torch.equal(a, b) for a, b in zip(eager.parameters(), fold.parameters(), strict=True))


def test_an_error_of_the_network_is_no_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr("test_compiling.squared", lambda run, batch: run(batch.images[:, :2]).mean())
    with pytest.raises(RuntimeError, match="channels"):
        trained(tmp_path / "fold0")


@pytest.mark.parametrize("value, mode", [(True, "on"), (False, "off"), ("on", "on"), ("auto", "auto")])
def test_the_key_takes_what_yaml_makes_of_on_and_off(value: object, mode: str):
    assert Training.model_validate({"compile": value}).compile == mode


def test_auto_compiles_long_runs_on_a_gpu_alone():
    knobs = Training(size=224)
    assert compiling.wanted(knobs, 100_000, torch.device("cuda"))
    assert not compiling.wanted(knobs, 1_000, torch.device("cuda"))
    assert not compiling.wanted(knobs, 10**9, CPU)


def test_the_average_is_timms_bit_for_bit():
    model = network()
    ours, theirs = (ModelEmaV3(model, decay=0.999, use_warmup=True) for _ in range(2))
    follow = averages.following(ours, model)
    for step in range(1, 6):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.add_(torch.randn_like(value) if value.is_floating_point() else 1)
        follow(step)
        theirs.update(model, step=step)
        pairs = zip(ours.module.state_dict().values(), theirs.module.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("opt, fused", [("adamw", True), ("sgd", True), ("momentum", True), ("lamb", False)])
def test_torchs_optimizers_are_fused(opt: str, fused: bool):
    made = backbone.optimizer(backbone_of_timm(), Training(backbone=BACKBONE, opt=opt), set())
    assert bool(made.defaults.get("fused")) == fused
