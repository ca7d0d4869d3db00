"""Where a run is mirrored to, and how: the key `tracking` of competition.yaml, WANDB_MODE, and whether a key is there.

Nothing here asks the user anything, and no network is waited for longer than a TCP connection takes.
"""

from __future__ import annotations

import importlib.util
import netrc
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

NAMES = {"wandb": "W&B", "tensorboard": "TensorBoard"}
MODES = ("online", "offline", "disabled")
CONNECTION = 3.0  # seconds


def service(tracking: str, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The service that mirrors, None for none, and why where the user should know."""
    if tracking == "none" or (tracking == "wandb" and environ.get("WANDB_MODE", "").lower() == "disabled"):
        return None, ""
    if importlib.util.find_spec(tracking) is None:
        return (
            None,
            f"{NAMES[tracking]} is off: the package {tracking} is not installed; the run folders have everything",
        )
    return tracking, ""


def mode(environ: Mapping[str, str], url: str) -> tuple[str, str]:
    """online or offline, and why where the user should know. url: of the server."""
    asked = environ.get("WANDB_MODE", "").lower()
    if asked == "offline":
        return "offline", ""
    host = urllib.parse.urlsplit(url).hostname or url
    if not has_key(environ, host):
        wanted = f", though WANDB_MODE={asked}" * bool(asked)
        return "offline", f"no key for {host} in WANDB_API_KEY or netrc{wanted}"
    if asked not in ("", "online"):
        return "offline", f"WANDB_MODE={asked} is none of {', '.join(MODES)}"
    if not reachable(url):
        return "offline", f"{host} can't be reached"
    return "online", ""


def has_key(environ: Mapping[str, str], host: str) -> bool:
    if environ.get("WANDB_API_KEY"):
        return True
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def reachable(url: str) -> bool:
    """Whether the server, or the proxy before it, takes a connection within 3 seconds."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=CONNECTION):
            return True
    except OSError:
        return False


def quiet() -> None:
    """Before wandb is imported: it reports no errors of its own, and keeps its files below runs/."""
    from competition.artifacts import RUNS

    folder = (RUNS / ".wandb").resolve()
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ.setdefault(name, str(folder / "artifacts"))
    os.environ.setdefault("WANDB_DIR", str(folder))
