"""Calibrations and the shares of test: equal to SciPy and scikit-learn, honest on noise, and applied in the CSV."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression

from competition import adjustment, calibration, cli, cuts, decide, formulas, kinds, metrics, prior
from competition.data import load
from competition.keys import Kind, MetricSpec
from competition.task import Problem

PUNISHING = [
    (name, kind)
    for name in ("logloss", "brier", "kl")
    for kinds in formulas.METRICS[name].functions
    for kind in kinds
]  # fmt: skip
OWN = """
def strict(truth, prediction):
    return (abs(truth - prediction) ** 1.5).mean()
strict.greater_is_better = False
"""


def problem_of(name: str, kind: Kind, columns: int = 3) -> Problem:
    names = tuple("abcdefgh"[:columns])
    classes = ("no", *names) if kind == "binary" else names
    metric = metrics.get(MetricSpec(name=name), kind, classes, Path())
    return Problem("toy", kind, ("y",), classes, names, metric)


def tables(*arrays: np.ndarray) -> tuple[list[pd.DataFrame], pd.Series]:
    """The arrays as tables by id, and five folds."""
    n, c = arrays[0].shape
    ids = pd.Index([f"r{i}" for i in range(n)], name="id")
    return [pd.DataFrame(a.astype(float), ids, [*"abcdefgh"[:c]]) for a in arrays], pd.Series(np.arange(n) % 5, ids)


def draw(
    kind: str, heat: float | np.ndarray = 1.0, n: int = 1500, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """(truth, prediction, fold): truth is drawn from probabilities whose logits the prediction has multiplied by heat."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1.3, (n, 1 if kind == "binary" else 3))
    if kind in kinds.CLASSES:
        truth = np.eye(3)[(softmax(raw, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)]
        (t, p), fold = tables(truth, softmax(raw * heat, axis=1))
    else:
        (t, p), fold = tables(rng.random(raw.shape) < expit(raw), expit(raw * heat))
    return t, p, fold


def columns_of(kind: str) -> int:
    return 1 if kind == "binary" else 3


def nested(problem: Problem, truth: pd.DataFrame, prediction: pd.DataFrame, fold: pd.Series) -> decide.Nested:
    return decide.nested("views", {"plain": prediction}, truth, fold, problem)


def valid(kind: str, prediction: pd.DataFrame) -> bool:
    p = prediction.to_numpy()
    return bool((p >= 0).all() and (p <= 1).all() and (kind not in kinds.CLASSES or np.allclose(p.sum(axis=1), 1)))


# --- calibrations


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_a_temperature_is_that_of_least_log_loss(kind: Kind):
    truth, prediction, _ = draw(kind, heat=2.5)
    t, p = truth.to_numpy(), prediction.to_numpy()

    def loss(log_heat: np.ndarray) -> float:
        if kind in kinds.CLASSES:
            return -(t * np.log(softmax(np.log(p) / np.exp(log_heat), axis=1))).sum(axis=1).mean()
        cooled = expit(logit(p) / np.exp(log_heat))
        return -(t * np.log(cooled) + (1 - t) * np.log(1 - cooled)).mean()

    expected = np.exp(minimize(loss, np.zeros(1), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).x[0])
    found = calibration.temperature(prediction, truth, problem_of("logloss", kind, columns_of(kind)))
    assert found.values["all"] == pytest.approx(expected, rel=1e-4)
    assert found.values["all"] == pytest.approx(2.5, rel=0.15)


def test_temperatures_by_label_are_each_labels_own_and_a_rare_one_has_that_of_all():
    truth, prediction, _ = draw("multilabel", heat=np.array([0.5, 1.0, 3.0]))
    truth.loc[truth.index[calibration.RARE :], "b"] = 0.0
    problem, one = problem_of("logloss", "multilabel"), problem_of("logloss", "binary", 1)
    found = calibration.label_temperatures(prediction, truth, problem).values
    for name in ("a", "c"):
        alone = calibration.temperature(prediction[[name]], truth[[name]], one)
        assert found[name] == alone.values["all"]
    assert found["b"] == calibration.temperature(prediction, truth, problem).values["all"]


def test_separable_rows_have_a_temperature_within_bounds():
    (truth, prediction), _ = tables(np.eye(2)[[0, 1] * 20], np.array([[0.6, 0.4], [0.4, 0.6]] * 20))
    problem = problem_of("logloss", "multiclass", 2)
    assert calibration.temperature(prediction, truth, problem).values == {"all": 1 / calibration.HOTTEST}
    assert calibration.temperature(prediction, 1 - truth, problem).values == {"all": calibration.HOTTEST}


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_isotonic_steps_are_those_of_scikit_learn(kind: Kind):
    truth, prediction, _ = draw(kind, heat=2.0)
    found = calibration.isotonic(prediction, truth, problem_of("brier", kind, columns_of(kind)))
    new = draw(kind, heat=3.0, seed=1)[1]
    edge = 1 / (len(truth) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    expected = np.column_stack([model.fit(prediction[c], truth[c]).predict(new[c]) for c in truth])
    expected = expected / expected.sum(axis=1, keepdims=True) if kind in kinds.CLASSES else expected
    np.testing.assert_allclose(found.apply(new), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_a_clip_is_the_best_of_its_grid_where_a_model_is_sure_and_wrong(kind: Kind):
    """One row in fifty has a label of chance, while the model is certain of all."""
    truth, prediction, _ = draw(kind, heat=40.0)
    problem = problem_of("logloss", kind, columns_of(kind))
    found = calibration.clip(prediction, truth, problem)

    def score(low: float, high: float) -> float:
        return problem.metric.score(truth, calibration.Clip(low, high, kind in kinds.CLASSES).apply(prediction))

    best = max(score(low, 1 - high) for low, high in itertools.product(calibration.EDGES, repeat=2))
    assert best - 0.01 < score(found.low, found.high) <= best + 1e-12
    assert score(found.low, found.high) > problem.metric.score(truth, prediction) + 0.1


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "binary", "multilabel"])
def test_calibrations_survive_json_and_leave_probabilities(kind: Kind):
    """Also of rows that are 0 and 1, and beyond what they were fitted on."""
    truth, prediction, _ = draw(kind, heat=2.0)
    problem = problem_of("logloss", kind, columns_of(kind))
    extreme = pd.DataFrame(np.eye(3)[:, : columns_of(kind)], columns=prediction.columns)
    for way in calibration.ways(problem):
        found = way(prediction, truth, problem)
        again = adjustment.read(json.loads(json.dumps(found.plain())))
        assert again == found and str(again)
        for table in (prediction, extreme, prediction.astype("float32")):
            before = table.copy()
            assert valid(kind, found.apply(table)) and found.apply(table).index.equals(table.index)
            pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("name, kind", PUNISHING)
def test_too_sure_a_model_is_calibrated_and_the_score_is_better(name: str, kind: Kind):
    truth, prediction, fold = draw(kind, heat=3.0)
    problem = problem_of(name, kind, columns_of(kind))
    result = nested(problem, truth, prediction, fold)
    assert isinstance(result.adjustment, calibration.Temperature), "the simplest that is as good as any"
    assert result.adjustment.values["all"] == pytest.approx(3.0, rel=0.2)
    assert all(result.adjustments_by_fold.values()) and valid(kind, result.decided)
    gain = problem.metric.score(truth, result.decided) - problem.metric.score(truth, prediction)
    ideal = problem.metric.score(truth, draw(kind)[1]) - problem.metric.score(truth, prediction)
    assert gain > 0.95 * ideal > 0
    pd.testing.assert_frame_equal(result.prediction, prediction)


def test_labels_that_err_in_other_ways_have_temperatures_of_their_own():
    truth, prediction, fold = draw("multilabel", heat=np.array([0.3, 1.0, 3.0]))
    found = nested(problem_of("logloss", "multilabel"), truth, prediction, fold).adjustment
    assert isinstance(found, calibration.Temperature) and list(found.values) == ["a", "b", "c"]
    assert found.values["a"] < 0.5 < found.values["b"] < 2 < found.values["c"]


def test_a_bent_scale_takes_isotonic_steps():
    truth, prediction, fold = draw("binary", n=4000)
    bent = 0.4 + 0.2 * prediction**3
    problem = problem_of("brier", "binary", 1)
    result = nested(problem, truth, bent, fold)
    assert isinstance(result.adjustment, calibration.Isotonic)
    assert problem.metric.score(truth, result.decided) > problem.metric.score(truth, prediction) - 0.003


def test_no_calibration_of_a_calibrated_model_nor_where_order_counts():
    problem = problem_of("logloss", "binary", 1)
    kept = sum(
        adjustment.fit(p, t, f, problem) is not None for t, p, f in (draw("binary", n=200, seed=s) for s in range(8))
    )
    assert kept < 4
    truth, prediction, fold = draw("binary", heat=3.0)
    for name in sorted(calibration.ORDERED):
        kind: Kind = "multilabel" if name in ("lwlrap", "spearman") else "binary"
        assert not calibration.ways(problem_of(name, kind, columns_of(kind)))
        assert formulas.METRICS[name].needs == "probability"
    assert nested(problem_of("auc", "binary", 1), truth, prediction, fold).adjustment is None
    assert nested(problem, truth, prediction, fold % 2).adjustment is None, "with two folds no score could tell of it"


def test_every_probability_metric_is_told_apart():
    known = {name for name, entry in formulas.METRICS.items() if entry.needs == "probability"}
    assert known - calibration.ORDERED == {"logloss", "brier", "kl"}


def test_labels_of_noise_are_never_predicted_better_than_by_chance():
    """Nested log loss stays at log 2 or above, within two standard errors of 6 draws; fitted on all rows it is below."""
    problem, honest, seen = problem_of("logloss", "binary", 1), [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        (truth, prediction), fold = tables(rng.random((150, 1)) < 0.5, expit(rng.normal(0, 0.8, (150, 1))))
        honest.append(-problem.metric.score(truth, nested(problem, truth, prediction, fold).decided))
        seen.append(-problem.metric.score(truth, calibration.isotonic(prediction, truth, problem).apply(prediction)))
    assert np.mean(honest) > np.log(2) - 2 * np.std(honest, ddof=1) / 6**0.5
    assert np.mean(seen) < np.log(2) - 0.01


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_held_folds_truth_never_moves_its_own_calibration(kind: Kind):
    truth, prediction, fold = draw(kind, heat=3.0, n=200)
    problem, held = problem_of("logloss", kind), fold.index[fold == 2]
    other = truth.copy()
    other.loc[held] = truth.loc[held].to_numpy()[::-1]
    first, second = (nested(problem, t, prediction, fold) for t in (truth, other))
    pd.testing.assert_frame_equal(first.decided.loc[held], second.decided.loc[held])


def test_of_ways_that_help_the_simplest_within_one_standard_error():
    best = np.array([0.3, 0.1, 0.2, 0.25])
    near, far, rare = best - [0.1, -0.05, 0.02, 0.0], best - 0.05, np.array([-0.1, -0.1, 0.9, 0.8])
    pick = adjustment.simplest
    assert pick(np.column_stack([near, best])) == 0, "short by 0.02 ± 0.03"
    assert pick(np.column_stack([far, best])) == 1, "short by 0.05 ± 0"
    assert pick(np.column_stack([rare, best])) == 1, "half of the folds is not most"
    assert pick(np.column_stack([rare, -best])) is None and pick(np.full((4, 2), np.nan)) is None


# --- shares of test


def shifted(
    kind: str, shares: dict[str, float], n: int = 4000
) -> tuple[Problem, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(problem, truth of train, prediction and truth of test with these shares): exact posteriors under train's shares."""
    rng = np.random.default_rng(0)
    if kind == "binary":
        train, test = (rng.random(n) < share for share in (0.5, shares["a"]))
        x = rng.normal(1.5 * test, 1)
        (t, p, new), _ = tables(train[:, None], expit(1.5 * x - 1.5**2 / 2)[:, None], test[:, None])
        return problem_of("logloss", "binary", 1), t, p, new
    centres = np.array([[0, 0], [1.5, 0], [0, 1.5]])
    test = rng.choice(3, n, p=[shares[c] for c in "abc"])
    x = centres[test] + rng.normal(size=(n, 2))
    density = np.exp(-((x[:, None] - centres) ** 2).sum(axis=2) / 2)
    (t, p, new), _ = tables(np.eye(3)[np.arange(n) % 3], density / density.sum(axis=1, keepdims=True), np.eye(3)[test])
    return problem_of("logloss", "multiclass"), t, p, new


@pytest.mark.parametrize(
    "kind, shares", [("binary", {"no": 0.9, "a": 0.1}), ("multiclass", {"a": 0.7, "b": 0.25, "c": 0.05})]
)
def test_the_shares_of_test_improve_its_log_loss_known_or_estimated(kind: Kind, shares: dict[str, float]):
    problem, truth, prediction, new = shifted(kind, shares)
    known, found = prior.stated(shares, problem, truth), prior.estimated(prediction, problem, truth)
    np.testing.assert_allclose(found.test, [shares[c] for c in problem.columns], atol=0.03)
    plain, by_known, by_found = (
        problem.metric.score(new, p) for p in (prediction, *(s.apply(prediction) for s in (known, found)))
    )
    assert by_known > plain + 0.1 and by_found > by_known - 0.005
    assert valid(kind, known.apply(prediction)) and valid(kind, found.apply(prediction))


def test_the_correction_is_bayes_rule():
    """By hand (Saerens et al. 2002, eq. 2.4): train 0.5 and 0.5, test 0.9 and 0.1."""
    problem, truth, *_ = shifted("binary", {"no": 0.9, "a": 0.1})
    truth[:] = (np.arange(len(truth)) % 2)[:, None]
    table = pd.DataFrame({"a": [0.8, 0.0, 1.0]})
    assert prior.stated({"no": 0.9, "a": 0.1}, problem, truth).apply(table)["a"].tolist() == pytest.approx(
        [0.8 * 0.2 / (0.8 * 0.2 + 0.2 * 1.8), 0, 1]
    )


def test_labels_are_corrected_each_by_itself_and_drawn_to_their_shares():
    truth, prediction, _ = draw("multilabel", n=3000)
    problem, shares = problem_of("logloss", "multilabel"), {"a": 0.1, "b": 0.5, "c": 0.8}
    shift = prior.stated(shares, problem, truth)
    one = problem_of("logloss", "binary", 1)
    alone = prior.stated({"no": 0.9, "a": 0.1}, one, truth[["a"]]).apply(prediction[["a"]])
    pd.testing.assert_frame_equal(shift.apply(prediction)[["a"]], alone)
    chance = prior.weights(truth.to_numpy(), shift.test, False)
    assert chance is not None
    np.testing.assert_allclose(chance @ truth.to_numpy(), [0.1, 0.5, 0.8], atol=1e-3)
    together = np.column_stack([truth["a"], truth["a"]])
    assert prior.weights(together, np.array([0.1, 0.9]), False) is None, "one label, two shares"


def test_a_class_that_test_lacks_or_train_hardly_has():
    problem, truth, prediction, _ = shifted("multiclass", {"a": 0.5, "b": 0.5, "c": 0.0})
    truth["c"], truth["a"] = 0.0, truth["a"] + truth["c"]
    extreme = pd.DataFrame(np.eye(3), columns=[*"abc"])
    for shares in ({"a": 0.5, "b": 0.5, "c": 0.0}, {"a": 0.2, "b": 0.2, "c": 0.6}):
        shift = prior.stated(shares, problem, truth)
        assert valid("multiclass", shift.apply(prediction)) and valid("multiclass", shift.apply(extreme))
    assert prior.weights(truth.to_numpy(), np.array([0.2, 0.2, 0.6]), True) is None, "no scored row is of c"


def test_the_score_at_a_stated_prior_is_that_of_rows_with_these_shares():
    problem, *_ = shifted("binary", {"no": 0.5, "a": 0.5})
    truth, prediction, fold = draw("binary", heat=2.0, n=3000)
    shares, result = {"no": 0.85, "a": 0.15}, nested(problem, truth, prediction, fold)
    assert result.adjustment is not None
    found = prior.scores(shares, problem, truth, fold, result)
    assert found is not None and found["corrected"] is not None and found["uncorrected"] is not None
    some = np.concatenate(
        [np.flatnonzero(truth["a"] == 0), np.flatnonzero(truth["a"] == 1)[: int((truth["a"] == 0).sum() * 0.15 / 0.85)]]
    )
    of_rows = [
        problem.metric.shown(problem.metric.score(truth.iloc[some], t.iloc[some]))
        for t in (result.decided, prior.stated(shares, problem, truth).apply(result.decided))
    ]
    assert found["uncorrected"] == pytest.approx(of_rows[0], abs=0.02)
    assert found["corrected"] == pytest.approx(of_rows[1], abs=0.02)
    assert found["corrected"] < found["uncorrected"] - 0.05
    assert prior.scores(None, problem, truth, fold, result) is None
    assert prior.scores("estimate", problem, truth, fold, result) is None


@pytest.mark.parametrize(
    "kind, shares, where, said",
    [
        ("multiclass", {"dark": 0.5, "gray": 0.3, "light": 0.2}, "key prior.gray", "did you mean 'grey'"),
        ("multiclass", {"dark": 0.5, "light": 0.5}, "key prior", "no share of 'grey'"),
        ("multiclass", {"dark": 0.5, "grey": 0.3, "light": 0.3}, "key prior", "sum to 1.1"),
        ("binary", {"no": 0.5, "yes": 1.5}, "key prior", "'yes' is a number within 0..1"),
        ("binary", {"no": 0.5, "yes": "half"}, "key prior", "'yes' is a number within 0..1"),
        ("binary", "estimated", "key prior", "did you mean 'estimate'"),
        ("multilabel", {"bright": 0.5, "dark": 0.5}, "key prior.dark", "did you mean"),
        ("regression", {"label": 0.5}, "key prior", "remove `prior:`"),
        ("boxes", "estimate", "key prior", "remove `prior:`"),
    ],
)
def test_bad_shares_are_told(competition: Callable[..., str], capsys, kind: str, shares: object, where: str, said: str):
    run = competition(kind, prior=shares)
    assert cli.main(["folds", run.partition("/")[0]]) == 2
    out = " ".join(capsys.readouterr().err.split())
    assert "CFG-VALUE" in out and where in out and said in out and "Traceback" not in out


def test_whole_numbers_name_classes_and_labels_need_no_sum_of_one(competition: Callable[..., str]):
    competition("ordinal", prior={0: 0.2, 1: 0.3, 2: 0.5})
    assert load("toy").config.prior == {"0": 0.2, "1": 0.3, "2": 0.5}
    load.cache_clear()


def test_the_submission_is_calibrated_and_corrected_and_files_stay_plain(competition: Callable[..., str], capsys):
    """A run on tables, under a metric of one's own: score.json, screen and CSV agree; the prior is no new run."""
    keys = {"metric": "own.py:strict", "folds": {"n": 3}}
    run = competition("binary", task="tabular", **keys)
    Path("configs/toy/own.py").write_text(OWN)
    assert cli.main(["submission", run]) == 0
    score = json.loads(Path("runs/toy/base/score.json").read_text())
    adjusted = adjustment.read(score["adjustment"])
    test = pd.read_parquet("runs/toy/base/test.parquet")
    expected = adjustment.apply(adjusted, test)["yes"]
    path = Path(f"submissions/{run}.csv")
    np.testing.assert_allclose(pd.read_csv(path, dtype={"id": str}).set_index("id")["label"].loc[test.index], expected)
    out = " ".join(capsys.readouterr().out.split())
    if adjusted is not None:
        assert f"{adjusted}, fitted on the other folds; without it {score['unadjusted']:.4f}" in out
    assert score["at_prior"] is None and "prior" not in out

    with open("configs/toy/competition.yaml", "a") as file:
        file.write("prior: {no: 0.9, yes: 0.1}\n")
    load.cache_clear()
    assert cli.main(["submission", run]) == 0
    out, score = " ".join(capsys.readouterr().out.split()), json.loads(Path("runs/toy/base/score.json").read_text())
    problem, truth, at = load("toy").problem, load("toy").train.truth, score["at_prior"]
    assert truth is not None
    shift = prior.stated({"no": 0.9, "yes": 0.1}, problem, truth)
    assert f"at the stated prior: {at['corrected']:.4f} with the correction, {at['uncorrected']:.4f} without" in out
    assert f"corrected to the stated shares of test (of train): {shift}" in out
    written = pd.read_csv(path, dtype={"id": str}).set_index("id")["label"].loc[test.index]
    np.testing.assert_allclose(written, shift.apply(adjustment.apply(adjusted, test))["yes"])
    pd.testing.assert_frame_equal(pd.read_parquet("runs/toy/base/test.parquet"), test)


@pytest.mark.parametrize("name", ["logloss", "f1"])
def test_shares_are_estimated_of_calibrated_probabilities_and_a_cut_comes_last(name: str):
    _, truth, prediction, _ = shifted("binary", {"no": 0.9, "a": 0.1})
    problem = problem_of(name, "binary", 1)
    way = calibration.Temperature({"all": 2.0}, False) if name == "logloss" else cuts.Cut("threshold", {"a": 0.3})
    found, notes = prior.submitted("estimate", problem, truth, prediction, way)
    before = way.apply(prediction) if name == "logloss" else prediction
    shift = prior.estimated(before, problem, truth)
    expected = shift.apply(before)
    if name == "logloss":
        pd.testing.assert_frame_equal(found, expected)
    else:
        assert ((found >= 0.5) == (expected >= 0.3)).all(axis=None)
    assert notes == [f"corrected to the estimated shares of test (of train): {shift}"]
    assert "estimated when a submission is written" in prior.beside(None)


# --- thresholds of F1 against every choice there is


def exhaustive(problem: Problem, truth: pd.DataFrame, prediction: pd.DataFrame) -> float:
    """The best score of all thresholds between two values of a column."""
    places = [np.r_[0, np.sort(prediction[c])] + 1e-9 for c in prediction]

    def score(values: tuple[float, ...]) -> float:
        cut = cuts.Cut("threshold", dict(zip(prediction, map(float, values), strict=True)))
        return problem.metric.score(truth, cut.apply(prediction))

    return max(map(score, itertools.product(*places)))


@pytest.mark.parametrize("name", ["f1_macro", "f1_micro", "f1_samples"])
def test_thresholds_of_labels_are_nearly_the_best_of_all(name: str):
    """Two labels, a rare and a common one, 25 rows: in sample at most 0.01 of F1 below the best of 676 choices."""
    problem, short = problem_of(name, "multilabel", 2), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        raw = rng.normal([-2, 0.5], 1.5, (25, 2))
        (truth, prediction), _ = tables(rng.random(raw.shape) < expit(raw), expit(raw - 0.7))
        found = cuts.search(prediction, truth, problem).apply(prediction)
        short.append(exhaustive(problem, truth, prediction) - problem.metric.score(truth, found))
    assert min(short) > -1e-9 and np.mean(short) < 0.01
