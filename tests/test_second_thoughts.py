"""A user changes their mind after training: nothing stale is served, nothing good is thrown away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import cache, cli, data, decoding, shaped
from competition.errors import ConfigFault
from competition.tables import natural


def edit(path: str, old: str, new: str) -> None:
    Path(path).write_text(Path(path).read_text().replace(old, new))
    data.load.cache_clear()


def score(run: str) -> dict:
    return json.loads(Path(f"runs/{run}/score.json").read_text())


def test_another_metric_is_scored_anew_and_another_meaning_refused(competition: Callable[..., str], capsys):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["submission", run]) == 0
    weights = Path("runs/toy/base/fold0/model.safetensors").stat().st_mtime_ns
    edit("configs/toy/competition.yaml", "metric: accuracy", "metric: f1_macro")
    assert cli.main(["submission", run]) == 0
    assert score(run)["metric"] == "f1_macro"
    assert Path("runs/toy/base/fold0/model.safetensors").stat().st_mtime_ns == weights
    assert list(pd.read_csv("submissions/ledger.csv")["metric"]) == ["accuracy", "f1_macro"]
    edit("configs/toy/competition.yaml", "kind: multiclass", "kind: ordinal\nclasses: [light, grey, dark]")
    assert cli.main(["submission", run]) == 3
    assert "RUN-DATA" in capsys.readouterr().err


def test_the_samples_placeholders_and_order_cost_no_training(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["submission", run]) == 0
    sample = pd.read_csv("data/sample_submission.csv", dtype=str)
    sample.iloc[::-1].assign(label="light").to_csv("data/sample_submission.csv", index=False)
    data.load.cache_clear()
    assert cli.main(["submission", run]) == 0
    assert list(pd.read_csv(f"submissions/{run}.csv", dtype=str)["id"]) == list(sample["id"][::-1])


def test_other_views_are_added_to_those_that_are_there(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["submission", run]) == 0
    assert cli.main(["submission", run, "--set", "views=[plain, vflip]"]) == 0
    assert set(score(run)["parts"]) == {"plain", "vflip"}
    assert set(pd.read_parquet("runs/toy/base/fold0/oof.parquet")["view"]) == {"plain", "hflip", "vflip"}


def test_a_misspelt_as_leaves_no_file_and_takes_the_parents_set_along(competition: Callable[..., str], capsys):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run, "--fold", "0", "--set", "batch=12"]) == 0
    for wrong, name in (("epocs=3", "toy/new"), ("epochs=2", "new"), ("lr.x=1", "toy/new")):
        assert cli.main(["train", run, "--set", wrong, "--as", name]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(p.name for p in Path("configs").rglob("*.yaml")) == ["base.yaml", "competition.yaml"]
    assert cli.main(["train", run, "--fold", "0", "--set", "seed=1", "--as", "toy/new"]) == 0
    assert json.loads(Path("runs/toy/new/run.json").read_text())["config"]["batch"] == 12


def test_a_blend_of_every_run_follows_them_and_one_of_itself_is_refused(competition: Callable[..., str], capsys):
    run = competition("multiclass", run="epochs=1")
    for name in "ab":
        assert cli.main(["submission", run, "--set", f"seed={ord(name)}", "--as", f"toy/{name}"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert cli.main(["submission", run, "--set", "seed=7", "--as", "toy/c"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert set(score("toy/blend")["parts"]) == {"toy/a", "toy/b", "toy/c"}
    Path("configs/toy/blend.yaml").write_text("members: [toy/a, toy/blend]\n")
    assert cli.main(["submission", "toy/blend"]) == 2
    assert "is made of itself" in capsys.readouterr().err


def test_members_of_other_data_are_refused(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass", run="epochs=1")
    for name in "ab":
        assert cli.main(["submission", run, "--set", f"seed={ord(name)}", "--as", f"toy/{name}"]) == 0
    edit("data/train.csv", "000,dark", "000,light")
    assert cli.main(["ensemble", "toy"]) == 2
    assert "ENS-FOLDS" in capsys.readouterr().err


def test_settings_that_cannot_work_are_told_before_training(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("multiclass", run="epochs=1")
    wrong = {
        "accumulate=64": "two rows in a piece",
        "freeze=99": "layer groups",
        "device=cuda": "no such device",
        "pretrained=gone.safetensors": "no file gone.safetensors",
        "augment=[{Normalize: {}}]": "stay uint8",
        "augment=[{RandomCrop: {height: 500, width: 500}}]": "an augmentation fails",
        "views=hflop": "'hflip'",
    }
    for number, (setting, said) in enumerate(wrong.items()):
        assert cli.main(["train", run, "--set", setting, "--as", f"toy/r{number}"]) in (2, 4)
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err
        assert not list(Path("runs").glob("toy/*/fold*")), "no fold was begun"


def test_a_run_that_diverges_is_stopped_with_the_mend(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass", run="epochs=4 lr=1e30 clip=0 ema=0 opt=sgd")
    assert cli.main(["train", run, "--fold", "0"]) == 4
    assert "RUN-NAN" in capsys.readouterr().err
    assert not Path("runs/toy/base/fold0/fit.json").exists()


def test_init_validates_before_it_writes_and_never_ignores_what_was_asked(competition: Callable[..., str], capsys):
    competition("multiclass")
    assert cli.main(["init", "data", "../x"]) == 2
    assert cli.main(["init", "data", "new", "--set", "image=images/{idd}.png"]) in (2, 3)
    assert not Path("configs/new/competition.yaml").exists()
    assert cli.main(["init", "data", "toy", "--metric", "f1_macro"]) == 2
    assert "edit that key" in capsys.readouterr().err
    Path("configs/toy/baseline.yaml").write_text("task: image\n")
    assert cli.main(["init", "data", "toy"]) == 0


def test_new_pictures_never_stand_beside_an_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A build that fails after its pictures are written leaves no cache at all, not one of two builds."""
    import cv2

    from competition import artifacts

    names = [str(tmp_path / f"{n}.png") for n in range(4)]
    for n, name in enumerate(names):
        cv2.imwrite(name, np.full((20, 20, 3), 60 * n, np.uint8))
    cache.build(names[1:], tmp_path / "c", "squash", (19, 19), lambda *_: None)
    write = artifacts.write_table
    monkeypatch.setattr(artifacts, "write_table", lambda *_: (_ for _ in ()).throw(RuntimeError("killed here")))
    with pytest.raises(RuntimeError):
        cache.build(names, tmp_path / "c", "squash", (19, 19), lambda *_: None)
    monkeypatch.setattr(artifacts, "write_table", write)
    found = cache.build(names[1:], tmp_path / "c", "squash", (19, 19), lambda *_: None)
    assert [int(found.pictures[row].mean()) for row in found.rows(pd.Series(names[1:]))] == [60, 120, 180]


