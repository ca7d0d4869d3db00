"""Which engine a command works on: `ENGINE=ray [ADDRESS=auto]`."""

from __future__ import annotations

import os
import re
import secrets
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from competition.errors import ConfigFault, EnvironmentFault, Finding, nearest

if TYPE_CHECKING:
    from competition.engine import Engine

ENGINES = ("local", "ray")
OLDEST = (2, 52)  # of Ray
INSTALL = ".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra ray"


def asked(engine: str, address: str | None) -> Engine | None:
    """None: the processes of this machine. Raises ConfigFault CFG-VALUE, EnvironmentFault ENV-EXTRA."""
    if engine not in ENGINES:
        raise ConfigFault(_wrong(f"ENGINE={engine}", "no such engine", nearest(engine, ENGINES)))
    if engine == "local":
        if address is not None:
            found, mend = "an address is of a Ray cluster", f"ENGINE=ray ADDRESS={address}, or leave it out"
            raise ConfigFault(_wrong(f"ADDRESS={address}", found, mend))
        return None
    if address is not None and address != "auto" and not re.fullmatch(r"[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+", address):
        found = "a client from outside has no part in the shared folder" if "://" in address else "no host and port"
        raise ConfigFault(
            _wrong(f"ADDRESS={address}", found, "on a node of the cluster: ADDRESS=auto, or 10.0.0.4:6379")
        )
    if find_spec("ray") is None:
        found = "the package ray is not installed"
        raise EnvironmentFault(Finding("ENV-EXTRA", "there is no Ray here", "ENGINE=ray", found, INSTALL))
    if tuple(map(int, version("ray").split(".")[:2])) < OLDEST:
        found = f"ray {version('ray')}, which asks nobody for a token; {'.'.join(map(str, OLDEST))} does"
        raise EnvironmentFault(Finding("ENV-EXTRA", "Ray is too old here", "ENGINE=ray", found, INSTALL))
    _quietly_alone(address)
    from competition.cluster.engine import Cluster

    return Cluster(address)


def _quietly_alone(address: str | None) -> None:
    """Ray reads these as it is imported. It gives whoever reaches its ports a shell, and listens on all interfaces: what is
    begun here asks for a token that this command alone knows."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # whoever has no GPU is shown none, by us
    if address is None:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.setdefault("RAY_worker_niceness", "0")  # not 15: on a busy machine that is a fiftieth of a core


def _wrong(where: str, found: str, mend: str) -> Finding:
    return Finding("CFG-VALUE", "the command has a mistake", where, found, mend)
