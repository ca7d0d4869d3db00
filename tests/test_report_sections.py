"""The sections of the page that are charts and tables: figures equal scikit-learn's, every kind, hostile names, sizes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects
import pytest
from conftest import KINDS, METRIC

from competition import artifacts, decide, folds, metrics, scoring
from competition.data import load
from competition.keys import MetricSpec
from competition.report import (
    audit,
    columns,
    curves,
    detections,
    errors,
    outcome,
    palette,
    parts,
    residuals,
    searches,
    together,
)  # fmt: skip
from competition.report.blocks import Chart, Grid
from competition.report.subject import Subject
from competition.standings import Standing
from competition.task import Rows

HOSTILE = ("<script>alert(1)</script>", "<b>bold</b>", "a \"quote\" & 'two'", "emoji 🦊 %{x}", "שלום עולם")
TAG = re.compile(r"<(?!br>|extra></extra>|/extra>)[^ ]")
FAST = ("binary", "regression", "boxes")
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("multiclass", "multilabel", "ordinal")]
OF_RUN = (curves, errors, residuals, detections, parts, columns)
OF_COMPETITION = (together, searches, audit)


def subject_of(
    competition, kind, n=240, classes=HOSTILE, wrong=0.3, views=("plain",), metric=None, names=("toy/base",)
):
    """A competition of made rows and out-of-fold predictions, scored as a run's are. wrong: share of rows without a clue."""
    if not Path("configs").exists():
        competition(kind, task="tabular" if kind != "boxes" else "detection")
    data, rng = load("toy"), np.random.default_rng(0)
    ids = pd.Index([f"{i:05d}" for i in range(n)], name="id")
    truth, classes = truth_of(kind, ids, classes, rng)
    outputs = classes if kind not in ("binary", "boxes") else data.problem.columns
    spec = MetricSpec(name=metric or METRIC[kind])
    problem = replace(data.problem, classes=classes if kind != "regression" else (), columns=outputs,
                      metric=metrics.get(spec, kind, classes, Path()))  # fmt: skip
    if kind == "binary":
        truth.columns = list(problem.columns)
    table = folds.FoldTable(pd.DataFrame({"fold": np.arange(n) % 3}, index=ids), False, "made")
    data = replace(data, problem=problem, train=Rows(pd.DataFrame(index=ids), truth))
    fold = table.table["fold"]
    standings = []
    for name in names:
        stack = {view: said_of(kind, truth, wrong, rng) for view in views}
        result = decided(stack, truth, fold, problem, nested=metric == "logloss")
        record = json.loads(json.dumps(scoring.score_record(problem, truth, fold, stack, result)))
        artifacts.write_table(artifacts.run_folder(name) / "oof.parquet", result.prediction)
        standings.append(Standing(name, "tabular", "scored", score=record["score"], std=record["std"],
                                  folds=record["folds"], record={"config": {}}, scored=record))  # fmt: skip
    return Subject(data, table, standings, standings)


def decided(stack, truth, fold, problem, nested):
    """By the ensemble's own code, or for speed by its plain mean, without an adjustment."""
    if nested:
        return decide.nested("views", stack, truth, fold, problem)
    plain = decide.equal(stack, problem)
    said, none = plain.combine(stack), dict.fromkeys(range(3))
    return decide.Nested(said, said, dict.fromkeys(range(3), plain), plain, none, None)


def truth_of(kind, ids, classes, rng):
    """[rows, columns] truth, and the classes."""
    n = len(ids)
    if kind == "boxes":
        corner = rng.integers(0, 40, (n, 2)).astype(float)
        table = pd.DataFrame(np.hstack([corner, corner + 20]), ids, ["x_min", "y_min", "x_max", "y_max"])
        table.insert(0, "label", rng.choice(classes, n))
        return table.assign(crowd=False), classes
    if kind == "regression":
        return pd.DataFrame(rng.normal(100, 20, (n, len(classes))), ids, list(classes)), classes
    if kind == "multilabel":
        return pd.DataFrame((rng.random((n, len(classes))) < 0.3).astype(float), ids, list(classes)), classes
    if kind == "binary":
        return pd.DataFrame({"yes": (rng.random(n) < 0.4).astype(float)}, ids), classes[:2]
    return pd.DataFrame(np.eye(len(classes))[rng.integers(0, len(classes), n)], ids, list(classes)), classes