def test_only_jpeg_is_scaled_while_decoding_and_deep_colour_is_refused():
    import cv2

    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::8] = 255
    png = cv2.imencode(".png", stripes)[1].tobytes()
    assert shaped.fitted(decoding.decode(png, 50), (50, 50), "squash").mean() == pytest.approx(stripes.mean(), abs=1)
    deep = cv2.imencode(".png", np.full((8, 8, 3), 4000, np.uint16))[1].tobytes()
    with pytest.raises(decoding.BadPicture, match="IMG-DEPTH"):
        decoding.decode(deep, 8)


def test_classes_with_nan_among_numbers_have_one_order():
    assert natural({"nan", "10", "9", "1"}) == ("1", "10", "9", "nan")
    assert natural({"10", "9", "1"}) == ("1", "9", "10")


@pytest.mark.parametrize("backbone", ["deit_tiny_distilled_patch16_224", "levit_128s", "crossvit_tiny_240"])
def test_unusual_backbones_are_taken_at_their_own_size(backbone: str):
    import timm

    from competition.image import model
    from competition.image.task import ImageTask

    size = timm.get_pretrained_cfg(backbone).input_size[-1]
    task = ImageTask(backbone=backbone, pretrained=False, size=size, head_lr=10)
    model.check(task, 3)
    groups = model.optimizer(timm.create_model(backbone, num_classes=3), task).param_groups
    assert {g["lr_scale"] for g in groups} == {1.0, 10.0}


def test_json_faults_name_everything(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass")
    assert cli.main(["--json", "train", run, "--set", "epohcs=3"]) == 2
    fault = json.loads(capsys.readouterr().err)
    assert fault["findings"][0]["code"] == "CFG-UNKNOWN"
    assert set(fault["findings"][0]) == {"code", "what", "where", "found", "mend", "risk"}
    with pytest.raises(ConfigFault):
        cli.main(["--debug", "train", run, "--set", "epohcs=3"])
