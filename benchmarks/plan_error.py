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
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from rich.table import Table

from benchmarks import toy
from competition import artifacts, board, config, plan, runs, scale, train
from competition.engine import Engine, cores
from competition.plan import Estimate
from competition.scale import Stage

FOLDS = 5
RUN = "toy/image"


@contextlib.contextmanager
def engine_of(kind: str, nodes: int) -> Generator[Engine]:
    if kind == "local":
        from competition.local import Local

        with Local() as engine:
            yield engine
        return
    from ray.cluster_utils import Cluster as Nodes

    from competition.cluster.engine import Cluster

    one = {"num_cpus": 1, "object_store_memory": 100 << 20}
    there = Nodes(initialize_head=True, head_node_args=one | {"include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            there.add_node(**one)
        there.wait_for_nodes()
        with Cluster(there.address) as engine:
            yield engine
    finally:
        there.shutdown()


def measured(engine: Engine, nodes: int, epochs: int) -> tuple[Estimate, list[plan.Work], float, list[float]]:
    """What is estimated, of which folds; seconds that training them took, and each of them."""
    run = config.load_run(RUN, f"jobs={nodes} epochs={epochs}")
    shutil.rmtree(artifacts.run_folder(RUN), ignore_errors=True)
    at = runs.look(run)
    works = [plan.Work(work.rows, work.valid, work.test, ()) for work in plan.works(at, anew=True)]
    found = plan.estimate(at, engine)
    began = time.monotonic()
    with runs.opened(run, "") as at:
        train.train(at, engine, None)
    taken = time.monotonic() - began
    folder = artifacts.run_folder(RUN)
    folds = [artifacts.read_json(folder / split.name / "fit.json")["seconds"] for split in at.splits]
    return found, works, taken, folds


def compared(kind: str, counts: list[int], epochs: int) -> Table:
    title = (
        f"training {FOLDS} folds, {kind} engine, nodes that share {cores()} cores, load {os.getloadavg()[0]:.0f} before"
    )
    lines = Table("nodes", "took", "planned", "error", "planned there", "error", "dealt", "error", title=title)
    first: Estimate | None = None
    for nodes in counts:
        with engine_of(kind, nodes) as engine:
            found, works, taken, folds = measured(engine, nodes, epochs)
        first = first or found
        told = (
            scale.wall(scale.of_run(first, works), nodes),
            scale.wall(scale.of_run(found, works), nodes),
            scale.wall([Stage(tuple(folds), found.ready + found.cost.start)], nodes),
        )
        cells = [cell for seconds in told for cell in (f"{seconds:.1f} s", f"{seconds / taken - 1:+.0%}")]
        lines.add_row(str(nodes), f"{taken:.1f} s", *cells)
        board.say(f"{nodes} nodes took {taken:.1f} s: {' '.join(cells)}; folds {folds}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("local", "ray"), default="ray")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_MODE": "disabled"}
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work), board.board():
        toy.make(Path("."), FOLDS)
        board.console.print(compared(options.engine, options.nodes, options.epochs))


if __name__ == "__main__":
    main()
