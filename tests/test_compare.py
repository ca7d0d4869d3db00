"""Is B better than A: the tests against references and simulations, both runs' scores to the last bit, and faults."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import KINDS, TEST, TRAIN
from scipy.stats import ttest_rel
from test_boxes_scores import BOX_METRICS, CLASSES, draw, metric_of

from competition import artifacts, cli, compare, data, significance
from competition.boxes.matching import Matches
from competition.boxes.table import EDGES
from competition.keys import MetricSpec
from competition.metrics import get
from competition.significance import OverRows, OverSeeds, copies, over_folds, over_rows, score_of, verdict
from competition.task import Problem

METRICS = {  # of decisions with cuts, of ranks, of losses, of distances
    "multiclass": "balanced_accuracy",
    "binary": "f1",
    "multilabel": "f1_macro",
    "ordinal": "qwk",
    "regression": "rmse",
    "boxes": {"name": "mean_precision", "ious": [0.5]},
}


def silent(done: int, total: int, text: str) -> None:
    pass


def podium(*words: str) -> int:
    data.load.cache_clear()
    return cli.main(list(words))


@pytest.fixture
def pair(competition: Callable[..., str]) -> Callable[..., dict[str, float]]:
    """Imports two runs of a toy competition, predictions that know the truth a little and a little more."""

    def make(kind: str = "multiclass", noise: tuple[float, ...] = (1.5, 0.8), **keys: object) -> None:
        competition(kind, **({"folds": {"n": 5}, "metric": METRICS[kind]} | keys))
        assert podium("folds", "toy") == 0
        for name, much in zip("ab", noise):
            oof = guess(kind, much, ord(name))
            oof.to_csv("oof.csv")
            test = oof.iloc[:TEST].set_axis(pd.Index([f"{n:03d}" for n in range(TRAIN, TRAIN + TEST)], name="id"))
            test.drop(columns="fold").to_csv("test.csv")
            assert podium("import", "oof.csv,test.csv", f"toy/{name}") == 0

    return make


def guess(kind: str, noise: float, seed: int) -> pd.DataFrame:
    """A prediction of every training row, with the column fold."""
    truth, rng = data.load("toy").train.truth, np.random.default_rng(seed)
    assert truth is not None
    fold = pd.read_csv("folds/toy.csv", dtype={"id": str}).set_index("id")["fold"]
    if kind == "boxes":
        moved = truth[[*EDGES]] + rng.normal(0, 2 * noise, (len(truth), 4)).clip(-4, 4)
        return moved.assign(label=truth["label"], score=rng.uniform(0.1, 1, len(truth)), fold=fold)
    values = truth.to_numpy() + rng.normal(0, noise * truth.to_numpy().std(), truth.shape)
    if kind in ("multiclass", "ordinal"):
        values = np.exp(2 * values) / np.exp(2 * values).sum(axis=1, keepdims=True)
    elif kind != "regression":
        values = 1 / (1 + np.exp(3 - 4 * values))
    return pd.DataFrame(values, truth.index, truth.columns).assign(fold=fold)


def score_of_run(name: str) -> dict:
    return artifacts.read_json(Path(f"runs/toy/{name}/score.json"))


# The tests ------------------------------------------------------------------------------------------------------------


def test_the_test_over_folds_is_the_paired_t_test_with_a_larger_variance():
    rng = np.random.default_rng(0)
    a, b = pd.Series(rng.normal(size=5)), pd.Series(rng.normal(0.3, size=5))
    plain = over_folds(a, b, 0.0)
    assert plain and plain.p == pytest.approx(ttest_rel(b, a).pvalue)
    corrected, d = over_folds(a, b, 0.25), b - a
    assert corrected and corrected.error == pytest.approx(np.sqrt(d.var(ddof=1) * (1 / 5 + 1 / 4)))
    assert corrected.mean == plain.mean == pytest.approx(d.mean()) and corrected.p > plain.p
    assert corrected.won == (b > a).sum()


def test_a_fold_without_a_score_is_left_out_and_one_fold_tells_nothing():
    a, b = pd.Series([0.1, 0.4, np.nan, 0.2]), pd.Series([0.2, np.inf, 0.3, 0.5])
    left = over_folds(a, b, 0.25)
    known = over_folds(a[[0, 3]], b[[0, 3]], 0.25)
    assert left and known and (left.mean, left.p, left.count, left.won) == (known.mean, known.p, 2, 2)
    assert over_folds(a[:2], b[:2], 0.25) is None
    same = over_folds(a, a, 0.25)
    assert same and (same.p, same.says, same.error) == (1.0, 0, 0.0)


def simulated(gain: float, draws: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Verdicts, and what the uncorrected t-test says, of two least-squares models of other columns, folds and all.

    Both columns are worth the same, but for `gain`: 0.0 is the null hypothesis, with folds that share training rows.
    """
    monkeypatch.setattr(significance, "DRAWS", 200)
    said, rows, fold = [], 60, np.arange(60) % 5
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows, 2))
        y = x[:, 0] + (1 + gain) * x[:, 1] + rng.normal(0, 0.5, rows)
        loss = np.empty((rows, 2))
        for k in range(5):
            for j in (0, 1):
                slope = x[fold != k, j] @ y[fold != k] / (x[fold != k, j] @ x[fold != k, j])
                loss[fold == k, j] = (y[fold == k] - slope * x[fold == k, j]) ** 2
        folds = -pd.DataFrame(loss).groupby(fold).mean()
        a, b = (lambda times, j=j: -(times @ loss[:, j]) / times.sum() for j in (0, 1))
        tests = over_folds(folds[0], folds[1], 0.25), over_rows(a, b, np.arange(rows), silent)
        said.append(
            (verdict(-loss[:, 1].mean() + loss[:, 0].mean(), *tests), ttest_rel(*folds.to_numpy().T).pvalue < 0.05)
        )
    return said


