"""The engine of a Ray cluster: an item is a task of Ray with its share of a node; results are files of the command's."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from competition import board
from competition.cluster import joining, nodes, room, sharing
from competition.cluster.call import Call
from competition.cluster.files import Files
from competition.cluster.post import Post
from competition.engine import Demand, Engine, Item, Needs, Result
from competition.errors import EnvironmentFault, Finding


class Cluster(Engine):
    """address: host:port, auto, or None: Ray is begun on this machine and ends with the command."""

    def __init__(self, address: str | None):
        super().__init__()
        self.address, self.calls = address, 0
        self.stack = ExitStack()
        self.wanted: set[bytes] = set()  # what every node has

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            joining.join(self.address)
            stack.callback(ray.shutdown)
            self.home = nodes.check(stack.enter_context(sharing.home(self._files, nodes.present())))
            self.post: Any = self._beside(Post).remote()
            self.stack = stack.pop_all()
        there = [node["Resources"] for node in room.alive()]
        cores, gpus = (sum(r.get(name, 0.0) for r in there) for name in ("CPU", "GPU"))
        board.say(f"Ray: nodes {len(there)}, machines {self.hosts}, cores {cores:g}, GPUs {gpus:g}")
        return self

    def _beside(self, actor: type) -> Any:
        """An actor of that class to be begun on the node of the command."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        variables = {"env_vars": room.surroundings(Demand("cpu"))}
        return ray.remote(actor).options(num_cpus=0, scheduling_strategy=here, runtime_env=variables)

    def _files(self, folder: Path) -> Any:
        return self._beside(Files).remote(folder)

    @property
    def hosts(self) -> int:
        return len({node["NodeManagerAddress"] for node in room.alive()})

    def slots(self, demand: Demand) -> tuple[int, int]:
        """Ray's fractions say how GPUs are shared."""
        return demand.jobs or max(1, room.slots(demand)), 0

    def expect(self, items: int, modules: Sequence[str], demand: Demand) -> None:
        """Told before hours of preparation: no room. Workers import for themselves. Raises EnvironmentFault RAY-ROOM."""
        room.check(demand)

    def everywhere(self, needs: Needs) -> None:
        self.home = replace(self.home, needs=needs)
        if (written := pickle.dumps(needs)) not in self.wanted:
            self.home = nodes.want(self.home, needs)
            self.wanted.add(written)

    def map(self, job: Callable[[Item], Result], items: Sequence[Item], demand: Demand) -> list[Result]:
        room.check(demand)
        self.calls += 1
        now = time.monotonic()
        try:
            ray.get(self.post.begin.remote(self.deadline - now, self.closing - now))
        except RayActorError as e:
            raise EnvironmentFault(_lost(nodes.last_line(e))) from None
        call = Call(self.calls, self.post, self.home, job, items, demand, self.deadline, self.closing)
        return call.results()

    def _end(self) -> None:
        self.stack.close()


def _lost(found: str) -> Finding:
    what, where, risk = "the cluster was lost", "the node of this command", "finished folds and checkpoints are kept"
    return Finding("RAY-LOST", what, where, found, "ray status; the same command continues", risk)
