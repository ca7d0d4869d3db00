"""How far `make plan NODES=` is from real runs: folds of the toy run, trained by 1 to 4 nodes of one core each.

    python -m benchmarks.plan_error [--engine ray] [--nodes 1 2 3 4] [--epochs 40]

Nodes are those of `ray.cluster_utils.Cluster` on this machine, or, with `--engine local`, so many processes. They share
its cores: more nodes than cores slow each other down, which a plan from the rates of one node can't know. So three figures
stand beside what a run took: planned, from one node's rates measured before (what NODES= says); planned there, from rates
measured on so many nodes at work; and dealt, from the seconds that its folds then took: the error of the queue's model.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.table import Table

from benchmarks import toy
from benchmarks.cluster import QUIET, begun
from competition import artifacts, board, config, plan, runs, scale
from competition.cluster import choice
from competition.engine import cores
from competition.local import Local
from competition.plan import Estimate
from competition.scale import Stage

FOLDS = 5
RUN = "toy/image"


@contextlib.contextmanager
def nodes_of(kind: str, count: int) -> Generator[str | None]:
    """The address of a cluster of so many nodes of one core; None: this machine's processes."""
    if kind == "local":
        yield None
        return
    from ray.cluster_utils import Cluster as Nodes

    there = Nodes()
    try:
        for _ in range(count):
            begun(there)
        yield there.address
    finally:
        there.shutdown()


def estimated(address: str | None, settings: str) -> tuple[Estimate, list[plan.Work]]:
    at = runs.look(config.load_run(RUN, settings))
    works = [plan.Work(work.rows, work.valid, work.test, ()) for work in plan.works(at, anew=True)]
    with board.board(), choice.asked("ray" if address else "local", address) or Local() as engine:
        return plan.estimate(at, engine), works


def trained(address: str | None, settings: str) -> tuple[float, list[float]]:
    """Seconds of the command from its start to its exit, and those of its folds."""
    shutil.rmtree(artifacts.run_folder(RUN), ignore_errors=True)
    place = ["--engine", "ray", "--address", address] if address else []
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "competition", "train", RUN, "--set", settings, *place], check=True)
    folds = [artifacts.run_folder(RUN) / f"fold{k}" / "fit.json" for k in range(FOLDS)]
    return time.monotonic() - began, [artifacts.read_json(path)["seconds"] for path in folds]


def compared(kind: str, counts: list[int], epochs: int) -> Table:
    title = (
        f"training {FOLDS} folds, {kind} engine, nodes that share {cores()} cores, load {os.getloadavg()[0]:.0f} before"
    )
    lines = Table("nodes", "took", "planned", "error", "planned there", "error", "dealt", "error", title=title)
    first: Estimate | None = None
    for nodes in counts:
        settings = f"jobs={nodes} epochs={epochs}"
        with nodes_of(kind, nodes) as address:
            with ProcessPoolExecutor(1, get_context("spawn")) as anew:  # its imports are part of what it tells
                found, works = anew.submit(estimated, address, settings).result()
            taken, folds = trained(address, settings)
        first = first or found
        told = (
            scale.wall(scale.of_run(first, works), nodes),
            scale.wall(scale.of_run(found, works), nodes),
            scale.wall([Stage(tuple(folds), found.ready + found.cost.start)], nodes),
        )
        cells = [cell for seconds in told for cell in (f"{seconds:.1f} s", f"{seconds / taken - 1:+.0%}")]
        lines.add_row(str(nodes), f"{taken:.1f} s", *cells)
        print(f"{nodes} nodes took {taken:.1f} s: {' '.join(cells)}; folds {folds}", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("local", "ray"), default="ray")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    os.environ |= QUIET | {"OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        toy.make(Path("."), FOLDS)
        board.console.print(compared(options.engine, options.nodes, options.epochs))


if __name__ == "__main__":
    main()
