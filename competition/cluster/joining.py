"""Begins Ray on this machine, or joins the cluster at an address, which must ask for a token (choice.py says why)."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
from typing import Any

from competition import interrupt
from competition.engine import cores
from competition.errors import EnvironmentFault, Finding, SafetyFault

ANSWER = 5.0  # seconds that a head may take; Ray itself waits five minutes, then ends the process
STORE = 100 << 20  # bytes for objects, on this machine: results are files
TOKEN = "RAY_AUTH_MODE"
BEGIN = "on its head `ray start --head --port=6379`, on the others `ray start --address=<head>:6379`: docs/cluster.md"


def join(address: str | None) -> None:
    """address: None: Ray is begun here, for this command; auto: the cluster that this machine is a node of. Raises
    EnvironmentFault RAY-LOST, SafetyFault RAY-OPEN.
    """
    if address not in (None, "auto"):
        _answers(address)
    import ray

    before = {number: signal.getsignal(number) for number in interrupt.heard()}
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    if address is None:
        given |= {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": STORE}
    try:
        with interrupt.held_back():  # by what begins here: it outlives a Ctrl-C until the workers have saved themselves
            ray.init(address=address or "local", **given)
    except Exception as e:  # some of Ray's own are no more than that
        raise EnvironmentFault(_lost(address, str(e))) from None
    finally:
        for number, handler in before.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)
    if address is not None:
        _guarded([node["NodeManagerAddress"] for node in ray.nodes()])


def _answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, OverflowError) as e:
        raise EnvironmentFault(_lost(address, str(e))) from None


def _guarded(addresses: list[str]) -> None:
    """Raises SafetyFault RAY-OPEN where nodes of a cluster could be given orders by anybody (CVE-2023-48022)."""
    if os.environ.get(TOKEN) == "token" or all(ipaddress.ip_address(a).is_loopback for a in addresses):
        return
    raise SafetyFault(
        Finding(
            code="RAY-OPEN",
            what="the cluster takes orders from whoever reaches its ports",
            where=", ".join(sorted(set(addresses))),
            found=f"{TOKEN} is not set to token",
            mend=f"ray stop; then on every node export {TOKEN}=token and one ~/.ray/auth_token, ray start (docs/cluster.md)",
        )
    )


def _lost(address: str | None, found: str) -> Finding:
    where = "ENGINE=ray" if address is None else f"ADDRESS={address}"
    what = (
        "Ray does not begin here" if address is None else "there is no Ray cluster at the address, or none for this Ray"
    )
    mend = (
        "free memory and room in /tmp, or a machine that is less busy"
        if address is None
        else f"{BEGIN}; or leave out ADDRESS="
    )
    return Finding("RAY-LOST", what, where, " ".join(found.split())[:300], mend)
