"""What `make init` says of a table's columns: type and reason of each on the screen, and the first run's YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from rich.table import Table

from competition import board
from competition.data import Data, describing
from competition.errors import examples
from competition.inspect.guess import flow
from competition.tabular.columns import Column, ColumnType, infer

WIDTH = 120
LACKING = "test lacks it"
FULL = 40  # columns that are shown one by one


def of(data: Data) -> list[Column]:
    """Every column of train beside id, targets and picture paths, in its order; those that test lacks are left out."""
    told = {column.name: column for column in infer(data.train.table[list(data.problem.inputs)])}
    lacking = describing(data.train.table, data.config)
    return [told.get(name) or Column(name, "ignore", LACKING) for name in lacking]


def show(columns: Sequence[Column], name: str) -> None:
    """A table of column, type and reason; of many columns, by type with examples."""
    many = len(columns) > FULL
    table = Table(title=f"{name}: {len(columns)} columns")
    for head in ("type", "columns", "for example") if many else ("column", "type", "because"):
        table.add_column(head, overflow="fold")
    for column in () if many else columns:
        table.add_row(column.name, column.type, column.reason)
    for kind, some in _by_type(columns).items() if many else ():
        shown = [f"{c.name} ({c.reason})" for c in some] if kind == "ignore" else [c.name for c in some]
        table.add_row(kind, str(len(some)), examples(shown))
    board.console.print(table)


def text(columns: Sequence[Column], name: str) -> str:
    """The YAML of a first run: names grouped by type, those left out with the reason of each."""
    lines = [
        f"# The first run of {name}, on its tables. The types are told from the cells; move a name to change its type.",
        f"# make tabular RUN={name}/baseline",
        "task: tabular",
        "preset: good   # quick | good | best",
        "columns:",
    ]
    for kind, some in _by_type(columns).items():
        if kind == "ignore":
            lines += ["  ignore:" if any(c.reason != LACKING for c in some) else "  ignore: []"]
            marks = ["  # " if column.reason == LACKING else "" for column in some]
            lines += [f"  {m}  - {flow(c.name)}   # {c.reason}" for m, c in zip(marks, some, strict=True)]
        else:
            lines += _wrapped(f"  {kind}: [", [flow(column.name) for column in some])
    return "\n".join(lines) + "\n"


def _by_type(columns: Sequence[Column]) -> dict[ColumnType, list[Column]]:
    groups: dict[ColumnType, list[Column]] = {kind: [] for kind in get_args(ColumnType)}
    for column in columns:
        groups[column.type].append(column)
    return {kind: some for kind, some in groups.items() if some}


def _wrapped(start: str, names: list[str]) -> list[str]:
    """`number: [a, b, ...]` on as many lines as it needs."""
    lines = [start]
    for i, name in enumerate(names):
        item = name + ("," if i < len(names) - 1 else "]")
        blank = "" if lines[-1].endswith(("[", " ")) else " "
        if len(lines[-1]) + len(blank) + len(item) > WIDTH:
            lines.append("    " + item)
        else:
            lines[-1] += blank + item
    return lines
