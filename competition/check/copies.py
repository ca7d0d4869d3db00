"""Pictures that are copies of one another: byte for byte, or after re-encoding, scaling, a change of brightness, cropping
by up to 15% a side, or mirroring. Found in two steps, in memory that grows with the pictures, not with their pairs.

1. Candidates: each picture, and 16 windows of it, is looked up among all whole pictures by its vector (seen.py). Pictures
   are dealt to the nearest of some of them (an inverted file); a look-up visits the 8 nearest piles.
2. Of those, one is laid on the other, first as thumbnails, then at 96 pixels from the files, and their detail compared.

On clothing10 with 200 seeded copies: docs/results.md, `make bench-check`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from competition import artifacts, locks, shaped
from competition.check import facts as picture_facts
from competition.check import seen
from competition.check.facts import Facts
from competition.decoding import Reading, decode, read
from competition.prefetch import ahead
from competition.task import Progress

CUTS = (0.0375, 0.1125)  # parts of a side that windows lack: none of up to 0.15 is off by more than 0.0375
ENDS = ((0.0, 1.0), *((low, 1 - high) for low, high in itertools.product(CUTS, repeat=2)))  # of one side
ASKED = (0, *(down * len(ENDS) + across for down, across in itertools.product(range(1, len(ENDS)), repeat=2)))
WINDOWS = np.array([(*down, *across) for down, across in itertools.product(ENDS, repeat=2)], np.float32)[list(ASKED)]
PILE, PILES = 256, 8  # pictures of a pile, piles that are visited
ALIKE = 0.9  # of vectors: 99% of seeded copies have more; two other pictures of ten have such a partner
# Pixels a side, the least correlation of detail, rounds of alignment, pairs at once: thumbnails, then the files.
LAID = ((picture_facts.SIDE, 0.68, 6, 512), (64, 0.85, 3, 32), (96, 0.92, 2, 16))
MOST = 20  # candidates of a picture
SMALLEST = 32  # pixels: pictures with a shorter side are held for copies only when they are equal
BLOCK = 1024  # pictures that are looked up at once
SEARCH = repr((CUTS, ALIKE, LAID, MOST, SMALLEST))  # what was found by other bounds is looked for anew
COLUMNS = ["first", "second", "likeness", "mirrored"]
Pictures = Callable[[np.ndarray], np.ndarray]  # positions -> their brightness [n, side, side]


def find(facts: Facts, progress: Progress) -> pd.DataFrame:
    """Pairs of paths: first, second, likeness (1 for equal files), mirrored; kept beside the facts until those change.

    Of equal files each is paired with the first of them, and only that one is compared with others.
    """
    whole = facts.whole
    path = facts.folder / f"copies-{artifacts.digest(SEARCH, *whole.index, *whole['digest'])}.parquet"
    with locks.locked(facts.folder, wait=-1):
        if not path.exists():
            pairs = _pairs(facts, whole, progress)
            for old in facts.folder.glob("copies-*.parquet"):
                old.unlink()
            artifacts.write_table(path, pairs)
        return artifacts.read_table(path)


def _pairs(facts: Facts, whole: pd.DataFrame, progress: Progress) -> pd.DataFrame:
    from threadpoolctl import threadpool_limits

    first = whole.groupby("digest", sort=False)["digest"].transform(lambda same: same.index[0])
    equal = pd.DataFrame({"first": first, "second": whole.index, "likeness": 1.0, "mirrored": False})
    single = whole[(first == whole.index) & (whole[["width", "height"]].min(axis=1) >= SMALLEST)]
    with threadpool_limits(1, "blas"):  # its threads and ours wait for each other: small products 7 times as slow
        near = _near(facts, single.index, progress)
    return pd.concat([equal[equal["first"] != equal["second"]], near], ignore_index=True)[COLUMNS]


def originals(pictures: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """By id: of equal files the path of the first, whether it is of these rows or not."""
    equal = pairs[pairs["likeness"] == 1]
    first = dict(zip(equal["second"], equal["first"], strict=True))
    return pictures.map(lambda path: first.get(path, path))


def groups(pictures: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """By id: the least id of the rows whose pictures are copies of one another, however many steps away.

    pictures: path by id. Pairs whose files are not among theirs don't count: test rows group nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pictures = originals(pictures, pairs)
    paths = pd.Index(pictures.unique())
    one, other = (paths.get_indexer(pd.Index(pairs[side])) for side in ("first", "second"))
    known = (one >= 0) & (other >= 0)
    graph = coo_array((np.ones(known.sum()), (one[known], other[known])), shape=(len(paths), len(paths)))
    component = connected_components(graph, directed=False)[1][paths.get_indexer(pd.Index(pictures))]
    ids = pictures.index.to_series().astype(str)
    return ids.groupby(component).transform("min").rename("group")


def _near(facts: Facts, paths: pd.Index, progress: Progress) -> pd.DataFrame:
    found = _candidates(facts, paths, progress)
    found = found.assign(**dict(zip("tblr", WINDOWS[found["window"] % len(WINDOWS)].T, strict=True)))

    for side, least, rounds, block in LAID:
        text = f"comparing like pictures at {side} pixels"

        def told(done: int, total: int, text: str = text) -> None:
            progress(done, total, text)

        def luma(positions: np.ndarray, side: int = side) -> np.ndarray:
            if side == picture_facts.SIDE:
                return facts.thumbnails(paths[positions]) @ seen.LUMA
            return np.stack([_luma(path, side, facts.reading) for path in paths[positions]])

        found = _laid(found, luma, least, block, rounds, told)
    likeness = found["likeness"].clip(upper=0.9999)  # 1 is said of equal files only
    return found.assign(first=paths[found["first"]], second=paths[found["second"]], likeness=likeness)


