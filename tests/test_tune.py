"""A search: what it may try, what it spends, that nothing is lost or done twice, and what it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from conftest import write
from optuna.trial import TrialState

from competition import artifacts, cli, config, runs
from competition.errors import ConfigFault
from competition.keys import Kind
from competition.tabular.spaces import SPACES
from competition.tuning import draws, rules, space, store, study
from competition.tuning.space import Choice, Span

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"task": "tabular", "model": "extratrees", "jobs": 1, "columns": {"ignore": ["day", "note"]},
                         "params": {"n_estimators": 5, "min_samples_leaf": 4}}  # fmt: skip
SPACE = {"params.min_samples_leaf": {"low": 1, "high": 20}, "params.max_features": {"low": 0.2, "high": 1}}
TUNE = {"finalists": 0}


@pytest.fixture
def toy(competition: Callable[..., str]) -> Callable[..., str]:
    """The run toy/base, a small forest with a search space; values replace or add keys."""

    def make(**values: Any) -> str:
        run = competition(columns=True, folds={"n": 3})
        write("configs/toy/base.yaml", SMALL | {"search": SPACE, "tune": TUNE} | values)
        return run

    return make


def tune(run: str, *arguments: str) -> int:
    return cli.main(["tune", run, *arguments])


def table(run: str = "toy/base") -> pd.DataFrame:
    return pd.read_csv(f"runs/{run}~tune/trials.csv")


def trials(run: str = "toy/base") -> list[Any]:
    url = f"sqlite:///runs/{run}~tune/study.db"
    return optuna.load_study(study_name=run, storage=url).get_trials()


def fits(run: str = "toy/base") -> dict[str, int]:
    return {str(p.parent): p.stat().st_mtime_ns for p in Path(f"runs/{run}~tune").glob("*/fold*/fit.json")}


def said(capsys: pytest.CaptureFixture) -> str:
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def space_of(run: str) -> space.Space:
    return space.of(config.load_run(run), "multiclass")


def fault(run: str) -> str:
    with pytest.raises(ConfigFault) as found:
        space_of(run)
    return str(found.value)


def test_a_key_tells_whether_it_is_whole(competition: Callable[..., str]):
    run = competition(run="search={lr: {low: 1, high: 2}, epochs: {low: 1, high: 9, step: 2}, mixup: {low: 0, high: 1}, "
                          "augment: [light, none]}")  # fmt: skip
    found = space_of(run)
    assert found["lr"] == Span(1, 2, False, None, whole=False)
    assert found["mixup"] == Span(0, 1, False, None, whole=False)
    assert found["epochs"] == Span(1, 9, False, 2, whole=True)
    assert found["epochs"].points() == [1, 3, 5, 7, 9]
    assert found["augment"] == Choice(("light", "none"))


def test_parameters_of_a_library_are_whole_by_name(toy: Callable[..., str]):
    some = {"min_samples_leaf": {"low": 1, "high": 20}, "other": {"low": 0, "high": 3}}
    found = space_of(toy(search={"params": some | {"more": {"low": 0, "high": 3, "whole": True}}}))
    whole = {key: entry.whole for key, entry in found.items() if isinstance(entry, Span)}
    assert whole == {"params.min_samples_leaf": True, "params.other": False, "params.more": True}


@pytest.mark.parametrize(
    ("search", "code", "words"),
    [
        ("{lr: {low: 0, high: 1, log: true}}", "CFG-VALUE", "low above 0"),
        ("{lr: {low: 1, high: 1}}", "CFG-VALUE", "below high"),
        ("{lr: {low: 0.1, high: 1, steps: 3}}", "CFG-UNKNOWN", "steps"),
        ("{lr: 0.1}", "CFG-VALUE", "neither a range"),
        ("{lr: [0.1]}", "CFG-VALUE", "at least 2"),
        ("{lr: {low: -1, high: 1}}", "CFG-VALUE", "search.lr"),
        ("{lrr: {low: 0.1, high: 1}}", "CFG-UNKNOWN", "did you mean 'lr'"),
        ("{epochs: {low: 1.5, high: 9}}", "CFG-VALUE", "whole numbers"),
        ("{augment: [light, wild]}", "CFG-VALUE", "wild"),
        ("{device: [cpu, auto]}", "CFG-VALUE", "of the machine"),
        ("{views: [[plain], [hflip]]}", "CFG-VALUE", "of prediction"),
        ("{seed: {low: 0, high: 9}}", "CFG-VALUE", "by luck"),
        ("{augment: [light, none, light]}", "CFG-VALUE", "stands twice"),
        ("{augment: [{a: 1}, light]}", "CFG-VALUE", "mapping"),
    ],
)
def test_what_can_t_be_searched_is_refused(competition: Callable[..., str], search: str, code: str, words: str):
    told = fault(competition(run=f"search={search}"))
    assert code in told and words in told and "search" in told


def test_every_problem_of_a_space_is_told_at_once(competition: Callable[..., str]):
    told = fault(competition(run="search={lrr: [1, 2], device: [cpu, auto], mixup: [0, -1]}"))
    assert told.count("error ") == 3


def test_every_task_has_a_space_that_its_run_takes(competition: Callable[..., str]):
    write("configs/toy/base.yaml", {"task": "detection", "pretrained": False})
    assert {"lr", "mosaic"} <= set(space.of(config.load_run("toy/base"), "boxes"))
    run = competition(run="search={}")
    assert "smoothing" in space_of(run) and "smoothing" not in space.of(config.load_run(run), "binary")
    for model in ("lightgbm", "xgboost", "catboost", "histgb", "extratrees", "randomforest", "knn", "tabm"):
        write("configs/toy/base.yaml", {"task": "tabular", "model": model})
        assert space_of(run)
    write("configs/toy/base.yaml", {"task": "tabular", "model": "linear"})
    assert "search: {lr:" in fault(run)


def test_a_forgiving_stop():
    best = [0.7, 0.8, 0.75]
    assert rules.forgiving([0.69], best) and rules.forgiving([0.75, 0.64], best)
    assert not rules.forgiving([0.7], best) and not rules.forgiving([0.75, 0.66], best)
    assert not rules.forgiving([0.1], []) and not rules.forgiving([], best)
    assert not rules.forgiving([np.nan, 0.7], [np.nan, 0.7]) and rules.forgiving([np.nan, 0.6], [np.nan, 0.7])


def test_a_paired_stop():
    best = [0.7, 0.8, 0.9]
    complete = [best, *([s - 0.02 + d for s, d in zip(best, (0.02, 0, -0.02))] for _ in range(4))]  # swings of 0.02
    assert rules.paired([0.67], complete) and not rules.paired([0.69], complete)
    assert rules.paired([0.685, 0.78], complete) and not rules.paired([0.69, 0.795], complete)
    assert not rules.paired([0.75, 0.8], complete)
    few = complete[:4]
    assert not rules.paired([0.7, 0.71], few) and rules.paired([0.6], few)  # forgiving, as long as they are few
    assert not rules.paired([0.1], []) and not rules.paired([np.nan], complete)


def test_best_without_a_fold_does_not_see_it():
    scores = {4: [9.0, 0.5, 0.5], 7: [0.0, 0.6, 0.6]}
    assert [rules.best_without(scores, fold) for fold in range(3)] == [7, 4, 4]


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_resumed_study_goes_on_with_new_values(kind: str):
    def values(*parts: int) -> list[float]:
        one = optuna.create_study()
        for count in parts:
            one.sampler = draws.Numbered(kind, 3)
            one.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=count)
        return [t.params["x"] for t in one.get_trials()]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    whole = values(14)
    assert whole == values(5, 9) and len(set(whole)) == 14


@pytest.mark.parametrize("after_its_values", [True, False])
def test_a_trial_cut_short_changes_nothing_but_numbers(after_its_values: bool):
    def score(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    def cut_short(trial: optuna.Trial) -> None:
        if after_its_values:
            score(trial)
        study.give_back(one, one.get_trials()[trial.number])
        one.tell(trial.number, state=TrialState.FAIL)

    def drawn(at: optuna.Study) -> list[float]:
        return [t.params["x"] for t in study.distinct(at.get_trials())]

    whole, one = (optuna.create_study(sampler=draws.Numbered("random", 3)) for _ in range(2))
    whole.optimize(score, n_trials=5)
    one.optimize(score, n_trials=2)
    cut_short(one.ask())
    one.optimize(score, n_trials=3)
    assert drawn(one) == drawn(whole) and [t.number for t in study.distinct(one.get_trials())] == [0, 1, 3, 4, 5]


def test_a_search_from_end_to_end(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy(tune={"stop": "none"})
    assert tune(run, "--trials", "3") == 0
    told, first = said(capsys), fits()
    assert "best of 3 trials" in told and "on another seed" in told and "nested" in told
    assert "min_samples_leaf: 1 to 20, whole" in told and "max_features: 0.2 to 1" in told
    assert table()["state"].tolist() == ["complete"] * 3 and (table()["folds"] == 3).all()
    assert Path("runs/toy/base~tune/tune.png").stat().st_size > 10_000
    assert artifacts.read_json(Path("runs/toy/base~tune/importances.json")) == {}  # of three trials
    result = json.loads(Path("runs/toy/base~tune/tune.json").read_text())
    assert result["best"] == table()["score"].max()

    text = Path("configs/toy/base-tuned.yaml").read_text()
    assert text.startswith("# Written by `make tune RUN=toy/base`") and "best of 3 trials" in text
    assert yaml.safe_load(text) == {
        "extends": "base.yaml",
        "params": {k.partition(".")[2]: v for k, v in result["winner"].items() if (k, v) != ("params.min_samples_leaf", 4)},
    }  # fmt: skip
    folder = trials()[result["number"]].user_attrs["folder"]
    for k in range(3):
        ours, theirs = (artifacts.read_json(Path(f"runs/toy/{r}/fold{k}/fit.json")) for r in
                        ("base-tuned", f"base~tune/{folder}"))  # fmt: skip
        assert ours == theirs
    assert cli.main(["predict", "toy/base-tuned"]) == 0
    score = json.loads(Path("runs/toy/base-tuned/score.json").read_text())
    assert score["score"] == pytest.approx(result["best"])  # the very folds that the search has trained
    assert cli.main(["train", "toy/base-tuned"]) == 0 and "all 3 folds are trained" in said(capsys)
    from competition import ensemble

    assert ensemble.scored("toy") == ["toy/base-tuned"]

    assert tune(run, "--trials", "3") == 0
    assert fits() == first and json.loads(Path("runs/toy/base~tune/tune.json").read_text()) == result
    assert tune(run, "--trials", "4") == 0
    assert len(table()) == 4 and first.items() <= fits().items()


def test_the_nested_score_is_of_trials_chosen_on_other_folds(toy: Callable[..., str]):
    run = toy(tune={"finalists": 0, "stop": "none"})
    assert tune(run, "--trials", "4") == 0
    table_, scores = table(), table().filter(regex="^fold[0-9]").sort_index(axis=1)
    truth = pd.read_csv("data/train.csv", dtype=str).set_index("id")["label"]
    right = []
    for fold in scores:
        best = scores.drop(columns=fold).mean(axis=1).idxmax()
        folder = trials()[table_["number"][best]].user_attrs["folder"]
        oof = pd.read_parquet(f"runs/toy/base~tune/{folder}/{fold}/oof.parquet").drop(columns="view")
        right += list(oof.idxmax(axis=1) == truth[oof.index])
    result = json.loads(Path("runs/toy/base~tune/tune.json").read_text())
    assert result["nested"] == pytest.approx(np.mean(right)) and result["other"] is None


def test_the_same_values_are_trained_once(toy: Callable[..., str]):
    run = toy(search={"params.min_samples_leaf": [1, 5]}, tune={"finalists": 0, "sampler": "random", "stop": "none"})
    assert tune(run, "--trials", "4") == 0  # there are no more than two
    ended = table()[table()["state"] == "complete"]
    assert len(ended) == 2 and len(fits()) == 2 * 3


@pytest.mark.slow
def test_the_winner_learns_from_the_labels_that_the_search_kept(toy: Callable[..., str]):
    """The parent has gone since; nothing that the trials have trained is trained again."""
    run = toy(tune={"finalists": 0})
    assert cli.main(["submission", run]) == 0
    write("configs/toy/child.yaml", {"extends": "base.yaml", "pseudo": run})
    assert tune("toy/child", "--trials", "1") == 0
    kept = {p.name: p.read_bytes() for p in Path("runs/toy/child~tune/pseudo").rglob("*.parquet")}
    taken = fits_of("toy/child-tuned")
    shutil.rmtree(f"runs/{run}")
    assert cli.main(["submission", "toy/child-tuned", "--set", "refit=beside"]) == 0
    assert len(taken) == 3 and fits_of("toy/child-tuned").items() >= taken.items() and not Path(f"runs/{run}").exists()
    assert {p.name: p.read_bytes() for p in Path("runs/toy/child-tuned/pseudo").rglob("*.parquet")} == kept


def fits_of(run: str) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in Path(f"runs/{run}").glob("fold*/fit.json")}


@pytest.mark.slow
def test_a_grid_is_tried_to_its_end(toy: Callable[..., str]):
    leaves, share = "params.min_samples_leaf", "params.max_features"
    run = toy(search={leaves: {"low": 1, "high": 3}, share: [0.5, "sqrt"]}, tune={"finalists": 0, "sampler": "grid"})
    assert tune(run) == 0
    assert sorted(zip(table()[leaves], table()[share])) == [(n, s) for n in (1, 2, 3) for s in ("0.5", "sqrt")]
    write("configs/toy/base.yaml", SMALL | {"search": SPACE, "tune": {"sampler": "grid"}})
    assert tune(run) == 2


def test_what_a_study_is_of_can_t_change(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy()
    assert tune(run, "--trials", "1") == 0
    before = fits()
    toy_space = {"params.min_samples_leaf": {"low": 2, "high": 20}, "params.max_features": SPACE["params.max_features"]}
    write("configs/toy/base.yaml", SMALL | {"search": toy_space, "tune": TUNE, "seed": 5})
    capsys.readouterr()
    assert tune(run, "--trials", "2") == 2
    told = said(capsys)
    assert told.count("HPO-MISMATCH") == 2 and "another search space" in told and "another settings" in told
    assert "'low': 1" in told and "'low': 2" in told and fits() == before


def test_a_file_made_by_hand_is_never_overwritten(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy()
    write("configs/toy/base-tuned.yaml", {"extends": "base.yaml", "bag": 3})
    assert tune(run, "--trials", "1") == 2
    assert "CFG-EXISTS" in said(capsys) and not Path("runs/toy").exists()


@pytest.mark.slow
def test_no_database(toy: Callable[..., str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    run = toy()
    Path("runs/toy/base~tune").mkdir(parents=True)
    Path("runs/toy/base~tune/study.db").write_text("no database " * 100)
    assert tune(run, "--trials", "1") == 4
    assert "HPO-STORE" in said(capsys)
    monkeypatch.setenv("PODIUM_DB", "nosuch://me:s3cret@host/db")
    write("configs/toy/base.yaml", SMALL | {"search": SPACE, "tune": {"storage": "env:PODIUM_DB"}})
    assert tune(run, "--trials", "1") == 4
    told = said(capsys)
    assert "HPO-STORE" in told and "nosuch://***@host/db" in told and "s3cret" not in told


def test_values_that_no_model_takes(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy(search={"params.max_features": [-3.0, -4.0, -5.0]})
    assert tune(run, "--trials", "3") == 4
    told = said(capsys)
    assert "HPO-NONE" in told and "3 trials ended early" in told and "TAB-MODEL" in told
    assert len(study.distinct(trials())) == 3 and {t.state for t in trials()} <= {TrialState.PRUNED, TrialState.FAIL}


def test_time_is_up(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy()
    assert tune(run, "--time", "0.001s") == 75
    assert "before one trial was whole" in said(capsys)
    assert tune(run, "--time", "10m", "--trials", "2") == 0
    assert len(table()) == 2


@pytest.mark.slow
def test_epochs_are_halved_on_the_first_fold(competition: Callable[..., str]):
    search = "search={lr: {low: 1e-6, high: 1e-2, log: true}} tune={finalists: 0, stop: none, sampler: random}"
    run = competition(run=f"jobs=1 views=[plain] {search}")
    assert tune(run, "--trials", "5") == 0
    cut = [t for t in trials() if t.state is TrialState.PRUNED]
    assert cut and all(t.user_attrs["reason"].startswith("a third") for t in cut)
    for t in trials():
        steps = [step for step in t.intermediate_values if step < 100]
        assert steps == ([34, 67] if t.state is TrialState.COMPLETE else [34])
    for t in cut:
        assert not list(Path(f"runs/toy/base~tune/{t.user_attrs['folder']}").glob("fold*/*.ckpt"))
        assert not t.user_attrs.get("folds")


SCRIPT = """
import sys
from competition.tuning import store, study
store.HEARTBEAT, store.GRACE, study.POLL = 1, 8, 0.2
from competition import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def started(run: str, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, "tune", run, *arguments], env=environment)


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_what_is_killed_or_stopped_is_gone_on_with(toy: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    forest = {"n_estimators": 60, "min_samples_leaf": 4}
    run = toy(params=forest, tune={"finalists": 0, "stop": "none", "sampler": "random"})
    one, two = started(run, "--trials", "6"), started(run, "--trials", "6")
    until(lambda: len(fits()) >= 2)  # both are at their first trials
    one.send_signal(signal.SIGKILL)
    one.wait(60)
    have = fits()
    until(lambda: len(fits()) > len(have))
    two.send_signal(signal.SIGTERM)
    assert two.wait(120) == 75
    quick(monkeypatch)
    assert tune(run, "--trials", "6") == 0
    ended = [t for t in trials() if t.state is TrialState.COMPLETE]
    assert len(ended) == 6 and len({t.user_attrs["folder"] for t in ended}) == 6
    assert not [t for t in trials() if t.state is TrialState.RUNNING]
    assert have.items() <= fits().items() and len(fits()) == 6 * 3  # no fold was fitted twice
    failed = {t.number for t in trials() if t.state is TrialState.FAIL}
    repeated = {number for t in ended for number in t.system_attrs.get("retry_history", [])}
    assert failed and failed == repeated
    assert runs.recorded("toy/base~tune") is None


@pytest.mark.parametrize("model", [name for name, tried in SPACES.items() if tried and name != "knn"])
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_a_search_begins_at_our_defaults_where_the_run_sets_nothing(kind: Kind, model: str):
    run = config.make_run("toy/base", {"task": "tabular", "model": model, "params": {}})
    tried = space.of(run, kind)
    own = space.encoded(tried, space.values_of(run, tried, kind))
    assert set(own) == set(tried), "every key has a value within its range"


def test_a_trial_cut_short_is_taken_before_what_was_queued_after_it(toy: Callable[..., str]):
    run = toy(search={"params.min_samples_leaf": [1, 2, 4, 8]}, tune=TUNE | {"sampler": "grid", "stop": "none"})
    assert tune(run, "--trials", "1") == 0
    at = joined(run)
    taken = at.ask()
    study.give_back(at, at.get_trials()[taken.number])
    at.tell(taken.number, state=TrialState.FAIL)
    assert draws.origin(at.get_trials()[at.ask().number]) == taken.number
    assert at.ask().number == taken.number + 1


def test_what_a_trial_is_worth_on_a_rung():
    assert rules.promising(0.5, []) and rules.promising(0.5, [0.6]), "two tell nothing"
    assert rules.promising(0.5, [0.5, 0.4]) and not rules.promising(0.5, [0.6, 0.4])
    assert rules.promising(0.5, [0.6, 0.1, 0.2, 0.3, 0.4]) and not rules.promising(0.5, [0.6, 0.7, 0.1, 0.2, 0.3])


def joined(run: str, kind: str = "random") -> optuna.Study:
    return study.join(run, f"sqlite:///{Path('runs').absolute()}/{run}~tune/study.db", kind, 0)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name, value in ((store, "HEARTBEAT", 1), (store, "GRACE", 8), (study, "POLL", 0.2)):
        monkeypatch.setattr(where, name, value)


@pytest.mark.slow
def test_a_process_killed_before_its_first_sign_of_life(toy: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    run = toy(tune=TUNE | {"stop": "none"})
    assert tune(run, "--trials", "1") == 0
    quick(monkeypatch)
    lost = joined(run).ask().number  # and nothing more
    assert tune(run, "--trials", "2", "--time", "5m") == 0
    assert trials()[lost].state is TrialState.FAIL
    assert [t.system_attrs.get("retry_history") for t in trials() if t.state is TrialState.COMPLETE] == [None, [lost]]


def given_up(monkeypatch: pytest.MonkeyPatch, at: optuna.Study, advance: bool) -> int:
    """How many deaths in a row a trial lives through, 5 at most; advance: each a fold further."""
    for n in range(5):
        taken = at.ask()
        if n == 0:
            taken.set_user_attr("folder", "f")
        elif not taken.user_attrs:
            return n
        if advance:
            taken.set_user_attr("folds", {f"fold{k}": 0.5 for k in range(n + 1)})
        study._died(at, at.get_trials()[taken.number])
        at.tell(taken.number, state=TrialState.FAIL)
    return 5


@pytest.mark.parametrize(("advance", "deaths"), [(False, 3), (True, 5)])
def test_a_trial_that_kills_is_given_up_unless_it_advances(monkeypatch: pytest.MonkeyPatch, advance: bool, deaths: int):
    at = optuna.create_study()
    assert given_up(monkeypatch, at, advance) == deaths
    pruned = [t for t in at.get_trials() if t.state is TrialState.PRUNED]
    assert [t.user_attrs["reason"][:8] for t in pruned] == ["given up"] * (not advance)


def test_the_same_fault_again_and_again_ends_a_search(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy(search={"params.max_features": {"low": -4, "high": -3}})
    assert tune(run, "--time", "10m") == 4
    assert "HPO-NONE" in said(capsys) and len(trials()) == study.FAULTS


def test_a_finite_space_ends(toy: Callable[..., str]):
    run = toy(search={"params.min_samples_leaf": [1, 5]}, tune=TUNE | {"stop": "none"})
    assert tune(run, "--time", "10m") == 0
    assert sorted(t.state for t in trials() if t.state is not TrialState.FAIL) == [TrialState.COMPLETE] * 2


def test_values_that_come_again_end_a_search(toy: Callable[..., str], capsys: pytest.CaptureFixture, monkeypatch: Any):
    monkeypatch.setattr(study, "REPEATS", 4)
    monkeypatch.setattr(space, "size", lambda tried: None)  # as if there were no end
    run = toy(search={"params.min_samples_leaf": [3, 5]}, tune=TUNE | {"stop": "none", "sampler": "random"})
    assert tune(run, "--trials", "9") == 0
    told = said(capsys)
    assert "nothing new is drawn" in told and "has the values of trial 0, and is not counted" in told
    assert len(fits()) == 2 * 3


def test_a_fault_in_predicting_met_twice(toy: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    from competition.errors import Fault
    from competition.tuning import trial

    run = toy(tune=TUNE | {"stop": "none"})
    assert tune(run, "--trials", "1") == 0
    folder = Path(f"runs/toy/base~tune/{trials()[0].user_attrs['folder']}")
    for fold in folder.glob("fold*"):
        (fold / "oof.parquet").unlink()
        for model in fold.glob("model*"):
            model.unlink()
    one = config.load_run(run).model_copy(update={"name": f"{run}~tune/{folder.name}"})
    split = runs.look(config.load_run(run)).splits[0]
    try:
        shown = trial.fold_score(one, split, "plain", "label")
    except Fault as fault:
        pytest.fail(str(fault))
    assert np.isfinite(shown) and trial.whole(folder / split.name)


def test_a_folder_that_another_machine_has(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    import shutil

    run = toy(tune=TUNE | {"stop": "none"})
    assert tune(run, "--trials", "1") == 0
    shutil.rmtree(f"runs/toy/base~tune/{trials()[0].user_attrs['folder']}")
    assert tune(run, "--trials", "2") == 4
    told = said(capsys)
    assert "HPO-STORE" in told and "1 of 2" in told and "share the folder runs/" in told


def test_a_gaussian_process_sees_whole_trials_only(toy: Callable[..., str]):
    run = config.load_run(toy(tune={"sampler": "gp"}))
    assert run.tune.stop == "none" and not run.tune.halving
    write("configs/toy/base.yaml", SMALL | {"tune": {"sampler": "gp", "stop": "paired"}})
    with pytest.raises(ConfigFault, match="learns nothing from stopped trials"):
        config.load_run("toy/base")


def test_a_password_stays_out_of_the_file(monkeypatch: pytest.MonkeyPatch):
    assert (
        store.shown("postgresql://host/db?user=me&password=s3cret&a=b")
        == "postgresql://host/db?user=me&password=***&a=b"
    )
    monkeypatch.setenv("PODIUM_DB", "postgresql://me:s3cret@host/db")
    assert (
        store.address("env:PODIUM_DB") == "postgresql://me:s3cret@host/db"
        and store.address("sqlite:///a") == "sqlite:///a"
    )
    monkeypatch.delenv("PODIUM_DB")
    with pytest.raises(ConfigFault, match="PODIUM_DB"):
        store.address("env:PODIUM_DB")


def test_the_runs_own_values_are_not_rounded(toy: Callable[..., str]):
    run = toy(params=SMALL["params"] | {"max_features": 0.123456789 + 0.2}, tune=TUNE)
    assert tune(run, "--trials", "2") == 0
    first, second = (t.user_attrs["values"]["params.max_features"] for t in trials())
    assert first == 0.323456789 and second == float(f"{second:.4g}")


@pytest.mark.slow
def test_an_earlier_winner_stays(toy: Callable[..., str], capsys: pytest.CaptureFixture):
    run = toy(tune=TUNE | {"stop": "none", "sampler": "random"})
    assert tune(run, "--trials", "3") == 0
    path = Path("configs/toy/base-tuned.yaml")
    if not path.exists():
        pytest.fail("the toy's first winner must not be the run's own values")
    record = Path("runs/toy/base-tuned/run.json")
    values = artifacts.read_json(record)
    values["config"]["params"]["min_samples_leaf"] = 19  # as of another search
    artifacts.write_json(record, values)
    before = path.read_text()
    assert tune(run, "--trials", "3") == 0
    assert "holds an earlier winner" in said(capsys) and path.read_text() == before
    assert config.load_run("toy/base-tuned2") and len(list(Path("runs/toy/base-tuned2").glob("fold*/fit.json"))) == 3


@pytest.mark.slow
def test_a_first_fold_of_one_class_halves_nothing(competition: Callable[..., str]):
    import random

    def first(seed: int) -> int:
        order = [0, 1, 2]
        random.Random(seed).shuffle(order)
        return order[0]

    seed = next(s for s in range(50) if first(s) == 0)
    search = "search={lr: {low: 1e-4, high: 1e-2, log: true}} tune={finalists: 0, stop: none, sampler: random}"
    run = competition(kind="binary", folds={"n": 3}, run=f"jobs=1 views=[plain] epochs=3 seed={seed} {search}")
    rows = pd.read_csv("data/train.csv", dtype=str)
    alone = rows.index[rows["label"] == "no"][:12]
    fold = pd.Series([0 if i in alone else 1 + i % 2 for i in rows.index])
    write_folds = pd.DataFrame({"id": rows["id"], "fold": fold})
    Path("folds").mkdir(exist_ok=True)
    write_folds.to_csv("folds/toy.csv", index=False)
    assert tune(run, "--trials", "3") == 0
    begun = [t for t in trials() if t.user_attrs.get("rung") is not None]
    assert begun and all("fold0" in t.user_attrs["folds"] for t in begun)  # the rung lies on the second fold
    assert any(t.state is TrialState.COMPLETE for t in trials())


@pytest.mark.slow
def test_three_commands_of_which_one_is_killed(toy: Callable[..., str]):
    run = toy(params={"n_estimators": 60, "min_samples_leaf": 4}, tune=TUNE | {"stop": "none", "sampler": "random"})
    three = [started(run, "--trials", "6") for _ in range(3)]
    until(lambda: len(fits()) >= 2)
    three[0].send_signal(signal.SIGKILL)
    assert three[0].wait(60) == -signal.SIGKILL
    assert [one.wait(240) for one in three[1:]] == [0, 0]  # they end together, and none is refused
    ended = [t for t in trials() if t.state is TrialState.COMPLETE]
    assert len({t.user_attrs["folder"] for t in ended}) == 6 and len(fits()) == 6 * 3
    assert not [t for t in trials() if t.state in (TrialState.RUNNING, TrialState.WAITING)]
