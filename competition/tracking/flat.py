"""Nested values as services take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Numbers and words of nested values, by joined names; lists are left out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        elif isinstance(value, bool | int | float | str) and key != "files":
            found[before + key] = value
    return found