def said_of(kind, truth, wrong, rng):
    """A prediction that knows the truth of some rows."""
    lost = rng.random(len(truth)) < wrong
    if kind == "boxes":
        moved = truth.drop(columns="crowd").assign(score=rng.random(len(truth)).round(3))
        moved.loc[lost, "label"] = rng.permutation(moved.loc[lost, "label"].to_numpy())
        near = moved[["x_min", "y_min", "x_max", "y_max"]] + rng.normal(0, 2, (len(truth), 4))
        extra = moved[::5].assign(score=0.4)
        return pd.concat([moved.assign(**near), extra])[["label", "score", "x_min", "y_min", "x_max", "y_max"]]
    if kind == "regression":
        return truth + rng.normal(0, 5, truth.shape)
    cells = np.where(lost[:, None], 0.5, truth.to_numpy()) + rng.gamma(1, 0.3, truth.shape)
    if kind in ("multiclass", "ordinal"):
        return pd.DataFrame(cells / cells.sum(axis=1, keepdims=True), truth.index, truth.columns)
    return pd.DataFrame((0.2 + cells).clip(0, 2) / 2.2, truth.index, truth.columns)


def sections_of(subject):
    found = [section for module in OF_COMPETITION for section in module.sections(subject)]
    for standing in subject.chosen:
        found += [section for module in OF_RUN for section in module.sections(subject, standing)]
    return found


def charts(sections):
    return [block for section in sections for block in section.blocks if isinstance(block, Chart)]


def drawn(chart):
    """Of what the browser gets, which has neither NaN nor Infinity. Plotly's own objects take 100 times as long."""
    return json.loads(chart.figure.to_json(), parse_constant=pytest.fail)


def traces(chart):
    return drawn(chart)["data"]


def strings(value):
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("kind", [*FAST, *SLOW])
def test_every_kind_has_its_sections_and_hostile_names_stay_text(competition, kind):
    subject = subject_of(competition, kind, views=("plain", "hflip"), names=("toy/base", "toy/two"))
    found = sections_of(subject)
    keys = [section.key for section in found if section.run == "toy/base"]
    own = {"regression": ["residuals"], "boxes": ["detections"]}.get(kind, ["confusion", "calibration", "roc"])
    assert keys[: 2 + len(own)] == ["curves", "folds", *own] and "views" in keys
    assert [section.key for section in found if section.run is None] == ["alike", "data"]
    for chart in charts(found):
        figure = drawn(chart)
        assert chart.title and chart.text and not {"width", "height"} & {*figure["layout"]}
        assert not [text for text in strings(figure) if TAG.search(text)], chart.title
        templates = [trace.get("hovertemplate", "") for trace in figure["data"]]
        assert not [t for t in templates if "🦊" in t or "bold" in t], chart.title
    words = " ".join(text for chart in charts(found) for text in strings(drawn(chart)))
    if kind not in ("binary", "regression"):  # of which the second class is drawn, and targets stand in titles
        assert "&lt;b&gt;bold&lt;/b&gt;" in words
    for grid in (block for section in found for block in section.blocks if isinstance(block, Grid)):
        assert all(len(row) == len(grid.columns) for row in grid.rows), grid.title
        assert all(np.isfinite(c) for row in grid.rows for c in row if isinstance(c, float)), grid.title


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "boxes"])
def test_plotly_knows_every_key_of_the_figures(competition, kind):
    for chart in charts(sections_of(subject_of(competition, kind, views=("plain", "hflip")))):
        plotly.graph_objects.Figure(chart.figure.to_plotly_json())  # raises where it does not


def test_figures_of_classes_equal_scikit_learn(competition):
    from sklearn import metrics as reference

    subject = subject_of(competition, "multiclass", n=500, metric="logloss")
    found = outcome.of(subject, subject.chosen[0])
    true, said = found.truth.argmax(axis=1), found.said.argmax(axis=1)
    assert (found.confusion == reference.confusion_matrix(true, said)).all()
    table = outcome.by_class(found)
    precision, recall, f1, rows = reference.precision_recall_fscore_support(true, said)
    for name, values in {"precision": precision, "recall": recall, "f1": f1, "rows": rows}.items():
        np.testing.assert_allclose(table[name], values)
    assert found.raw is not None and not np.allclose(found.raw, found.probability)  # it gains by a temperature
    for place in range(len(HOSTILE)):
        one, p = found.truth[:, place], found.probability[:, place]
        curve = outcome.ranked_curves(one, p)
        assert table["auc"].iloc[place] == pytest.approx(reference.roc_auc_score(one, p), abs=1e-12)
        assert curve["auc"] == pytest.approx(reference.roc_auc_score(one, p), abs=1e-12)
        assert curve["ap"] == pytest.approx(reference.average_precision_score(one, p), abs=1e-12)
        assert np.trapezoid(*curve["roc"][::-1]) == pytest.approx(curve["auc"], abs=0.003)
    weighted = (table["logloss"] * table["rows"]).sum() / 500
    assert weighted == pytest.approx(reference.log_loss(true, found.probability), abs=1e-9)
    assert weighted == pytest.approx(subject.chosen[0].score, abs=1e-9)


