"""The tabular task: chance where there is nothing to learn, the same bytes again, odd tables, and a user's mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import skops.io
from conftest import METRIC, write
from sklearn.metrics import roc_auc_score

from competition import artifacts, cli, config, runs, train
from competition.data import load
from competition.errors import ConfigFault, EnvironmentFault, SafetyFault, Stopped
from competition.folds import load as load_folds
from competition.predict import predict_fold
from competition.split import Split
from competition.tabular import encoders, models, skopsfile
from competition.tabular.task import Model
from competition.task import Fold

MODELS = get_args(Model)
QUICK: dict[str, dict[str, Any]] = {
    "lightgbm": {"num_iterations": 25, "early_stopping_round": 5, "min_data_in_leaf": 5},
    "xgboost": {"rounds": 25, "patience": 5, "max_depth": 3},
    "catboost": {"iterations": 25, "od_wait": 5, "depth": 4, "learning_rate": 0.1},
    "histgb": {"max_iter": 20, "n_iter_no_change": 5, "min_samples_leaf": 5},
    "extratrees": {"n_estimators": 20},
    "randomforest": {"n_estimators": 20},
    "linear": {},
    "knn": {},
    "tabm": {"epochs": 15, "batch": 16, "lr": 0.01, "k": 4, "d_block": 32, "n_blocks": 1, "embeddings": "none"},
}
ROWS, TEST = 200, 20
Change = Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame] | None]  # of train and test


def mixed(rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Cells of every type, with gaps, a category of about three rows a level and a code; what they tell: [rows]."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(0, 1, rows), rng.integers(0, 3, rows)
    day = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 700, rows), unit="D")
    place = rng.integers(0, max(1, rows // 3), rows)
    told = np.where(colour == 2, " broken", " whole")
    table = pd.DataFrame(
        {
            "size": np.where(rng.random(rows) < 0.1, "", np.char.mod("%.4f", size)),
            "colour": np.array(["red", "green", "blue"])[colour],
            "place": [f"place {p}" for p in place],
            "code": [f"{'AB'[n % 2]}{rng.integers(1, 10**6)}" for n in range(rows)],
            "day": day.strftime("%Y-%m-%d"),
            "note": [" ".join(rng.choice(list(ABC), 4)) + t for t in told],
        },
        dtype=object,
    )
    return table, size + 1.5 * (colour == 2) + 0.5 * rng.normal(0, 1, rows)


ABC = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


def labels(kind: str, value: np.ndarray) -> pd.DataFrame:
    level = np.digitize(value, np.quantile(value, [1 / 3, 2 / 3]))
    return {
        "multiclass": pd.DataFrame({"label": np.array(["low", "middle", "top"])[level]}),
        "ordinal": pd.DataFrame({"label": level.astype(str)}),
        "binary": pd.DataFrame({"label": np.array(["no", "yes"])[(value > np.median(value)).astype(int)]}),
        "multilabel": pd.DataFrame({"high": (level == 2).astype(str), "low": (level == 0).astype(str)}).replace(
            {"True": "1", "False": "0"}
        ),
        "regression": pd.DataFrame({"label": np.char.mod("%.5f", value)}),
    }[kind]


@pytest.fixture
def tables(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the competition `toy` of mixed tables, its folds and its run toy/base."""
    monkeypatch.setattr(encoders, "HASHES", 2**10)  # four times as fast

    def make(
        kind: str = "binary", model: str = "lightgbm", change: Change | None = None, shuffled: bool = False,
        values: Callable[[np.ndarray], np.ndarray] | None = None, run: dict[str, Any] | None = None, rows: int = ROWS,
        **keys: Any,
    ) -> None:  # fmt: skip
        table, value = mixed(rows + TEST)
        if shuffled:
            value = np.random.default_rng(1).permutation(value)
        table.insert(0, "id", [f"{n:04d}" for n in range(rows + TEST)])
        answers = labels(kind, value if values is None else values(value))
        train, test = pd.concat([table, answers], axis=1)[:rows], table[rows:].reset_index(drop=True)
        if change:
            train, test = change(train, test) or (train, test)
        targets = [c for c in train if c not in table.columns and c not in test.columns]
        sample = test[["id"]].assign(**dict.fromkeys(targets, {"multiclass": "low", "ordinal": "0"}.get(kind, "0.5")))
        Path("data").mkdir(exist_ok=True)
        for name, part in (("train", train), ("test", test), ("sample_submission", sample)):
            part.to_csv(f"data/{name}.csv", index=False)
        target = targets if kind == "multilabel" else "label"
        base = {"data": "data", "id": "id", "target": target, "kind": kind, "metric": METRIC[kind], "folds": {"n": 2}}
        write("configs/toy/competition.yaml", base | keys)
        of_run = {"task": "tabular", "model": model, "params": QUICK[model], "bag": 1, "jobs": 1, "text_dims": 4}
        write("configs/toy/base.yaml", of_run | (run or {}))
        load.cache_clear()
        runs.make_folds(load("toy"))

    return make


