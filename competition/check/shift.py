"""Adversarial validation: how well a model tells test rows from training rows, by each source of what is known of them.

Sources: table columns; picture files (sides, bytes, format, EXIF note); colours (means, contrast, detail of a thumbnail);
forms (the lowest cosines of a thumbnail, no features of a trained network). AUC 0.5 is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.check import copies, seen
from competition.check.facts import Facts
from competition.check.leaks import ROWS, some, telling
from competition.check.notes import Note
from competition.data import Data
from competition.likeness import FEW, Told, tell
from competition.tabular import columns as typed
from competition.tabular.columns import Column

DRIFT = 0.7  # AUC of train against test, from which on it is told
LEAK = 0.9  # AUC, or rank correlation, of one property of the file alone with the target
TILES, NAMED = 8, 5
NAMES = ("form", "mode", "turned")  # properties that are names
NOUNS = {
    "columns": "table columns",
    "files": "the picture files",
    "colours": "colours and contrast",
    "forms": "coarse forms",
}
TABLE = "the CV score may not be that of test; folds: {scheme: test_like} scores the training rows most like it"
PICTURE = (
    "the CV score may not be that of test; look what differs: augmentation or one way of resizing may make them alike"
)


@dataclass(frozen=True)
class Source:
    """columns, files, colours or forms, and what a model tells by them."""

    name: str
    told: Told


def sources(data: Data, facts: Facts | None, columns: Sequence[Column]) -> list[Source]:
    """Those that can be told by; at most ROWS rows are looked at."""
    share = ROWS / (len(data.train) + len(data.test))
    train, test = (some(rows.table, max(1, int(share * len(rows)))) for rows in (data.train, data.test))
    used = [column for column in columns if column.type != "ignore"]
    tried = {"columns": (typed.read(train, used), typed.read(test, used), used)} if used else {}
    if facts is not None and data.test.pictures is not None:
        assert data.train.pictures is not None
        paths = [
            of[of.isin(facts.whole.index)] for of in (data.train.pictures[train.index], data.test.pictures[test.index])
        ]
        enough = min(map(len, paths)) >= FEW
        for name, known in (("files", files), ("colours", colours), ("forms", forms)) if enough else ():
            one, other = (known(facts, of) for of in paths)
            tried[name] = (one, other, [Column(c, "category" if c in NAMES else "number", "") for c in one])
    found = {name: tell(*of) for name, of in tried.items()}
    return [Source(name, told) for name, told in found.items() if told is not None]


def notes(data: Data, found: Sequence[Source]) -> Iterator[Note]:
    """TAB-DRIFT and IMG-DRIFT, with what tells, and the training pictures most and least like test."""
    for source in found:
        told = source.told
        if told.auc <= DRIFT:
            continue
        code = "TAB-DRIFT" if source.name == "columns" else "IMG-DRIFT"
        what = f"a model tells test from train by {NOUNS[source.name]} (AUC {told.auc:.3f}, 0.5 is none)"
        mend = TABLE if source.name == "columns" else PICTURE
        tiles: list[tuple[str, str]] = []
        if data.train.pictures is not None:
            ranked = told.likeness.sort_values(ascending=False, kind="stable")
            for name, part in (("most like test", ranked[: TILES // 2]), ("least", ranked[-TILES // 2 :])):
                tiles += [(data.train.pictures[i], f"{str(i)[-24:]}\n{name}, {p:.2f}") for i, p in part.items()]
        yield Note("warn", code, what, 0, told.by[:NAMED], mend, tiles=tuple(tiles))


def leaking(data: Data, facts: Facts) -> Iterator[Note]:
    """IMG-LEAK where a property of the file, not of what it shows, tells the target."""
    assert data.train.pictures is not None
    paths = some(data.train.pictures[data.train.pictures.isin(facts.whole.index)].to_frame("path"), ROWS)["path"]
    frame = files(facts, paths).drop(columns=["bytes", "bytes a pixel"])  # what is shown tells how well it packs
    kinds = [Column(c, "category" if c in NAMES else "number", "") for c in frame]
    of = "rank correlation" if data.problem.kind == "regression" else "AUC"
    for name, strength in telling(frame, kinds, data).items():
        if strength > LEAK:
            mend = "is it so in test? else a model learns the camera: resize all alike, convert them to one format"
            yield Note(
                "warn", "IMG-LEAK", f"the {name} of the file tells the target ({of} {strength:.3f})", 0, (name,), mend
            )


def files(facts: Facts, paths: pd.Series) -> pd.DataFrame:
    """By id, from the header and the size of the file."""
    table = facts.table.loc[paths]
    pixels = table["width"] * table["height"]
    known = {
        "width": table["width"], "height": table["height"], "width over height": table["width"] / table["height"],
        "bytes": table["size"], "bytes a pixel": table["size"] / pixels, "form": table["form"], "mode": table["mode"],
        "turned": "EXIF " + table["turned"].astype(str),
    }  # fmt: skip
    frame = pd.DataFrame({name: column.to_numpy() for name, column in known.items()}, index=paths.index)
    return frame.astype({name: "float64" for name in frame if name not in NAMES})


def colours(facts: Facts, paths: pd.Series) -> pd.DataFrame:
    """By id, from the thumbnail, 0..255."""

    def of(thumbnails: np.ndarray) -> np.ndarray:
        luma = thumbnails @ seen.LUMA
        mean, (down, across) = thumbnails.mean((1, 2)), np.gradient(luma, axis=(1, 2))
        spread = thumbnails.max(axis=3).astype(float) - thumbnails.min(axis=3)
        rim = np.concatenate([luma[:, 0], luma[:, -1], luma[:, :, 0], luma[:, :, -1]], axis=1).mean(axis=1)
        more = [luma.mean((1, 2)), luma.std((1, 2)), spread.mean((1, 2)), np.hypot(down, across).mean((1, 2)), rim]
        return np.column_stack([mean, *more])

    names = ["red", "green", "blue", "brightness", "contrast", "saturation", "detail", "brightness of the rim"]
    return pd.DataFrame(_each(facts, paths, of), index=paths.index, columns=names)


def forms(facts: Facts, paths: pd.Series) -> pd.DataFrame:
    """By id, the vectors that copies are looked up by."""
    vectors = _each(facts, paths, lambda thumbnails: seen.vectors(thumbnails, copies.ENDS[:1])[:, 0, 0])
    return pd.DataFrame(vectors, index=paths.index, columns=[f"wave {n}" for n in range(vectors.shape[1])]).astype(
        float
    )


def _each(facts: Facts, paths: pd.Series, of) -> np.ndarray:
    blocks = [paths.iloc[i : i + copies.BLOCK] for i in range(0, len(paths), copies.BLOCK)]
    return np.concatenate([of(facts.thumbnails(block)) for block in blocks])
