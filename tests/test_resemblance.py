"""Submissions that no longer look like the run's out-of-fold predictions, and right ones that do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import artifacts, ledger, resemblance, runs
from competition.boxes.table import EDGES
from competition.cli import main
from competition.data import load
from competition.form import Form
from competition.resemblance import Likeness, Measured

ABC = ("a", "b", "c", "d")
WIDE = Form(cells="probability", source={c: c for c in ABC}, exclusive=True)
SETS = replace(WIDE, exclusive=False)
ONE = Form(cells="probability", source={"p": "yes"})
VALUE = Form(cells="value", source={"price": "price"})
VALUES = Form(cells="value", source={"x": "x", "y": "y"})
LABEL = Form(cells="label", source={"y": None}, names=ABC)
RANKING = Form(cells="ranking", source={"y": None}, names=ABC, length=2)
LABELS = Form(cells="labels", source={"y": None}, names=ABC)
SHARES = np.log([0.5, 0.3, 0.15, 0.05])


def model(form: Form, rows: int, rng: np.random.Generator, folds: int = 1) -> pd.DataFrame:
    """The predictions of a model that knows something, as the mean of `folds` of them, in the sample's form."""
    truth = rng.normal(0, 1.5, (rows, 4)) + SHARES
    logits = [truth + rng.normal(0, 0.7, truth.shape) for _ in range(folds)]
    if form.cells == "value":
        values = np.mean([np.exp(0.8 * x[:, : len(form.source)] + [7, 2][: len(form.source)]) for x in logits], axis=0)
        return pd.DataFrame(values, columns=list(form.source)).map(repr)
    if form is ONE or form is SETS:
        p = np.mean([1 / (1 + np.exp(-x)) for x in logits], axis=0)
        return pd.DataFrame(p[:, : len(form.source)], columns=list(form.source)).map(repr)
    p = np.mean([np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in logits], axis=0)
    if form is WIDE:
        return pd.DataFrame(p, columns=list(ABC)).map(repr)
    order = np.argsort(-p, axis=1)
    size = {"label": 1, "ranking": 2}.get(form.cells, 0)
    names = [" ".join(ABC[k] for k in row[:size]) if size else " ".join(ABC[k] for k in row if q[k] > 0.25)
             for row, q in zip(order, p, strict=True)]  # fmt: skip
    return pd.DataFrame({"y": names})


def judged(form: Form, oof: pd.DataFrame, test: pd.DataFrame) -> Likeness:
    return resemblance.compare(resemblance.measured(form, oof), resemblance.measured(form, test))


FORMS = {"wide": WIDE, "label sets, wide": SETS, "one probability": ONE, "value": VALUE, "values": VALUES,
         "label": LABEL, "ranking": RANKING, "label sets": LABELS}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_right_files_are_neither_refused_nor_doubted(form: Form):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows, more = rng.integers(8, 400, 2)
        found = judged(form, model(form, rows, rng), model(form, more, rng, folds=5))
        assert not found.faults and not found.doubts, (rows, more, found)


