"""Notes on labels: names that are twins but for their spelling, shares of the classes, and whether test has others."""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from competition import artifacts, prior
from competition.check.notes import Note, about
from competition.data import Data
from competition.split import labels_of

RARE = 0.1  # of the rows of the twin: a slip of the pen is seldom
LETTERS = 4  # of a name; shorter ones differ by one letter anyway
MOVED, SPREADS = 0.05, 4.0  # share of a class, and standard deviations of it, from which on test has another one


def notes(data: Data) -> Iterator[Note]:
    yield from twins(count(data))
    yield from shares(data)


def described(data: Data) -> str:
    """The shares of the commonest and the rarest class; of labels, in rows; empty for regression."""
    counts = count(data)
    if not len(counts):
        return ""
    of = "boxes" if data.config.kind == "boxes" else "rows"
    share = counts / (counts.sum() if of == "boxes" else len(data.train))
    if counts.min() == counts.max():
        named = f"{len(counts)} classes, each" if len(counts) > 1 else f"1 class, {counts.index[0]!r},"
        return f"{named} with {share.iloc[0]:.2%} of the training {of} ({counts.iloc[0]:,.0f})"
    most, least = (f"{label!r} has {share[label]:.2%}" for label in (counts.idxmax(), counts.idxmin()))
    return f"{len(counts)} classes: {most} of the training {of}, {least} ({counts.min():,.0f})"


def count(data: Data) -> pd.Series:
    """Label -> training rows (of boxes: boxes); none for regression."""
    if data.config.kind == "regression":
        return pd.Series(dtype=int)
    if data.config.kind == "boxes":
        assert data.train.truth is not None
        return data.train.truth["label"].value_counts()
    labels = labels_of(data.train, data.config.kind)
    told = labels.columns if data.config.kind != "binary" else pd.Index(data.problem.classes)
    return labels.set_axis(told, axis=1).sum()


def twins(counts: pd.Series) -> Iterator[Note]:
    """LABEL-TYPO: names alike but for case, blanks and accents' codes, or one letter where one of them is rare."""
    names, rows = counts.index.astype(str), counts.to_numpy()
    spelled = [plain(name) for name in names]
    often, found = collections.Counter(spelled), []
    for i, j in near(spelled):
        one, other, (few, many) = spelled[i], spelled[j], sorted((rows[i], rows[j]))
        alone = often[one] == often[other] == 1  # else its twin is known
        if one == other or (alone and 0 < few <= RARE * many and slip(one, other)):
            found.append(f"{names[i]!r} ({rows[i]:,.0f}) and {names[j]!r} ({rows[j]:,.0f})")
    if found:
        mend = "if they are one class, write one name in train (nothing is merged unasked)"
        yield about("warn", "LABEL-TYPO", "labels are spelling twins", found, mend)


def near(names: Sequence[str]) -> list[tuple[int, int]]:
    """Places of names that are the same, or the same once each has lost a letter at most; of 80,000, seconds."""
    alike = collections.defaultdict(list)
    for i, name in enumerate(names):
        letters = [at for at, letter in enumerate(name) if not letter.isdigit()] if len(name) >= LETTERS else []
        for short in {name, *(name[:at] + name[at + 1 :] for at in letters)}:
            alike[short].append(i)
    return sorted({pair for places in alike.values() for pair in combinations(places, 2)})


def plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())


def slip(one: str, other: str) -> bool:
    """Whether one letter was added, lost, changed, or changed places with the next; a digit is no slip, nor is a letter
    before the word (typical and atypical)."""
    if min(len(one), len(other)) < LETTERS or abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    if any(c.isdigit() for c in a[:1] + b[:1]) or (start == 0 and len(one) != len(other)):
        return False
    swapped = len(a) > 1 and a[:2] == b[1::-1] and a[2:] == b[2:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or swapped


def shares(data: Data) -> Iterator[Note]:
    """PRIOR-SHIFT where the test predictions of the best run tell of other shares of the classes than train has."""
    run = best_run(data)
    if run is None or data.problem.kind in ("regression", "boxes"):
        return
    truth, test = data.train.truth, artifacts.read_table(artifacts.run_folder(run) / "test.parquet")
    assert truth is not None
    shift = prior.estimated(test[list(data.problem.columns)], data.problem, truth)
    moved = shift.test - shift.train
    spread = np.sqrt(shift.train * (1 - shift.train) * (1 / len(test) + 1 / len(truth)))
    odd = np.flatnonzero(np.abs(moved) > np.maximum(MOVED, SPREADS * spread))
    if len(odd):
        names = [
            f"{shift.columns[i]}: {shift.train[i]:.1%} -> {shift.test[i]:.1%}"
            for i in odd[np.argsort(-np.abs(moved[odd]))]
        ]
        what = f"test has other shares of the classes than train, as {run} predicts them"
        yield about("warn", "PRIOR-SHIFT", what, names, "prior: estimate corrects what is submitted")


def best_run(data: Data) -> str | None:
    """The run of the best score on these tables that has test predictions."""
    folders = artifacts.run_folder(data.name).glob("*/score.json")
    scored = {}
    for path in folders:
        run = path.parent
        if (run / "test.parquet").exists() and artifacts.read_json(run / "run.json")["data"] == data.hash:
            scored[f"{data.name}/{run.name}"] = artifacts.read_json(path)["score"]
    best = max if data.problem.metric.greater else min
    return best(scored, key=lambda name: scored[name]) if scored else None