def _candidates(facts: Facts, paths: pd.Index, progress: Progress) -> pd.DataFrame:
    """first, second: positions in `paths`; window: of `first`, whose vector is nearest to that of `second`; alike.

    Window len(WINDOWS) is the whole, mirrored. A pair stands once, a picture in at most MOST.
    """
    blocks = [np.arange(i, min(i + BLOCK, len(paths))) for i in range(0, len(paths), BLOCK)]
    whole = [seen.vectors(facts.thumbnails(paths[rows]), ENDS[:1])[:, 0, 0] for rows in blocks]
    if not whole:
        return pd.DataFrame({"first": [], "second": [], "window": []}, dtype=int)
    vectors = np.concatenate(whole)
    centres = vectors[np.sort(np.random.RandomState(0).permutation(len(vectors))[: -(-len(vectors) // PILE)])]
    pile = np.concatenate([_nearest(part, centres, 1) for part in whole])[:, 0]
    members = [np.flatnonzero(pile == n) for n in range(len(centres))]

    def meet(rows: np.ndarray) -> pd.DataFrame:
        thumbnails = facts.thumbnails(paths[rows])
        windows = seen.vectors(thumbnails, ENDS).reshape(len(rows), len(ENDS) ** 2, -1)[:, ASKED]
        mirrored = seen.vectors(thumbnails[:, :, ::-1], ENDS[:1])[:, 0]
        return _best(_lookup(rows, np.concatenate([windows, mirrored], axis=1), vectors, centres, members))

    best = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows, found in zip(blocks, ahead(pool, meet, blocks, 4), strict=True):
            best.append(found)
            progress(int(rows[-1]) + 1, len(paths), "looking for like pictures")
    return _best(pd.concat(best))


def _nearest(vectors: np.ndarray, centres: np.ndarray, n: int) -> np.ndarray:
    """[vectors, n] the nearest centres, in no order."""
    n = min(n, len(centres))
    return np.argpartition(-(vectors @ centres.T), n - 1, axis=1)[:, :n]


def _lookup(
    rows: np.ndarray, asked: np.ndarray, vectors: np.ndarray, centres: np.ndarray, members: list[np.ndarray]
) -> pd.DataFrame:
    """Those of the nearest piles that are alike. asked: [rows, windows, 53]; members: positions of each pile."""
    count, asked = asked.shape[1], asked.reshape(-1, asked.shape[2])
    visited = _nearest(asked, centres, PILES)
    order = np.argsort(visited, axis=None, kind="stable")
    starts = np.searchsorted(visited.ravel()[order], np.arange(len(centres) + 1))
    parts = []
    for n, (start, end) in enumerate(itertools.pairwise(starts)):
        asking = order[start:end] // visited.shape[1]
        alike = asked[asking] @ vectors[members[n]].T
        row, column = np.nonzero(alike > ALIKE)
        parts.append((rows[asking[row] // count], members[n][column], asking[row] % count, alike[row, column]))
    first, second, window, alike = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = pd.DataFrame({"first": first, "second": second, "window": window, "alike": alike})
    return found[found["first"] != found["second"]]


def _best(found: pd.DataFrame) -> pd.DataFrame:
    """Each pair once, as it is most alike, and at most MOST of a picture."""
    found = found.sort_values(["alike", "first", "second"], ascending=[False, True, True], kind="stable")
    low, high = np.sort(found[["first", "second"]].to_numpy(), axis=1).T
    found = found[~pd.DataFrame({"low": low, "high": high}, found.index).duplicated().to_numpy()]
    return found[found.groupby("first").cumcount() < MOST].reset_index(drop=True)


def _laid(
    found: pd.DataFrame, pictures: Pictures, least: float, block: int, rounds: int, told: Callable[[int, int], None]
) -> pd.DataFrame:
    """Those pairs whose detail is `least` alike or more, with the windows (t, b, l, r) of `first` where they are most so."""

    def lay(some: pd.DataFrame) -> pd.DataFrame:
        mirrored = (some["window"] == len(WINDOWS)).to_numpy()
        positions, at = np.unique(some[["first", "second"]], return_inverse=True)
        luma = pictures(positions)[at.reshape(-1, 2)]
        one, other = np.where(mirrored[:, None, None], luma[:, 0, :, ::-1], luma[:, 0]), luma[:, 1]
        windows = seen.fitted(one, other, some[list("tblr")].to_numpy(), rounds)
        alike = seen.likeness(one, other, windows)
        some = some.assign(**dict(zip("tblr", windows.T, strict=True)), likeness=alike, mirrored=mirrored)
        return some[alike >= least]

    found = found.sort_values(["first", "second"], kind="stable")
    blocks = [found.iloc[i : i + block] for i in range(0, len(found), block)]
    kept = [found.iloc[:0].assign(likeness=0.0, mirrored=False)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for n, part in enumerate(ahead(pool, lay, blocks, 8)):
            kept.append(part)
            told(min((n + 1) * block, len(found)), len(found))
    return pd.concat(kept, ignore_index=True)


def _luma(path: str, side: int, reading: Reading) -> np.ndarray:
    picture = decode(read(path), side, reading)
    return shaped.fitted(picture, (side, side), "squash") @ seen.LUMA
