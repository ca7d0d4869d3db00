"""Reads the YAML that people write: numbers as they look, no duplicate keys, and the line of every key for errors.

PyYAML alone reads `1e-3` as text, `no` as False, `010` as 8, `12:30:00` as a number, and keeps the last of two equal
keys (measured). This loader follows YAML 1.2 for scalars and refuses what it can't read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from competition.errors import ConfigFault, Finding, SafetyFault

MAX_BYTES, MAX_NODES, MAX_DEPTH = 1_000_000, 10_000, 50
Origins = dict[tuple[str, ...], str]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  (as PyYAML declares it: our own, not the parent's)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
# A number with leading zeros (007) is an id, so text; this must stand before the float rule reads it.
for _digit in "0":
    _Loader.yaml_implicit_resolvers[_digit].insert(0, ("tag:yaml.org,2002:str", re.compile(r"^0[0-9]+$")))


def read(path: Path) -> tuple[dict[str, Any], Origins]:
    """The mapping in `path`, and for every key path its `file line n`. Raises ConfigFault or SafetyFault."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigFault(_missing(path)) from None
    except UnicodeDecodeError as e:
        raise ConfigFault(_syntax(str(path), f"byte {e.start} is not UTF-8")) from None
    except OSError as e:
        raise ConfigFault(_syntax(str(path), e.strerror or str(e))) from None
    return parse(text, str(path))


def parse(text: str, where: str) -> tuple[dict[str, Any], Origins]:
    try:
        if len(text) > MAX_BYTES:
            raise SafetyFault(_too_much(where, f"{len(text):,} characters"))
        _bounded(text, where)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise ConfigFault(_syntax(where, "the file is not a mapping of `key: value` lines"))
        origins: Origins = {}
        _walk(node, (), where, origins)
        return loader.construct_document(node), origins
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigFault(_syntax(where + line, str(getattr(e, "problem", None) or e))) from None


def _bounded(text: str, where: str) -> None:
    """Raises SafetyFault SEC-TAG for tags; SEC-ALIAS for anchors, and more values or levels than a configuration has."""
    depth = 0
    for n, event in enumerate(yaml.parse(text, Loader=_Loader)):
        at = f"{where} line {event.start_mark.line + 1}" if event.start_mark else where
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SafetyFault(_too_much(at, "an anchor (&) or alias (*)"))
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise SafetyFault(_tag(at, tag))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if n > MAX_NODES or depth > MAX_DEPTH:
            raise SafetyFault(
                _too_much(at, f"over {MAX_NODES:,} values" if n > MAX_NODES else f"over {MAX_DEPTH} levels")
            )


def _tag(where: str, found: str) -> Finding:
    return Finding(
        code="SEC-TAG",
        what="a YAML tag asks for an object of a kind",
        where=where,
        found=found,
        risk="such tags can run code",
        mend="write a plain value",
    )


def _too_much(where: str, found: str) -> Finding:
    return Finding(
        code="SEC-ALIAS",
        what="this YAML uses anchors, or is larger than a configuration",
        where=where,
        found=found,
        risk="a few nested anchors expand to gigabytes",
        mend=f"write the values out, or share them by `extends:`; at most 1 MB, {MAX_NODES:,} values, {MAX_DEPTH} levels",
    )


def scalar(text: str) -> Any:
    """The value of one `SET` item, read as a YAML file would read it."""
    return parse(f"v: {text}" if text else "v: ''", "SET")[0]["v"]


def _walk(node: yaml.MappingNode, path: tuple[str, ...], where: str, origins: Origins) -> None:
    for key, value in node.value:
        at = (*path, str(key.value))
        line = f"{where} line {key.start_mark.line + 1}"
        if at in origins:
            raise ConfigFault(
                Finding(
                    code="CFG-DUPKEY",
                    what="a key stands twice",
                    where=f"{line}, key {'.'.join(at)}",
                    found=f"first at {origins[at]}",
                    risk="one of the two values would be ignored",
                    mend="remove one of them",
                )
            )
        origins[at] = line
        items = enumerate(value.value) if isinstance(value, yaml.SequenceNode) else ()
        for inside, path_of in [(value, at), *((item, (*at, str(n))) for n, item in items)]:
            if isinstance(inside, yaml.MappingNode):
                _walk(inside, path_of, where, origins)


def _syntax(where: str, found: str) -> Finding:
    return Finding(
        code="CFG-SYNTAX",
        what="this YAML can't be read",
        where=where,
        found=found,
        mend="mend that line; indentation is by spaces, and text with `: ` or ` #` in it needs quotes",
    )


def _missing(path: Path) -> Finding:
    from competition.errors import nearest

    beside = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    if beside:
        found, mend = "no such file", nearest(path.name, beside)
    else:
        known = sorted(p.parent.name for p in path.parent.parent.glob("*/competition.yaml"))
        found = f"no folder {path.parent}"
        mend = f"`make init DATA=<folder> NAME={path.parent.name}`" + (
            f", or {nearest(path.parent.name, known)}" if known else ""
        )
    return Finding(
        code="CFG-MISSING",
        what="a configuration file is missing",
        where=str(path),
        found=found,
        mend=mend,
    )
