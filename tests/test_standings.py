"""The local leaderboard: order, gaps and their noise, what does not count and why, filters, JSON, widths, the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from competition import artifacts, board, cli, config, data, foldfile, folds, leaderboard, ledger, ranking, runfolder
from competition.config import load_competition
from competition.report import ranking as page
from competition.report.blocks import Chart, Grid
from competition.report.subject import Subject
from competition.significance import over_folds
from competition.standings import Standing, standings

FOLDS = {"a": [0.90, 0.92, 0.94, 0.90, 0.92], "b": [0.91, 0.90, 0.93, 0.91, 0.90], "c": [0.70, 0.72, 0.71, 0.75, 0.70]}
GONE = object()
DAY = "2026-11-{:02d}T10:00:00+0000"


@pytest.fixture
def toy(workspace: Path) -> Path:
    """A competition of 50 rows in 5 folds of which only the configuration and the fold table are there."""
    write("accuracy")
    Path("folds").mkdir()
    rows = "".join(f"{n:03d},{n % 5}\n" for n in range(50))
    Path("folds/toy.csv").write_text(f"id,fold\n{rows}")
    return workspace


def dump(path: Path, values: Any) -> None:
    """As `artifacts.write_json`, which waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def write(metric: Any) -> None:
    keys = {"data": "data", "id": "id", "target": "y", "kind": "binary", "metric": metric, "image": "{id}.png"}
    dump(artifacts.competition_yaml("toy"), keys)


def made(run: str, scores: list[float | None], greater: bool = True, day: int = 1, **changes: Any) -> Path:
    """A run's folder as training leaves it. changes: keys of its config."""
    folder, name = artifacts.run_folder(f"toy/{run}"), f"toy/{run}"
    table = foldfile.read(Path("folds/toy.csv"), False, False)
    keys = {"task": "image", "epochs": 7, "seeds": 1, "refit": None} | changes
    record = {
        "run": name,
        "config": keys,
        "set": "",
        "data": "d0",
        "folds": table and table.hash,
        "seed": 0,
        "inputs": None,
    }
    record |= {"made": DAY.format(1), "git": None, "versions": {}, "hardware": {}}
    dump(folder / "run.json", record)
    known = [score for score in scores if score is not None]
    by_fold = {f"fold{k}": score for k, score in enumerate(scores)}
    score = dict.fromkeys(runfolder.SCORED) | {
        "metric": load_competition("toy").metric.name, "greater_is_better": greater, "score": float(np.mean(known)),
        "std": float(np.std(known, ddof=1)), "folds": by_fold, "rows": 50, "methods": {}, "basis": "",
        "parts": {m: {"weight": 0.5, "alone": 0.5, "gain": 0.0} for m in keys.get("members", ["plain"])},
        "adjustments_by_fold": dict.fromkeys(by_fold), "made": DAY.format(day),
    }  # fmt: skip
    dump(folder / "score.json", score)
    (folder / "oof.parquet").write_bytes(b"is not read")
    if "members" not in keys:
        for k in range(len(scores)):
            fit = {"finished": DAY.format(day), "seconds": 10.5 + k, "parameters": 1_234_567, "files": {}}
            dump(folder / f"fold{k}/fit.json", fit)
    return folder


def change(path: Path, **values: Any) -> None:
    """Keys of a JSON file; GONE takes one away."""
    new = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in new.items() if value is not GONE}))


def by_name() -> dict[str, Standing]:
    return {s.run: s for s in standings("toy")}


@pytest.mark.parametrize("greater", [True, False])
def test_the_best_comes_first_and_gaps_have_the_noise_of_the_test_over_folds(toy: Path, greater: bool):
    write("accuracy" if greater else "log_loss")
    for name, scores in FOLDS.items():
        made(name, list(scores), greater)
    found = standings("toy")
    assert [s.run for s in found] == (["a", "b", "c"] if greater else ["c", "b", "a"])
    best, sign = found[0], 1 if greater else -1
    assert best.gap == 0 and best.level
    for one in found[1:]:
        assert one.score == np.mean(FOLDS[one.run]) and one.std == np.std(FOLDS[one.run], ddof=1)
        assert one.gap == sign * (best.score - one.score) > 0
        test = over_folds(pd.Series(FOLDS[one.run]), pd.Series(FOLDS[best.run]), share=10 / 40)
        assert test is not None and one.error == pytest.approx(test.error, rel=1e-12)
        assert one.level == (one.gap <= 2 * one.error)
        assert one.gap == pytest.approx(sign * test.mean), "folds of one size: the pooled score is their mean"
    assert {s.run: s.level for s in found} == {"a": greater, "b": greater, "c": not greater}


