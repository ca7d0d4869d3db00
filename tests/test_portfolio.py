"""Presets: what the clock cuts, what fails, what a signal stops; the same command goes on and redoes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import TEST, write

from competition import artifacts, cli
from competition.tabular.presets import Preset
from competition.tabular.task import TabularTask

ROOT = Path(__file__).parent.parent
FIRST = {"model": "lightgbm", "params": {"num_iterations": 20, "min_data_in_leaf": 3}, "bag": 1}
SECOND = {"model": "extratrees", "params": {"n_estimators": 10}}
BROKEN = {"model": "lightgbm", "params": {"num_leaves": -3}}


@pytest.fixture
def preset(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The run toy/base with a preset `mine` of these members."""

    def make(members: dict[str, dict[str, Any]], **values: Any) -> str:
        run = competition(columns=True)
        monkeypatch.setitem(TabularTask.presets, "mine", Preset("10m", members))
        write("configs/toy/base.yaml", {"task": "tabular", "preset": "mine", "jobs": 1} | values)
        return run

    return make


def fits(member: str) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in Path(f"runs/toy/base+{member}").glob("fold*/fit.json")}


def states() -> dict[str, str]:
    return artifacts.read_json(Path("runs/toy/base/portfolio.json"))


def weights() -> dict[str, float]:
    return json.loads(Path("runs/toy/base/weights.json").read_text())["all"]


