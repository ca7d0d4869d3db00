"""Where a run is mirrored to, and how: the key `tracking` of competition.yaml, WANDB_MODE, and whether a key is there.

Nothing here asks the user anything, and no network is waited for longer than a TCP connection takes.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from competition.artifacts import RUNS
from competition.host import clean

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


def mode() -> tuple[str, str]:
    """online or offline, and why where the user should know."""
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked == "offline":
        return "offline", ""
    if asked not in ("", *MODES):
        del os.environ["WANDB_MODE"]  # the client refuses it
        return "offline", f"WANDB_MODE={asked} is none of {', '.join(MODES)}"
    here = account()
    if here.mode != "online":
        return "offline", f"as `wandb {here.mode}` asked for"
    if here.missing:
        return "offline", here.missing + f", though WANDB_MODE={asked}" * bool(asked)
    if not reachable(here.url):
        return "offline", f"{here.host} can't be reached"
    return "online", ""


@dataclass(frozen=True)
class Account:
    """url: of the server; missing: why there is no key for it, empty where there is one; mode: of the settings files."""

    url: str
    missing: str
    mode: str

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.url).hostname or self.url


def account() -> Account:
    """What W&B's client itself finds in the environment, its settings files and netrc, where a key may stand under another
    name of the same server. Asks nothing and connects to nothing."""
    quiet()
    from wandb.errors import AuthenticationError
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    settings = wandb_setup.singleton().settings
    try:
        key = wbauth.authenticate_session(host=settings.base_url, source="", prompt=False, update_session=False)
        missing = "" if key else "no key in WANDB_API_KEY or netrc"
    except AuthenticationError as e:
        missing = clean(str(e)).split("\n")[0]
    return Account(settings.base_url, missing, settings.mode)


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
    folder = (RUNS / ".wandb").resolve()
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ.setdefault(name, str(folder / "artifacts"))


def reason(error: Exception) -> str:
    """Of what became of a service, in a line without secrets."""
    return clean(f"{type(error).__name__}: {error}").split("\n")[0][:300]
