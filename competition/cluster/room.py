"""How much of a cluster is an item's: which nodes are there, how many items they hold at once, what a worker is given."""

from __future__ import annotations

import os
import site
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

import competition
from competition.engine import Demand
from competition.errors import EnvironmentFault, Finding

EXACT = 1e-6  # by which ten times 0.1 may miss 1


def alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def gpus(demand: Demand) -> float:
    """Of an item. Apple's is none of Ray's."""
    wanted = demand.device not in ("cpu", "mps") and any(node["Resources"].get("GPU") for node in alive())
    return float(wanted) if demand.gpus is None else demand.gpus


def slots(demand: Demand) -> int:
    """Items that the nodes hold at once."""
    asked = {"CPU": demand.cpus, "GPU": gpus(demand)}
    return sum(_held(node["Resources"], asked) for node in alive())


def _held(there: Mapping[str, float], asked: Mapping[str, float]) -> int:
    return min(int(there.get(name, 0.0) / amount + EXACT) for name, amount in asked.items() if amount)


def check(demand: Demand) -> None:
    """Ray would wait without a word. Raises EnvironmentFault RAY-ROOM."""
    if slots(demand):
        return
    there = [node["Resources"] for node in alive()]
    most = ", ".join(f"{max((r.get(name, 0.0) for r in there), default=0):g} {name}" for name in ("CPU", "GPU"))
    asked = f"cpus: {demand.cpus:g}, gpus: {gpus(demand):g}"
    mend = 'SET="cpus=1 gpus=0" or what a node has; or add a node that has it'
    found = f"the largest of {len(there)} nodes have {most}"
    raise EnvironmentFault(Finding("RAY-ROOM", "no node of the cluster has room for a fold", asked, found, mend))


def surroundings(demand: Demand) -> dict[str, str]:
    """Variables of a worker: its threads, of which the last bits of a sum depend; our code where this process has it from;
    no GPU where it was given none, for Ray hides none of those."""
    threads = str(max(1, int(demand.cpus)))
    given = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    code = str(Path(competition.__file__).parent.parent)
    if code not in site.getsitepackages():
        given["PYTHONPATH"] = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    return given if gpus(demand) else given | {"CUDA_VISIBLE_DEVICES": ""}
