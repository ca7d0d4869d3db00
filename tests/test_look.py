"""The first training pictures, drawn as the network is given them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import artifacts, cli, contact, rehearsal, runs, train
from competition.config import load_run
from competition.errors import ConfigFault
from competition.task import Seen, Sight, Strip

MIXED = "mixup=0.4 cutmix=1.0 mix_off=1 balance=sampling"
MADE_OF_SEVERAL = "mosaic=0.5 mixup=0.3 copy_paste=0.3 views=[plain,large,tiles] tile=2"


def strips(run: str) -> list[Strip]:
    at = runs.look(load_run(run))
    train.check(at)
    with rehearsal.fold_of(at.run, at.table.splits[0]) as fold:
        made = list(at.run.task.strips(fold))
    assert not at.folder.exists(), "to look at a run does not begin it"
    return made


@pytest.mark.parametrize(
    "kind, task, keys, begun",
    [
        ("multiclass", "image", MIXED, True),
        pytest.param("multiclass", "image", MIXED, False, marks=pytest.mark.slow),
        pytest.param("boxes", "detection", MADE_OF_SEVERAL, False, marks=pytest.mark.slow),
    ],
)
def test_a_sheet_is_drawn_and_nothing_else_is_changed(
    kind: str, task: str, keys: str, begun: bool, competition: Callable[..., str]
):
    """Of a run that has begun, too, of what this SET would make of it."""
    run = competition(kind, task=task)
    assert isinstance(load_run(run).task, Seen)
    if begun:
        with runs.opened(load_run(run)) as at:
            artifacts.write_json(at.folder / "fold0/fit.json", {})
        with pytest.raises(ConfigFault) as fault:
            runs.resolve(run, keys)
        assert fault.value.findings[0].code == "RUN-DIFFERS"
    before = left()
    assert cli.main(["look", run, "--set", keys]) == 0
    picture = cv2.imread("runs/toy/base/look.png")
    assert picture is not None and picture.std() > 20
    Path("runs/toy/base/look.png").unlink()
    assert left() == before


def left() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path("runs").rglob("*") if p.is_file() and ".cache" not in p.parts}


def test_batches_are_those_that_train_with_their_targets(competition: Callable[..., str]):
    from competition.image import fitting

    run = competition("multiclass", run=MIXED)
    made = strips(run)
    ways = [strip for strip in made if strip.title.startswith("batch")]
    assert {strip.title.partition(", ")[2].partition(":")[0] for strip in ways} == {"mixup", "cutmix", "not mixed"}
    task, at = load_run(run).task, runs.look(load_run(run))
    with rehearsal.fold_of(at.run, at.table.splits[0]) as fold:
        job = fitting.job(task, fold)
        for strip in ways:
            step, epoch = (int(word.strip(",:")) - 1 for word in strip.title.split() if word.strip(",:").isdigit())
            batch = next(job.batches(epoch, step))
            for sight, pixels, target in zip(strip.sights, batch.images.numpy(), batch.targets.numpy(), strict=True):
                assert (sight.pixels == pixels).all()
                label, ids = sight.text.split("\n", 1)
                said = {part.split()[0]: float((*part.split(), 1.0)[1]) for part in label.split(" + ")}
                there = dict(zip(fold.problem.columns, target.tolist(), strict=True))
                assert {k: v for k, v in there.items() if v >= 0.005} == pytest.approx(said, abs=0.006)
                assert len(ids.split("\n")) <= 1 + ("mixed" not in strip.title)


def test_the_plain_picture_stands_before_its_draws_and_views(competition: Callable[..., str]):
    made = strips(competition("multiclass", run="augment=heavy views=[plain,hflip]"))
    drawn, views = made[1], made[-1]
    assert drawn.sights[0].text.startswith("as it is")
    assert (drawn.sights[0].pixels == views.sights[0].pixels).all()
    assert np.ptp(views.sights[1].pixels - views.sights[0].pixels[:, ::-1].astype(int)) <= 2  # rounded after scaling
    assert len({sight.pixels.tobytes() for sight in drawn.sights}) == 8


@pytest.mark.parametrize(
    "kind, text",
    [
        ("binary", "yes"),
        ("multilabel", "bright, not_dark"),
        pytest.param("ordinal", "0", marks=pytest.mark.slow),
        pytest.param("regression", "label ", marks=pytest.mark.slow),
    ],
)
def test_targets_are_told_by_kind(kind: str, text: str, competition: Callable[..., str]):
    assert any(sight.text.startswith(text) for sight in strips(competition(kind))[0].sights)


def test_mixed_values_are_told_in_the_competitions_unit(competition: Callable[..., str]):
    run = competition("regression", run="mixup=0.4 augment=none")
    values = [float(sight.text.split()[1]) for sight in strips(run)[0].sights]
    truth = runs.look(load_run(run)).data.train.truth
    assert truth is not None and truth["label"].min() <= min(values) and max(values) <= truth["label"].max()
    assert np.ptp(values) > 20


def test_boxes_lie_where_the_picture_is_bright(competition: Callable[..., str]):
    made = strips(competition("boxes", task="detection", run="mosaic=0.5"))
    mixed = [sight for strip in made if "mixed (mosaic" in strip.title for sight in strip.sights]
    assert mixed and all(sight.text.count("+") == 3 for sight in mixed)
    for strip in made[:-1]:
        for sight in strip.sights:
            for (x_min, y_min, x_max, y_max), _ in sight.boxes:
                inside = sight.pixels[round(y_min) : round(y_max), round(x_min) : round(x_max)]
                assert inside.size == 0 or inside.mean() > 75, "plates are brighter than the noise around them"


@pytest.mark.parametrize("what", ["tabular", "blend", "preset"])
def test_runs_without_pictures_are_refused(what: str, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass", task="tabular")
    if what == "preset":
        Path("configs/toy/many.yaml").write_text("task: tabular\npreset: quick\n")
        run = "toy/many"
    if what == "blend":
        Path("configs/toy/other.yaml").write_text("extends: base.yaml\nseed: 1\n")
        Path("configs/toy/blend.yaml").write_text("members: [toy/base, toy/other]\n")
        run = "toy/blend"
    assert cli.main(["look", run]) == 2
    said = capsys.readouterr().err
    assert "error CFG-TASK" in said and ("toy/other" if what == "blend" else "make importance") in said
    assert not Path("runs").exists()


def test_long_texts_end_within_their_tile():
    row = contact.Row("", [], 8)
    sight = Sight(np.zeros((4, 4, 3), np.uint8), "\n".join(["a very long name of a class " * 9, "id"]))
    told = row.told(sight)
    assert len(told) == contact.LINES and all(len(line) * contact.LETTER <= row.side for line in told)
