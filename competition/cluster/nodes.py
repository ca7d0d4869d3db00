"""Whether every node is one of ours, before it works: the same Podium and packages, the command's files (sharing.py), and
what a stage wants of it (`Engine.everywhere`).
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import competition
from competition import artifacts, board, card, versions
from competition.cluster import room, sharing
from competition.cluster.sharing import Home
from competition.engine import Demand, Needs, stopping
from competition.errors import DataFault, EnvironmentFault, Fault, Finding, Stopped

ANSWER = 120.0  # seconds that a node may take to begin a process


def present() -> dict[str, str]:
    """Versions of all that results depend on, Podium's with a digest of its code."""
    code = sorted(Path(competition.__file__).parent.rglob("*.py"))
    podium = f"{competition.__version__} ({artifacts.digest(*(p.read_bytes() for p in code))[:8]})"
    return versions.now(card.PACKAGES) | {"python": platform.python_version(), "podium": podium}


def check(home: Home) -> Home:
    """Of all nodes that are there; says which of them work on copies. Raises EnvironmentFault RAY-NODE, RAY-SHARED with what
    is wrong with each."""
    found = on_each(looked_at, home)
    problems = [problem for some, _ in found.values() for problem in some]
    apart = {node: why for node, (_, why) in found.items() if why is not None}
    for node in room.alive():
        name, address = node["NodeID"], node["NodeManagerAddress"]
        if name in apart:
            board.say(f"RAY-SHARED: node {address} works on copies, which come and go through Ray: {apart[name]}")
        elif name in found and not (home.token / name).exists():
            problems.append(_unseen(address, home))
    if problems:
        raise EnvironmentFault(*problems)
    if apart:
        board.say(sharing.SHARE)
    return replace(home, checked=frozenset(found), apart=frozenset(apart))


def want(home: Home, needs: Needs) -> Home:
    """The same with these needs; every node has them met, those that join later as they join. Raises the faults of all."""
    home = replace(home, needs=needs)

    def told(done: int, total: int) -> None:
        if home.apart and (answer := ray.wait([home.files.handed_out.remote()], timeout=0.1)[0]):
            board.show("nodes", done, total, f"have files and pictures; {ray.get(answer[0]) >> 20} MB went to them")

    raised = [e for e in on_each(meet, home, needs, answer=math.inf, told=told).values() if e is not None]
    for e in raised:
        if not isinstance(e, Fault):
            raise e
    if raised:
        raise type(raised[0])(*(problem for e in raised for problem in e.findings))
    return replace(home, wanted=(*home.wanted, needs))


def on_each(
    function: Callable[..., Any],
    *given: Any,
    answer: float = ANSWER,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Node -> what the function returns there, within `answer` seconds. told: hears how many have, of all. Raises
    EnvironmentFault, Stopped."""
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
        told(len(asked) - len(waiting), len(asked))
        if stopping():
            for ref in waiting:
                ray.cancel(ref)
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


def looked_at(home: Home) -> tuple[list[Finding], str | None]:
    """In a worker: what is wrong with its node, and why it works on copies, if it does."""
    here, problems = ray.util.get_node_ip_address(), []
    if told := versions.differences(present(), home.versions):
        mend = "give every node the same environment: make setup, of one checkout"
        problems.append(Finding("RAY-NODE", "a node has other versions than this machine", f"node {here}", told, mend))
    return problems, sharing.tried(home, ray.get_runtime_context().get_node_id(), here)


def ready(home: Home) -> bool:
    """In a worker, before an item: enters the folder where it works; of a node that joined late what `check` and `want` do.
    Returns whether that is the node's own."""
    apart = _apart(home)
    late = ray.get_runtime_context().get_node_id() not in home.checked
    for n, needs in enumerate(home.wanted if late else ()):
        if (home.token, n) not in _met:
            if e := meet(home, needs):
                raise e
            _met.add((home.token, n))
    sharing.enter(home, apart)
    return apart


_late: dict[Path, bool] = {}  # of a command, whether this node, which joined late, works on copies
_met: set[tuple[Path, int]] = set()


def _apart(home: Home) -> bool:
    """In a worker: whether its node works on copies. Raises EnvironmentFault where it joined late and is unlike."""
    node = ray.get_runtime_context().get_node_id()
    if node in home.checked:
        return node in home.apart
    if home.token not in _late:
        problems, why = looked_at(home)
        if problems:
            raise EnvironmentFault(*problems)
        _late[home.token] = why is not None
    return _late[home.token]


def meet(home: Home, needs: Needs) -> Exception | None:
    """In a worker: has the needs met. What a fault is about is on its node."""
    try:
        apart = _apart(home)
        sharing.enter(home, apart)
        if apart and not needs.folds:
            raise EnvironmentFault(_all_over())
        with sharing.at_item(home, apart, needs, None):
            needs.check()
            if apart:
                needs.fill()
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


def _all_over() -> Finding:
    what, found = "a search, and a soup, write all over one folder", "this node works on copies of its own"
    mend = "a disk that every node mounts (docs/cluster.md), or nodes that have one; or without ENGINE=ray"
    return Finding("RAY-SHARED", what, "its folder", found, mend)


def _unseen(node: str, home: Home) -> Finding:
    what, risk = "a node shares this folder in part", "its results would be lost, or two writers would mix their files"
    found = f"it sees {home.token}, and this machine no file that it writes there"
    mend = (
        f"mount the disk alike on each (NFS: with `lookupcache=positive`), or export {sharing.SCRATCH}=<folder> there"
    )
    return Finding("RAY-SHARED", what, f"node {node}", found, mend, risk)
