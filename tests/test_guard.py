"""The guard: no valid submission is refused, and how one was spoilt is seen, by the competition and by the sample alone."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corruptions import DOUBT, FAULT, KINDS, UNSEEN, Valid, text
from test_zoo import ZOO, entered
from zoo.entry import Entry

from competition import form, guard, hostread, submit
from competition.boxes.table import EDGES
from competition.data import Data, load

SEEDS = 3  # random predictions of each competition
FIRST = ("aerial-cactus-identification", "titanic")  # of which `make test` spoils files, of all others `make test-all`


def predicted(data: Data, seed: int) -> pd.DataFrame:
    """A random prediction of the test rows, as some model could make it."""
    rng, ids, columns = np.random.default_rng(seed), data.test.ids, list(data.problem.columns)
    if data.problem.kind == "boxes":
        return boxes(data, rng)
    if data.problem.kind in ("multiclass", "ordinal"):
        numbers = rng.dirichlet(np.ones(len(columns)), len(ids))
    elif data.problem.kind == "regression":
        truth = data.train.truth
        assert truth is not None
        numbers = truth.to_numpy(float)[rng.integers(len(truth), size=len(ids))] * rng.uniform(0.9, 1.1, (len(ids), 1))
    else:
        numbers = rng.random((len(ids), len(columns)))
    return pd.DataFrame(numbers, index=pd.Index(ids, name="id"), columns=columns)


def boxes(data: Data, rng: np.random.Generator) -> pd.DataFrame:
    """One to three boxes on two of three pictures."""
    assert data.test.sizes is not None
    ids = [i for i in data.test.ids if rng.random() < 0.67 or i == data.test.ids[0]]
    pictures = np.repeat(ids, rng.integers(1, 4, len(ids)))
    sizes = data.test.sizes.loc[pictures, ["width", "height"]].to_numpy(float)
    start = rng.uniform(0, 0.6, (len(pictures), 2)) * sizes
    edges = np.hstack([start, start + rng.uniform(0.1, 0.4, (len(pictures), 2)) * sizes])
    table = pd.DataFrame(edges, pd.Index(pictures, name="id", dtype="str"), list(EDGES))
    table.insert(0, "label", rng.choice(list(data.problem.classes), len(pictures)))
    table.insert(1, "score", rng.uniform(0.05, 0.99, len(pictures)))
    return table


def lines(content: bytes, delimiter: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=delimiter))


def level(verdict: guard.Verdict, before: guard.Verdict) -> str:
    """What is told of a file beyond what was told of the valid one."""
    if verdict.faults or verdict.unlike:
        return FAULT
    said = Counter(d.partition(":")[0] for d in verdict.doubts) - Counter(d.partition(":")[0] for d in before.doubts)
    return DOUBT if said else UNSEEN


def outcomes(data: Data, sample: Path, seed: int) -> dict[str, tuple[str, str]]:
    """kind -> what the competition tells of it, and what the sample alone; the valid file itself is without fault."""
    path, _ = submit.write(data, "zoo/tiny", predicted(data, seed))
    own, bare = guard.known(path), guard.alone(path, sample)
    assert not own.faults and not own.unlike and not bare.faults, (own.faults, own.unlike, bare.faults)
    split = hostread.delimiter_of(sample)
    valid = Valid(lines(path.read_bytes(), split), lines(sample.read_bytes(), split), data, form.infer(data))
    found = {}
    for kind, (spoil, *_) in KINDS.items():
        spoilt = spoil(valid)
        if spoilt is None or spoilt == valid.lines:
            continue
        other = Path("spoilt.csv")
        other.write_bytes(spoilt if isinstance(spoilt, bytes) else text(spoilt, split))
        found[kind] = level(guard.known(other, data.name), own), level(guard.alone(other, sample), bare)
    return found


@pytest.mark.parametrize(
    "entry", [pytest.param(e, id=e.slug, marks=() if e.slug in FIRST else pytest.mark.slow) for e in ZOO]
)
def test_every_kind_of_spoilt_file_is_seen_and_no_valid_one_refused(entry: Entry, workspace: Path):
    entered(entry)
    data = load("zoo")
    sample = Path(data.config.data) / data.config.sample
    for seed in range(SEEDS):
        found = outcomes(data, sample, seed)
        for kind, (known, alone) in found.items():
            print(f"{entry.slug}\t{kind}\t{known}\t{alone}")
        missed = [kind for kind, (known, _) in found.items() if known == UNSEEN]
        assert not missed, missed
        wanted = {k: (KINDS[k][1] or known, KINDS[k][2] or alone) for k, (known, alone) in found.items()}
        assert found == wanted
        assert len(found) >= 20