def test_figures_of_labels_equal_scikit_learn(competition):
    from sklearn import metrics as reference

    subject = subject_of(competition, "multilabel")
    found = outcome.of(subject, subject.chosen[0])
    table = outcome.by_class(found)
    np.testing.assert_allclose(table["f1"], reference.f1_score(found.truth, found.said, average=None))
    assert table["auc"].mean() == pytest.approx(subject.chosen[0].score)
    losses = [reference.log_loss(found.truth[:, j], found.probability[:, j]) for j in range(len(HOSTILE))]
    np.testing.assert_allclose(table["logloss"], losses)


def test_residuals_equal_scikit_learn(competition):
    from sklearn import metrics as reference

    subject = subject_of(competition, "regression")
    true, said = subject.truth, subject.decided(subject.chosen[0])
    table = residuals.by_target(true, said)
    np.testing.assert_allclose(table["R²"], reference.r2_score(true, said, multioutput="raw_values"))
    np.testing.assert_allclose(table["RMSE"], reference.root_mean_squared_error(true, said, multioutput="raw_values"))
    tenths = residuals.by_tenth(true[HOSTILE[0]], said[HOSTILE[0]])
    assert tenths["rows"].tolist() == [24] * 10
    assert ((tenths["RMSE"] ** 2).mean()) ** 0.5 == pytest.approx(table["RMSE"].iloc[0])


def undefined(kind, truth, said):
    """A class without rows, a class that is never said, a constant prediction."""
    if kind == "regression":
        return truth.assign(**{HOSTILE[0]: 3.0}), said.assign(**{HOSTILE[1]: 0.0})
    first = np.eye(truth.shape[1])[0] if truth.shape[1] > 1 and kind != "multilabel" else np.ones(truth.shape[1])
    return pd.DataFrame([first] * len(truth), truth.index, truth.columns), said * 0 + 1 / max(2, said.shape[1])


@pytest.mark.parametrize("kind", ["binary", "regression", *SLOW[:2]])
def test_what_is_undefined_is_left_out(competition, kind):
    subject = subject_of(competition, kind, n=30, metric="rmse" if kind == "regression" else "logloss")
    standing = subject.chosen[0]
    assert subject.data.train.truth is not None
    truth, said = undefined(kind, subject.truth, subject.oof(standing))
    artifacts.write_table(artifacts.run_folder("toy/base") / "oof.parquet", said)
    folds = dict.fromkeys(standing.folds)
    standing = replace(
        standing, folds=folds, scored=standing.scored | {"adjustments_by_fold": folds, "adjustment": None}
    )
    data = replace(subject.data, train=replace(subject.data.train, truth=truth))
    found = sections_of(Subject(data, subject.table, [standing], [standing]))
    for chart in charts(found):
        assert "nan" not in chart.text and "nan" not in chart.title, chart.text
        drawn(chart)
    for grid in (block for section in found for block in section.blocks if isinstance(block, Grid)):
        assert all(np.isfinite(c) for row in grid.rows for c in row if isinstance(c, float)), grid.title


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_figures_of_twenty_thousand_rows_stay_small(competition, kind):
    subject = subject_of(competition, kind, n=20_000, classes=tuple(f"class {n}" for n in range(40)), views=("plain",))
    found = charts(sections_of(subject))
    assert sum(len(chart.figure.to_json()) for chart in found) < 100_000
    assert max(len(trace["x"]) for chart in found for trace in traces(chart)) <= residuals.POINTS
    if kind == "multiclass":
        assert len(traces(next(c for c in found if c.title.startswith("Confusion")))[0]["z"]) == errors.WORST


