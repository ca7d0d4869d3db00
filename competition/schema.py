"""Every key of the two configuration files with its type, default and help: `python -m competition schema`."""

from __future__ import annotations

import json
import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from competition.config import TASKS, Run, task_class
from competition.formulas import METRICS
from competition.keys import Boxes, Competition, Embeddings, Folds, ImagePaths, Pseudo
from competition.tuning.keys import Range, Tune


def schema() -> list[tuple[str, str, str, str, str]]:
    """(section, key, type, default, help) of every key of both files."""
    sections: list[tuple[str, str, type[BaseModel]]] = [
        ("competition.yaml", "", Competition),
        ("competition.yaml", "image.", ImagePaths),
        ("competition.yaml", "boxes.", Boxes),
        ("competition.yaml", "folds.", Folds),
        ("<run>.yaml", "", Run),
        ("<run>.yaml", "search.<key>.", Range),
        ("<run>.yaml", "tune.", Tune),
        ("<run>.yaml", "pseudo.", Pseudo),
        *((f"<run>.yaml, task: {name}", "", task_class(name)) for name in TASKS),
        ("<run>.yaml, task: tabular", "embeddings.", Embeddings),
    ]
    rows = [("<run>.yaml", "extends", "str", "", "another run file, whose values are taken where this one is silent")]
    for section, prefix, model in sections:
        for key, field in model.model_fields.items():
            if not field.description:
                continue
            default = "required" if field.default is PydanticUndefined else _show(field.default)
            rows.append((section, prefix + key, _type_name(field.annotation), default, field.description))
    return sorted(rows, key=lambda row: [s for s, _, _ in sections].index(row[0]))


def markdown() -> str:
    """The schema as Markdown, a table a section; docs/config.md is this text."""
    lines: list[str] = []
    for section, key, kind, default, help in schema():
        title = f"## {section}"
        if title not in lines:
            lines += ["", title, "", "| key | type | default | what it is |", "|---|---|---|---|"]
        lines.append(
            f"| `{key}` | {kind.replace('|', '/')} | {default and f'`{default}`'} | {help.replace('|', '/')} |"
        )
    lines += ["", "## Metrics", "", "| name | kinds | the submission holds | better |", "|---|---|---|---|"]
    for name, entry in METRICS.items():
        kinds = [kind for some in entry.functions for kind in some]
        holds = "value" if kinds == ["regression"] else entry.needs
        lines.append(f"| `{name}` | {', '.join(kinds)} | {holds} | {'greater' if entry.greater else 'smaller'} |")
    lines.append("| `file.py:function` | any | see competition/metrics.py | as it says |")
    return "\n".join(lines).strip()


def _show(value: Any) -> str:
    """A default as the YAML file would have it."""
    return "see below" if isinstance(value, BaseModel) else json.dumps(value).strip('"')


def _type_name(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if typing.get_origin(annotation) is Literal:
        return " | ".join(map(str, arguments))
    if typing.get_origin(annotation) is tuple or typing.get_origin(annotation) is list:
        return f"list of {_type_name(arguments[0])}"
    if typing.get_origin(annotation) is dict:
        return "mapping"
    if typing.get_origin(annotation) is Annotated:
        return _type_name(arguments[0])
    if arguments:
        return " | ".join(_type_name(a) for a in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return getattr(annotation, "__name__", str(annotation))
