"""Boxes through the stages: thresholds, blends, changed settings of prediction, and commands that are not for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from competition import adjustment, artifacts, cli
from competition.boxes.table import PREDICTED, take
from competition.data import load
from competition.submit import check


def score(run: str) -> dict:
    return json.loads(Path(f"runs/{run}/score.json").read_text())


def boxes_of(run: str, part: str) -> pd.DataFrame:
    return pd.read_parquet(f"runs/{run}/{part}.parquet")


@pytest.mark.slow
def test_a_metric_that_counts_boxes_gets_a_threshold_of_the_other_folds(competition: Callable[..., str]):
    run = competition("boxes", task="detection", run="epochs=6", metric={"name": "mean_precision", "ious": [0.5]})
    assert cli.main(["detect", run]) == 0
    record, data = score(run), load("toy")
    assert record["adjustment"]["rule"] == "score" and record["unadjusted"] < record["score"]
    folds = pd.read_csv("folds/toy.csv", dtype=str).set_index("id")["fold"]
    oof = boxes_of(run, "oof")
    decided = [
        adjustment.apply(
            adjustment.read(record["adjustments_by_fold"][f"fold{k}"]), take(oof, folds.index[folds == str(k)])
        )
        for k in (0, 1)
    ]
    assert data.train.truth is not None
    again = data.problem.metric.score(data.train.truth, take(pd.concat(decided), data.train.ids))
    assert record["score"] == pytest.approx(again)
    path = Path(f"submissions/{run}.csv")
    assert check(data, path) == []
    written = pd.read_csv(path, dtype=str, keep_default_na=False)["PredictionString"].str.split().map(len).sum() / 6
    assert written == (boxes_of(run, "test")["score"] >= record["adjustment"]["values"]["all"]).sum()


@pytest.mark.slow
def test_a_changed_setting_of_prediction_predicts_again_and_a_new_view_adds_itself(competition: Callable[..., str]):
    run = competition("boxes", task="detection", run="epochs=1 views=[plain]")
    assert cli.main(["train", run]) == 0 and cli.main(["predict", run]) == 0
    plain = pd.read_parquet("runs/toy/base/fold0/oof.parquet")
    assert cli.main(["train", run, "--set", "views=[plain, large]"]) == 0 and cli.main(["predict", run]) == 0
    both = pd.read_parquet("runs/toy/base/fold0/oof.parquet")
    pd.testing.assert_frame_equal(both[both["view"] == "plain"], plain)
    assert set(both["view"]) == {"plain", "large"}
    assert cli.main(["train", run, "--set", "max_boxes=2"]) == 0 and cli.main(["predict", run]) == 0
    fewer = pd.read_parquet("runs/toy/base/fold0/oof.parquet")
    assert fewer.groupby(["view", fewer.index]).size().max() <= 2 < both.groupby(["view", both.index]).size().max()


@pytest.mark.slow
def test_detectors_blend(competition: Callable[..., str]):
    run = competition("boxes", task="detection", run="epochs=2")
    assert cli.main(["detect", run]) == 0
    assert cli.main(["detect", run, "--set", "seed=1 views=[plain]", "--as", "toy/second"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert cli.main(["submission", "toy/blend"]) == 0
    weights = artifacts.read_json(Path("runs/toy/blend/weights.json"))
    assert set(weights) == {"all", "fold0", "fold1"} and weights["all"]["method"] in ("nms", "soft_nms", "wbf")
    for name in ("oof", "test", "fold0/oof", "fold1/test"):
        assert tuple(boxes_of("toy/blend", name)) == PREDICTED
    assert check(load("toy"), Path("submissions/toy/blend.csv")) == []


@pytest.mark.slow
def test_pictures_of_the_worst_are_drawn(competition: Callable[..., str]):
    run = competition("boxes", task="detection", run="epochs=1")
    assert cli.main(["detect", run]) == 0
    for name in ("worst.png", "precision_recall.png", "by_class.csv", "fold0/batch.png"):
        assert Path(f"runs/{run}/{name}").stat().st_size > 0
    assert list(pd.read_csv(f"runs/{run}/by_class.csv")["class"]) == ["bright", "dim", "(mean)"]


@pytest.mark.parametrize(
    "kind, task, words, told",
    [
        ("boxes", "image", ["submission"], ("CFG-TASK", "kind: boxes", "task: detection or imported")),
        ("boxes", "tabular", ["tabular"], ("CFG-TASK", "kind: boxes")),
        ("multiclass", "detection", ["detect"], ("CFG-TASK", "kind: multiclass", "image or tabular")),
        ("boxes", "detection", ["tabular"], ("CFG-TASK", "make detect RUN=toy/base")),
        ("multiclass", "image", ["detect"], ("CFG-TASK", "make submission RUN=toy/base")),
        ("boxes", "detection", ["importance"], ("CFG-TASK",)),
        ("boxes", "detection", ["portfolio"], ()),
    ],
)
def test_what_is_not_for_boxes_says_what_is(
    kind: str, task: str, words: list[str], told: tuple[str, ...], competition: Callable[..., str],
    capsys: pytest.CaptureFixture,
):  # fmt: skip
    run = competition(kind, task=task)
    assert cli.main([*words, run]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and all(text in said for text in told), said


def test_a_metric_of_rows_is_refused_for_boxes_and_the_reverse(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("boxes", task="detection", metric="accuracy")
    assert cli.main(["detect", run]) == 2
    said = capsys.readouterr().err
    assert "accuracy does not score kind: boxes" in said and "map" in said
