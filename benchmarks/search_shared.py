"""A search that several workers share on PostgreSQL, some of them killed: are trials lost, stuck, or tried twice?

    python -m benchmarks.search_shared [--workers 4] [--kills 2] [--trials 12] [--seed 0]

A server of its own is started (benchmarks/postgres.py). Each worker is `make tune` as another machine would give it; kills
are SIGKILL, at random moments once trials have begun. A killed one is replaced where all would be killed otherwise. Trials
have their first sign of life at once and another one each second, and are missed after 8: as set, it would be 60 and 180.
The same search undisturbed, by one process with a file, is what values and scores are held equal to.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from optuna.trial import TrialState
from rich.table import Table

from benchmarks import postgres, toy
from competition import board
from competition.tuning import study

ROOT = Path(__file__).parents[1]
QUICK = (
    "import runpy; from competition.tuning import store, study; store.HEARTBEAT, store.GRACE, study.POLL = 1, 8, 0.2; "
    "runpy.run_module('competition', run_name='__main__')"
)
SEARCH = {"params.learning_rate": {"low": 0.02, "high": 0.3, "log": True}, "params.num_leaves": {"low": 4, "high": 31}}
TUNE = {"sampler": "random", "stop": "none", "finalists": 0}
PAUSE = (1.0, 6.0)  # seconds between two kills
LONGEST = 1800.0  # seconds, after which workers hang


def write(name: str, **tune: Any) -> str:
    """The run toy/<name>, of trials that take a few seconds."""
    run = toy.TABLE | {"params": {"num_iterations": 100}, "search": SEARCH, "tune": TUNE | tune}
    (Path("configs") / "toy" / f"{name}.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    return f"toy/{name}"


def begun(run: str, asked: int) -> subprocess.Popen:
    words = [sys.executable, "-c", QUICK, "tune", run, "--trials", str(asked)]
    with open("output.txt", "ab") as output:
        return subprocess.Popen(words, stdout=output, stderr=output)


def fits(run: str) -> int:
    return len(list(Path(f"runs/{run}~tune").glob("*/fold*/fit.json")))


def disturbed(run: str, asked: int, workers: int, kills: int, seed: int) -> list[int]:
    """Exit codes of the workers that were not killed."""
    rng, ends = random.Random(seed), time.monotonic() + LONGEST
    at_work = [begun(run, asked) for _ in range(workers)]
    while fits(run) < workers:
        assert time.monotonic() < ends and any(one.poll() is None for one in at_work), Path("output.txt").read_text()
        time.sleep(0.1)
    for n in range(kills):
        time.sleep(rng.uniform(*PAUSE))
        alive = [one for one in at_work if one.poll() is None]
        assert alive, f"the search ended after {n} kills; ask for more trials"
        killed = rng.choice(alive)
        killed.kill()
        killed.wait()
        at_work.remove(killed)
        if kills >= workers:
            at_work.append(begun(run, asked))
    return [one.wait(max(1.0, ends - time.monotonic())) for one in at_work]


def tried(run: str) -> list[tuple[float, ...]]:
    """Values and scores of the complete trials."""
    table = pd.read_csv(f"runs/{run}~tune/trials.csv")
    columns = [*SEARCH, *(f"fold{k}" for k in range(toy.FOLDS)), "score"]
    return sorted(table.loc[table["state"] == "complete", columns].itertuples(index=False, name=None))


def figures(run: str, url: str, asked: int) -> dict[str, Any]:
    every = study.found(run, url)
    complete = [t for t in every if t.state is TrialState.COMPLETE]
    failed = {t.number for t in every if t.state is TrialState.FAIL}
    retried = {number for t in every for number in t.system_attrs.get("retry_history", [])}
    return {
        "trials asked": asked,
        "complete": len(complete),
        "of different values": len({t.user_attrs["folder"] for t in complete}),
        "cut short": len(failed),
        "of these tried again": len(failed & retried),
        "left running": sum(t.state is TrialState.RUNNING for t in every),
        "put back, taken by one worker too many": sum(t.state is TrialState.WAITING for t in every),
        f"folds trained, of {asked * toy.FOLDS}": fits(run),
    }


def measured(workers: int, kills: int, asked: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work), postgres.serving() as server:
        os.environ |= {"PGPASSWORD": server.password, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        toy.make(Path("."))
        alone = begun(write("alone"), asked)
        assert alone.wait() == 0, Path("output.txt").read_text()
        run, began = write("shared", storage=server.url), time.monotonic()
        codes = disturbed(run, asked, workers, kills, seed)
        seconds = time.monotonic() - began
        assert set(codes) == {0}, Path("output.txt").read_text()
        return {"workers": workers, "killed": kills} | figures(run, server.url, asked) | {
            "seconds": round(seconds),
            "values and scores as undisturbed": "yes" if tried(run) == tried("toy/alone") else "no",
            "password in a file or a line": "yes" if _written(server.password) else "no",
        }  # fmt: skip


def _written(password: str) -> bool:
    return any(password.encode() in path.read_bytes() for path in Path(".").rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    table = Table("what", "figure", title="a search shared on PostgreSQL")
    for name, value in measured(options.workers, options.kills, options.trials, options.seed).items():
        table.add_row(name, str(value))
    board.console.print(table)


if __name__ == "__main__":
    main()
