"""Keys and passwords have no place in a configuration, which is committed and copied into run folders: what looks like one
is refused by the name of its key; its value is never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from competition.errors import Finding, SafetyFault

NAME = re.compile(r"(^|[_.-])(api_?key|key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
FORM = re.compile(
    r"\bhf_\w{30}|\bgh[a-z]_\w{30}|\bgithub_pat_\w{20}|\bglpat-[\w-]{20}|\bsk-[\w-]{20}|\bAKIA[0-9A-Z]{16}|\bAIza[\w-]{35}"
    r"|\bxox[a-z]-[\w-]{10}|\bKGAT_\w{16}|\bwandb_v1_\w{16}|\b[0-9a-f]{40}\b|-----BEGIN [A-Z ]*PRIVATE KEY"
)  # of the makers' tokens; W&B's older ones are 40 hex digits
IN_URL = re.compile(r"\w://[^/\s]*:[^/\s]+@|[?&](password|passwd|token|api_?key)=", re.IGNORECASE)
LEAST = 8  # characters of an environment variable that is looked for


def refuse(values: dict[str, Any], origins: dict[tuple[str, ...], str], where: str) -> None:
    """values, origins: as yaml.read gives them; where: of keys that origins lacks. Raises SafetyFault SEC-SECRET."""
    own = [v for k, v in os.environ.items() if NAME.search(k) and len(v) >= LEAST]
    told = {path: why for path, value in _leaves((), values) if (why := _why(path[-1], value, own))}
    if told:
        raise SafetyFault(*(_finding(_masked(path, own), why, origins.get(path, where)) for path, why in told.items()))


def hidden(values: Any, key: str = "") -> Any:
    """The same nested values, with *** for each text that would be refused: for what is shown to others."""
    if isinstance(values, dict):
        return {name: hidden(value, str(name)) for name, value in values.items()}
    if isinstance(values, list):
        return [hidden(value, key) for value in values]
    own = [v for k, v in os.environ.items() if NAME.search(k) and len(v) >= LEAST]
    return "***" if isinstance(values, str) and _why(key, values, own) else values


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and text of every value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield from _leaves((*path, str(key)), below)
    if path and not isinstance(value, (dict, list)):
        yield path, str(value)


def _why(key: str, value: str, own: list[str]) -> str:
    if value.startswith("env:"):
        return ""
    if any(secret in value or secret in key for secret in own):
        return "the value of an environment variable named as a key, token or password"
    if FORM.search(value) or FORM.search(key):
        return "the form of a token"
    if IN_URL.search(value):
        return "a URL with a password"
    return f"{len(value)} characters under such a name" if NAME.search(key) and len(value) >= LEAST else ""


def _masked(path: tuple[str, ...], own: list[str]) -> str:
    return ".".join("***" if FORM.search(part) or any(secret in part for secret in own) else part for part in path)


def _finding(key: str, found: str, where: str) -> Finding:
    return Finding(
        code="SEC-SECRET",
        what="a configuration holds what looks like a key or a password",
        where=f"{where}, key {key}",
        found=f"{found}; it is not shown",
        risk="it would be committed, and copied into run folders",
        mend="leave it to the environment (a database's URL: `env:NAME`), and if it was ever pushed, replace it",
    )