def number(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: change(table.astype(float)).map(repr)


def tenth(table: pd.DataFrame) -> np.ndarray:
    return np.arange(len(table))[:, None] % 10 == 0


def renamed(**names: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.map(lambda cell: " ".join(names.get(word, word) for word in cell.split()))


SPOILT = {
    "columns swapped": (WIDE, lambda t: t.set_axis(["c", "b", "a", "d"], axis=1), "fault"),
    "columns turned": (WIDE, lambda t: t.set_axis(["d", "c", "b", "a"], axis=1), "fault"),
    "labels swapped": (SETS, lambda t: t.set_axis(["d", "b", "c", "a"], axis=1), "fault"),
    "targets swapped": (VALUES, lambda t: t.set_axis(["y", "x"], axis=1), "fault"),
    "the other class": (ONE, number(lambda t: 1 - t), "fault"),
    "names swapped": (LABEL, renamed(a="d", d="a"), "fault"),
    "first names swapped": (RANKING, renamed(a="d", d="a"), "fault"),
    "one value for all": (VALUE, number(lambda t: t * 0 + 1e3), "fault"),
    "one row for all": (WIDE, lambda t: pd.concat([t.head(1)] * len(t)), "fault"),
    "one name for all": (LABEL, lambda t: t.assign(y="a"), "fault"),
    "times a thousand": (VALUE, number(lambda t: t * 1e3), "fault"),
    "logarithms": (VALUE, number(np.log1p), "fault"),
    "mean for most rows": (VALUE, number(lambda t: t.where(tenth(t), t.mean(), axis=1)), "doubt"),
    "standardised": (VALUE, number(lambda t: (t - t.mean()) / t.std()), "fault"),
    "0 and 1 for probabilities": (WIDE, number(lambda t: t.eq(t.max(axis=1), axis=0) * 1.0), "doubt"),
    "nearly even": (WIDE, number(lambda t: 0.9 / 4 + 0.1 * t), "doubt"),
    "most rows of one class": (LABEL, lambda t: t.where(tenth(t), "c"), "doubt"),
    "all labels in most rows": (LABELS, lambda t: t.where(tenth(t), " ".join(ABC)), "doubt"),
    "no label in most rows": (LABELS, lambda t: t.where(tenth(t), ""), "doubt"),
}  # fmt: skip


@pytest.mark.parametrize("form, spoil, told", SPOILT.values(), ids=SPOILT)
def test_spoilt_files_are_seen(form: Form, spoil: Callable[[pd.DataFrame], pd.DataFrame], told: str):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        oof, test = model(form, 500, rng), model(form, 250, rng, folds=5)
        found = judged(form, oof, spoil(test).reset_index(drop=True))
        assert bool(found.faults) == (told == "fault") and (found.doubts or found.faults), found


def test_what_can_not_be_seen():
    """Rows moved by one: the distribution is the same, and the documentation says so."""
    rng = np.random.default_rng(0)
    oof, test = model(WIDE, 500, rng), model(WIDE, 250, rng)
    assert judged(WIDE, oof, test.shift(1).fillna(test.iloc[-1])) == judged(WIDE, oof, test)


def test_a_model_that_never_predicts_a_class_has_no_scale():
    """Probabilities of 1e-7 and of 1e-5 are the same nothing."""
    rng = np.random.default_rng(0)
    oof, test = (model(WIDE, rows, rng).astype(float) for rows in (300, 200))
    for table, tiny in ((oof, 1e-7), (test, 1e-5)):
        table["d"] = tiny * rng.random(len(table))
        table[:] = table.to_numpy() / table.to_numpy().sum(axis=1, keepdims=True)
    found = judged(WIDE, oof.map(repr), test.map(repr))
    assert not found.faults and not found.doubts


def test_shares_that_are_moved_on_purpose():
    rng = np.random.default_rng(0)
    oof, test = model(LABEL, 500, rng), model(LABEL, 250, rng).assign(y=["c"] * 200 + ["a"] * 50)
    measured = [resemblance.measured(LABEL, table) for table in (oof, test)]
    assert resemblance.compare(*measured).doubts and resemblance.compare(*measured, moved=True) == Likeness((), ())


def pictures(boxes_: int, change: Callable[[np.ndarray], np.ndarray], seed: int) -> Measured:
    """80 pictures of 640 by 480 with 1 to 2 * boxes_ - 1 boxes, more to the left and flat."""
    rng = np.random.default_rng(seed)
    ids = pd.Index([f"{n:03d}" for n in range(80)], name="id")
    rows = np.repeat(ids, rng.integers(1, 2 * boxes_, len(ids)))
    x, y = rng.beta(2, 4, len(rows)) * 400, rng.beta(4, 2, len(rows)) * 380
    edges = change(np.stack([x, y, x + rng.uniform(60, 200, len(rows)), y + rng.uniform(10, 60, len(rows))], axis=1))
    table = pd.DataFrame(edges, pd.Index(rows, name="id"), list(EDGES))
    table["label"], table["score"] = rng.choice(["dim", "bright"], len(rows), p=[0.8, 0.2]), rng.beta(4, 2, len(rows))
    return resemblance.of_boxes(table, pd.DataFrame({"width": 640, "height": 480}, index=ids), ("bright", "dim"))


@pytest.mark.parametrize(
    "boxes_, change, seen",
    [
        (3, lambda e: e, False),
        (12, lambda e: e, True),
        (3, lambda e: e[:, [1, 0, 3, 2]], True),
        (3, lambda e: e / 2, True),
        (3, lambda e: 480 - e[:, [2, 3, 0, 1]], True),
    ],
    ids=["as they are", "four times as many", "x for y", "half the size", "turned over"],
)
def test_boxes(boxes_: int, change: Callable[[np.ndarray], np.ndarray], seen: bool):
    found = resemblance.compare(pictures(3, lambda e: e, 0), pictures(boxes_, change, 1))
    assert bool(found.doubts) == seen and not found.faults


@pytest.mark.slow
def test_a_run_s_submission_is_held_against_its_oof(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("regression", task="tabular", metric="mae")
    assert main(["submission", run]) == 0
    path = artifacts.submission_csv(run)
    capsys.readouterr()
    assert main(["guard", str(path)]) == 0
    assert "the out-of-fold predictions of toy/base" in capsys.readouterr().out
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([lines[0], *(f"{i},{1e3 * float(x)}" for i, x in (line.split(",") for line in lines[1:]))])
    )
    assert main(["guard", str(path)]) == 3
    assert "SUB-FAR: 'label' has another range" in capsys.readouterr().err
    assert main(["guard", str(path), "data/sample_submission.csv"]) == 0, "which the sample can't tell"
    Path("other.csv").write_bytes(path.read_bytes())
    assert main(["guard", "other.csv", "--competition", "toy"]) == 0, "nor the competition without the run"
    config = artifacts.run_yaml(run)
    config.write_text(config.read_text().replace("bag: 2", "bag: 3"))
    assert main(["guard", str(path)]) == 3, "the run as it was made"
    assert runs.identity(runs.made(run), ("fit", "predict")) == ledger.read()[0]["config"]
    config.unlink()
    lines = Path("data/train.csv").read_text().splitlines()
    Path("data/train.csv").write_text("\n".join(lines[:-1]))
    load.cache_clear()
    capsys.readouterr()
    assert main(["guard", str(path)]) == 0 and "RUN-DATA: the data changed" in capsys.readouterr().out
    assert main(["guard", "other.csv"]) == main(["guard", "other.csv", "x.csv", "--competition", "toy"]) == 2
