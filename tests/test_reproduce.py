"""A run made again from its card: what the card holds, what is told before, and the three verdicts."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import KINDS, RUNS, write

import competition as package
from competition import artifacts, card, cli, config, data, lineage, remaking, reproduce, runs, sameness
from competition.errors import DataFault
from competition.sameness import DIFFERENT, EQUAL, ROUNDED

TASKS = ("image", "detection", "tabular")


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


def begun(name: str = "toy/base") -> dict:
    """The card of a run that has its folder and nothing more."""
    with runs.opened(config.load_run(name)):
        return artifacts.read_json(card.path_of(name))


def predictions(rows: int = 50, dtype: type = np.float64) -> pd.DataFrame:
    values = np.random.default_rng(0).random((rows, 3)).astype(dtype)
    return pd.DataFrame(values, pd.Index([f"{n:03d}" for n in range(rows)], name="id"), ["a", "b", "c"])


def same(kind: str, there: pd.DataFrame, here: pd.DataFrame) -> sameness.Same:
    """As files of that kind."""
    paths = [Path(f"{side}.{kind}") for side in ("there", "here")]
    for path, table in zip(paths, (there, here), strict=True):
        if kind == "parquet":
            artifacts.write_table(path, table)
        else:
            artifacts.write_text(path, table.to_csv())
    return sameness.files("oof", *paths)


# The comparison -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(("nudge", "verdict"), [(0.0, EQUAL), (5e-7, ROUNDED), (2e-6, DIFFERENT), (0.5, DIFFERENT)])
def test_verdicts_by_the_greatest_difference_over_the_columns_largest(
    workspace: Path, kind: str, nudge: float, verdict: str
):
    there = predictions() * 1000
    here = there.copy()
    here.loc["007", "b"] += nudge * float(there["b"].max())
    found = same(kind, there, here)
    assert found.verdict == verdict
    assert found.greatest == pytest.approx(nudge * float(there["b"].max()), abs=1e-9)
    assert found.share == pytest.approx(0 if nudge == 0 else 1 / (50 if kind == "parquet" else 51))


def test_order_of_rows_does_not_count_and_their_ids_do(workspace: Path):
    there = predictions()
    assert same("parquet", there, there[::-1]).verdict == EQUAL
    for here in (there[1:], there.rename({"007": "7"}), there.rename(columns={"a": "z"})):
        assert same("parquet", there, here).verdict == DIFFERENT


def test_words_and_whole_numbers_are_equal_or_not(workspace: Path):
    there = predictions().assign(label="cat", count=1_000_000_000)
    assert same("csv", there, there.assign(label=["dog", *["cat"] * 49])).verdict == DIFFERENT
    for kind in ("csv", "parquet"):
        found = same(kind, there, there.assign(count=1_000_000_001))
        assert (found.verdict, found.greatest) == (DIFFERENT, 1.0 if kind == "parquet" else 0.0)


def test_numbers_within_words_are_compared_too(workspace: Path):
    boxes = pd.DataFrame({"boxes": ["dog 0.5 1.25 10.0 20.0", "cat 0.25 1.5 7.0 9.5 dog 0.125 1.5 2.5 3.5"]})
    assert same("csv", boxes, boxes.replace("0.5 1", "0.50000001 1", regex=True)).verdict == ROUNDED
    assert same("csv", boxes, boxes.replace("0.5 1", "0.51 1", regex=True)).verdict == DIFFERENT


def test_what_is_no_number_on_one_side_is_different(workspace: Path):
    there, hollow = predictions(), predictions()
    hollow.loc["003", "a"] = np.nan
    assert same("parquet", there, hollow).verdict == DIFFERENT
    assert same("parquet", hollow, hollow.copy()[::-1]).verdict == EQUAL
    assert same("parquet", there, there.astype("float32")).verdict in (ROUNDED, DIFFERENT), "bytes of another type"


def test_several_rows_of_an_id_are_compared_view_by_view(workspace: Path):
    plain, flipped = predictions().assign(view="plain"), (predictions() + 1).assign(view="hflip")
    assert same("parquet", pd.concat([plain, flipped]), pd.concat([flipped, plain])).verdict == EQUAL
    assert same("parquet", pd.concat([plain, flipped]), pd.concat([plain, plain])).verdict == DIFFERENT


def test_weights_are_compared_tensor_by_tensor(workspace: Path):
    from safetensors.numpy import save_file

    tensors = {"small": np.full(4, 1e-3, "float32"), "large": np.full((2, 3), 1e5, "float32")}
    nudged = tensors | {"small": tensors["small"] * np.float32(1.0001)}
    for name, values, told in (("a", tensors, {"run": "x"}), ("b", tensors, {"run": "y"}), ("c", nudged, {})):
        save_file(values, f"{name}.safetensors", told)
    a, b, c = (Path(f"{name}.safetensors") for name in "abc")
    assert sameness.files("weights", a, b).verdict == EQUAL, "what they say of themselves is no weight"
    found = sameness.files("weights", a, c)
    assert (found.verdict, found.share) == (DIFFERENT, 0.5)


def test_the_cards_digest_counts_where_the_file_is_gone_or_another(workspace: Path):
    table, here = predictions(), Path("here.parquet")
    artifacts.write_table(here, table)
    digest = artifacts.table_digest(table)
    assert sameness.files("oof", Path("gone.parquet"), here, digest).verdict == EQUAL
    artifacts.write_table(Path("there.parquet"), table + 1)
    assert sameness.files("oof", Path("there.parquet"), here, digest).verdict == EQUAL
    assert sameness.files("oof", Path("gone.parquet"), here, digest[::-1]).verdict == DIFFERENT
    assert sameness.files("oof", here, Path("gone.parquet")).note == "it was not made again"


def test_a_digest_of_a_table_is_of_each_of_its_parts():
    table = predictions()
    others = [table + 1e-16 * (table > 0.9), table.rename(columns={"a": "z"}), table.rename({"000": "0"}),
              table.astype("float32"), table[::-1], table.assign(view="plain")]  # fmt: skip
    assert artifacts.table_digest(table) == artifacts.table_digest(table.copy())
    assert len({artifacts.table_digest(t) for t in (table, *others)}) >= len(others), "0.9 may not see 1e-16"


# The card -------------------------------------------------------------------------------------------------------------


def test_version_is_that_of_the_project():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert package.__version__ == project["project"]["version"]


@pytest.mark.parametrize("task", TASKS)
def test_card_alone_makes_an_equal_run(competition: Callable[..., str], task: str):
    competition("boxes" if task == "detection" else "multiclass", task=task)
    record = begun()
    run = config.load_run("toy/base")
    text = yaml.safe_dump(card.of_run(record), sort_keys=False)
    assert config.make_run("toy/base", yaml.safe_load(text)).config() == run.config()
    assert runs.identity(config.make_run("toy/base", yaml.safe_load(text)), ("fit", "predict")) == runs.identity(
        run, ("fit", "predict")
    )
    assert {"config", "set", "data", "folds", "seed", "inputs", "made", "git", "versions", "hardware"} <= set(record)
    assert record["versions"]["podium"] == package.__version__
    assert {"machine", "cores", "system", "cpu", "gpus"} == set(record["hardware"])


@pytest.mark.parametrize("kind", [*KINDS, "boxes"])
def test_card_alone_makes_an_equal_competition(competition: Callable[..., str], kind: str):
    competition(kind, task="detection" if kind == "boxes" else "image", prior=None, slug="toys")
    values = json.loads(json.dumps(card.of_competition(config.load_competition("toy"))))
    again = config.parse_competition(yaml.safe_dump(values, sort_keys=False), "again")
    assert again == config.load_competition("toy")


def test_shipped_competitions_and_runs_are_made_by_their_cards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    for path in sorted(Path("configs").glob("*/*.yaml")):
        if path.name == "competition.yaml":
            there = config.load_competition(path.parent.name)
            assert config.parse_competition(yaml.safe_dump(card.of_competition(there)), str(path)) == there
        else:
            run = config.load_run(f"{path.parent.name}/{path.stem}")
            assert config.make_run(run.name, card.of_run({"config": run.config()})).config() == run.config()


def test_a_competition_whose_tables_a_function_returns_names_no_table(competition: Callable[..., str]):
    competition("binary", read="tables.py:read")
    values = card.of_competition(config.load_competition("toy"))
    assert not {"train", "test", "sample"} & set(values)
    assert config.parse_competition(yaml.safe_dump(values), "again").read == "tables.py:read"


def test_own_files_are_named_and_a_run_keeps_what_it_began_with(competition: Callable[..., str]):
    competition("binary", task="tabular", run="features=code.py:features", metric="mine.py:metric")
    Path("configs/toy/mine.py").write_text(
        "def metric(truth, prediction):\n    return 0.0\n\n\nmetric.greater_is_better = True\n"
    )
    Path("configs/toy/code.py").write_text("one")
    shared, own = {"metric": {"name": "mine.py:metric"}}, {"features": "code.py:features", "pretrained": "w.pt"}
    before = card.files("toy", shared, own, {})
    assert set(before) == {"configs/toy/mine.py", "configs/toy/code.py"}
    for name in ("mine.py", "code.py"):
        Path("configs/toy", name).write_text("another")
    after = card.files("toy", shared, own, before)
    assert after["configs/toy/code.py"] == before["configs/toy/code.py"], "its folds were fitted by that"
    assert after["configs/toy/mine.py"] != before["configs/toy/mine.py"], "another metric needs another score only"


def test_what_differs_is_told_of_what_both_know():
    there = {"git": "abc", "versions": {"torch": "2.15.0", "numpy": "2.4"}, "hardware": {"cores": 2}}
    now = {"git": "abd+", "versions": {"torch": "2.16.0", "numpy": "2.4", "podium": "1"},
           "hardware": {"cores": 2, "gpus": ["H200"]}}  # fmt: skip
    assert card.differences(there, now) == {"git": "abc there, abd+ now", "torch": "2.15.0 there, 2.16.0 now"}
    dirty = there | {"git": "abc+"}
    assert list(card.differences(dirty, dirty)) == ["git"], "+ may be anything"
    assert card.differences(there, there) == {}


# Making it again ------------------------------------------------------------------------------------------------------


def scored(name: str = "toy/base") -> None:
    """As if the run had come to something: only what is looked at before any work."""
    artifacts.write_json(artifacts.run_folder(name) / "score.json", {"score": 0.5})


def test_a_run_without_a_card_or_a_score_has_nothing_to_hold_against(
    competition: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular")
    assert podium("reproduce", "toy/base") == 2
    assert "RUN-PARTIAL: the run's card is not here" in capsys.readouterr().err
    begun()
    assert podium("reproduce", "toy/base") == 2
    assert "nothing to hold it against" in capsys.readouterr().err


def test_other_data_are_refused_before_anything_is_made(
    competition: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular")
    begun()
    scored()
    table = Path("data/train.csv")
    table.write_text(table.read_text().replace("green", "blue"))
    assert podium("reproduce", "toy/base") == 3
    assert "RUN-DATA: the data are not those of the card" in capsys.readouterr().err
    assert not artifacts.again_folder("toy/base").joinpath("made.json").exists()


def test_a_fold_table_made_by_hand_is_taken_or_missed(
    competition: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular")
    Path("folds").mkdir()
    rows = "".join(f"{n:03d},{n // 7 % 2}\n" for n in range(60))
    Path("folds/toy.csv").write_text(f"id,fold\n{rows}")
    begun()
    scored()
    data.load.cache_clear()
    found, at = lineage.lineage("toy/base"), artifacts.again_folder("toy/base")
    at.mkdir(parents=True)
    remaking.lay_out(at, "toy/base", found)
    assert (at / "folds/toy.csv").read_bytes() == Path("folds/toy.csv").read_bytes()
    Path("folds/toy.csv").unlink()
    (at / "layout.json").unlink()
    assert podium("reproduce", "toy/base") == 3
    assert "RUN-FOLDS" in capsys.readouterr().err


def test_a_file_of_the_users_that_changed_comes_from_git_or_is_missed(
    competition: Callable[..., str], capsys: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular", run="features=code.py:features")
    code = Path("configs/toy/code.py")
    code.write_text("def features(table):\n    return table[['size']].add_suffix(' again')\n")
    weights = Path("w.pt")
    weights.write_bytes(b"first")
    for words in (["init", "-q"], ["add", "configs", "w.pt"],
                  ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "begin"]):  # fmt: skip
        subprocess.run(["git", *words], check=True)
    begun()
    scored()
    first = code.read_text()
    weights.write_bytes(b"another")
    code.write_text("def features(table):\n    return table[['size']].add_suffix(' twice')\n")
    at = artifacts.again_folder("toy/base")
    at.mkdir(parents=True)
    remaking.lay_out(at, "toy/base", lineage.lineage("toy/base"))
    assert (at / code).read_text() == first and not (at / code).is_symlink()
    assert "twice" in code.read_text(), "the project's own file is left alone"
    with pytest.raises(DataFault):  # weights are read from where they lie, not from the folder that is laid out
        remaking._restore(at, weights, artifacts.bytes_digest(b"first"), "HEAD")
    subprocess.run(["rm", "-rf", ".git", str(at / "layout.json")], check=True)
    assert podium("reproduce", "toy/base") == 3
    assert "RUN-DATA: a file of yours is no longer what the run was made with" in capsys.readouterr().err


def test_folds_of_other_threads_are_trained_by_themselves(competition: Callable[..., str]):
    competition("binary", task="tabular")
    begun()
    scored()
    for fold, fitted in ((0, 2), (1, 1)):
        folder = artifacts.run_folder("toy/base") / f"fold{fold}"
        artifacts.write_json(folder / "fit.json", {"threads": fitted})
        artifacts.write_json(folder / "predicted.json", {"threads": 1})
    left = artifacts.run_folder("toy/base") / "fold0-seed1"  # of when it had two seeds
    artifacts.write_json(left / "fit.json", {"threads": 3})
    artifacts.write_bytes(left / "oof.parquet", b"")
    assert list(lineage.steps(lineage.lineage("toy/base"))) == [
        (["train", "toy/base", "--fold=0"], 2),
        (["submission", "toy/base"], 1),
    ]
    found = lineage.lineage("toy/base")
    compared = reproduce.compare("toy/base", found, artifacts.again_folder("toy/base"))
    assert not any("seed1" in one.what for one in compared)
    assert "expect about that again" in remaking.cost(Path("there"), found)


@pytest.mark.slow
def test_tabular_run_is_equal_to_the_byte_and_a_touched_one_is_not(
    competition: Callable[..., str], capfd: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular", run="bag=1")
    assert podium("submission", "toy/base") == 0
    folder, csv = artifacts.run_folder("toy/base"), artifacts.submission_csv("toy/base")
    results = artifacts.read_json(folder / "run.json")["results"]
    assert results["csv"] == artifacts.file_digest(csv)
    assert results["oof"] == artifacts.table_digest(artifacts.read_table(folder / "oof.parquet"))
    capfd.readouterr()
    assert podium("reproduce", "toy/base", "--json") == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["verdict"], record["differs"]) == (EQUAL, {})
    names = [one["what"] for one in record["files"]]
    assert {"oof.parquet", "test.parquet", "submissions/toy/base.csv", "fold0/oof.parquet"} <= set(names)
    assert record["score"]["there"] == record["score"]["here"]

    assert artifacts.read_json(folder / "reproduced.json") == record
    oof = artifacts.read_table(folder / "fold0/oof.parquet")
    oof.iloc[0, 0] += 0.25
    artifacts.write_table(folder / "fold0/oof.parquet", oof)
    assert podium("reproduce", "toy/base") == 3, "what is made already is compared only"
    out, err = capfd.readouterr()
    assert "made earlier, and compared anew" in out
    assert "REPRO-DIFFERS" in err and "fold0/oof.parquet" in err and "python -m competition" not in out


def older(name: str) -> None:
    """The run as older code left it."""
    path = card.path_of(name)
    record = artifacts.read_json(path)
    keys = set(card.LATER)
    record["versions"].pop("podium")
    hardware = {k: v for k, v in record["hardware"].items() if k not in ("cpu", "gpus")}
    artifacts.write_json(path, {k: v for k, v in record.items() if k not in keys} | {"hardware": hardware})


@pytest.mark.slow
def test_blend_of_older_runs_is_made_again_with_its_members(
    competition: Callable[..., str], capfd: pytest.CaptureFixture[str]
):
    competition("multiclass", columns=True, run="epochs=2")
    write("configs/toy/trees.yaml", RUNS["tabular"])
    write("configs/toy/blend.yaml", {"members": ["toy/base", "toy/trees"]})
    assert podium("submission", "toy/blend") == 0
    for name in ("toy/base", "toy/trees", "toy/blend"):
        older(name)
    write("configs/toy/base.yaml", RUNS["image"] | {"epochs": 1})  # today's files are not looked at
    capfd.readouterr()
    assert podium("reproduce", "toy/blend") == 0
    out = capfd.readouterr().out
    assert "equal to the byte" in out and "lacks the competition's configuration" in out
    record = artifacts.read_json(artifacts.run_folder("toy/blend") / "reproduced.json")
    assert {"toy/base/oof.parquet", "toy/trees/oof.parquet"} <= {one["what"] for one in record["files"]}
    assert podium("submission", "toy/trees") == 0, "a run that older code began goes on"


@pytest.mark.slow
def test_preset_is_made_again_with_the_models_that_its_time_allowed(
    competition: Callable[..., str], capfd: pytest.CaptureFixture[str]
):
    competition("binary", task="tabular")
    write("configs/toy/many.yaml", {"task": "tabular", "preset": "quick", "time": "1s", "jobs": 1})
    assert podium("submission", "toy/many") == 0
    states = artifacts.read_json(artifacts.run_folder("toy/many") / "portfolio.json")
    assert "time is up" in states.values() and "whole" in states.values()
    capfd.readouterr()
    assert podium("reproduce", "toy/many") == 0, capfd.readouterr()
    again = artifacts.again_folder("toy/many") / artifacts.run_folder("toy/many") / "portfolio.json"
    assert artifacts.read_json(again) == states
