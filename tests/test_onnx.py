"""A run's networks as ONNX and torch.export: equal to the run's predictions, whatever it predicts; or refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from conftest import KINDS, TRAIN

from competition import artifacts, cli, data, onnxfile, runs, speedup
from competition.config import Run
from competition.errors import ConfigFault, SafetyFault
from competition.image.graph import Whole
from competition.image.scale import Scale
from competition.image.views import kept
from competition.split import Split
from competition.task import Graph
from competition.train import open_fold

PAGE = Path(__file__).parent.parent / "docs" / "onnx.md"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def graph(
    network: torch.nn.Module, kind: str = "multiclass", log: bool = False, size: int = 64, rows: int = 5
) -> Graph:
    """Of random pictures; what is expected is the module's own, as the run computes it."""
    side, scale = kept(size)[0], Scale((3.0,) * 3, (2.0,) * 3, log) if log else Scale()
    whole = Whole(network.eval(), kind, scale, (MEAN, STD), side, size).eval()
    images = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    expected = whole.eager(torch.from_numpy(images)).double().numpy()
    return Graph(whole, whole.eager, {"images": images}, expected, scale.forward, rows, {})


class Mean(torch.nn.Module):
    """The mean of each colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize("kind, said", [
    ("multiclass", lambda x: torch.softmax(x, 1)), ("ordinal", lambda x: torch.softmax(x, 1)), ("binary", torch.sigmoid),
    ("multilabel", torch.sigmoid), ("regression", lambda x: torch.expm1(x * 2 + 3)),
])  # fmt: skip
def test_outputs_are_predictions(kind: str, said: Callable):
    made = graph(Mean(), kind, log=kind == "regression", size=33)
    images = torch.from_numpy(made.inputs["images"])
    seen = (images.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    expected = said(seen.mean(dim=(1, 2))).numpy()  # a picture's mean survives its scaling but for the margins' weights
    assert np.abs(made.unit(made.expected) - made.unit(expected)).max() < 0.02
    with torch.no_grad():
        assert np.abs(made.unit(made.module(images).numpy()) - made.unit(made.expected)).max() < 1e-5


def test_differences_beyond_the_tolerance_are_refused_and_so_is_nan():
    made = graph(Mean(), size=33)
    near, far = made.expected + 0.5 * onnxfile.TOLERANCE, made.expected + 2 * onnxfile.TOLERANCE
    assert onnxfile.compared(made, {"a": near}, "toy")["a"] == pytest.approx(0.5 * onnxfile.TOLERANCE)
    for spoiled in (far, np.where(np.arange(3) == 1, np.nan, made.expected)):
        with pytest.raises(SafetyFault, match="ONNX-DIFFERS") as fault:
            onnxfile.compared(made, {"a": near, "b": spoiled}, "toy/base fold0")
        assert "nothing was written" in str(fault.value) and "toy/base fold0" in str(fault.value)


class Moody(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) if images.sum() > 0 else images.amax(dim=(2, 3))


class Pairs(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.reshape(2, -1)[:, :3]


@pytest.mark.parametrize("network, told", [(Moody(), "data-dependent"), (Pairs(), "Constraints violated")])
def test_what_hangs_on_values_or_on_the_number_of_pictures_can_not_be_exported(network: torch.nn.Module, told: str):
    with pytest.raises(ConfigFault, match="MODEL-EXPORT") as fault:
        onnxfile.traced(graph(network, size=33, rows=2), "toy")
    assert told in str(fault.value)


@pytest.mark.parametrize("what", ["untrained", "tabular", "blend", "boxes", "missing"])
def test_what_can_not_be_exported_is_refused(
    what: str, competition: Callable[..., str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    task = {"tabular": "tabular", "boxes": "detection"}.get(what, "image")
    run = competition("boxes" if what == "boxes" else "multiclass", task=task)
    if what == "blend":
        Path("configs/toy/other.yaml").write_text("extends: base.yaml\nseed: 1\n")
        Path("configs/toy/blend.yaml").write_text("members: [toy/base, toy/other]\n")
        run = "toy/blend"
    if what == "missing":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert podium("onnx", run) == (4 if what == "missing" else 2)
    said = capsys.readouterr().err
    code, word = {
        "untrained": ("RUN-PARTIAL", "make train RUN=toy/base"),
        "tabular": ("CFG-TASK", "task: tabular"),
        "blend": ("CFG-TASK", "toy/base, toy/other"),
        "boxes": ("CFG-TASK", "task: detection"),
        "missing": ("ENV-EXTRA", "--extra onnx"),
    }[what]
    assert f"error {code}" in said and word in said and said.count("error") == 1
    assert not Path("runs/toy/base/onnx").exists()


@pytest.mark.parametrize("name, anew", [("onnx/speed.json", "it is"), ("onnx/fold0/model.json", "it is"),
                                        ("fold0/fit.json", "that fold is trained")])  # fmt: skip
def test_a_damaged_record_of_an_export_costs_no_training(name: str, anew: str):
    finding = artifacts.corrupt(artifacts.run_folder("onnx/onnx") / name, "digest")
    assert f": {anew}" in finding.mend and "onnx" in finding.mend


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["test_resnet", "resnet18", "mobilenetv4_conv_small", "test_vit", "convnext_atto", "swin_s3_tiny_224"]
)
def test_backbones_predict_the_same_in_every_batch(name: str):
    torch.manual_seed(0)
    size = 224 if name.startswith("swin") else 64
    made = graph(timm.create_model(name, num_classes=4, **({"img_size": 64} if name == "test_vit" else {})), size=size)
    program = onnxfile.traced(made, name)
    content, archive = onnxfile.onnx_of(program, made, name), onnxfile.archived(program)
    for rows in (1, 5):
        some = {"images": made.inputs["images"][:rows]}
        part = Graph(**vars(made) | {"expected": made.expected[:rows]})
        gaps = onnxfile.compared(part, {"onnxruntime": onnxfile.by_onnxruntime(content, some, 3),
                                        "torch.export": onnxfile.by_torch(archive, some, 3)}, name)  # fmt: skip
        print(name, rows, gaps)
    assert made.expected.std() > 1e-9 and made.expected.shape == (5, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_is_exported_whatever_it_predicts(kind: str, competition: Callable[..., str]):
    run = competition(kind, run="epochs=1 size=16 views=[plain]")
    assert podium("train", run, "--fold", "0") == 0
    onnxfile.export_fold(runs.resolve(run), Split(0))
    folder, problem = Path("runs/toy/base/onnx/fold0"), data.load("toy").problem
    about = artifacts.read_json(folder / "model.json")
    assert about["columns"] == list(problem.columns) and about["kind"] == kind and about["rows"] == TRAIN / 2
    assert max(about["gaps"].values()) < onnxfile.TOLERANCE
    assert about["files"]["model.onnx"] == onnxfile.sha256(folder / "model.onnx")
    follow_the_page(predict(runs.resolve(run)))


def predict(run: Run) -> pd.DataFrame:
    """What the run says of fold 0's rows in the plain view."""
    fold = open_fold(run, Split(0))
    assert fold.valid is not None
    return run.task.predict(fold.valid, fold, "plain")


