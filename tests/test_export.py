"""An exported run predicts what the run does, on any test set, and what it leaves out when time is short."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RUNS, write

from competition import artifacts, config, runs, stages
from competition.blending.means import Mean, PerColumn
from competition.errors import ConfigFault, DataFault, EnvironmentFault
from competition.export import budget, bundle, combining, entry, hidden, pages, recipe, streaming, trial, wheels
from competition.export.budget import Budget, Step
from competition.export.predicting import ending, predicted, seconds
from competition.export.recipe import Blend, Leaf, Recipe

IDS = pd.Index(["a", "b", "c"], name="id")


def leaf(name: str, gains: dict[str, float], folds: int = 3) -> Leaf:
    run = config.make_run(name, {"task": "image", "views": [*gains]})
    weights = dict.fromkeys(gains, 1 / len(gains))
    return Leaf(run, Path(), {f"fold{k}": pd.Series(dtype=float) for k in range(folds)}, Mean(weights), gains)


def blend() -> Recipe:
    """`toy/one` has three views and the greater weight, `toy/two` one view and fewer folds."""
    one = leaf("toy/one", {"plain": 0.02, "hflip": 0.001, "zoom": -0.003})
    two = leaf("toy/two", {"plain": 0.0}, folds=2)
    members = Blend(("toy/one", "toy/two"), Mean({"toy/one": 0.8, "toy/two": 0.2}), {"toy/one": 0.05, "toy/two": 0.01})
    problem = None
    leaves = {"toy/one": one, "toy/two": two}
    return Recipe("toy/both", None, problem, pd.DataFrame(), leaves, {"toy/both": members}, None, 9)  # ty: ignore


def table(values: list[float], ids: pd.Index = IDS) -> pd.DataFrame:
    return pd.DataFrame({"yes": values}, ids)


# What is left out -----------------------------------------------------------------------------------------------------


def test_what_adds_least_goes_first_and_the_best_view_member_and_a_fold_stay() -> None:
    steps = [*budget.order(blend())]
    assert [(s.leaf, s.view) for s in steps] == [
        ("toy/one", "zoom"), ("toy/one", "hflip"), ("toy/two", ""), ("", ""), ("", ""),
    ]  # fmt: skip
    grids = Budget(blend(), 100).grids(steps)
    assert grids["toy/one"] == budget.Grid(("plain",), ("fold0",))
    assert grids["toy/two"].folds == ()


def measured(ends: float, seconds: float = 0.01) -> Budget:
    one = Budget(blend(), 1000, ends)
    for name, some in one.recipe.leaves.items():
        for view in some.views:
            one.took(name, view, 100, 100 * seconds)
    return one


@pytest.mark.parametrize("share", [1.2, 0.9, 0.5, 0.3, 0.12])
def test_the_plan_fits_and_nothing_that_would_fit_is_off(share: float) -> None:
    whole = measured(math.inf).seconds()
    assert whole == pytest.approx(1000 * 0.01 * (3 * 3 + 2))
    now = time.monotonic()
    one = measured(now + share * whole)
    one.plan()
    assert now + budget.SPARE * one.seconds(one.off) <= one.ends + 0.1
    assert bool(one.off) == (share < budget.SPARE)
    for step in one.off:
        rest = [s for s in one.off if s != step]
        assert now + budget.SPARE * one.seconds(rest) > one.ends - 0.1


def test_without_a_limit_nothing_is_off_and_a_larger_chunk_tells_the_rate() -> None:
    one = measured(math.inf)
    one.plan()
    assert one.off == []
    one.took("toy/two", "plain", 10, 100.0)  # a small one after it says nothing
    assert one.rate["toy/two", "plain"] == (0.01, 100)
    one.took("toy/two", "plain", 200, 1.0)
    assert one.rate["toy/two", "plain"] == (0.005, 200)


def test_too_little_time_leaves_one_model() -> None:
    one = measured(time.monotonic() - 1)
    one.plan()
    assert one.off == [*budget.order(one.recipe)]
    assert str(one.off[0]) == "view zoom of toy/one (adds -0.0024)"
    assert str(Step(number=1)) == "a fold of each run"


# How the rest becomes one ---------------------------------------------------------------------------------------------


def test_fewer_tables_keep_their_proportions() -> None:
    mean = Mean({"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.0})
    assert combining.fewer(mean, ["a", "b", "c"]) is mean
    assert combining.fewer(mean, ["b", "c"]).weights == pytest.approx({"b": 0.6, "c": 0.4})
    each = PerColumn({"yes": {"a": 1.0, "b": 0.0}, "no": {"a": 0.5, "b": 0.5}}, "multilabel")
    assert combining.fewer(each, ["b"]).weights == {"b": 1.0}  # of `yes` it has none, so it counts like any other


def test_a_row_is_of_the_members_that_know_it() -> None:
    said = {"toy/one": (table([0.1, 0.2, 0.3]), IDS), "toy/two": (table([0.9], IDS[:1]), IDS[:1])}
    found, ids = combining.combined(blend(), said) or (table([]), IDS)
    assert set(ids) == set(IDS)
    assert found.loc[IDS, "yes"].tolist() == pytest.approx([0.8 * 0.1 + 0.2 * 0.9, 0.2, 0.3])
    assert combining.combined(blend(), {}) is None


def test_what_is_no_number_costs_its_row() -> None:
    found, lost = streaming.finite(table([0.1, np.nan, np.inf]))
    assert found.index.tolist() == ["a"] and lost.tolist() == ["b", "c"]


# The folder -----------------------------------------------------------------------------------------------------------


def test_a_damaged_bundle_is_told_by_file(tmp_path: Path) -> None:
    assert entry.wrong(tmp_path) == ["manifest.json is missing"]
    for name in ("a.bin", "models/b.bin", "c.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    bundle._write_manifest(tmp_path)
    assert entry.wrong(tmp_path) == []
    (tmp_path / "a.bin").write_bytes(bytes(99) + b"\1")
    (tmp_path / "models/b.bin").write_bytes(bytes(50))
    (tmp_path / "c.bin").unlink()
    assert entry.wrong(tmp_path) == [
        "a.bin is not what was exported", "c.bin is missing", "models/b.bin has 50 bytes, not 100",
    ]  # fmt: skip


def test_a_wheel_holds_what_is_installed(tmp_path: Path) -> None:
    assert wheels.needed([Path("model0-features.skops"), Path("model0-0.txt")], ["lightgbm"]) == ["skops"]
    assert wheels.needed([Path("model.safetensors")], ["None"]) == []
    path = wheels.pack("tabm", tmp_path)
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
    (into,) = entry.unpack([path])
    found = importlib.metadata.Distribution.at(next(Path(into).glob("tabm-*.dist-info")))
    assert found.version == importlib.metadata.version("tabm")
    with pytest.raises(EnvironmentFault) as caught:
        wheels.pack("numpy", tmp_path)
    assert caught.value.findings[0].code == "EXP-WHEEL"


def test_the_page_for_kaggle_is_what_its_client_takes() -> None:
    for run in ("a/b", "leaves/" + "x" * 80, "toy/base+lgb"):
        made = pages.metadata(run)
        assert 6 <= len(made["title"]) <= 50
        owner, _, slug = made["id"].partition("/")
        assert owner == pages.OWNER and 6 <= len(slug) <= 50 and slug.strip("-") == slug
    json.dumps(made)


def test_the_notebook_finds_its_inputs(tmp_path: Path) -> None:
    made = pages.notebook("leaves/blend", "csv/sample.csv", "csv/test.csv")
    cells = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    assert (made["nbformat"], made["nbformat_minor"], len(cells)) == (4, 5, 3)
    there = {"some/bundle/recipe.json": '{"run": "leaves/blend"}', "old/recipe.json": '{"run": "leaves/other"}'}
    there |= dict.fromkeys(("comp/csv/sample.csv", "comp/csv/test.csv", "notes/csv/sample.csv"), "")
    for name, text in there.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found: dict[str, object] = {}
    exec(cells[0].replace("/kaggle/input", str(tmp_path)), found)
    assert (found["bundle"], found["data"]) == (tmp_path / "some/bundle", tmp_path / "comp")
    (tmp_path / "old/recipe.json").write_text('{"run": "leaves/blend"}')
    with pytest.raises(AssertionError, match="one input must be the exported run leaves/blend"):
        exec(cells[0].replace("/kaggle/input", str(tmp_path)), {})


def test_what_the_user_put_into_a_bundle_is_kept(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, owner in ((old, "me"), (new, pages.OWNER)):
        artifacts.write_text(folder / bundle.METADATA, json.dumps({"id": f"{owner}/leaves"}))
    artifacts.write_text(old / bundle.MANIFEST, json.dumps({"files": {"wheels/ours.whl": {}}}))
    for name in ("ours", "mine"):
        artifacts.write_text(old / f"wheels/{name}.whl", name)
    assert bundle._keep(old, new) == ["wheels/mine.whl", bundle.METADATA]
    assert [path.name for path in (new / "wheels").iterdir()] == ["mine.whl"]
    assert "me/leaves" in (new / bundle.METADATA).read_text()
    assert bundle._keep(tmp_path / "none", new) == []


def test_models_of_all_rows_are_turned_off_last() -> None:
    folds = ("fold0", "fold1", "foldall", "foldall-seed1")
    assert [budget._without(folds, n) for n in (1, 2, 3, 9)] == [
        ("fold0", *folds[2:]), folds[2:], ("foldall",), ("foldall",),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "run, contest, found",
    [
        ({"task": "imported", "oof": "0", "test": "0"}, {}, "another program"),
        ({"task": "tabular", "runs": ["toy/other"]}, {}, "other models"),
        ({"task": "tabular", "features": "../away.py:f"}, {}, "is not below"),
        ({"task": "tabular"}, {"read": "tables.py:read"}, "train and test together"),
    ],
)
def test_what_cannot_be_exported_is_one_message(
    competition: Callable[..., str], run: dict, contest: dict, found: str
) -> None:
    competition("binary", task="tabular", **contest)
    write("configs/toy/other.yaml", RUNS["tabular"])
    write("configs/toy/base.yaml", run)
    with pytest.raises(ConfigFault) as caught:
        stages.export(runs.resolve("toy/base"))
    (finding,) = caught.value.findings
    assert finding.code == "EXP-TASK" and found in finding.found


def test_a_member_that_does_not_count_is_not_taken_along(competition: Callable[..., str]) -> None:
    competition("binary", task="tabular")
    write("configs/toy/away.yaml", {"task": "imported", "oof": "0", "test": "0"})
    write("configs/toy/both.yaml", {"members": ["toy/base", "toy/away"]})
    both = runs.resolve("toy/both")
    with pytest.raises(ConfigFault):
        recipe.check(both)
    decided = {"decision": {"toy/base": 1.0, "toy/away": 0.0}}
    artifacts.write_json(artifacts.run_folder("toy/both") / "score.json", decided)
    recipe.check(both)
    assert [leaf.name for leaf in recipe.leaves_of(both)] == ["toy/base"]


def test_nothing_to_export_or_to_test(competition: Callable[..., str]) -> None:
    competition("binary", task="tabular")
    with pytest.raises(ConfigFault) as caught:
        stages.export(runs.resolve("toy/base"))
    assert caught.value.findings[0].code == "RUN-PARTIAL"
    with pytest.raises(ConfigFault) as caught:
        seconds("soon")
    assert caught.value.findings[0].code == "CFG-VALUE" and seconds("8h45m") == 31_500
    with pytest.raises(ConfigFault) as caught:
        trial.run("toy/base")
    assert caught.value.findings[0].code == "EXP-NONE"


def test_csvs_are_compared_by_number(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.csv", tmp_path / "b.csv"
    ours.write_text("id,p\n1,0.5\n2,0.25\n")
    theirs.write_text("id,p\n1,0.5\n2,0.25\n")
    assert "to the byte" in trial.compared(ours, theirs)
    theirs.write_text("id,p\n1,0.5\n2,0.2500001\n")
    assert "1 of 4 cells differ, by 1.0e-07" in trial.compared(ours, theirs)
    for other in ("id,p\n1,0.5\n2,0.26\n", "id,p\n2,0.25\n1,0.5\n", "id,p\n1,cat\n2,0.25\n"):
        theirs.write_text(other)
        with pytest.raises(EnvironmentFault) as caught:
            trial.compared(ours, theirs)
        assert caught.value.findings[0].code == "EXP-DIFFERS"


# Whole ----------------------------------------------------------------------------------------------------------------


def grown(rows: int = 40) -> Path:
    """The toy's folder with a hidden test set of more rows, columns in another order and a stale sample."""
    folder = Path("hidden")
    shutil.copytree("data", folder)
    test = pd.read_csv("data/test.csv", dtype=str)
    again = list(itertools.islice(itertools.cycle(range(len(test))), rows))
    more = test.iloc[again].assign(id=[f"h{n:03d}" for n in range(rows)])
    for new, old in zip(more["id"], test["id"].iloc[again], strict=True):
        shutil.copy(f"data/images/{old}.png", folder / "images" / f"{new}.png")
    more[[*more.columns[::-1]]].to_csv(folder / "test.csv", index=False)
    return folder


