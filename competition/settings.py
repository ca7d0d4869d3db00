"""What `SET="a.b=1 c=[x, y]"` says, and how it goes into the values of a file."""

from __future__ import annotations

from typing import Any

from competition import secret, yaml
from competition.errors import ConfigFault
from competition.validation import bad_value


def parse(text: str) -> dict[str, Any]:
    """`a.b=1 c=[x, y]` -> {"a.b": 1, "c": ["x", "y"]}; items are divided by blanks outside brackets and quotes."""
    values: dict[str, Any] = {}
    for item in _split(text):
        key, equals, value = item.partition("=")
        secret.refuse({key: value}, {}, "SET")
        if not equals or not key:
            raise ConfigFault(bad_value("SET", item, "items have the form key=value", 'SET="epochs=3 lr=1e-3"'))
        values[key] = yaml.scalar(value)
        secret.refuse({key: values[key]}, {}, "SET")
    return values


def both(there: str, now: str) -> str:
    """Two SET as one, in which the later one's keys, and what lies below them, are its own."""
    earlier, later = ({item.partition("=")[0]: item for item in _split(text)} for text in (there, now))
    kept = [item for key, item in earlier.items() if not any(f"{key}.".startswith(f"{new}.") for new in later)]
    return " ".join([*kept, *later.values()])


def put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets a nested key in place. Raises ConfigFault CFG-VALUE where a key on the way has none below it."""
    for n, key in enumerate(path[:-1]):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            where = ".".join(path)
            raise ConfigFault(
                bad_value("SET", where, f"{'.'.join(path[: n + 1])} has no keys below it", 'SET="lr=1e-3"')
            )
    values[path[-1]] = value


def _split(text: str) -> list[str]:
    items, depth, quote = [""], 0, ""
    for c in text.strip():
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        depth += (c in "[{") - (c in "]}")
        if c.isspace() and not depth and not quote:
            items.append("")
        else:
            items[-1] += c
    return [item for item in items if item]