@pytest.mark.slow
def test_a_run_with_columns_is_exported_once_until_it_is_another(competition: Callable[..., str]):
    import onnxruntime

    run = competition("binary", run="epochs=1 size=16 views=[plain] columns=all", columns=True)
    assert podium("train", run) == 0 and podium("onnx", run) == 0
    folder = Path("runs/toy/base/onnx")
    given = onnxruntime.InferenceSession(folder / "fold0" / "model.onnx").get_inputs()
    assert [one.name for one in given] == ["images", "cells"]
    assert max(artifacts.read_json(folder / "fold1" / "model.json")["gaps"].values()) < onnxfile.TOLERANCE
    rates = artifacts.read_json(folder / "speed.json")["rates"]
    assert [(r["way"], r["batch"] == 1) for r in rates] == [
        (way, one) for one in (True, False) for way in ("run", "torch.export", "onnxruntime")
    ]
    assert all(0 < r["ratio"][1] <= r["ratio"][0] <= r["ratio"][2] and r["per_second"] > 0 for r in rates)

    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    assert podium("onnx", run) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before, "nothing is made twice"
    (folder / "fold1" / "model.onnx").write_bytes(b"damaged")
    assert podium("onnx", run) == 0
    changed = {p.parent.name for p, time in before.items() if p.stat().st_mtime_ns != time}
    assert changed == {"fold1"}, "only what is not whole is made anew"


@pytest.mark.slow
def test_a_soup_of_image_runs_is_exported(competition: Callable[..., str]):
    competition("multiclass", run="epochs=1 size=16 views=[plain]")
    Path("configs/toy/other.yaml").write_text("extends: base.yaml\nseed: 1\n")
    Path("configs/toy/soup.yaml").write_text("task: soup\nof: [toy/base, toy/other]\n")
    assert [podium("train", f"toy/{name}") for name in ("base", "other", "soup")] == [0, 0, 0]
    soup = runs.resolve("toy/soup")
    onnxfile.refuse(soup)
    onnxfile.export_fold(soup, Split(0))
    about = artifacts.read_json(Path("runs/toy/soup/onnx/fold0/model.json"))
    assert about["backbone"] == "test_resnet" and max(about["gaps"].values()) < onnxfile.TOLERANCE


def follow_the_page(oof: pd.DataFrame) -> None:
    """The very block of docs/onnx.md, on a picture of this run."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    name = oof.index[0]
    here = block.replace("leaves/baseline", "toy/base").replace("data/leaves/images/a17.jpg", f"data/images/{name}.png")
    assert here != block and len(block.strip().splitlines()) <= 12
    said: dict = {}
    exec(here, {"print": lambda values: said.update(values)})
    assert said == pytest.approx(oof.loc[name].to_dict(), rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_nothing_is_written_where_predictions_differ(
    competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    run = competition("multiclass", run="epochs=1 size=16")
    assert podium("train", run) == 0
    monkeypatch.setattr(onnxfile, "TOLERANCE", -1.0)
    assert podium("onnx", run) == 5
    assert "error ONNX-DIFFERS" in capsys.readouterr().err
    assert not [p for p in Path("runs/toy/base/onnx").rglob("*") if p.is_file()]


def test_a_way_that_works_twice_as_long_is_half_as_fast(monkeypatch: pytest.MonkeyPatch):
    """By the processor's seconds at least: how long the clock says depends on what else is at work here."""
    monkeypatch.setattr(speedup, "SECONDS", 0.02)

    def work(times: int) -> None:
        for _ in range(times):
            np.sort(np.arange(20_000)[::-1] % 977)

    first, second = speedup.measure({"once": lambda: work(1), "twice": lambda: work(2)}, 4, "toy")
    assert first["ratio"] == first["cpu_ratio"] == [1, 1, 1] and second["batch"] == 4
    assert second["cpu_ratio"][0] == pytest.approx(0.5, abs=0.15)