def said(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


@pytest.mark.slow
def test_time_cuts_after_the_first_and_more_time_goes_on(preset, capsys: pytest.CaptureFixture):
    run = preset({"first": FIRST, "second": SECOND}, time="0.001s")
    assert cli.main(["tabular", run]) == 0
    assert "the same command goes on with second" in said(capsys)
    assert states() == {"toy/base+first": "whole", "toy/base+second": "time is up"}
    assert weights() == {"toy/base+first": 1.0}
    assert len(pd.read_csv(f"submissions/{run}.csv")) == TEST
    first = fits("first")
    assert len(first) == 2 and not fits("second")
    write("configs/toy/base.yaml", {"task": "tabular", "preset": "mine", "jobs": 1, "time": "5m"})
    assert cli.main(["tabular", run]) == 0
    assert fits("first") == first and len(fits("second")) == 2
    assert set(weights()) == {"toy/base+first", "toy/base+second"}
    second = fits("second")
    capsys.readouterr()
    assert cli.main(["portfolio", run]) == 0
    shown = said(capsys)
    assert "first" in shown and "second" in shown and shown.count("whole") == 2
    assert cli.main(["submission", run]) == 0
    assert (fits("first"), fits("second")) == (first, second)


def test_a_member_that_fails_is_left_out(preset, capsys: pytest.CaptureFixture):
    run = preset({"broken": BROKEN, "first": FIRST})
    assert cli.main(["submission", run]) == 0
    text = said(capsys)
    assert "toy/base+broken is left out" in text and "TAB-MODEL" in text and "Traceback" not in text
    assert states() == {"toy/base+broken": "failed: TAB-MODEL", "toy/base+first": "whole"}
    assert weights() == {"toy/base+first": 1.0}


def test_where_all_members_fail_the_first_fault_is_told(preset, capsys: pytest.CaptureFixture):
    run = preset({"broken": BROKEN, "worse": BROKEN})
    assert cli.main(["submission", run]) == 3
    assert "error TAB-MODEL" in said(capsys)
    assert cli.main(["portfolio", run]) == 2
    assert "RUN-PARTIAL" in said(capsys)


@pytest.mark.parametrize(
    "words, code, found",
    [
        (["tabular", "toy/base", "--time", "abc"], "CFG-VALUE", "'abc' is not a time"),
        (["tabular", "toy/base", "--set", "preset=mien"], "CFG-VALUE", "did you mean 'mine'"),
        (["train", "toy/base+first", "--set", "bag=3"], "CFG-VALUE", "settings of the preset"),
        (["train", "toy/base+frist"], "CFG-VALUE", "did you mean 'first'"),
        (["train", "toy/base"], "CFG-TASK", "not trained"),
        (["predict", "toy/base"], "RUN-PARTIAL", "none of first"),
        (["portfolio", "toy/base"], "RUN-PARTIAL", "make submission RUN=toy/base"),
    ],
)
def test_a_mistake_is_told_in_five_parts(words: list[str], code: str, found: str, preset, capsys):
    preset({"first": FIRST, "second": SECOND})
    assert cli.main(words) == 2
    text = said(capsys)
    assert f"error {code}" in text and found in text
    assert all(part in text for part in ("where:", "found:", "risk:", "mend:"))


def test_another_knob_after_training_is_refused(preset, capsys: pytest.CaptureFixture):
    run = preset({"first": FIRST, "second": SECOND})
    assert cli.main(["train", "toy/base+first"]) == 0
    write("configs/toy/base.yaml", {"task": "tabular", "preset": "mine", "jobs": 1, "max_levels": 5})
    assert cli.main(["submission", run]) == 2
    text = said(capsys)
    assert "RUN-DIFFERS" in text and "key max_levels" in text


def test_a_run_of_pictures_and_one_of_columns_blend(competition: Callable[..., str]):
    """Both on the same fold table, which neither touches."""
    competition("binary", columns=True, run="epochs=6", metric="logloss")
    write("configs/toy/table.yaml", {"task": "tabular", "jobs": 1} | FIRST)
    assert cli.main(["submission", "toy/base"]) == 0
    table = artifacts.file_digest(Path("folds/toy.csv"))
    assert cli.main(["tabular", "toy/table"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert cli.main(["submission", "toy/blend"]) == 0
    assert artifacts.file_digest(Path("folds/toy.csv")) == table
    scores = {n: json.loads(Path(f"runs/toy/{n}/score.json").read_text())["score"] for n in ("base", "table", "blend")}
    assert scores["blend"] < max(scores["base"], scores["table"]), "log loss; weights of 30 rows, scored on 30 others"
    assert len(pd.read_csv("submissions/ledger.csv")) == 3


@pytest.mark.slow
def test_a_signal_stops_a_portfolio_and_the_same_command_ends_it(competition: Callable[..., str]):
    run = competition(columns=True)
    slow = {"num_iterations": 100000, "early_stopping_round": 100000, "learning_rate": 1e-6}
    write("configs/toy/base.yaml", {"task": "tabular", "preset": "quick", "jobs": 1, "bag": 1, "text_dims": 2})
    program = (
        "import sys\nfrom competition import cli\nfrom competition.tabular.presets import PRESETS, Preset\n"
        f"PRESETS['quick'] = Preset('10m', {{'first': {FIRST}, 'second': {{'model': 'lightgbm', 'params': sys.argv[1] == "
        f"'slow' and {slow} or {FIRST['params']}}}}})\n"
        "sys.exit(cli.main(['tabular', 'toy/base']))\n"
    )
    Path("portfolio.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(pace: str) -> subprocess.Popen:
        command = [sys.executable, "portfolio.py", pace]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    process = start("slow")
    while not Path("runs/toy/base+second/fold0").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    first = fits("first")
    assert len(first) == 2 and not fits("second")
    process = start("quick")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert fits("first") == first and len(fits("second")) == 2
    assert len(pd.read_csv(f"submissions/{run}.csv")) == TEST


def test_members_and_later_commands_follow_the_set_that_the_preset_was_made_with(preset, monkeypatch, capsys):
    run = preset({"first": FIRST, "second": SECOND})
    monkeypatch.setitem(TabularTask.presets, "other", Preset("10m", {"third": SECOND, "first": FIRST}))
    assert cli.main(["tabular", run, "--set", "preset=other max_levels=5"]) == 0
    assert cli.main(["submission", f"{run}+third"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert set(json.loads(Path("runs/toy/blend/weights.json").read_text())["all"]) == {f"{run}+third", f"{run}+first"}
    capsys.readouterr()
    assert cli.main(["portfolio", run]) == 0
    assert "other" in said(capsys)
    write("configs/toy/base.yaml", {"task": "tabular", "preset": "other", "jobs": 1, "max_levels": 7})
    assert cli.main(["tabular", run, "--set", "max_levels=9"]) == 2
    assert "RUN-DIFFERS" in said(capsys)


@pytest.mark.parametrize("values", [{"params": {"num_leaves": 3}}, {"model": "knn"}])
def test_what_a_preset_chooses_is_refused_beside_it(values: dict[str, Any], preset, capsys: pytest.CaptureFixture):
    run = preset({"first": FIRST}, **values)
    assert cli.main(["tabular", run]) == 2
    assert "choose for themselves" in said(capsys)


def test_a_time_or_a_preset_alone_is_refused(competition, capsys: pytest.CaptureFixture):
    run = competition()
    write("configs/toy/base.yaml", {"task": "tabular", "time": "5m"})
    assert cli.main(["train", run]) == 2
    write("configs/toy/base.yaml", {"members": ["toy/a", "toy/b"], "preset": "good"})
    assert cli.main(["submission", run]) == 2
    assert said(capsys).count("CFG-VALUE") == 2
