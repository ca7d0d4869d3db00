"""Runs that are made of other runs: cycles, what is deleted, what is predicted later, and rows without labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import write

from competition import cli, config, ensemble, runs, settings
from competition.data import load
from competition.tabular.presets import Preset
from competition.tabular.task import TabularTask

LINEAR = {"task": "tabular", "model": "linear", "bag": 1, "jobs": 1}


@pytest.fixture
def two(competition: Callable[..., str]) -> None:
    """toy/base and toy/two, trained and predicted."""
    competition("binary", task="tabular")
    for name, seed in (("base", 0), ("two", 1)):
        write(f"configs/toy/{name}.yaml", LINEAR | {"seed": seed, "params": {"C": 1 / (1 + 99 * seed)}})
        assert podium("submission", f"toy/{name}") == 0


def podium(*words: str) -> int:
    load.cache_clear()
    return cli.main(list(words))


def members(name: str) -> set[str]:
    return set(config.read_run(name).members or ())


def told(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return " ".join((out + err).split())


def name_unlabeled() -> None:
    test = pd.read_csv("data/test.csv", dtype=str)
    test.assign(id="u" + test["id"]).to_csv("data/more.csv", index=False)
    path = Path("configs/toy/competition.yaml")
    path.write_text(path.read_text() + "unlabeled: more.csv\n")


@pytest.mark.usefixtures("two")
@pytest.mark.slow
def test_what_learns_from_the_blend_is_no_member_of_it(capsys: pytest.CaptureFixture):
    assert podium("ensemble", "toy") == 0
    assert podium("submission", "toy/base", "--set", "pseudo.run=toy/blend", "--as", "toy/ps") == 0
    told(capsys)
    assert podium("ensemble", "toy") == 0
    assert "toy/ps is left out: it is made of toy/blend" in told(capsys)
    assert members("toy/blend") == {"toy/base", "toy/two"}
    before = Path("configs/toy/blend.yaml").read_text()
    assert podium("ensemble", "toy", "--runs", "base ps") == 2
    assert "toy/blend is made of itself" in told(capsys)
    assert Path("configs/toy/blend.yaml").read_text() == before
    assert podium("ensemble", "toy", "--runs", "base ps", "--as", "toy/later") == 0
    # as a file by hand would have it; the same command mends it
    Path("configs/toy/blend.yaml").write_text(before + "  - toy/ps\n")
    assert podium("ensemble", "toy") == 0
    assert members("toy/blend") == {"toy/base", "toy/two"}


@pytest.mark.usefixtures("two")
@pytest.mark.slow
def test_a_deleted_run_leaves_the_blend_of_every_run():
    write("configs/toy/three.yaml", LINEAR | {"seed": 3})
    assert podium("submission", "toy/three") == 0
    assert podium("ensemble", "toy") == 0
    Path("configs/toy/three.yaml").unlink()
    assert podium("ensemble", "toy") == 0
    assert members("toy/blend") == {"toy/base", "toy/two"}


def test_a_preset_is_not_its_own_parent(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("binary", task="tabular")
    values = {"task": "tabular", "preset": "quick", "pseudo": "toy/pre+linear", "jobs": 1}
    write("configs/toy/pre.yaml", values)
    assert podium("submission", "toy/pre") == 2
    assert "toy/pre is made of itself" in told(capsys)


@pytest.mark.usefixtures("two")
def test_seeds_that_are_not_predicted_yet_are_told_before_anything_is_written(capsys: pytest.CaptureFixture):
    write("configs/toy/base.yaml", config.read_run("toy/base").config() | {"seeds": 2})
    write("configs/toy/child.yaml", LINEAR | {"pseudo": "toy/base"})
    for verb, run in (("ensemble", "toy"), ("train", "toy/child")):
        assert podium(verb, run) == 2
        said = told(capsys)
        assert "RUN-PARTIAL" in said and "fold0-seed1/test.parquet" in said and "make submission RUN=toy/base" in said
    assert not Path("runs/toy/blend/oof.parquet").exists()


@pytest.mark.usefixtures("two")
@pytest.mark.slow
def test_rows_without_labels_named_later(capsys: pytest.CaptureFixture):
    """A blend has them too, its members being predicted anew; training alone says what it lacks."""
    assert podium("ensemble", "toy") == 0
    name_unlabeled()
    write("configs/toy/child.yaml", LINEAR | {"pseudo": {"run": "toy/base", "rows": "unlabeled"}})
    told(capsys)
    assert podium("train", "toy/child") == 2
    said = told(capsys)
    assert "RUN-PARTIAL" in said and "unlabeled.parquet" in said
    write("configs/toy/child.yaml", LINEAR | {"pseudo": {"run": "toy/blend", "rows": "unlabeled"}})
    assert podium("submission", "toy/child") == 0
    more = pd.read_csv("data/more.csv", dtype=str)
    more.assign(id="v" + more["id"]).to_csv("data/more.csv", index=False)
    told(capsys)
    assert podium("train", "toy/child", "--set", "seeds=2") == 3
    assert "RUN-DATA" in told(capsys)
    assert podium("predict", "toy/base") == 0
    write("configs/toy/again.yaml", LINEAR | {"pseudo": {"run": "toy/two", "rows": "unlabeled"}})
    told(capsys)
    assert podium("train", "toy/again") == 2
    assert "of other rows" in told(capsys)


@pytest.mark.usefixtures("two")
def test_an_imported_run_predicts_test_alone(capsys: pytest.CaptureFixture):
    for part in ("oof", "test"):
        pd.read_parquet(f"runs/toy/base/{part}.parquet").to_csv(f"{part}.csv")
    name_unlabeled()
    assert podium("import", "oof.csv,test.csv", "toy/imp") == 0
    assert podium("ensemble", "toy", "--runs", "two imp") == 0
    for name in ("imp", "blend"):
        assert Path(f"runs/toy/{name}/fold0/test.parquet").exists()
        assert not Path(f"runs/toy/{name}/fold0/unlabeled.parquet").exists()
    for parent in ("imp", "blend"):
        write("configs/toy/child.yaml", LINEAR | {"pseudo": {"run": f"toy/{parent}", "rows": "unlabeled"}})
        told(capsys)
        assert podium("train", "toy/child") == 2
        assert "PSEUDO-LEAK" in told(capsys)


@pytest.mark.usefixtures("two")
@pytest.mark.slow
def test_what_is_trained_does_not_ask_for_what_it_was_made_of():
    """Later seeds and the refit learn from the labels of the first training, though the parent has changed or is gone."""
    write("configs/toy/child.yaml", LINEAR | {"pseudo": "toy/base"})
    assert podium("submission", "toy/child") == 0
    assert json.loads(Path("runs/toy/child/run.json").read_text())["inputs"] is not None
    kept = {p: p.read_bytes() for p in Path("runs/toy/child/pseudo").rglob("*.parquet")}
    assert len(kept) == 3
    assert podium("submission", "toy/base", "--set", "seeds=2") == 0
    assert podium("submission", "toy/child", "--set", "seeds=2") == 0
    shutil.rmtree("runs/toy/base")
    assert podium("submission", "toy/child", "--set", "refit=beside") == 0
    assert not Path("runs/toy/base").exists()
    assert {p: p.read_bytes() for p in Path("runs/toy/child/pseudo").rglob("*.parquet")} == kept
    folders = {p.parent.name for p in Path("runs/toy/child").glob("fold*/fit.json")}
    assert folders == {"fold0", "fold1", "fold0-seed1", "fold1-seed1", "foldall", "foldall-seed1"}


@pytest.mark.usefixtures("two")
def test_a_refused_command_leaves_no_set_behind():
    write("configs/toy/child.yaml", LINEAR | {"pseudo": "toy/base"})
    assert podium("train", "toy/child", "--fold", "0") == 0
    shutil.rmtree("runs/toy/child/pseudo", ignore_errors=True)
    shutil.rmtree("runs/toy/base")
    assert podium("train", "toy/child", "--set", "seeds=2") == 2
    assert runs.resolve("toy/child").seeds == 1


def test_a_repeated_set_does_not_grow():
    assert settings.both("", "seeds=2") == "seeds=2"
    assert settings.both("seeds=2 refit=only", "seeds=2") == "refit=only seeds=2"
    assert settings.both("pseudo=toy/a pseudo.cut=0.5 x=[1, 2]", "pseudo=toy/b") == "x=[1, 2] pseudo=toy/b"
    assert settings.both("pseudo=toy/a", "pseudo.cut=0.5") == "pseudo=toy/a pseudo.cut=0.5"


@pytest.mark.usefixtures("two")
def test_set_is_recorded_once():
    for seeds in ("seeds=2", "seeds=1", "seeds=2"):
        assert podium("train", "toy/base", "--set", seeds) == 0
    assert json.loads(Path("runs/toy/base/run.json").read_text())["set"] == "seeds=2"
    assert ensemble.scored("toy") and runs.resolve("toy/base").seeds == 2


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["blend", "child"])
def test_a_preset_with_seeds_is_one_run_to_others(
    reader: str, competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    competition("binary", task="tabular")
    small = {"a": {"model": "linear"}, "b": {"model": "linear", "params": {"C": 0.01}}}
    monkeypatch.setitem(TabularTask.presets, "mine", Preset("10m", small))
    write("configs/toy/base.yaml", LINEAR)
    write("configs/toy/pre.yaml", {"task": "tabular", "preset": "mine", "bag": 1, "jobs": 1, "seeds": 2})
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/pre"]})
    write("configs/toy/child.yaml", LINEAR | {"pseudo": "toy/pre"})
    assert podium("submission", f"toy/{reader}") == 0