@pytest.mark.slow
def test_a_blend_of_two_tasks_predicts_the_same_anywhere(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
) -> None:
    competition("multiclass", columns=True, metric="logloss")
    sample = pd.read_csv("data/sample_submission.csv", dtype=str)
    wide = pd.DataFrame({"id": sample["id"]} | dict.fromkeys(("dark", "grey", "light"), "0.3"))
    wide.to_csv("data/sample_submission.csv", index=False)
    write("configs/toy/table.yaml", RUNS["tabular"])
    write("configs/toy/both.yaml", {"members": ["toy/base", "toy/table"], "method": "mean"})
    stages.submission(runs.resolve("toy/both"))
    stages.export(runs.resolve("toy/both"))
    trial.run("toy/both")  # raises where the CSV is another
    folder = artifacts.export_folder("toy/both")
    made, ours = recipe.read(folder), pd.read_csv("submissions/toy/both.csv").set_index("id")

    away = grown()
    (away / "images/h001.png").write_bytes((away / "images/h001.png").read_bytes()[:60])
    (away / "images/h002.png").unlink()
    data = hidden.read(made, away)
    assert any("SUB-STALE" in note for note in data.notes)
    result = predicted(made, data)
    assert set(result.stream.bad) == {"h001", "h002"} and not len(result.lost)
    (away / "out.csv").write_bytes(result.content)
    theirs = pd.read_csv(away / "out.csv").set_index("id")
    assert len(theirs) == 40
    same = np.array([n for n in range(40) if n not in (1, 2)])
    np.testing.assert_allclose(theirs.to_numpy()[same], ours.to_numpy()[same % len(ours)], atol=1e-6)
    assert np.abs(theirs.to_numpy()[1] - ours.to_numpy()[1]).max() > 1e-3  # the table's model alone speaks

    late = predicted(made, data, ends=time.monotonic() - 1)
    assert len(late.content.splitlines()) == 41

    for path in (folder / "models").rglob("model*.txt"):
        path.write_text("a form of tomorrow")
    without = predicted(made, data)
    assert set(without.stream.failed) == {"toy/table"} and not len(without.lost), "the pictures' models still speak"
    assert ending(without, data, "x.csv") == 4 and len(without.content.splitlines()) == 41
    for n in range(30):
        (away / f"images/h{n:03d}.png").unlink(missing_ok=True)
    assert ending(predicted(made, data), data, "x.csv") == 4 and "IMG-MISSING" in capsys.readouterr().out

    with pytest.raises(DataFault) as caught:
        hidden.read(made, Path("nowhere"))
    assert [f.code for f in caught.value.findings] == ["DATA-FOLDER"]
    pd.read_csv(away / "test.csv", dtype=str).drop(columns="size").to_csv(away / "test.csv", index=False)
    with pytest.raises(DataFault) as caught:
        hidden.read(made, away)
    assert [f.code for f in caught.value.findings] == ["CSV-HEADER"] and "'size'" in caught.value.findings[0].where

    (folder / "models").joinpath(
        next((folder / "models").rglob("*.safetensors")).relative_to(folder / "models")
    ).write_bytes(b"")
    words = [sys.executable, str(folder / "predict.py"), "--data", "data", "--out", "x.csv"]
    damaged = subprocess.run(words, capture_output=True, text=True)
    assert damaged.returncode == 4 and damaged.stdout.count("\n") == 1 and "CKPT-CORRUPT" in damaged.stdout


@pytest.mark.slow
def test_a_detector_predicts_the_same_anywhere(competition: Callable[..., str]) -> None:
    competition("boxes", task="detection", run="epochs=8")
    stages.submission(runs.resolve("toy/base"))
    stages.export(runs.resolve("toy/base"))
    trial.run("toy/base")
    made = recipe.read(artifacts.export_folder("toy/base"))
    away = grown()
    for name in ("h001", "h004"):
        (away / f"images/{name}.png").write_bytes(b"no picture")
    result = predicted(made, hidden.read(made, away))
    (away / "out.csv").write_bytes(result.content)
    theirs = pd.read_csv(away / "out.csv", keep_default_na=False)
    assert set(result.stream.bad) == {"h001", "h004"} and len(theirs) == 40
    assert theirs.set_index("id").loc[["h001", "h004"], "PredictionString"].nunique() == 1