def test_of_equal_runs_hardly_any_is_called_better_and_of_a_much_better_one_nearly_all(monkeypatch):
    equal = simulated(0.0, 200, monkeypatch)
    assert np.mean([verdict != 0 for verdict, _ in equal]) <= 0.05 < np.mean([plain for _, plain in equal]) + 0.05
    better = [verdict for verdict, _ in simulated(3.0, 50, monkeypatch)]
    assert np.mean(better) >= 0.9 and -1 not in better


def test_the_bootstrap_knows_the_error_of_a_mean_and_takes_groups_whole():
    rng = np.random.default_rng(0)
    gain = rng.normal(0.1, 1, 400)
    wide = np.repeat(gain, 4)  # four copies of each row know no more than one
    alone = over_rows(lambda times: 0.0, lambda times: times @ gain / times.sum(), np.arange(400), silent)
    rows = over_rows(lambda times: 0.0, lambda times: times @ wide / times.sum(), np.arange(1600), silent)
    groups = over_rows(
        lambda times: 0.0, lambda times: times @ wide / times.sum(), np.repeat(np.arange(400), 4), silent
    )
    assert alone and rows and groups and len(alone.draws) == 2000
    assert alone.error == pytest.approx(gain.std() / 20, rel=0.06)
    assert groups.error == pytest.approx(alone.error, rel=1e-9) and rows.error == pytest.approx(
        alone.error / 2, rel=0.1
    )
    low, high = alone.interval
    assert low < gain.mean() < high and high - low == pytest.approx(3.92 * alone.error, rel=0.06)


def test_resamples_without_a_score_are_left_out_and_counted():
    def score(times: np.ndarray) -> float:
        return float("nan") if times[0] == 0 else 1.0

    some = over_rows(lambda times: 0.0, score, np.arange(20), silent)
    assert some and len(some.draws) + some.undefined == 2000 and 0.25 < some.undefined / 2000 < 0.45
    assert over_rows(score, lambda times: float("nan"), np.arange(20), silent) is None


