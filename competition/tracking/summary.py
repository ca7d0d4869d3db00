"""What services show of a scored run: the figures of `make compare`, its worst rows, what its classes are taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from competition import folds, metrics, mistakes
from competition.data import load
from competition.report import thumbnails
from competition.report.subject import Subject
from competition.standings import Standing, standings

WORST = 100  # rows of the table
CURVE = 10_000  # rows at most that curves are drawn from
CLASSES = 50  # at most of a matrix or of curves; more can't be read


@dataclass(frozen=True, eq=False)
class Classes:
    """truth, said: [rows] class of each by its place among `names`; true: of some of them, at most 10,000, whose
    probabilities are [rows, classes]."""

    names: tuple[str, ...]
    truth: np.ndarray
    said: np.ndarray
    true: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Summary:
    """standing: as `make compare` shows it. pictures: of the rows of `worst` (WebP bytes), by id; empty where the
    competition has none. matched: None where rows have no one class, or there are too many classes to be seen.
    """

    standing: Standing
    worst: pd.DataFrame
    pictures: Mapping[str, bytes]
    matched: Classes | None = None

    def figures(self) -> dict[str, Any]:
        """Plain numbers and text by name; what is not known is left out, and so is what another run would change: gap to the
        best, public score. seconds: training of all folds.
        """
        run, score = self.standing, self.standing.scored
        if run.state != "scored":
            return {"state": run.state, "note": run.note}
        known = {
            "score": run.score, "std": run.std, "seconds": run.seconds, "parameters": run.parameters, "epochs": run.epochs,
            "hours": None if run.seconds is None else run.seconds / 3600,
            **{key: score[key] for key in ("metric", "rows", "in_sample", "mean")},
        }  # fmt: skip
        by_fold = {f"score_{fold}": value for fold, value in run.folds.items()}
        weights = {f"weight/{name}": part["weight"] for name, part in score["parts"].items()}
        return {key: value for key, value in (known | by_fold | weights).items() if value is not None}


def of(run: str) -> Summary:
    """Raises Fault where the competition's files can't be read."""
    data = load(run.partition("/")[0])
    found = standings(data.name, data.hash)
    (standing,) = (one for one in found if one.name == run)
    if standing.state != "scored":
        return Summary(standing, pd.DataFrame(), {})
    subject = Subject(data, folds.load(data), found, (standing,))
    worst = mistakes.worst(
        subject.problem, subject.truth, subject.oof(standing), subject.fold, WORST, _decided(subject, standing)
    )
    return Summary(standing, worst, _pictures(subject, standing, worst), _classes(subject, standing))


def _decided(subject: Subject, standing: Standing) -> pd.DataFrame | None:
    return None if subject.problem.kind == "boxes" else subject.decided(standing)


def _pictures(subject: Subject, standing: Standing, worst: pd.DataFrame) -> dict[str, bytes]:
    """Those that can be shown, of boxes with the true and the predicted ones."""
    rows, reading = subject.data.train, subject.problem.reading
    if rows.pictures is None:
        return {}
    if subject.problem.kind == "boxes":
        found = mistakes.found(subject.truth, subject.oof(standing))
        shown = {
            name: thumbnails.with_boxes(rows, found, name, subject.problem.classes, reading) for name in worst.index
        }
    else:
        shown = {name: thumbnails.of_file(rows.pictures[name], reading) for name in worst.index}
    return {name: one.picture for name, one in shown.items() if one.picture is not None}


def _classes(subject: Subject, standing: Standing) -> Classes | None:
    """Soft labels count as their likeliest class."""
    problem = subject.problem
    if problem.kind not in ("multiclass", "ordinal", "binary") or len(problem.classes) > CLASSES:
        return None
    tables = (subject.truth, subject.oof(standing), subject.decided(standing))
    truth, oof, decided = (table[list(problem.columns)].to_numpy(float) for table in tables)
    said = np.asarray(metrics.labels(problem.metric, problem.kind, decided)).reshape(len(truth)).astype(int)
    if problem.kind == "binary":
        true, probabilities = (truth[:, 0] > 0.5).astype(int), np.hstack([1 - oof, oof])
    else:
        true, probabilities = truth.argmax(axis=1), oof
    some = np.random.default_rng(0).permutation(len(true))[:CURVE]
    return Classes(problem.classes, true, said, true[some], probabilities[some])