def test_history_of_folds(competition, workspace):
    subject = subject_of(competition, "multiclass", n=30)
    folder = artifacts.run_folder("toy/base")
    for fold in ("fold2", "fold10"):
        lines = [{"step": 7, "loss": 9.0}]  # of a step
        lines += [
            {"step": 10 * e, "epoch": e, "loss": 1 / e, "lr": 0.1, **({"valid": 0.5} if e % 2 else {})}
            for e in range(1, 601)
        ]
        lines += [{"step": 6000, "note": "gone on from <last>"}]
        artifacts.write_text(folder / fold / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    section = next(iter(curves.sections(subject, subject.chosen[0])))
    loss, valid, rate, notes = section.blocks
    assert [trace["name"] for trace in traces(loss)] == ["fold2", "fold10"]
    assert traces(loss)[0]["x"][0] == 1 and traces(loss)[0]["x"][-1] == 600
    assert max(len(trace["x"]) for trace in traces(loss)) <= 300
    assert all(x % 2 for x in traces(valid)[0]["x"])
    assert len(traces(rate)) == 1  # both folds have the same
    assert notes.lines == ["fold2: gone on from <last>", "fold10: gone on from <last>"]


def test_members_of_a_blend(competition):
    subject = subject_of(competition, "multiclass", views=("toy/a<b>", "toy/c"))
    blend = replace(subject.chosen[0], record={"config": {"members": ["toy/a<b>", "toy/c"]}})
    section = next(parts.sections(subject, blend))
    gains, table, weights = section.blocks[:3]
    assert section.key == "members" and [row[0] for row in table.rows] == ["a<b>", "c"]
    assert traces(weights)[0]["z"] == [[0.5] * 4] * 2  # three folds and all rows
    worth = [values["gain"] for values in blend.scored["parts"].values()]
    assert traces(gains)[0]["x"] == palette.rounded(sorted(worth, reverse=True))


def test_search_of_a_run(competition):
    subject = subject_of(competition, "multiclass", n=30)
    folder = artifacts.run_folder("toy/base~tune")
    rows = []
    for n in range(9):
        score, stopped = 0.5 + n / 100, n % 3 == 2
        state, first = ("pruned", 1) if stopped else ("complete", 2)
        rows.append({"number": n, "state": state, "folds": first, "score": score, "seconds": 3, "reason": "",
                     "same as": None, "lr": 10.0**-n, "opt": "<b>" if n % 2 else "adam", "fold0": score,
                     "fold1": None if stopped else score})  # fmt: skip
    artifacts.write_text(folder / "trials.csv", pd.DataFrame(rows).to_csv(index=False))
    artifacts.write_json(folder / "importances.json", {"lr": 0.75, "opt": 0.25})
    history, worth, parallel, table = next(searches.sections(subject)).blocks
    best, whole, stopped = traces(history)
    assert whole["x"] == [0, 1, 3, 4, 6, 7] and stopped["x"] == [2, 5, 8] and "number 7" in history.text
    assert stopped["marker"]["symbol"] == "circle-open" and [*best["y"]] == palette.rounded(
        np.maximum.accumulate(whole["y"])
    )
    assert traces(worth)[0]["x"] == [0.75, 0.25]
    assert len(traces(parallel)) == 6 and traces(parallel)[-1]["x"] == [0, 0, 1]  # the best one, on top
    assert len(table.rows) == 9 and [column.name for column in table.columns][-3:] == ["lr", "opt", "reason"]
    (folder / "trials.csv").unlink()
    assert "make tune RUN=toy/base" in next(searches.sections(subject)).blocks[0].lines[0]


def test_columns_of_a_run(competition):
    subject = subject_of(competition, "multiclass", n=30)
    standing = subject.chosen[0]
    lines = [f"<b>{n},{0.3 / (n + 1)},0.01,{n}" for n in range(40)] + ["NA,,,50"]
    path = artifacts.run_folder("toy/base") / "importance.csv"
    artifacts.write_text(path, "column,permutation,std,shap\n" + "\n".join(lines) + "\n")
    shuffled, shap, table = next(columns.sections(subject, standing)).blocks
    assert len(traces(shuffled)[0]["x"]) == columns.DRAWN and traces(shuffled)[0]["x"][0] == 0.3
    assert shap.title.startswith("NA is worth most") and len(table.rows) == 41


def test_data_that_was_and_was_not_looked_at(competition, workspace):
    import cv2

    subject = subject_of(competition, "multiclass", n=30)
    assert "make check COMP=toy" in next(audit.sections(subject)).blocks[0].lines[0]
    note = {"severity": "warn", "code": "LBL-X", "what": "<b>", "count": 3, "examples": ["<i>", "b"], "mend": "mend"}
    record = {"made": "2026-11-21T00:00:00", "data": "other", "summary": ["60 rows"], "findings": [note]}
    artifacts.write_json(artifacts.check_folder("toy") / "findings.json", record)
    noise = np.random.default_rng(0).integers(0, 255, (400, 1500, 3)).astype(np.uint8)
    cv2.imwrite(str(artifacts.check_folder("toy") / "check.png"), noise)
    said, summary, table, picture = next(audit.sections(subject)).blocks
    assert "has changed" in said.lines[0] and summary.lines == ["60 rows"]
    assert table.rows == [("warn", "LBL-X", "<b>", 3, "<i>, b", "mend")]
    assert 1000 < len(picture.picture) <= audit.LARGE and "1 warn" in picture.text