def test_a_fold_without_a_score_is_left_out_of_the_error_and_few_folds_have_none(toy: Path):
    made("a", [0.9, 0.92, 0.94, 0.9, None])
    made("b", [0.8, None, 0.81, 0.85, 0.8])
    made("c", [0.5, None, None, None, 0.6])
    found = by_name()
    test = over_folds(pd.Series([0.8, 0.81, 0.85]), pd.Series([0.9, 0.94, 0.9]), share=10 / 40)
    assert test is not None and found["b"].error == pytest.approx(test.error, rel=1e-12)
    assert found["c"].error is None and not found["c"].level and found["c"].gap > 0


def test_what_runs_cost_is_that_of_all_that_they_are_made_of_once(toy: Path):
    made("a", FOLDS["a"])
    made("b", FOLDS["b"], seeds=2, refit="beside")
    for extra in ("fold0-seed1", "fold0-seed2", "foldall", "foldall-seed1", "fold_old"):
        dump(Path(f"runs/toy/b/{extra}/fit.json"), {"finished": DAY.format(1), "seconds": 1000})
    for k in range(1, 5):
        dump(Path(f"runs/toy/b/fold{k}-seed1/fit.json"), {"finished": DAY.format(1), "seconds": 1000})
    made("inner", FOLDS["a"], members=["toy/a", "toy/b"])
    made("outer", FOLDS["a"], members=["toy/inner", "toy/a", "toy/gone"])
    made("quick", FOLDS["a"], task="tabular", preset="quick")
    found = by_name()
    assert found["a"].seconds == 62.5 and found["b"].seconds == 62.5 + 7 * 1000, (
        "seeds and refits, what is left over not"
    )
    assert found["inner"].seconds == found["outer"].seconds == 7125
    assert (found["a"].parameters, found["a"].epochs, found["a"].task) == (1_234_567, 7, "image")
    assert (found["inner"].parameters, found["inner"].task, found["quick"].task) == (None, "blend", "preset")
    bag = [{"outputs": [{"epochs": 3, "parameters": 10}, {"epochs": 5, "parameters": 30}]}] * 2
    for k in range(5):
        dump(Path(f"runs/toy/a/fold{k}/fit.json"), {"finished": DAY.format(1), "seconds": 1, "bag": bag})
    change(Path("runs/toy/a/run.json"), config={"task": "tabular"})
    assert (by_name()["a"].parameters, by_name()["a"].epochs) == (80, 5)


def cut(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:40])


