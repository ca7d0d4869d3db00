"""Which out-of-fold rows a run gets most wrong, and which it is most sure of although it is wrong.

The first show what is hard, the second what may be labelled wrongly: a model that never saw a row and is as sure of another
class as it is of that class's own rows has a point (confident learning: Northcutt, Jiang and Chuang 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from competition import kinds, metrics
from competition.boxes.matching import match
from competition.boxes.sheet import IOU, Judged, by_picture, judge
from competition.formulas import EPSILON
from competition.task import Problem, pick

SURE, MISTAKE, UNSURE, RIGHT = "confident mistake", "mistake", "unsure", "right"
LOW, HIGH = "too low", "too high"
MISSED, FALSE, BOTH = "missed boxes", "false boxes", "missed and false boxes"
HIGHEST, OF_CLASS = "highest loss", "surest of its class"
IN_TURN = {"multilabel": "surest of its label", "regression": "worst of its range"}
LOSSES = {"regression": "error", "boxes": "1 - F1"}  # log loss of the others
BANDS = 5  # of a target's values, each with as many rows
NAMED = 3  # classes or targets that a text names
SOFT = 0.05  # share of a soft label from which on it is named
Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # loss, confidence, kind, about; [n] each


def worst(
    problem: Problem,
    truth: pd.DataFrame,
    prediction: pd.DataFrame,
    fold: pd.Series,
    most: int,
    decided: pd.DataFrame | None = None,
    in_turn: int = 0,
) -> pd.DataFrame:
    """Rows by id, the greatest loss first, equal ones in the order of `fold`, of boxes that with more
    faults; columns truth and predicted (text), those of
    `judged`, and why: `highest loss` of the first `most`, of the up to `in_turn` mistakes beside them what they are the
    worst of, so that no class fills all of it.

    Tables as `judged` takes them.
    """
    if problem.kind == "boxes":
        matched = found(truth, prediction)
        return chosen(problem, judged_boxes(problem, matched, fold), matched.truth, matched.prediction, most, in_turn)
    said = prediction if decided is None else decided
    return chosen(problem, judged(problem, truth, prediction, fold, decided), truth, said, most, in_turn)


def found(truth: pd.DataFrame, prediction: pd.DataFrame) -> Judged:
    """Boxes matched at IoU 0.5, those that count by the score of the greatest F1, as in the run's worst.png."""
    return judge(truth, prediction, match(truth, prediction, [IOU]))


def chosen(
    problem: Problem, table: pd.DataFrame, truth: pd.DataFrame, said: pd.DataFrame, most: int, in_turn: int
) -> pd.DataFrame:
    """What `worst` returns, of rows that are judged already. said: what decisions are made of; of boxes those that count."""
    table = table.iloc[np.argsort(-table["loss"].to_numpy(), kind="stable")]
    first = np.arange(len(table)) < most
    first[np.flatnonzero(~first)[by_turns(table[~first], in_turn)]] = True
    table = table[first]
    table = table.assign(why=np.where(np.arange(len(table)) < most, HIGHEST, IN_TURN.get(problem.kind, OF_CLASS)))
    return pd.concat([described(problem, table, pick(truth, table.index), pick(said, table.index)), table], axis=1)


def pairs(problem: Problem, table: pd.DataFrame, said: pd.DataFrame, most: int) -> pd.DataFrame:
    """The commonest mistakes between classes: truth, predicted, rows, share (of the rows of that truth), confident (rows of
    them that are confident mistakes), confidence (mean). table, said: as `chosen` takes them; not of labels and values."""
    chosen = metrics.labels(problem.metric, problem.kind, said.loc[table.index, list(problem.columns)].to_numpy(float))
    wrong = table.assign(said=chosen, sure=table["kind"] == SURE)[table["about"].to_numpy() != chosen]
    counts = wrong.groupby(["about", "said"]).agg(
        rows=("loss", "size"), confident=("sure", "sum"), confidence=("confidence", "mean")
    )
    counts = counts.sort_values(["rows", "confidence"], ascending=False, kind="stable").head(most).reset_index()
    names = np.array(problem.classes, dtype=object)
    share = counts["rows"] / table["about"].value_counts().reindex(counts["about"]).to_numpy()
    return counts.assign(truth=names[counts["about"]], predicted=names[counts["said"]], share=share)[
        ["truth", "predicted", "rows", "share", "confident", "confidence"]
    ]


