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
from conftest import KINDS, TEST, TRAIN, cells
from scipy.stats import ttest_rel
from test_boxes_scores import BOX_METRICS, CLASSES, draw, metric_of

from competition import artifacts, cli, compare, data, folds, significance
from competition.boxes import sheet
from competition.boxes.matching import Matches
from competition.boxes.table import EDGES
from competition.keys import MetricSpec
from competition.metrics import get
from competition.significance import OverRows, OverSeeds, copies, over_folds, over_rows, score_of, verdict
from competition.task import Problem, pick

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
def pair(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Imports two runs of a toy competition, predictions that know the truth a little and a little more."""
    monkeypatch.setattr(significance, "DRAWS", 120)
    monkeypatch.setattr(sheet, "TILES", 1)  # each drawn as slowly as a whole chart

    def make(
        kind: str = "regression", noise: tuple[float, ...] = (1.5, 0.8), fold: object = None, **keys: object
    ) -> None:
        competition(kind, **({"folds": {"n": 5}, "metric": METRICS[kind]} | keys))
        Path("folds").mkdir()
        fold = np.arange(TRAIN) // 3 % (3 if kind == "boxes" else 5) if fold is None else fold
        pd.DataFrame({"id": [f"{n:03d}" for n in range(TRAIN)], "fold": fold}).to_csv("folds/toy.csv", index=False)
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
        boxes = moved.assign(label=truth["label"], score=rng.uniform(0.3, 1, len(truth)), fold=fold)
        return pd.concat([boxes, boxes[::2].assign(x_min=0.0, y_min=0.0, x_max=5.0, y_max=5.0, score=0.2)])
    values = truth.to_numpy() + rng.normal(0, noise * truth.to_numpy().std(), truth.shape)
    if kind in ("multiclass", "ordinal"):
        values = np.exp(2 * values) / np.exp(2 * values).sum(axis=1, keepdims=True)
    elif kind != "regression":
        values = 1 / (1 + np.exp(3 - 4 * values))
    return pd.DataFrame(values, truth.index, truth.columns).assign(fold=fold)


def floor() -> tuple[float, int] | None:
    there = data.load("toy")
    return compare.noise_floor(there, folds.load(there))


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


def test_a_fold_without_a_score_is_left_out_and_two_folds_tell_nothing():
    a, b = pd.Series([0.1, 0.4, np.nan, 0.2, 0.3]), pd.Series([0.2, np.inf, 0.3, 0.5, 0.2])
    left = over_folds(a, b, 0.25)
    known = over_folds(a[[0, 3, 4]], b[[0, 3, 4]], 0.25)
    assert left and known and (left.mean, left.p, left.count, left.won) == (known.mean, known.p, 3, 2)
    assert over_folds(a[:4], b[:4], 0.25) is None
    same = over_folds(a, a, 0.25)
    assert same and (same.p, same.says, same.error) == (1.0, 0, 0.0)
    zero = pd.Series([0.0, 0.0, 0.0])  # two folds may gain the same by chance, and would be sure of it
    assert over_folds(zero[:2], zero[:2] + 0.25, 0.25) is None
    even = over_folds(zero, zero + 0.25, 0.25)
    assert even and (even.p, even.says) == (0.0, 1)


def simulated(gain: float, rows: int, draws: int) -> list[tuple[int, bool]]:
    """Verdicts, and whether the bootstrap alone calls one better, of least-squares models of one column each.

    Both columns are worth the same, but for `gain`: 0.0 is the null hypothesis, with folds that share training rows.
    """
    said, fold = [], np.arange(rows) % 5
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows, 2))
        y = x[:, 0] + (1 + gain) * x[:, 1] + rng.normal(0, 0.5, rows)
        loss = np.empty((rows, 2))
        for k in range(5):
            rest = fold != k
            slope = x[rest].T @ y[rest] / (x[rest] ** 2).sum(axis=0)
            loss[~rest] = (y[~rest, None] - slope * x[~rest]) ** 2
        a, b = (pd.Series([-loss[fold == k, j].mean() for k in range(5)]) for j in (0, 1))
        by_rows = over_rows(mean_loss(loss[:, 0]), mean_loss(loss[:, 1]), np.arange(rows), silent)
        assert by_rows
        said.append((verdict(b.mean() - a.mean(), over_folds(a, b, 0.25), by_rows), by_rows.says != 0))
    return said


def mean_loss(loss: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda times: -float(times @ loss / times.sum())


def test_of_equal_runs_hardly_any_is_called_better_and_of_a_much_better_one_nearly_all(monkeypatch):
    monkeypatch.setattr(significance, "DRAWS", 200)
    equal = simulated(0.0, 60, 200)
    assert np.mean([said != 0 for said, _ in equal]) <= 0.05 and 0.01 < np.mean([rows for _, rows in equal]) < 0.15
    better = [said for said, _ in simulated(3.0, 200, 40)]
    assert np.mean(better) >= 0.95


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


def pairs(matches: Matches) -> list[tuple[int, int]]:
    return sorted(zip(matches.true_picture.tolist(), matches.true_label.tolist(), strict=True))


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
    for part in ("hit", "ignored", "score", "label", "picture"):
        np.testing.assert_array_equal(getattr(drawn, part), getattr(again, part))
    assert pairs(drawn) == pairs(again)


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


@pytest.mark.parametrize(
    "kind", ["multiclass", "boxes", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "multiclass")]
)
def test_what_is_compared_is_the_score(kind: str, pair, capsys: pytest.CaptureFixture):
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

    there, back = compare.compare("toy/a", "toy/b"), compare.compare("toy/b", "toy/a")
    assert back.difference == -there.difference and back.says == -there.says
    assert back.folds.p == there.folds.p and back.rows.error == pytest.approx(there.rows.error)
    problem, truth = there.problem, data.load("toy").train.truth
    ids = data.load("toy").train.ids.sort_values()
    for side, written in ((there.a, a), (there.b, b)):  # with the cuts of each fold, to the last bit
        true = pick(truth, ids)
        score = score_of(problem, true, side.prediction, ids)
        assert problem.metric.shown(score(np.ones(TRAIN, int))) == written["score"]
        times = np.random.default_rng(0).integers(0, 3, TRAIN)  # a row that comes twice counts twice
        rows = np.repeat(np.arange(TRAIN), times)
        if kind == "boxes":
            again = [copies(table, ids, times) for table in (true, side.prediction)]
        else:
            again = [table.iloc[rows].reset_index(drop=True) for table in (true, side.prediction)]
        assert score(times) == problem.metric.score(*again)
    assert kind in ("multiclass", "regression") or any(any(run["adjustments_by_fold"].values()) for run in (a, b))


def test_groups_are_resampled_whole(pair):
    colour = pd.factorize(cells(np.arange(TRAIN + TEST) % 3)["colour"][:TRAIN])[0]
    pair(columns=True, fold=colour, folds={"n": 3, "group": "colour"})
    found = compare.compare("toy/a", "toy/b")
    assert found.units == "3 groups of 'colour'"
    assert len(np.unique(found.rows.draws.round(12))) <= 10  # 3 groups can be drawn in 10 ways


def test_verdict_first_and_the_noise_of_seeds(pair, capsys: pytest.CaptureFixture):
    pair(noise=(1.5, 0.1))
    capsys.readouterr()
    assert podium("compare", "--a", "toy/a", "--b", "toy/b") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "resamples" not in line]
    assert said[0].startswith("toy/b is better than toy/a by ") and said[-1].startswith("drew runs/toy/a/compare-b.png")
    assert said[0].endswith(" (rmse), beyond the noise") and 'SET="seeds=3"' in " ".join(said)
    assert compare.compare("toy/b", "toy/a").verdict == said[0]
    assert floor() is None

    seeds = {"a": [50.0, 54.0, 52.0], "b": [30.0, 40.0]}
    for run, scores in seeds.items():
        path = Path(f"runs/toy/{run}/score.json")
        artifacts.write_json(path, artifacts.read_json(path) | {"seeds": {str(i): s for i, s in enumerate(scores)}})
    pooled = np.sqrt((2 * np.var(seeds["a"], ddof=1) + np.var(seeds["b"], ddof=1)) / 3)
    assert floor() == (pytest.approx(pooled), 2)
    for key in ("data", "folds"):  # a run of other rows or folds has another noise
        made = artifacts.read_json(Path("runs/toy/b/run.json"))
        artifacts.write_json(Path("runs/toy/b/run.json"), made | {key: "another"})
        assert floor() == (pytest.approx(2.0), 1)
        artifacts.write_json(Path("runs/toy/b/run.json"), made)
    found = compare.compare("toy/a", "toy/b")
    assert found.seeds and found.seeds.error == pytest.approx(pooled * np.sqrt(1 / 3 + 1 / 2))
    assert found.says == 1 and found.difference > 2 * found.seeds.error
    path = Path("runs/toy/b/score.json")
    artifacts.write_json(path, artifacts.read_json(path) | {"seeds": {"0": 30.0, "1": 330.0}})
    assert podium("compare", "--a", "toy/a", "--b", "toy/b") == 0
    said = capsys.readouterr().out
    assert "noise floor: ± 122 (standard deviation between seeds, 2 runs)" in said
    assert any(line.startswith("within noise: ") for line in said.splitlines())


def test_few_folds_and_a_fold_without_a_score_are_told(pair):
    place = np.arange(TRAIN)
    pair("binary", metric="auc", fold=np.where(place % 3 == 2, place // 3 % 3, place // 3 % 4))  # fold 3 has no `yes`
    notes = " ".join(compare.notes(compare.compare("toy/a", "toy/b")))
    assert "undefined on fold3" in notes and "3 folds are few" in notes and "time was up" not in notes


FAULTS: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "itself": ("toy/a", "toy/a", 2, ("CFG-VALUE", "with itself")),
    "of another competition": ("toy/a", "other/a", 2, ("CFG-VALUE", "toy and other")),
    "unknown": ("toy/a", "toy/bb", 2, ("CFG-MISSING", "did you mean", "'toy/b'")),
    "both unknown": ("toy/x", "toy/y", 2, ("'toy/a'", "toy/x", "toy/y")),
    "without a name": ("toy", "toy/b", 2, ("CFG-VALUE", "<competition>/<run>")),
    "not trained": ("toy/a", "toy/base", 2, ("RUN-PARTIAL", "make submission RUN=toy/base")),
}


def test_wrong_names(pair, capsys: pytest.CaptureFixture):
    pair()
    for a, b, code, told in FAULTS.values():
        assert podium("compare", "--a", a, "--b", b) == code
        said = capsys.readouterr().err
        assert all(text in said for text in told) and "Traceback" not in said, said


def test_runs_that_can_not_be_compared(pair, capsys: pytest.CaptureFixture):
    def refused(code: int, *told: str) -> None:
        assert podium("compare", "--a", "toy/a", "--b", "toy/b") == code
        said = capsys.readouterr().err
        assert all(text in said for text in told), said

    pair()
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
    pair()
    code = """import sys
from competition import compare, significance
significance.DRAWS = 200
compare.tell("toy/a", "toy/b", True)
sys.exit(len({"torch", "optuna", "timm"} & set(sys.modules)))"""
    root = str(Path(__file__).parent.parent)
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, timeout=60).returncode == 0


def test_figures_have_the_digits_of_their_error():
    assert compare.digits(0.01234, 0.0040) == "0.0123" and compare.digits(1234.5, 321.0) == "1234"
    assert compare.digits(0.00001234, 0.0000031) == "0.0000123" and compare.digits(0.5, 0.0) == "0.5000"
