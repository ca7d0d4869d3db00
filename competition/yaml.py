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

MAX_BYTES = 1_000_000
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
    return parse(text, str(path))


def parse(text: str, where: str) -> tuple[dict[str, Any], Origins]:
    if len(text) > MAX_BYTES or re.search(
        r"(^|[\s\[{,:-])[&*][A-Za-z0-9_]", re.sub(r"#.*|\"[^\"]*\"|'[^']*'", "", text)
    ):
        raise SafetyFault(
            Finding(
                code="SEC-ALIAS",
                what="this YAML is over 1 MB or uses anchors",
                where=where,
                found=f"{len(text):,} characters",
                risk="a few nested anchors expand to gigabytes",
                mend="write the values out, or share them by `extends:`",
            )
        )
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise ConfigFault(_syntax(where, "the file is not a mapping of `key: value` lines"))
        origins: Origins = {}
        _walk(node, (), where, origins)
        return loader.construct_document(node), origins
    except yaml.constructor.ConstructorError as e:
        raise SafetyFault(
            Finding(
                code="SEC-TAG",
                what="a YAML tag asks for a Python object",
                where=f"{where} line {e.problem_mark.line + 1 if e.problem_mark else '?'}",
                found=str(e.problem),
                risk="such tags can run code",
                mend="write a plain value",
            )
        ) from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigFault(_syntax(where + line, str(getattr(e, "problem", None) or e))) from None
    finally:
        loader.dispose()


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
        if isinstance(value, yaml.MappingNode):
            _walk(value, at, where, origins)


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
