"""What a run takes on several machines: the table of `make plan RUN= NODES= GPUS= TRIALS=`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write

from competition import cli, costs, scale
from competition.config import load_run
from competition.costs import Cost
from competition.plan import Estimate, Work
from competition.scale import Stage

COST = Cost(start=5.0, epoch=10.0, rows=80, views={"plain": 0.01, "hflip": 0.02})
FOUND = Estimate(COST, slots=2, ready=3.0, epochs=4, stepped=False)
EVERY = [Work(80, 20, 30, ("plain", "hflip"))] * 5


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 1000])
def test_a_run_takes_what_the_plan_of_one_machine_says(slots: int):
    one = Estimate(COST, slots, 3.0, 4, False)
    for works in (EVERY, [Work(0, 20, 30, ("plain",))] * 5, [*EVERY[:2], Work(0, 20, 30, ())]):
        assert scale.wall(scale.of_run(FOUND, works), slots) == pytest.approx(one.whole(works))
    assert scale.of_run(FOUND, [Work(0, 20, 30, ())] * 5) == []


def test_equal_jobs_take_as_many_rounds_as_slots_must_be_filled():
    for jobs in (1, 5, 30):
        for slots in (1, 2, 4, 7, 1000):
            rounds = -(-jobs // slots)
            assert scale.wall([Stage((10.0,) * jobs, 8.0)], slots) == pytest.approx(8 + 10 * rounds)
            busy = 10 * jobs / (slots * (8 + 10 * rounds))
            assert scale.idle([Stage((10.0,) * jobs, 8.0)], slots) == pytest.approx(1 - busy)


def test_a_search_tries_whole_trials_and_then_the_best_fold_by_fold():
    fold = 40 + 20 * 0.01
    stages = scale.of_search(FOUND, EVERY, trials=8, again=4)
    assert scale.wall(stages, 4) == pytest.approx(8 + 2 * 5 * fold + 5 * fold), "two rounds of trials; 20 folds on 4"
    assert scale.wall(stages, 1000) == pytest.approx(8 + 5 * fold + fold)
    assert scale.wall(scale.of_search(FOUND, EVERY, 8, 0), 8) == pytest.approx(8 + 5 * fold)


def test_more_slots_never_take_longer_where_jobs_are_alike():
    walls = [scale.wall(scale.of_search(FOUND, EVERY, 30, 4), n) for n in scale.SIZES]
    assert walls == sorted(walls, reverse=True) and walls[0] > 20 * walls[-1]


def told(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


@pytest.mark.slow
def test_a_table_of_a_run_and_of_a_search(
    competition: Callable[..., str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(costs, "FITS", 0.1)
    run = competition(task="tabular", run="params={n_estimators: 5}")
    assert cli.main(["plan", run, "--nodes", "3", "--gpus", "2", "--time", "1h"]) == 0
    text = told(capsys)
    assert "6 <" in text and "1,000" in text and "fits into 1h from 1 slots on" in text
    assert "no GPU here to measure" in text or "one GPU of this machine" in text
    assert cli.main(["plan", run, "--trials", "40"]) == 0
    text = told(capsys)
    assert "a search of 40 trials" in text and "40 jobs at once at most" in text
    assert not Path("runs/toy/base").exists()


def test_a_blend_has_a_table_too(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    write("configs/toy/blend.yaml", {"members": [competition(task="tabular"), "toy/other"]})
    write("configs/toy/other.yaml", {"extends": "base.yaml", "seed": 1})
    scale._show(load_run("toy/blend"), [Stage((10.0,) * 5, 8.0)], 2, 1, None)
    assert "5 jobs at once at most" in told(capsys)


def test_mistakes_of_the_command(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition(task="tabular")
    assert cli.main(["plan", run, "--nodes", "0", "--gpus", "-1", "--trials", "0"]) == 2
    text = told(capsys)
    assert len(re.findall("error CFG-VALUE", text)) == 3 and "NODES=0" in text and "GPUS=-1" in text
    write("configs/toy/blend.yaml", {"members": [run, "toy/other"]})
    write("configs/toy/other.yaml", {"extends": "base.yaml", "seed": 1})
    assert cli.main(["plan", "toy/blend", "--trials", "3"]) == 2
    assert "a blend is not searched" in told(capsys)
    write("configs/toy/many.yaml", {"task": "tabular", "preset": "quick"})
    assert cli.main(["plan", "toy/many", "--nodes", "2"]) == 2
    assert "a preset takes the time that it is given" in told(capsys)
