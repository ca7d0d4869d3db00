"""How a sample submission spells the names of classes: `1` as `1.0` or `True`, `cat` as `Cat`."""

from __future__ import annotations

import re
from collections.abc import Callable

FALSE_TRUE = (("0", "1"), ("0.0", "1.0"), ("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
INTEGER = re.compile(r"^([+-]?)0*(\d+)(\.0*)?$")


def dress(classes: tuple[str, ...], seen: set[str]) -> tuple[str, ...]:
    """The classes as the sample writes them (`1` as `1.0` or `True`): in the way that fits most labels seen."""
    ways: list[Callable[[str], str]] = [str, _decimal, integer, str.lower, str.upper, str.title, str.capitalize]
    dressed = [tuple(map(way, classes)) for way in ways]
    lower = tuple(name.casefold() for name in classes)
    for step in (1, -1):  # `classes:` may name the positive class first
        if lower[::step] in FALSE_TRUE:
            dressed += [tuple(map(way, pair[::step])) for pair in FALSE_TRUE for way in ways[3:6]]
    dressed = [names for names in dressed if len(set(names)) == len(classes)]
    return max(dressed, key=lambda names: len(seen & set(names)))


def _decimal(name: str) -> str:
    return INTEGER.sub(r"\1\2.0", name)


def integer(name: str) -> str:
    return INTEGER.sub(r"\1\2", name)