FIRST = Split(0)


def fitted(split: Split = FIRST, name: str = "toy/base") -> Fold:
    """A fold of a run, trained."""
    run = config.load_run(name)
    train.fit_fold(run, split)
    return train.open_fold(run, split)


def predicted(fold: Fold, rows: Any, name: str = "toy/base") -> pd.DataFrame:
    return config.load_run(name).task.predict(rows, fold, "plain")


def out_of_fold(name: str = "toy/base") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Truth and prediction of every scored row, by models that have not seen it."""
    folds = [fitted(split, name) for split in load_folds(load("toy")).splits]
    guess = pd.concat([predicted(fold, fold.valid, name) for fold in folds])
    truth = load("toy").train.truth
    assert truth is not None
    return truth.loc[guess.index], guess


def record(split: str = "fold0") -> dict[str, Any]:
    return json.loads(Path(f"runs/toy/base/{split}/fit.json").read_text())


def assert_chance(truth: np.ndarray, guess: np.ndarray) -> None:
    """AUC within three standard errors of 0.5, as ranks of two samples have it (Mann and Whitney, 1947)."""
    ones, zeros = int(truth.sum()), int((1 - truth).sum())
    error = np.sqrt((ones + zeros + 1) / (12 * ones * zeros))
    assert abs(roc_auc_score(truth, guess) - 0.5) < 3 * error


@pytest.mark.parametrize("model", MODELS)
def test_a_permuted_target_is_at_chance(model: str, tables):
    tables(model=model, shuffled=True)
    truth, guess = out_of_fold()
    assert_chance(truth.to_numpy().ravel(), guess.to_numpy().ravel())


def test_an_encoder_fitted_before_the_folds_is_seen_by_the_same_check(tables):
    """What the test above is for: mean targets of all rows leak into every fold."""
    tables(shuffled=True, run={"features": "leaky.py:means"})
    Path("configs/toy/leaky.py").write_text(
        "import pandas as pd\n"
        "def means(table):\n"
        "    train = pd.read_csv('data/train.csv')\n"
        "    means = (train['label'] == 'yes').groupby(train['code']).mean()\n"
        "    return pd.DataFrame({'mean': table['code'].map(means)}, index=table.index)\n"
    )
    truth, guess = out_of_fold()
    with pytest.raises(AssertionError):
        assert_chance(truth.to_numpy().ravel(), guess.to_numpy().ravel())


@pytest.mark.parametrize("model", MODELS)
def test_each_library_learns_repeats_to_the_bit_and_comes_back_from_its_file(model: str, tables):
    """A fold of three classes twice; the predictions come from files only."""
    tables("multiclass", model)
    fold = fitted()
    assert fold.valid is not None and fold.valid.truth is not None
    guess = predicted(fold, fold.valid)
    np.testing.assert_allclose(guess.sum(axis=1), 1, atol=1e-9)
    accuracy = (guess.to_numpy().argmax(axis=1) == fold.valid.truth.to_numpy().argmax(axis=1)).mean()
    assert accuracy > 0.45, "a third is chance"
    pd.testing.assert_frame_equal(predicted(fitted(), fold.valid), guess, check_exact=True)


@pytest.mark.parametrize("model", MODELS)
def test_each_library_fits_values(model: str, tables):
    tables("regression", model)
    fold = fitted()
    assert fold.valid is not None and fold.valid.truth is not None
    error = predicted(fold, fold.valid) - fold.valid.truth
    assert error.to_numpy().std() < 0.95 * fold.valid.truth.to_numpy().std()
    record_of = record()
    assert all(o["rounds"] >= 1 for part in record_of["bag"] for o in part["outputs"])


@pytest.mark.parametrize("model", MODELS)
def test_what_a_library_has_no_such_parameter_of_is_told(model: str, tables):
    near = next(iter(QUICK[model]), {"linear": "max_iter", "knn": "n_neighbors"}.get(model))
    tables(model=model, run={"params": {f"{near}x": 3}})
    with pytest.raises(ConfigFault, match="CFG-UNKNOWN") as fault:
        fitted()
    assert repr(near) in str(fault.value)


@pytest.mark.parametrize(
    "model, params",
    [
        ("lightgbm", {"n_estimators": 7, "early_stopping_round": 7}),
        ("xgboost", {"n_estimators": 7, "eta": 0.1}),
        ("catboost", {"n_estimators": 7, "max_depth": 3, "eta": 0.1, "random_state": 1}),
        ("histgb", {"max_iter": 7, "random_state": 1}),
        ("randomforest", {"n_estimators": 7, "random_state": 1, "n_jobs": 1}),
    ],
)
def test_a_parameter_may_be_called_by_its_other_name(model: str, params: dict[str, Any], tables):
    tables("regression", model, run={"params": params})
    fitted()
    assert 1 <= record()["bag"][0]["outputs"][0]["rounds"] <= 7


def test_order_and_number_of_tests_columns_do_not_matter(tables):
    tables("multiclass", run={"bag": 2})
    fold, test = fitted(), load("toy").test
    plain = predicted(fold, test)

    def changed(table: pd.DataFrame) -> pd.DataFrame:
        return predicted(fold, type(test)(table))

    shuffled = test.table[test.table.columns[::-1]].assign(more="1")
    pd.testing.assert_frame_equal(changed(shuffled), plain, check_exact=True)
    pd.testing.assert_frame_equal(changed(test.table[::-1]).loc[plain.index], plain, check_exact=True)
    strange = test.table.assign(colour="mauve", place="nowhere", code="ZZ", size="1e300", day="never", note="")
    for odd in (strange, test.table.assign(**dict.fromkeys(fold.problem.inputs, ""))):
        assert np.isfinite(changed(odd).to_numpy()).all()


@pytest.mark.parametrize("model", ["xgboost", "catboost", "histgb", "randomforest", "linear", "tabm"])
def test_strange_cells_of_test_and_of_train_are_predicted(model: str, tables):
    """Values beyond any float32, levels and dates that train has not, columns all missing, a text without a word."""

    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        train.loc[train.index[:3], "size"] = ["1e300", "-1e300", "inf"]
        train.loc[train.index[0], "code"] = "A" + "9" * 400
        for part in (train, test):
            part["dots"] = [("." * (n % 7 + 1)) + " ," * 3 for n in range(len(part))]
            part["rare"] = ["x" if n == 0 else "" for n in range(len(part))]
        test.loc[::2, ["size", "place", "code", "day"]] = ["1e200", "nowhere", "Z", "2100-01-01"]
        test.loc[1::4, ["size", "colour", "place", "code", "day", "note"]] = ""

    tables(model=model, change=change, run={"columns": {"text": ["dots", "note"]}})
    guess = predicted(fitted(), load("toy").test)
    assert np.isfinite(guess.to_numpy()).all() and guess.to_numpy().min() >= 0 and guess.to_numpy().max() <= 1


@pytest.mark.parametrize("model", ["lightgbm", "catboost", "linear"])
def test_a_class_of_two_rows_gets_a_small_probability_and_the_log_loss_is_finite(model: str, tables):
    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        train.loc[[0, 1], "label"] = "seldom"

    tables("multiclass", model, change=change, metric="logloss")
    ids = load("toy").train.ids
    for number, only in enumerate((["0000", "0001"], ["0000"])):  # both rows held out; one is
        fold = pd.DataFrame({"id": ids, "fold": [0 if i in only else 1 + n % 2 for n, i in enumerate(ids)]})
        rest = fold["fold"] > 0
        fold.loc[rest, "fold"] = [n % 2 for n in range(rest.sum())]
        fold.to_csv("folds/toy.csv", index=False)
        split = fitted()
        guess = predicted(split, split.valid)
        np.testing.assert_allclose(guess.sum(axis=1), 1, atol=1e-9)
        if number == 0:
            assert (guess["seldom"] > 0).all() and (guess["seldom"] < 0.02).all()
        assert np.isfinite(-split.problem.metric.score(split.valid.truth, guess))
        for stale in split.folder.glob("fit.json"):
            stale.unlink()


@pytest.mark.parametrize("model", ["lightgbm", "histgb", "randomforest", "linear", "knn", "tabm"])
def test_soft_and_constant_labels_of_several_columns(model: str, tables):
    """A share of 0.3 is learned as 0.3; a column without a 1 is predicted as none."""

    def change(train: pd.DataFrame, test: pd.DataFrame) -> None:
        train["high"] = np.where(train["colour"] == "blue", "0.3", "0.1")
        train["never"] = "0"

    tables("multilabel", model, change=change, metric="brier")
    fold = fitted()
    guess = predicted(fold, fold.valid)
    assert guess["high"].mean() == pytest.approx(0.17, abs=0.08)
    if model != "tabm":
        assert guess["never"].between(1e-4, 0.01).all()
    assert (guess["never"] < 0.2).all()


@pytest.mark.parametrize("model", [m for m in MODELS if models.library(m).WEIGHS and m != "tabm"])
def test_weights_of_0_leave_rows_out(tables, model: str):
    """Rows whose answer is spoilt and that weigh nothing do no harm; with their weight they do. (tabm: test_net.)"""
    tables("regression", model)
    run = config.load_run("toy/base")
    fold = train.open_fold(run, Split(0))
    assert fold.train.truth is not None
    spoilt = np.arange(len(fold.train)) % 2 == 0
    truth = fold.train.truth.where(~spoilt[:, None], 50.0)
    errors = []
    for weight in (2.0 * ~spoilt, np.ones(len(spoilt))):
        weights = pd.Series(weight, index=fold.train.ids)
        rows = type(fold.train)(fold.train.table, truth, weights)
        (fold.folder).mkdir(parents=True, exist_ok=True)
        artifacts.write_json(fold.folder / "fit.json", run.task.fit(type(fold)(**vars(fold) | {"train": rows})))
        errors.append((predicted(fold, fold.valid) - fold.valid.truth).abs().to_numpy().mean())
    assert errors[0] < 2 < errors[1]


def test_in_the_order_of_time_the_latest_rows_stop_it_and_all_are_learned(tables, monkeypatch: pytest.MonkeyPatch):
    tables("regression", folds={"n": 3, "scheme": "time", "time": "day"}, run={"bag": 2})
    seen: list[tuple[int, bool]] = []
    library = models.library("lightgbm")
    real = library.fit

    def spy(job: models.Job):
        seen.append((len(job.x), job.valid is not None))
        return real(job)

    monkeypatch.setattr(library, "fit", spy)
    fold = fitted(Split(2))
    day = fold.train.table["day"]
    [(early, late)] = fold.inner(2)
    assert day[early].max() < day[late].min() and day[late].max() == day.max()
    assert seen == [(len(early), True), (len(day), False)]
    assert record("fold2")["bag"][0]["rows"] == len(day)
    assert day.max() < fold.valid.table["day"].min()


def test_groups_stay_whole_in_inner_splits(tables):
    tables(folds={"n": 2, "group": "place"})
    fold = train.open_fold(config.load_run("toy/base"), Split(0))
    for early, held in fold.inner(5):
        places = fold.train.table["place"]
        assert not set(places[early]) & set(places[held])
        assert not set(places[held]) & set(fold.valid.table["place"])
    assert len(fold.inner(5)) == 5


@pytest.mark.parametrize("model", ["lightgbm", "linear", "tabm"])
def test_counts_scored_by_ratios_are_never_below_0(model: str, tables):
    tables("regression", model, values=lambda v: np.floor(np.exp(2 * v)), metric="rmsle")
    fold = fitted()
    guess = predicted(fold, load("toy").test)
    assert guess.to_numpy().min() >= 0
    assert -fold.problem.metric.score(fold.valid.truth, predicted(fold, fold.valid)) < 1.6


MUCH = ["place", "code", "day", "note"]  # columns of noise, that few rows are fitted to


@pytest.mark.parametrize("model", ["lightgbm", "xgboost", "catboost", "histgb", "linear"])
def test_a_quantile_has_its_share_of_the_truth_below(model: str, tables):
    tables("regression", model, metric={"name": "quantile", "alpha": 0.9}, rows=300, run={"columns": {"ignore": MUCH}})
    truth, guess = out_of_fold()
    assert (truth < guess).to_numpy().mean() == pytest.approx(0.9, abs=0.07)


HOOK = "import pandas as pd\ndef more(table):\n    {}\n"


def hook(body: str) -> None:
    from competition import hooks

    hooks._module.cache_clear()
    Path("configs/toy/mine.py").write_text(HOOK.format(body))


def test_a_users_columns_are_learned_and_a_change_of_them_is_told(tables, capsys: pytest.CaptureFixture):
    tables(run={"features": "mine.py:more"})
    hook("return pd.DataFrame({1: table['size'].str.len(), 'colour': 'same'}, index=table.index)")
    assert cli.main(["train", "toy/base", "--fold", "0"]) == 0
    names = [c.name for c in skopsfile.load(Path("runs/toy/base/fold0/model0-features.skops")).columns]
    assert "1" in names and "size" in names
    hook("return pd.DataFrame({'other': table['size'].str.len()}, index=table.index)")
    assert cli.main(["train", "toy/base"]) == 3
    said = capsys.readouterr().err
    assert "RUN-DATA" in said and "functions of yours changed" in said


@pytest.mark.parametrize(
    "body, said",
    [
        ("return table.reset_index()", "DataFrame of 100 rows"),
        ("return table['size']", "Series"),
        ("return {}['x']", "KeyError: 'x'"),
        ("return pd.DataFrame({'n': table['siez']})", "KeyError: 'siez'"),
    ],
)
def test_a_users_mistake_in_a_hook_is_told(body: str, said: str, tables, capsys: pytest.CaptureFixture):
    tables(run={"features": "mine.py:more"})
    hook(body)
    assert cli.main(["train", "toy/base"]) == 3
    err = capsys.readouterr().err
    assert "HOOK-FEATURES" in err and said in err and "mend:" in err and "Traceback" not in err


def test_a_damaged_file_is_refused(tables):
    tables()
    run = config.load_run("toy/base")
    fold = fitted()
    file = fold.folder / "model0-features.skops"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(EnvironmentFault, match="CKPT-CORRUPT"):
        predict_fold(run, Split(0))


class Foreign:
    """Reading it from a file would leave a trace."""

    def __setstate__(self, state: Any) -> None:
        Path("trap").touch()


def test_a_file_that_holds_foreign_types_is_refused_and_not_run(workspace: Path):
    skops.io.dump({"a": Foreign()}, "bad.skops")
    with pytest.raises(SafetyFault, match="SKOPS-TYPE"):
        skopsfile.load(Path("bad.skops"))
    assert not Path("trap").exists()


def test_without_columns_there_is_nothing_to_learn_from(tables, capsys: pytest.CaptureFixture):
    tables(change=lambda train, test: (train[["id", "label"]], test[["id"]]))
    assert cli.main(["train", "toy/base"]) == 3
    assert "no column to learn from" in capsys.readouterr().err


def test_parts_of_a_bag_that_were_finished_are_kept(tables):
    """Stopped in its second part, a fold goes on there; another setting begins anew."""
    tables(run={"bag": 3})
    fold = train.open_fold(config.load_run("toy/base"), Split(0))
    fold.folder.mkdir(parents=True)
    begun: list[str] = []

    def late() -> bool:
        begun.append("round")
        return (fold.folder / "model0.json").exists()

    with pytest.raises(Stopped):
        config.load_run("toy/base").task.fit(replace(fold, stop=late))
    first = (fold.folder / "model0-0.txt").stat().st_mtime_ns
    assert len(config.load_run("toy/base").task.fit(fold)["bag"]) == 3
    assert (fold.folder / "model0-0.txt").stat().st_mtime_ns == first
    config.load_run("toy/base", "max_levels=5 bag=2").task.fit(fold)
    assert (fold.folder / "model0-0.txt").stat().st_mtime_ns > first
    assert not list(fold.folder.glob("model2*"))
