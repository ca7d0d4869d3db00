"""Whether every node is one of ours, before it works: the same Podium and packages, the same folder on a disk that all share
and whose locks hold, and what a stage wants of it (`Engine.everywhere`).
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import competition
from competition import artifacts, card, disk, versions
from competition.cluster import room
from competition.engine import Demand, signalled
from competition.errors import DataFault, EnvironmentFault, Fault, Finding, Stopped

ANSWER = 120.0  # seconds that a node may take to begin a process
TOKENS = artifacts.RUNS / ".cluster"
SHARE = "put the whole folder on a disk that every node mounts at the same path (NFS: with `lookupcache=positive`)"


@dataclass(frozen=True)
class Home:
    """What a node is held against. folder: where the command works; token: a folder in it that this command holds locked;
    checked: nodes that were found alike; wanted: jobs that any other node does first."""

    folder: Path
    token: Path
    versions: dict[str, str]
    checked: frozenset[str] = frozenset()
    wanted: tuple[Callable[[], object], ...] = ()


@contextmanager
def home() -> Generator[Home]:
    """This command's, for as long as the block runs."""
    from filelock import FileLock

    with disk.faults(TOKENS):
        TOKENS.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=TOKENS) as folder, FileLock(Path(folder) / ".lock"):
            yield Home(Path.cwd(), Path(folder).absolute(), present())


def present() -> dict[str, str]:
    """Versions of all that results depend on, Podium's with a digest of its code."""
    code = sorted(Path(competition.__file__).parent.rglob("*.py"))
    podium = f"{competition.__version__} ({artifacts.digest(*(p.read_bytes() for p in code))[:8]})"
    return versions.now(card.PACKAGES) | {"python": platform.python_version(), "podium": podium}


def check(home: Home) -> Home:
    """Of all nodes that are there. Raises EnvironmentFault RAY-NODE, RAY-SHARED with what is wrong with each."""
    found = on_each(unlike, home)
    problems = [problem for some in found.values() for problem in some]
    for node in room.alive():
        if not found.get(node["NodeID"]) and not (home.token / node["NodeID"]).exists():
            problems.append(
                _apart(node["NodeManagerAddress"], f"{home.token}: this machine sees no file of that node's")
            )
    if problems:
        raise EnvironmentFault(*problems)
    return replace(home, checked=frozenset(found))


def want(home: Home, job: Callable[[], object]) -> Home:
    """Has every node do the job, those that join later as they join. Raises the faults of all."""
    raised = [e for e in on_each(_attempt, job, answer=math.inf).values() if e is not None]
    for e in raised:
        if not isinstance(e, Fault):
            raise e
    if raised:
        raise type(raised[0])(*(problem for e in raised for problem in e.findings))
    return replace(home, wanted=(*home.wanted, job))


def on_each(function: Callable[..., Any], *given: Any, answer: float = ANSWER) -> dict[str, Any]:
    """Node -> what the function returns there, within `answer` seconds. Raises EnvironmentFault, Stopped."""
    asked, addresses = {}, {}
    variables = {"env_vars": room.surroundings(Demand("cpu"))}
    for node in room.alive():
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = {"num_cpus": 0, "max_retries": 3, "scheduling_strategy": here, "runtime_env": variables}
        asked[ray.remote(function).options(**options).remote(*given)] = node["NodeID"]
        addresses[node["NodeID"]] = node["NodeManagerAddress"]
    ends, waiting = time.monotonic() + answer, [*asked]
    while waiting and time.monotonic() < ends:
        waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.5)[1]
        if signalled():
            raise Stopped("stopped while the nodes are looked at")
    silent = [cannot_begin(addresses[asked[ref]], f"no answer in {answer:.0f} s") for ref in waiting]
    found = {}
    for ref, node in asked.items():
        try:
            if ref not in waiting:
                found[node] = ray.get(ref)
        except RayError as e:
            silent.append(cannot_begin(addresses[node], last_line(e)))
    if silent:
        raise EnvironmentFault(*silent)
    return found


def unlike(home: Home) -> list[Finding]:
    """In a worker: what is wrong with its node; goes to the command's folder where nothing is."""
    from filelock import FileLock, Timeout

    here, node = ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()
    problems = []
    there = present()
    if told := versions.differences(there, home.versions):
        mend = "give every node the same environment: make setup, of one checkout"
        problems.append(Finding("RAY-NODE", "a node has other versions than this machine", f"node {here}", told, mend))
    try:
        os.chdir(home.folder)
        (home.token / node).write_text(here)
        FileLock(home.token / ".lock").acquire(timeout=0)
        problems.append(_apart(here, f"{home.token}: it takes a lock there that this machine holds"))
    except Timeout:  # as it should be
        return problems
    except OSError as e:
        problems.append(_apart(here, str(e)))
    return problems


def ready(home: Home) -> None:
    """In a worker, before an item: of a node that joined late `unlike`, and what is wanted of every node."""
    if ray.get_runtime_context().get_node_id() in home.checked:
        os.chdir(home.folder)
        return
    if home in _ready:
        return
    if problems := unlike(home):
        raise EnvironmentFault(*problems)
    for job in home.wanted:
        if e := _attempt(job):
            raise e
    _ready.append(home)


_ready: list[Home] = []


def _attempt(job: Callable[[], object]) -> Exception | None:
    """In a worker. What a fault is about is on this node."""
    try:
        job()
    except (DataFault, EnvironmentFault) as e:
        here = f"node {ray.util.get_node_ip_address()}: "
        return type(e)(*(replace(problem, where=here + problem.where) for problem in e.findings))
    except Exception as e:
        return e
    return None


def last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def cannot_begin(node: str, found: str) -> Finding:
    mend = "is Podium installed there, or its checkout on the shared disk? /tmp/ray/session_latest/logs tells"
    return Finding("RAY-NODE", "a node can't begin a worker of ours", f"node {node}", found, mend)


def _apart(node: str, found: str) -> Finding:
    what, risk = "a node doesn't share this folder", "its results would be lost, or two writers would mix their files"
    return Finding("RAY-SHARED", what, f"node {node}", found, SHARE, risk)