def gone(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


def put(path: str, **values: Any) -> Callable[[Path], object]:
    return lambda folder: change(folder / path, **values)


def text(path: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_text(content)


BAD = {
    "no run.json": (gone("run.json"), "damaged", "no run.json", "copy"),
    "run.json cut": (cut("run.json"), "damaged", "run.json can't be read", "copy"),
    "run.json a list": (text("run.json", "[]"), "damaged", "run.json can't be read", "copy"),
    "run.json older": (put("run.json", hardware=GONE), "older version", "lacks hardware", "anew"),
    "config a text": (put("run.json", config="x"), "older version", "lacks a config", "anew"),
    "versions a text": (put("run.json", versions="x"), "damaged", "run.json has a versions", "anew"),
    "a copied folder": (put("run.json", run="toy/a"), "damaged", "of toy/a", "delete"),
    "other data": (put("run.json", data="d1"), "other data", "other data", "anew"),
    "other folds": (put("run.json", folds="f1"), "other folds", "folds/toy.csv", "anew"),
    "no score": (gone("score.json"), "unscored", "not predicted yet", "make submission RUN=toy/x"),
    "half trained": (lambda f: [(f / "score.json").unlink(), shutil.rmtree(f / "fold1")], "unscored",
                     "4 of 5 folds are trained (fold0, fold2, fold3, fold4)", "make submission RUN=toy/x"),
    "score.json cut": (cut("score.json"), "damaged", "score.json can't be read", "make predict RUN=toy/x"),
    "score.json empty": (text("score.json", ""), "damaged", "score.json can't be read", "make predict RUN=toy/x"),
    "score.json nested": (text("score.json", "[" * 100_000), "damaged", "can't be read", "make predict RUN=toy/x"),
    "score.json bytes": (lambda f: (f / "score.json").write_bytes(b"\xff\xfe\0"), "damaged", "can't be read", "predict"),
    "score.json older": (put("score.json", adjustments_by_fold=GONE, methods=GONE), "older version",
                         "lacks methods, adjustments_by_fold", "make predict RUN=toy/x"),
    "score nan": (put("score.json", score=float("nan")), "damaged", "no score", "make predict RUN=toy/x"),
    "score huge": (put("score.json", score=10**400), "damaged", "no score", "make predict RUN=toy/x"),
    "score a text": (put("score.json", score="0.99"), "damaged", "no score ('0.99')", "make predict RUN=toy/x"),
    "folds a list": (put("score.json", folds=[1, 2]), "damaged", "no scores of folds", "make predict RUN=toy/x"),
    "folds of others": (put("score.json", folds={"fold0": 0.9}), "damaged", "not the folds", "make predict RUN=toy/x"),
    "parts a list": (put("score.json", parts=["plain"]), "damaged", "a parts", "make predict RUN=toy/x"),
    "made never": (put("score.json", made="yesterday"), "damaged", "when it was made", "make predict RUN=toy/x"),
    "no oof": (gone("oof.parquet"), "damaged", "oof.parquet is missing", "make predict RUN=toy/x"),
    "fit.json cut": (cut("fold3/fit.json"), "damaged", "fold3/fit.json", "make submission RUN=toy/x"),
    "fold gone": (lambda f: shutil.rmtree(f / "fold3"), "outdated", "4 of 5 folds", "make submission RUN=toy/x"),
    "fold newer": (put("fold3/fit.json", finished=DAY.format(9)), "outdated", "a fold was made anew", "make submission"),
    "other metric": (put("score.json", metric="auc"), "other metric", "by auc, not accuracy", "make predict RUN=toy/x"),
    "other direction": (put("score.json", greater_is_better=False), "other metric", "accuracy", "make predict"),
    "other parameters": (put("score.json", metric_hash="x"), "other metric", "changed since", "make predict RUN=toy/x"),
}  # fmt: skip


def test_what_can_not_count_is_told_with_the_mend_and_never_stands_beside_the_others(
    toy: Path, capsys: pytest.CaptureFixture
):
    made("a", FOLDS["a"], day=2)
    made("b", FOLDS["b"], day=2)
    before = standings("toy")
    for n, (spoil, *_) in enumerate(BAD.values()):
        spoil(made(f"x{n}", [0.99] * 5))
    found = by_name()
    bad = [found.pop(f"x{n}") for n in range(len(BAD))]
    figures = ("score", "std", "gap", "error", "seconds", "parameters", "epochs", "public", "private")
    for one, (case, (_, state, word, mend)) in zip(bad, BAD.items(), strict=True):
        assert one.state == state and word in one.note and mend in one.note and "\n" not in one.note, (case, one)
        assert [getattr(one, key) for key in figures] == [None] * 9 and not one.folds, case
    assert [(s.run, s.score, s.gap, s.error) for s in found.values()] == [
        (s.run, s.score, s.gap, s.error) for s in before
    ]
    assert cli.main(["compare", "toy"]) == 0
    out = capsys.readouterr().out
    assert all(f"{one.run} ({one.state}): {one.note}" in out for one in bad)
    assert "0.99 " not in out and "gap to a" in out


def test_a_blend_whose_member_is_newer_is_outdated_unless_its_predictions_are_the_same(toy: Path):
    folder = made("a", FOLDS["a"])
    (folder / "test.parquet").write_bytes(b"is not read")
    blend = made("b", FOLDS["b"], members=["toy/a"])
    made("c", FOLDS["c"], members=["toy/b"])
    assert by_name()["b"].state == "scored"
    change(folder / "score.json", made=DAY.format(2))
    found = by_name()
    assert (found["b"].state, found["c"].state) == ("outdated", "outdated") and "toy/a was made anew" in found["b"].note
    assert all("delete runs/toy/b/score.json, then make submission" in found[run].note for run in "bc")
    change(blend / "score.json", inputs=runfolder.inputs(["toy/a"]))
    assert {s.state for s in standings("toy")} == {"scored"}, "scored again, by the same predictions"
    (folder / "test.parquet").write_bytes(b"others")
    assert by_name()["b"].note == "toy/a was made anew since; make submission RUN=toy/b"
    change(blend / "score.json", inputs=runfolder.inputs(["toy/a"]), made=DAY.format(3))
    assert by_name()["b"].state == "scored"


def test_what_is_outdated_is_told_by_content_where_the_score_has_it_for_clocks_are_set_back(toy: Path):
    folder, blend = made("a", FOLDS["a"], day=5), made("b", FOLDS["b"], day=5, members=["toy/a"])
    known = {f"fold{k}": artifacts.file_digest(folder / f"fold{k}/fit.json") for k in range(5)}
    change(folder / "score.json", of=known, made=DAY.format(1), basis="x")
    change(blend / "score.json", of={"toy/a": "x"}, made=DAY.format(1))
    assert {s.state for s in standings("toy")} == {"scored"}, "fitted after its score by the clock"
    change(folder / "score.json", basis="y")
    assert "toy/a was made anew" in by_name()["b"].note
    change(folder / "fold1/fit.json", finished=DAY.format(1))
    assert "a fold was made anew" in by_name()["a"].note


def test_whatever_a_member_holds_it_is_told(toy: Path):
    made("a", FOLDS["a"])
    made("b", FOLDS["b"], members=["toy/a"])
    made("c", FOLDS["c"], members=["toy/b"])
    Path("runs/toy/a/score.json").write_text('{"parts": [[1]], "made": 3, "folds": 1}')
    change(Path("runs/toy/a/run.json"), config={"task": "image", "members": {"toy/b": 1}, "of": 7})
    found = by_name()
    assert found["a"].state == "older version" and found["a"].members == ["toy/b"]
    assert found["b"].state == "scored" and found["c"].seconds == 62.5


def test_folders_that_are_no_runs_are_not_listed(toy: Path):
    made("a", FOLDS["a"])
    for name in (".wandb", "a~tune/trial0", "a~tune"):
        Path("runs/toy", name).mkdir(parents=True, exist_ok=True)
    Path("runs/toy/leaderboard.png").write_bytes(b"")
    Path("runs/.check/toy").mkdir(parents=True)
    made("quick+lightgbm", FOLDS["b"])
    Path("runs/toy/empty").mkdir()
    found = by_name()
    assert [*found] == ["a", "quick+lightgbm", "empty"] and found["empty"].state == "damaged"


def test_data_counts_by_the_newest_score_or_as_the_caller_read_it(toy: Path):
    made("a", FOLDS["a"])
    change(made("b", FOLDS["b"], day=2) / "run.json", data="d1")
    assert {s.run: s.state for s in standings("toy")} == {"b": "scored", "a": "other data"}
    assert {s.run: s.state for s in standings("toy", "d0")} == {"a": "scored", "b": "other data"}
    assert {s.run: s.state for s in standings("toy", "d2")} == {"a": "other data", "b": "other data"}
    Path("folds/toy.csv").unlink()
    found = by_name()
    assert found["b"].state == "scored" and found["b"].error is None, "without the table noise can't be told"


def test_scores_of_the_ledger_are_those_of_the_run_as_it_is(toy: Path):
    folder = made("a", FOLDS["a"])
    row = {"competition": "toy", "run": "toy/a", "metric": "accuracy", "config": "c", "data": "d0", "public": 0.5}
    row["folds"] = json.loads((folder / "run.json").read_text())["folds"]
    assert by_name()["a"].public is None
    for n, new in enumerate(
        ({"cv": 0.916}, {"cv": 0.8, "public": 0.1}, {"data": "d9", "public": 0.2}, {"run": "toy/b"})
    ):
        ledger.record(row | {"time": n, "config": str(n)} | new)
    assert (by_name()["a"].public, by_name()["a"].private) == (0.5, None), "of another CV, data or run it is another's"
    ledger.record(row | {"cv": 0.916, "config": "later", "public": 0.6, "private": 0.7})
    assert (by_name()["a"].public, by_name()["a"].private) == (0.6, 0.7)
    ledger.record(row | {"cv": 0.916, "config": "by hand", "public": "0.6.1"})
    assert by_name()["a"].public is None, "what is no number is none"


TABLES = {
    "plain": ("id,fold\nb,0\na,1\nc,0\nd,1\n", {}),
    "spaces, semicolons, marks": ("\ufeffid;fold\r\nb; 0\r\n\r\n\"a\";1\r\nc;0\r\nd ;01\r\n", {}),
    "always in training": ("id,fold\na,0\nb,1\nc,-1\nd,1\n", {}),
    "repeats, columns turned": ("repeat1,id,fold\n1,a,0\n0,b,1\n0,c,0\n1,d,1\n", {"n": 2, "repeats": 2}),
    "in the order of time": ("id,fold\na,-1\nb,0\nc,1\nd,1\n", {"scheme": "time", "time": "day"}),
    "groups": ("id,fold,group\na,0,a\nb,0,a\nc,1,c\nd,1,d\n", {"group": "auto"}),
    "a cell of two lines": ('id,fold\n"a\n",0\nb,1\nc,0\nd,1\n', {}),
    "marks twice": ("\ufeff\ufeffid,fold\na,0\nb,1\nc,0\nd,1\n", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_the_file_alone_tells_the_hash_of_the_fold_table_or_the_checks_are_asked(workspace: Path, case: str):
    content, keys = TABLES[case]
    table = "id,day,y\na,2024-01-01,0\nb,2024-01-02,1\nc,2024-01-03,0\nd,2024-01-04,1\n"
    for name, part in (("train", table), ("test", "id,day\ne,2024-02-01\n"), ("sample_submission", "id,y\ne,0\n")):
        artifacts.write_text(Path(f"data/{name}.csv"), part)
    values = {
        "data": "data",
        "id": "id",
        "target": "y",
        "kind": "binary",
        "metric": "accuracy",
        "folds": {"n": 2} | keys,
    }
    dump(artifacts.competition_yaml("toy"), values)
    artifacts.write_bytes(Path("folds/toy.csv"), content.encode())
    read = folds.load(data.load("toy"))
    found = foldfile.read(Path("folds/toy.csv"), read.ordered, read.groups is not None)
    if case == "marks twice":
        assert found is None
        change(made("a", [0.9, 0.8]) / "run.json", folds=read.hash)
        assert by_name()["a"].state == "scored"
        return
    assert found is not None and found.hash == read.hash
    assert (found.count, found.splits, found.share) == (read.table["fold"].max() + 1, len(read.splits), read.share)


def test_a_fold_table_that_is_none_is_a_fault_as_everywhere(competition: Callable[..., str], capsys: Any):
    competition()
    Path("folds").mkdir()
    Path("folds/toy.csv").write_text("id,fold\n000,0\n001,x\n")
    assert cli.main(["compare", "toy"]) == 3
    assert "FOLD-VALUE" in capsys.readouterr().err


FAULTS = {
    "neither": ([], "two forms"),
    "both": (["toy", "--a", "toy/a", "--b", "toy/b"], "two forms"),
    "one of two": (["--a", "toy/a"], "two forms"),
    "filters of two": (["--a", "toy/a", "--b", "toy/b", "--top", "3"], "TOP=3"),
    "no such competition": (["toys"], "'toy'"),
    "no such run": (["toy", "--runs", "a bb*"], "RUNS=bb*"),
    "no such task": (["toy", "--task", "images"], "did you mean 'image'"),
    "no run of both": (["toy", "--runs", "a", "--task", "blend"], "'image'"),
    "no such order": (["toy", "--sort", "times"], "did you mean 'time'"),
    "none at the top": (["toy", "--top", "0"], "TOP=0"),
    "all at once": (["toy", "--top", "-1", "--sort", "x"], "SORT=x"),
    "no metric file": (["other"], "HOOK-FILE"),
    "no runs": (["bare"], "no run folder"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_wrong_commands_are_told_what_there_is(toy: Path, case: str, capsys: pytest.CaptureFixture):
    made("a", FOLDS["a"])
    made("blend", FOLDS["b"], members=["toy/a"])
    for name, metric in (("other", "mine.py:score"), ("bare", "accuracy")):
        values = json.loads(artifacts.competition_yaml("toy").read_text()) | {"metric": metric}
        dump(artifacts.competition_yaml(name), values)
    words, told = FAULTS[case]
    assert cli.main(["compare", *words]) == 2
    assert told in capsys.readouterr().err


def test_filters_choose_and_sort_and_json_has_all_figures(toy: Path, capsys: pytest.CaptureFixture):
    for name, scores in FOLDS.items():
        made(name, scores, epochs=len(name) + ord(name))
    made("blend", FOLDS["a"], members=["toy/a", "toy/b"])
    made("half", FOLDS["a"])
    Path("runs/toy/half/score.json").unlink()

    def shown(*words: str) -> list[str]:
        assert cli.main(["compare", "toy", "--json", *words]) == 0
        return [one["run"] for one in json.loads(capsys.readouterr().out)["runs"]]

    assert shown() == ["a", "blend", "b", "c", "half"]
    assert shown("--top", "2") == ["a", "blend", "half"]
    assert shown("--runs", "b* toy/c") == ["blend", "b", "c"] and shown("--task", "blend") == ["blend"]
    assert shown("--sort", "epochs", "--task", "image") == ["a", "b", "c", "half"]
    assert shown("--sort", "name", "--top", "3") == ["a", "b", "blend", "half"], "the three best, by name"
    assert shown("--sort", "time")[-2:] == ["blend", "half"]
    assert cli.main(["compare", "toy", "--json", "--runs", "c half"]) == 0
    told = json.loads(capsys.readouterr().out)
    one, half = told.pop("runs")
    assert told.pop("next") and told == {
        "competition": "toy", "metric": "accuracy", "greater_is_better": True, "best": "toy/a"
    }  # fmt: skip
    c = by_name()["c"]
    assert one == {
        "name": "toy/c", "run": "c", "task": "image", "state": "scored", "note": "", "score": c.score, "std": c.std,
        "folds": dict(c.folds), "gap": c.gap, "error": c.error, "within_noise": False, "seconds": 62.5,
        "parameters": 1_234_567, "epochs": 100, "public": None, "private": None, "made": DAY.format(1), "members": [],
    }  # fmt: skip
    assert one.keys() == half.keys() and half["score"] is None and half["state"] == "unscored"


@pytest.mark.parametrize("width", [40, 80, 120, None])
def test_the_table_is_as_wide_as_the_screen_and_tells_what_it_leaves_out(
    toy: Path, width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    long = "convnext-large-384-very-long-name"
    for name, run in (("a", long), ("b", "b"), ("c", "c")):
        made(run, FOLDS[name])
    monkeypatch.setattr(board.console, "_width", None)  # it keeps the COLUMNS that it was made with
    monkeypatch.delenv("COLUMNS", raising=False)
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
    assert cli.main(["compare", "toy"]) == 0
    out = capsys.readouterr().out
    table = out[: out.index("not shown") if "not shown" in out else out.index("within noise of")].splitlines()
    assert max(len(line.rstrip()) for line in table[1:]) <= (width or 1000)
    assert ("not shown for want of width" in out) == (width is not None and width < 120)
    assert ("parameters" in table[2] and "1.23M" in out) == (width in (120, None))
    assert "0.910" in out and "0.010 ~" in out and f"within noise of {long}: b" in out, out
    assert 'make ensemble COMP=toy RUNS="' in out


def test_what_next_follows_from_the_standings(toy: Path):
    made("a", FOLDS["a"])
    assert "a second run" in ranking.advice("toy", standings("toy"))[-1]
    made("c", FOLDS["c"])
    ahead, blend = ranking.advice("toy", standings("toy"))
    assert "a is ahead" in ahead and blend.endswith('make ensemble COMP=toy RUNS="a c"')
    made("blend", [0.97] * 5, members=["toy/a", "toy/c"])
    assert ranking.advice("toy", standings("toy"))[-1] == "next: make submission RUN=toy/blend"
    for run in ("a", "blend"):
        Path(f"runs/toy/{run}/score.json").unlink()
    for run in ("quick", "quick+lightgbm"):
        made(run, [0.5, None, None, None, 0.6], task="tabular", **{"preset": "quick"} if run == "quick" else {})
    unknown, blend = ranking.advice("toy", standings("toy"))
    assert "too few folds" in unknown and blend.endswith('RUNS="c quick"'), "a preset blends its models itself"
    for run in ("c", "quick", "quick+lightgbm"):
        Path(f"runs/toy/{run}/score.json").unlink()
    assert ranking.advice("toy", standings("toy")) == ["no run has a score that counts yet"]


def test_the_page_shows_the_same_figures(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    import plotly.graph_objects as go

    competition("regression", folds={"n": 5})
    read = data.load("toy")
    table, _ = folds.make(read)
    for run, scores in FOLDS.items():
        change(made(run, scores, greater=False) / "run.json", data=read.hash, folds=table.hash)
    change(made("<b>&half", FOLDS["a"], greater=False) / "run.json", data=read.hash, folds=table.hash)
    subject = Subject(read, table, standings("toy", read.hash), [])
    (section,) = page.sections(subject)
    assert section.key == "leaderboard"
    grid, chart = (b for b in section.blocks if isinstance(b, Grid | Chart))
    names = [column.name for column in grid.columns]
    assert isinstance(grid, Grid) and [row[0] for row in grid.rows] == ["c", "b", "<b>&half", "a"]
    assert [row[names.index("CV")] for row in grid.rows] == pytest.approx([s.score for s in subject.standings])
    assert "public" not in names and names[:5] == ["run", "task", "CV", "± folds", "gap"]
    assert isinstance(chart, Chart) and len(chart.figure.data[0].x) == 20 and "c (0.716)" in chart.text
    go.Figure(chart.figure.to_dict())  # checks every key
    assert "&lt;b&gt;&amp;half fold0" in chart.figure.data[0].text
    Path("runs/toy/a/score.json").unlink()
    for n, run in enumerate(("b", "c")):
        row = {"competition": "toy", "run": f"toy/{run}", "metric": "rmse", "cv": by_name()[run].score, "public": n}
        ledger.record(row | {"cv_std": 0.1, "config": "", "data": read.hash, "folds": table.hash})
        *_, public = page.sections(Subject(read, table, standings("toy", read.hash), []))
        assert isinstance(public.blocks[0], Chart) == (n == 1), "one point is told, not drawn"
    first, public = page.sections(Subject(read, table, standings("toy", read.hash), []))
    others = first.blocks[-1]
    assert isinstance(others, Grid) and [row[:2] for row in others.rows] == [["a", "unscored"]]
    drawn = public.blocks[0]
    assert isinstance(drawn, Chart) and drawn.figure.data[0].text == ("c", "b") and "2 rows" in drawn.text
    go.Figure(drawn.figure.to_dict())
    assert leaderboard.scored(read)["public"].tolist() == [1, 0]


@pytest.mark.slow
def test_a_score_remembers_its_metric(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    """A run that was really scored counts, until its metric has other parameters."""
    competition("regression", metric={"name": "quantile", "alpha": 0.9}, folds={"n": 3})
    read = data.load("toy")
    folds.make(read)
    guess = pd.DataFrame({"id": [f"{n:03d}" for n in range(72)], "label": np.random.default_rng(0).random(72)})
    guess[:60].to_csv("oof.csv", index=False)
    guess[60:].to_csv("test.csv", index=False)
    assert cli.main(["import", "oof.csv,test.csv", "toy/a"]) == 0
    score = json.loads(Path("runs/toy/a/score.json").read_text())
    assert by_name()["a"].score == score["score"] and by_name()["a"].seconds is None
    assert score["metric_hash"] == read.metric_hash == config.metric_hash("toy", read.config)
    path = artifacts.competition_yaml("toy")
    path.write_text(path.read_text().replace("0.9", "0.8"))
    one = by_name()["a"]
    assert one.state == "other metric" and one.note.endswith("make predict RUN=toy/a")
    data.load.cache_clear()
    assert cli.main(["predict", "toy/a"]) == 0
    assert by_name()["a"].state == "scored" and by_name()["a"].score != score["score"]