def test_a_slow_metric_has_fewer_resamples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(significance, "SECONDS", 0.0)
    few = over_rows(lambda times: 0.0, lambda times: times[0] / times.sum(), np.arange(20), silent)
    assert few and len(few.draws) == significance.LEAST


def test_better_is_said_only_where_all_tests_say_so():
    sure = OverRows(np.linspace(0.01, 0.02, 200), 0)
    open_ = OverRows(np.linspace(-0.01, 0.02, 200), 0)
    folds = over_folds(pd.Series([0.0, 0, 0, 0, 0]), pd.Series([0.014, 0.015, 0.016, 0.015, 0.015]), 0.25)
    assert verdict(0.015, folds, sure) == 1 and verdict(0.015, folds, sure, OverSeeds(0.015, 0.004)) == 1
    assert verdict(0.015, folds, sure, OverSeeds(0.015, 0.01)) == 0
    assert verdict(0.015, folds, open_) == verdict(0.015, None, sure) == verdict(-0.015, folds, sure) == 0


# Scores of resampled rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_comes_twice_counts_twice(kind: str, pair):
    pair(kind)
    loaded = data.load("toy")
    truth, said = loaded.train.truth, guess(kind, 1.0, 3).drop(columns="fold")
    score, metric = score_of(loaded.problem, truth, said, truth.index), loaded.problem.metric
    assert score(np.ones(TRAIN, int)) == metric.score(truth, said)
    times = np.random.default_rng(0).integers(0, 3, TRAIN)
    rows = np.repeat(np.arange(TRAIN), times)
    again = [table.iloc[rows].reset_index(drop=True) for table in (truth, said)]
    assert score(times) == metric.score(*again)


def arrays(matches: Matches) -> list:
    return [matches.hit, matches.ignored, matches.score, matches.label, matches.picture, matches.true_picture]


@pytest.mark.parametrize("name", BOX_METRICS)
def test_a_picture_that_comes_twice_counts_twice(name: str):
    truth, said = draw(4)
    ids = pd.Index([f"p{i:03}" for i in range(14)])  # two of them have no box
    times = np.random.default_rng(1).integers(0, 4, len(ids))
    metric = metric_of(name)
    problem = Problem("toy", "boxes", ("label",), CLASSES, tuple(said), metric)
    score = score_of(problem, truth, said, ids)
    assert score(np.ones(len(ids), int)) == metric.score(truth, said)
    assert score(times) == pytest.approx(metric.score(copies(truth, ids, times), copies(said, ids, times)), rel=1e-12)
    drawn = metric.match(truth, said)
    drawn = drawn.drawn(times[ids.get_indexer(drawn.pictures)])
    again = metric.match(copies(truth, ids, times), copies(said, ids, times))
    assert len(drawn.pictures) == len(again.pictures)
    for one, other in zip(arrays(drawn), arrays(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_metric_of_ones_own_gets_tables_of_boxes(workspace: Path):
    Path("own.py").write_text(
        "def share(truth, prediction):\n    return len(prediction) / len(truth)\nshare.needs = 'boxes'\n"
    )
    truth, said = draw(4)
    metric = get(MetricSpec(name="own.py:share"), "boxes", CLASSES, workspace)
    ids = truth.index.union(said.index).unique()
    score = score_of(Problem("toy", "boxes", ("label",), CLASSES, tuple(said), metric), truth, said, ids)
    assert score(np.full(len(ids), 3)) == metric.score(truth, said)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "boxes"])