def by_turns(table: pd.DataFrame, most: int) -> np.ndarray:
    """Places of mistakes: of each `about` the surest (without confidence: the worst), then of each the second, and so on."""
    surest = table["confidence"].fillna(0.0).to_numpy()
    wrong = np.flatnonzero(~table["kind"].isin([RIGHT, UNSURE]))
    order = wrong[np.lexsort((-table["loss"].to_numpy()[wrong], -surest[wrong]))]
    turn = table["about"].iloc[order].groupby(table["about"].iloc[order].to_numpy()).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")][:most]


def judged(
    problem: Problem,
    truth: pd.DataFrame,
    prediction: pd.DataFrame,
    fold: pd.Series,
    decided: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Every row of `fold`, in its order: loss, confidence, fold, kind, about (the class, label or target that it is filed
    under, by its place).

    truth, prediction: [rows, problem.columns], or tables of boxes; decided: the same adjusted, where decisions are made of
    that. loss: log loss, of labels its mean over them; absolute error, of several targets the mean of each in standard
    deviations of its truth; of boxes 1 - F1 of the picture. confidence: the probability of what is said, of labels that of
    the surest wrong one, of boxes the score of the surest wrong one; nan where there is none. kind: of classes and labels
    `confident mistake` where the wrong one is at least as probable as it is, in the mean, on rows that do have it.
    """
    if problem.kind == "boxes":
        return judged_boxes(problem, found(truth, prediction), fold).loc[fold.index]
    said = prediction if decided is None else decided
    tables = [table.loc[fold.index, list(problem.columns)].to_numpy(float) for table in (truth, prediction, said)]
    return _table(fold, *JUDGES[problem.kind](problem, *tables))


def judged_boxes(problem: Problem, found: Judged, fold: pd.Series) -> pd.DataFrame:
    """`judged` of boxes that are matched, the worst picture first as in worst.png. about: the class of the surest wrong box,
    else that of a missed one, else the first."""
    counts = by_picture(found, fold.index)
    ids = counts.index
    missed, false = counts["missed"].to_numpy() > 0, counts["wrong"].to_numpy() > 0
    kind = np.select([missed & false, missed, false], [BOTH, MISSED, FALSE], RIGHT).astype(object)
    wrong = found.prediction[~found.prediction["right"]].sort_values("score", ascending=False, kind="stable")
    filed = pd.concat([wrong["label"], found.truth.loc[~found.truth["found"], "label"]])
    names = filed[~filed.index.duplicated()].reindex(ids)
    surest = wrong["score"][~wrong.index.duplicated()].reindex(ids)
    about = pd.Index(problem.classes).get_indexer(names).clip(0)
    return _table(fold.loc[ids], 1 - counts["f1"].to_numpy(), surest.to_numpy(float), kind, about)


def _table(
    fold: pd.Series, loss: np.ndarray, confidence: np.ndarray, kind: np.ndarray, about: np.ndarray
) -> pd.DataFrame:
    columns = {"confidence": confidence, "loss": loss, "fold": fold.to_numpy(), "kind": kind, "about": about}
    return pd.DataFrame(columns, fold.index)


def _classes(problem: Problem, truth: np.ndarray, prediction: np.ndarray, decided: np.ndarray) -> Columns:
    true, said = kinds.hard(problem.kind, truth), metrics.labels(problem.metric, problem.kind, decided)
    if problem.kind == "binary":
        truth, prediction = np.hstack([1 - truth, truth]), np.hstack([1 - prediction, prediction])
    prediction = prediction / prediction.sum(axis=1, keepdims=True)
    loss = -(truth * np.log(prediction.clip(EPSILON, 1 - EPSILON))).sum(axis=1)
    rows, n = np.arange(len(truth)), truth.shape[1]
    confidence, given = prediction[rows, said], prediction[rows, true]
    usual = np.bincount(true, given, n) / np.bincount(true, minlength=n).clip(1)
    return loss, confidence, _kinds(said != true, confidence >= usual[said]), true


def _labels(problem: Problem, truth: np.ndarray, prediction: np.ndarray, decided: np.ndarray) -> Columns:
    true, said = kinds.hard("multilabel", truth), metrics.labels(problem.metric, "multilabel", decided)
    clipped = prediction.clip(EPSILON, 1 - EPSILON)
    loss = -(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)).mean(axis=1)
    wrong, sure = said != true, 1 - np.abs(said - prediction)  # probability of each label as it is said
    usual = [((1 - np.abs(true - prediction)) * of).sum(axis=0) / of.sum(axis=0).clip(1) for of in (1 - true, true)]
    certain = sure.mean(axis=1)
    off = wrong.any(axis=1)
    confident = np.where(
        off, (wrong & (sure >= np.where(said, usual[1], usual[0]))).any(axis=1), certain >= certain.mean()
    )
    worst_label = np.where(wrong, 1 + sure, np.abs(true - prediction))
    confidence = np.where(off, worst_label.max(axis=1) - 1, np.nan)
    return loss, confidence, _kinds(off, confident), worst_label.argmax(axis=1)


def _kinds(wrong: np.ndarray, confident: np.ndarray) -> np.ndarray:
    return np.where(wrong, np.where(confident, SURE, MISTAKE), np.where(confident, RIGHT, UNSURE)).astype(object)


def _values(problem: Problem, truth: np.ndarray, prediction: np.ndarray, decided: np.ndarray) -> Columns:
    """about: of one target the fifth of its values that the row lies in, of several the one that is furthest off."""
    n, several = truth.shape[0], truth.shape[1] > 1
    spread = truth.std(axis=0)
    error = (prediction - truth) / (np.where(spread > 0, spread, 1.0) if several else 1.0)
    furthest = np.abs(error).argmax(axis=1)
    signed = error[np.arange(n), furthest]
    band = truth[:, 0].argsort(kind="stable").argsort() * BANDS // max(1, n)
    kind = np.select([signed < 0, signed > 0], [LOW, HIGH], RIGHT).astype(object)
    return np.abs(error).mean(axis=1), np.full(n, np.nan), kind, furthest if several else band


def described(problem: Problem, table: pd.DataFrame, truth: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """truth and predicted of some judged rows, as a person reads them. said: the decided prediction of these rows."""
    columns = list(problem.columns)
    if problem.kind == "boxes":
        texts = _counted(problem, truth, table.index), _counted(problem, said, table.index)
    elif problem.kind == "regression":
        texts = _numbers(columns, table, truth), _numbers(columns, table, said)
    elif problem.kind == "multilabel":
        texts = _sets(problem, truth[columns].to_numpy(float), said[columns].to_numpy(float))
    else:
        texts = _names(problem, truth[columns].to_numpy(float), said[columns].to_numpy(float))
    return pd.DataFrame(dict(zip(("truth", "predicted"), texts, strict=True)), table.index, dtype=object)


def _names(problem: Problem, truth: np.ndarray, said: np.ndarray) -> tuple[list[str], list[str]]:
    """Of a soft label its classes with their shares."""
    true, chosen = kinds.hard(problem.kind, truth), metrics.labels(problem.metric, problem.kind, said)
    shares = np.hstack([1 - truth, truth]) if problem.kind == "binary" else truth
    given = [
        problem.classes[k] if row[k] == row.sum() else _parts(problem.classes, row)
        for k, row in zip(true, shares, strict=True)
    ]
    return given, [problem.classes[k] for k in chosen]


def _parts(classes: Sequence[str], shares: np.ndarray) -> str:
    order = [k for k in np.argsort(-shares, kind="stable")[:NAMED] if shares[k] >= SOFT]
    return ", ".join(f"{classes[k]} {shares[k]:.2f}" for k in order)


def _sets(problem: Problem, truth: np.ndarray, said: np.ndarray) -> tuple[list[str], list[str]]:
    """The labels that a row has, and of what is said only the difference: `+` those that it lacks, `-` those left out."""
    true, chosen = kinds.hard("multilabel", truth), metrics.labels(problem.metric, "multilabel", said)
    names = np.array(problem.columns, dtype=object)
    given = [some(names[row == 1]) or "no label" for row in true]
    signed = [np.where(row > 0, "+", "-").astype(object) + names for row in chosen - true]
    return given, [some(s[d != 0], " ") or "as labelled" for s, d in zip(signed, chosen - true, strict=True)]


def some(names: Sequence[str], comma: str = ", ") -> str:
    """The first few of them, and how many more there are."""
    more = f"{comma}and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return comma.join(names[:NAMED]) + more


def _numbers(columns: list[str], table: pd.DataFrame, values: pd.DataFrame) -> list[str]:
    """The value, or the target that is furthest off with its value."""
    if len(columns) == 1:
        return [number(value) for value in values[columns[0]]]
    cells = values[columns].to_numpy(float)
    return [f"{columns[k]} {number(row[k])}" for k, row in zip(table["about"], cells, strict=True)]


def number(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _counted(problem: Problem, boxes: pd.DataFrame, ids: pd.Index) -> list[str]:
    """How many boxes of each class a picture has, in the order of the classes."""
    counts = {name: part["label"].value_counts() for name, part in boxes.groupby(level=0)}
    told = {name: [f"{n[label]} {label}" for label in problem.classes if label in n] for name, n in counts.items()}
    return [some(told.get(name, [])) or "no box" for name in ids]


JUDGES = {
    "multiclass": _classes,
    "ordinal": _classes,
    "binary": _classes,
    "multilabel": _labels,
    "regression": _values,
}
