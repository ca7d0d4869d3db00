"""Three nodes of Ray on this machine beside the local engine, and what becomes of a run when nodes and workers are killed.

    python -m benchmarks.cluster [--parts equal node workers copies] [--epochs 60] [--kills 20] [--seed 0]

Five folds of a small network (toy.py). equal: trained and predicted over the three nodes; node: one of them is killed while
a fold of it trains; workers: SIGKILL to one process after another, at random moments, until there were as many as asked
for; copies: as many workers killed, where each node has a folder of its own. Each begins with an empty run folder, and its
OOF and test predictions are compared with those of the local engine, byte by byte. Nodes listen with a token, as
docs/cluster.md has it.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import toy
from competition import artifacts
from competition.cluster.sharing import SCRATCH

FOLDS, NODES, RUN = 5, 3, "toy/image"
ATTEMPTS = 5
QUIET = {
    "WANDB_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # one for a process: Ray keeps it
}


def begun(cluster: Any, scratch: Path | None = None) -> Any:
    """A node of a core, with this folder of its own. On a busy machine Ray gives a node up after 30 s, though it only
    imports."""
    given = {"num_cpus": 1, "env_vars": {SCRATCH: str(scratch)} if scratch else None}
    for _ in range(ATTEMPTS - 1):
        with suppress(Exception):  # Ray's own is no more than that
            return cluster.add_node(**given)
    return cluster.add_node(**given)


def command(folder: Path, epochs: int, *words: str) -> subprocess.Popen[str]:
    """A submission in a copy of the toy's folder that has no run yet."""
    shutil.copytree(folder.parent / "toy", folder)
    given = [sys.executable, "-m", "competition", "submission", RUN, "--set", f"epochs={epochs} jobs={NODES}", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with open(folder / "said.txt", "w") as said:
        return subprocess.Popen(given, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT, text=True)


def results(folder: Path) -> dict[str, str]:
    """Digests of all predictions, folds' and the run's, and of the CSV."""
    paths = [*sorted((folder / "runs" / RUN).rglob("*.parquet")), folder / artifacts.submission_csv(RUN)]
    return {str(path.relative_to(folder)): artifacts.file_digest(path) for path in paths if path.exists()}


def workers(nodes: list[Any]) -> dict[int, int]:
    """Process -> raylet, of those that have an item."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (path / "cmdline").read_text().startswith("ray::work"):
                found[int(path.name)] = parent
    return found


def kill_a_node(cluster: Any, nodes: list[Any], folder: Path, ended: Callable[[], bool]) -> list[str]:
    """The one whose fold has a checkpoint first; another takes its place."""
    while not ended():
        time.sleep(0.1)
        begun = [*(folder / "runs" / RUN).glob("fold*/last.ckpt")]
        raylets = {*workers(nodes[1:]).values()} if begun else set()  # not the head, where the command is
        at_work = [node for node in nodes[1:] if node.all_processes["raylet"][0].process.pid in raylets]
        if at_work:
            cluster.remove_node(at_work[0], allow_graceful=False)
            nodes.remove(at_work[0])
            return [f"a node, with {', '.join(sorted(path.parent.name for path in begun))} begun"]
    return []


def kill_workers(nodes: list[Any], ended: Callable[[], bool], kills: int, rng: random.Random) -> list[str]:
    killed = []
    while len(killed) < kills and not ended():
        time.sleep(rng.uniform(0.5, 8.0))
        if at_work := sorted(workers(nodes)):
            with suppress(ProcessLookupError):
                os.kill(rng.choice(at_work), signal.SIGKILL)
                killed.append("a worker")
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["equal", "node", "workers", "copies"])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/.cluster-bench"), help="emptied")
    options = parser.parse_args()
    os.environ |= QUIET
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    toy.make(folder / "toy", FOLDS)
    began = time.monotonic()
    if command(folder / "local", options.epochs).wait():
        sys.exit((folder / "local" / "said.txt").read_text())
    expected = results(folder / "local")
    print("| part | killed | exit code | lost and begun again | equal files | seconds |\n|---|---|---|---|---|---|")
    print(f"| local | - | 0 | - | {len(expected)} | {time.monotonic() - began:.0f} |", flush=True)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    nodes = [begun(cluster) for _ in range(NODES)]
    wrong = 0
    for part in options.parts:
        if part == "copies":
            cluster.shutdown()
            cluster = Cluster()
            nodes = [begun(cluster, folder / f"node{n}") for n in range(NODES)]
        while len(nodes) < NODES:
            nodes.append(begun(cluster))
        began, here = time.monotonic(), folder / part
        process = command(here, options.epochs, "--engine", "ray", "--address", cluster.address)
        killed = []
        if part == "node":
            killed = kill_a_node(cluster, nodes, here, lambda p=process: p.poll() is not None)
        elif part in ("workers", "copies"):
            rng = random.Random(options.seed)
            killed = kill_workers(nodes, lambda p=process: p.poll() is not None, options.kills, rng)
        code, found = process.wait(), results(here)
        equal = sum(found.get(name) == digest for name, digest in expected.items())
        lost = (here / "said.txt").read_text().count("was lost")
        told = killed[0] if part == "node" and killed else f"{len(killed)} workers"
        print(
            f"| {part} | {told} | {code} | {lost} | {equal} of {len(expected)} | {time.monotonic() - began:.0f} |",
            flush=True,
        )
        wrong += code != 0 or equal < len(expected)
    cluster.shutdown()
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