def test_what_is_compared_is_the_score(kind: str, pair, monkeypatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(significance, "DRAWS", 300)
    pair(kind)
    capsys.readouterr()
    assert podium("compare", "--a", "toy/a", "--b", "toy/b", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    a, b = score_of_run("a"), score_of_run("b")
    assert told["scores"] == {"toy/a": a["score"], "toy/b": b["score"]}
    sign = 1 if a["greater_is_better"] else -1
    assert told["difference"] == sign * (b["score"] - a["score"])
    assert told["folds"]["differences"] == {k: sign * b["folds"][k] - sign * a["folds"][k] for k in a["folds"]}
    assert told["notes"] and told["seeds"] is None and told["noise_floor"] is None
    assert (
        Path(told["picture"]) == Path("runs/toy/a/compare-b.png") and Path(told["picture"]).read_bytes()[1:4] == b"PNG"
    )

    data.load.cache_clear()
    there, back = compare.compare("toy/a", "toy/b"), compare.compare("toy/b", "toy/a")
    for side, written in ((there.a, a), (there.b, b)):  # the cuts of each fold, to the last bit
        truth = data.load("toy").train.truth
        metric = data.load("toy").problem.metric
        some = side.prediction.index if kind != "boxes" else truth.index
        assert metric.shown(metric.score(truth.loc[some], side.prediction)) == written["score"]
    assert back.difference == -there.difference and back.says == -there.says
    assert back.folds.p == there.folds.p and back.rows.error == pytest.approx(there.rows.error)


def test_cuts_are_of_the_comparison(pair):
    pair("binary", noise=(0.9, 0.5), metric="f1")
    assert any(score_of_run(run)["uncut"] is not None for run in "ab")


def test_groups_are_resampled_whole(pair, monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 300)
    pair("regression", columns=True, folds={"n": 3, "group": "colour"})
    found = compare.compare("toy/a", "toy/b")
    assert found.units == "3 groups of 'colour'"
    assert len(np.unique(found.rows.draws.round(12))) <= 10  # 3 groups can be drawn in 10 ways


def test_the_verdict_stands_first_and_last(pair, monkeypatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(significance, "DRAWS", 300)
    pair("regression", noise=(1.5, 0.1))
    capsys.readouterr()
    assert podium("compare", "--a", "toy/a", "--b", "toy/b") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "resamples" not in line]
    assert said[0] == said[-1] and said[0].startswith("toy/b is better than toy/a by ")
    assert said[0].endswith(" (rmse), beyond the noise") and 'SET="seeds=3"' in " ".join(said)
    assert podium("compare", "--a", "toy/b", "--b", "toy/a") == 0
    assert said[0] in capsys.readouterr().out


def test_the_noise_of_seeds(pair, monkeypatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(significance, "DRAWS", 300)
    pair("regression", noise=(1.5, 0.1))
    assert compare.noise_floor("toy") is None
    better = compare.compare("toy/a", "toy/b")
    assert better.says == 1 and better.seeds is None
    seeds = {"a": [50.0, 54.0, 52.0], "b": [30.0, 40.0]}
    for run, scores in seeds.items():
        path = Path(f"runs/toy/{run}/score.json")
        artifacts.write_json(path, artifacts.read_json(path) | {"seeds": {str(i): s for i, s in enumerate(scores)}})
    pooled = np.sqrt((2 * np.var(seeds["a"], ddof=1) + np.var(seeds["b"], ddof=1)) / 3)
    floor = compare.noise_floor("toy")
    assert floor == (pytest.approx(pooled), 2)
    found = compare.compare("toy/a", "toy/b")
    assert found.seeds.error == pytest.approx(pooled * np.sqrt(1 / 3 + 1 / 2))
    assert found.says == int(found.difference > 2 * found.seeds.error)
    assert podium("compare", "--a", "toy/a", "--b", "toy/b") == 0
    said = capsys.readouterr().out
    assert "noise floor: ± 4.4 (standard deviation between seeds, 2 runs)" in said


def test_two_folds_and_a_fold_without_a_score_are_told(pair, monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 300)
    pair("binary", metric="auc")
    fold = pd.read_csv("folds/toy.csv", dtype={"id": str})
    truth = data.load("toy").train.truth.iloc[:, 0].loc[fold["id"]].to_numpy()
    fold["fold"] = np.where(truth == 0, np.arange(len(fold)) % 3, np.arange(len(fold)) % 2)  # fold 2 has no `yes`
    fold.to_csv("folds/toy.csv", index=False)
    data.load.cache_clear()
    for name in "cd":
        guess("binary", 1.0, ord(name)).to_csv("oof.csv")
        assert podium("import", "oof.csv,test.csv", f"toy/{name}") == 0
    notes = " ".join(compare.notes(compare.compare("toy/c", "toy/d")))
    assert "undefined on fold2" in notes and "2 folds are few" in notes


FAULTS: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "itself": ("toy/a", "toy/a", 2, ("CFG-VALUE", "with itself")),
    "of another competition": ("toy/a", "other/a", 2, ("CFG-VALUE", "toy and other")),
    "unknown": ("toy/a", "toy/bb", 2, ("CFG-MISSING", "did you mean", "'toy/b'")),
    "both unknown": ("toy/x", "toy/y", 2, ("'toy/a'", "toy/x", "toy/y")),
    "without a name": ("toy", "toy/b", 2, ("CFG-VALUE", "<competition>/<run>")),
    "not trained": ("toy/a", "toy/base", 2, ("RUN-PARTIAL", "make submission RUN=toy/base")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_names(name: str, pair, capsys: pytest.CaptureFixture):
    a, b, code, told = FAULTS[name]
    pair("regression")
    assert podium("compare", "--a", a, "--b", b) == code
    said = capsys.readouterr().err
    assert all(text in said for text in told) and "Traceback" not in said


def test_runs_that_can_not_be_compared(pair, capsys: pytest.CaptureFixture):
    def refused(code: int, *told: str) -> None:
        assert podium("compare", "--a", "toy/a", "--b", "toy/b") == code
        said = capsys.readouterr().err
        assert all(text in said for text in told), said

    pair("regression")
    yaml, written = Path("configs/toy/competition.yaml"), Path("runs/toy/b/score.json").read_text()
    Path("runs/toy/b/score.json").unlink()
    refused(2, "RUN-PARTIAL", "make predict RUN=toy/b")
    Path("runs/toy/b/score.json").write_text(written)
    before = yaml.read_text()
    yaml.write_text(before.replace("rmse", "mae"))
    refused(2, "RUN-STALE", "make predict RUN=toy/a", "rmse")
    yaml.write_text(before)
    oof = artifacts.read_table(Path("runs/toy/b/oof.parquet"))
    artifacts.write_table(Path("runs/toy/b/oof.parquet"), oof[3:])
    refused(3, "OOF-COVER", "3 missing")
    artifacts.write_table(Path("runs/toy/b/oof.parquet"), oof * 1.01)
    refused(2, "RUN-STALE", "runs/toy/b")
    table = pd.read_csv("folds/toy.csv", dtype=str)
    table.assign(fold=table["fold"].to_numpy()[::-1]).to_csv("folds/toy.csv", index=False)
    refused(3, "RUN-FOLDS", "toy/a", "toy/b")
    table.to_csv("folds/toy.csv", index=False)
    rows = pd.read_csv("data/train.csv", dtype=str)
    rows.assign(label=rows["label"].to_numpy()[::-1]).to_csv("data/train.csv", index=False)
    refused(3, "RUN-DATA", "toy/a", "toy/b")


def test_it_starts_without_torch(pair):
    pair("regression")
    words = ["compare", "--a", "toy/a", "--b", "toy/b"]
    code = f"import sys; from competition import cli; cli.main({words}); sys.exit('torch' in sys.modules)"
    root = str(Path(__file__).parent.parent)
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, timeout=60).returncode == 0


def test_figures_have_the_digits_of_their_error():
    assert compare.digits(0.01234, 0.0040) == "0.0123" and compare.digits(1234.5, 321.0) == "1234"
    assert compare.digits(0.00001234, 0.0000031) == "0.0000123" and compare.digits(0.5, 0.0) == "0.5000"
