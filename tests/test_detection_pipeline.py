"""Detection runs on a tiny competition: each detector through all stages, a stopped fold, weights of pictures, doubles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from competition import cli, config, folds, train
from competition.boxes.table import PREDICTED
from competition.data import load
from competition.detection.task import DetectionTask
from competition.errors import ConfigFault, Stopped
from competition.image.task import ImageTask
from competition.task import together


@pytest.mark.parametrize("detector", [pytest.param(d, marks=pytest.mark.slow) for d in ("fcos", "fasterrcnn")])
def test_every_detector_goes_through_all_stages(competition: Callable[..., str], detector: str):
    """The network sees 32 x 32 pixels at most: boxes of held-out pictures of 64 x 48 lie beyond that too."""
    run = competition("boxes", task="detection", run=f"detector={detector} epochs=1 size=32 views=[plain]")
    assert cli.main(["detect", run]) == 0
    oof = pd.read_parquet("runs/toy/base/oof.parquet")
    assert list(oof.columns) == list(PREDICTED) and set(oof.index) <= set(load("toy").train.ids)
    edges = oof[["x_min", "y_min", "x_max", "y_max"]]
    assert (edges.min() >= 0).all() and 32 < edges["x_max"].max() <= 64 and 32 < edges["y_max"].max() <= 48
    assert 0 <= json.loads(Path("runs/toy/base/score.json").read_text())["score"] <= 1
    assert len(pd.read_csv("submissions/toy/base.csv")) == len(load("toy").test.ids)


def test_a_stopped_fold_goes_on_to_equal_weights(competition: Callable[..., str]):
    """Stopped within an epoch and again at the next one's end (4 steps each), with everything mixed that can be."""
    mixes = "mosaic=0.5 mixup=0.5 copy_paste=0.5 augment=medium mix_off=1 drop_path=0.1"
    run = config.load_run(competition("boxes", task="detection", run=f"batch=7 {mixes}"))
    data = load("toy")
    run.task.prepare(data.problem, together(data.train, data.test), lambda *_: None)
    folds.make(data)
    fold = train.open_fold(run, folds.load(data).splits[0])

    def fit(name: str, steps: int) -> None:
        """In a process that is asked to stop after so many steps of its own."""
        asked = count(1)
        here = replace(fold, folder=Path(name), log=lambda *_: None, progress=lambda *_: None)
        run.task.fit(replace(here, stop=lambda: next(asked) == steps))

    fit("whole", 10**6)
    for steps, where in ((3, "step 3$"), (5, "in a validation$")):
        with pytest.raises(Stopped, match=where):
            fit("parts", steps)
    assert not Path("parts/model.safetensors").exists()
    fit("parts", 10**6)
    whole, parts = (load_file(f"{name}/model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("task", [DetectionTask, ImageTask])
def test_a_view_twice_is_refused(task: type[DetectionTask] | type[ImageTask]):
    with pytest.raises(ValueError, match="once: hflip, plain"):
        task(views=("plain", "hflip", "plain", "hflip"))
    assert task.model_validate({"views": "hflip"}).views == ("hflip",)


def test_a_view_twice_is_told_with_its_file_and_key(competition: Callable[..., str]):
    with pytest.raises(ConfigFault, match="once: plain") as fault:
        config.load_run(competition("boxes", task="detection", run="views=[plain,plain]"))
    assert "views" in fault.value.findings[0].where


def test_tiles_that_no_view_looks_at_are_refused(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("boxes", task="detection")
    assert cli.main(["detect", run, "--set", "tile=3 views=[plain]"]) == 2
    assert "which views: does not list" in capsys.readouterr().err
    assert DetectionTask(tile=3).views[-1] == "tiles"
