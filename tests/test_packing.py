"""How many folds share a device: the choice by figures, and the measuring for real, on the cores of a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from competition import artifacts, cli, packing, runs, train
from competition.config import load_run
from competition.engine import Demand
from competition.local import Local
from competition.packing import Pace


@pytest.mark.parametrize(
    "rates, count",
    [([100], 1), ([100, 190, 300], 4), ([100, 190, 195], 2), ([100, 105, 108], 1), ([100, 60], 1), ([100, 0.0], 1)],
)
def test_more_processes_must_be_faster_together(rates: list[float], count: int):
    assert packing.choice([Pace(n, rate, 0.1) for n, rate in zip((1, 2, 4), rates, strict=False)]) == count


def test_without_a_gpu_or_with_jobs_nothing_is_measured(competition: Callable[..., str]):
    run = load_run(competition("multiclass"), "device=cpu jobs=null")
    with runs.opened(run) as at, Local() as engine:
        assert packing.chosen(at, engine, 2) == Demand("cpu")
        given = run.model_copy(update={"jobs": 3})
        assert packing.chosen(runs.look(given), engine, 2) == Demand("cpu", 3)
        assert engine.pool is None
        assert not (at.folder / packing.FILE).exists()


@pytest.mark.slow
def test_processes_are_measured_together_and_leave_nothing_behind(
    competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    run = load_run(competition("multiclass"))
    with runs.opened(run) as at, Local() as engine:
        train.prepare(at)
        before = sorted(Path("runs/toy/base").rglob("*"))
        found = packing.measured(run, at.splits[0], engine, Demand("cpu"), 1, (1, 2), 10**9)
        assert [pace.count for pace in found] == [1, 2]
        assert all(pace.rate > 0 and 0 < pace.need < packing.ROOM for pace in found)
        assert sorted(Path("runs/toy/base").rglob("*")) == before
        assert len(packing.measured(run, at.splits[0], engine, Demand("cpu"), 1, (1, 2), 1)) == 1, (
            "soon done: no more is tried"
        )


@pytest.mark.slow
def test_folds_in_sequence_and_in_parallel_with_and_without_workers_give_the_same_bytes(
    competition: Callable[..., str],
):
    """`jobs=1` is one thread here, as a worker process has (conftest)."""
    run = competition("multiclass", run="epochs=2 mixup=0.4 cutmix=1.0 drop=0.1", folds={"n": 3})
    made = {}
    for jobs in (1, 2):
        for workers in (0, 2):
            name = f"toy/jobs{jobs}-workers{workers}"
            assert cli.main(["submission", run, "--set", f"jobs={jobs} workers={workers}", "--as", name]) == 0
            paths = [Path("runs", name, f) for f in ("oof.parquet", "test.parquet")]
            made[name] = [artifacts.file_digest(path) for path in paths]
    first = next(iter(made.values()))
    assert all(digests == first for digests in made.values()), made
