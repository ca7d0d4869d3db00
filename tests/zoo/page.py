"""docs/zoo.md, made of the zoo's entries: `PYTHONPATH=tests python -m zoo.page > docs/zoo.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from competition.settings import parse
from zoo.boxes import BOXES
from zoo.entry import Entry
from zoo.photos import PHOTOS
from zoo.tables import TABLES

COMMAND = "PYTHONPATH=tests python -m zoo.page > docs/zoo.md"
SECTIONS: Mapping[str, Sequence[Entry]] = {"Photos": PHOTOS, "Boxes": BOXES, "Tables": TABLES}
HEADER = f"""\
# The zoo: well-known competitions, from the download to a file that the host accepts

Each folder is made by code, tiny but in its exact form (names, columns, ids, layout, the sample's values), from the facts
of its public data page; see `tests/zoo`. `make test` lets `make init` read every one and compares what it infers.
`make test-all` runs each to the end (folds, training, submission) and has the CSV judged by the host's own checks, written
without Podium's code. *Stated* is what the user has to say beside `make init DATA=... NAME=...`, because the folder can't
tell it, mostly the metric; what is not stated, kind and metric too, is inferred. This page is made by
`{COMMAND}`.
"""


def text() -> str:
    entries = [entry for some in SECTIONS.values() for entry in some]
    bare = sum(not entry.set and not entry.beside for entry in entries)
    silent = sum(not entry.metric and not entry.set and not entry.beside for entry in entries)
    said = f"{len(entries)} entries (SIIM COVID-19 is two of one folder)"
    counted = f"{said}: {silent} with nothing stated, {bare - silent} with the metric alone, "
    parts = [HEADER, f"{counted}{len(entries) - bare} with more.\n"]
    parts += [f"## {title}\n\n{_table(some)}" for title, some in SECTIONS.items() if some]
    return "\n".join(parts)


def _table(entries: Sequence[Entry]) -> str:
    head = ["| competition | kind | metric | its folder | `make init` infers | stated |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(_row(entry) for entry in sorted(entries, key=lambda e: e.slug))]) + "\n"


def _row(entry: Entry) -> str:
    said = parse(entry.set) | dict(entry.infers)
    kind, metric = said["kind"], entry.metric or _metric(said["metric"])
    shown = [key for key in entry.infers if key not in ("kind", "metric", *parse(entry.set))]
    keys = ", ".join(f"`{key}: {_value(entry.infers[key])}`" for key in shown)
    folder = " ".join((entry.build.__doc__ or "").split()).replace("<", "\\<")
    cells = [entry.slug, kind, metric, folder, keys, _stated(entry)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _metric(spec: Any) -> str:
    """`{"name": "mapk", "k": 5}` as METRIC= has it."""
    if isinstance(spec, str):
        return spec
    return f"{spec['name']}@{spec['k']}" if set(spec) == {"name", "k"} else _value(spec)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]" if len(value) <= 5 else f"{len(value)} of them"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(part)}" for key, part in value.items()) + "}"
    return "none" if value is None else "' '" if value == " " else str(value)


def _stated(entry: Entry) -> str:
    found = [f"`METRIC={entry.metric}`"] if entry.metric else []
    found += [f"`SET='{entry.set}'`"] if entry.set else []
    found += [f"a file beside: `{name}`" for name in entry.beside]
    return ", ".join(found) or "nothing"


if __name__ == "__main__":
    print(text(), end="")
