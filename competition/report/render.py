"""Sections as one HTML file that asks nothing of a network: page.html.j2 with page.css, page.js and plotly's script inside.

Names of classes and files come from strangers. They are put into the page as text only (jinja2 escapes, the script builds
no markup), and a content security policy lets no other script run than the two whose digests it names.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import itertools
import json
import math
import numbers
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.errors import visible
from competition.report.blocks import Block, Cell, Chart, Column, Grid, Picture, Section, Tile

HERE = Path(__file__).parent
DIGITS = 6  # significant ones of a number in a chart
FILTERED = 15  # rows from which on a table has a box that filters them
COMMAND = re.compile(
    r"""`((?:make|python) [^`]*)`|(\bmake [a-z-]+(?: [A-Z]+=(?:"[^"]*"|'[^']*'|[^\s"',;]*[^\s"',;.:)]))+)"""
)
FROM_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+(?: [\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+)*")
OF_WEBGL = re.compile("gl$|3d$|^surface$|^parcoords$|^map")
MIME = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp"}


@dataclass(frozen=True)
class Head:
    """What stands above the sections. facts: (name, value). notes: sentences about the page itself."""

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """Where sections of one kind stand. runs: blocks by the position of the run, where it is a place of runs."""

    anchor: str
    title: str
    blocks: Sequence[Block] = ()
    runs: dict[int, Sequence[Block]] | None = None


def html(head: Head, sections: Sequence[Section], runs: Sequence[tuple[str, str]]) -> bytes:
    """The page. runs: (full name, what the choice of runs shows) of those that have sections; the first is shown."""
    names = [name for name, _ in runs]
    code = (HERE / "page.js").read_text(encoding="utf-8")
    packed, digest = plotly()
    text = _environment().get_template("page.html.j2").render(
        head=head,
        competition=list(_of_competition(sections)),
        detail=list(_of_runs(sections, names)),
        runs=[(name.partition("/")[2], label) for name, label in runs],
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        code=code,
        plotly=packed,
        scripts=f"{_digest(code)} {digest}",
        filtered=FILTERED,
        number=itertools.count().__next__,
    )  # fmt: skip
    return text.encode(errors="backslashreplace")  # names of files may hold bytes that are no text


@functools.cache
def plotly() -> tuple[str, str]:
    """The installed plotly's script, gzipped in base64 (4.8 MB become 2.0), and the digest that a policy knows it by."""
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs()
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode(), _digest(script)


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@functools.cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else visible(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ours": Markup,
        "kind": lambda block: type(block).__name__,
        "uri": uri,
        "json": lambda figure: Markup(figure_json(figure)),
        "cell": shown,
        "laid": laid,
        "numeric": numeric,
        "isnumber": is_number,
        "choices": choices,
        "sentence": sentence,
    }
    return made


def _of_competition(sections: Sequence[Section]) -> Iterator[Place]:
    groups = _by_key(s for s in sections if s.run is None)
    for key, group in groups.items():
        yield Place(key, group[0].title, [block for s in group for block in s.blocks])


def _of_runs(sections: Sequence[Section], names: Sequence[str]) -> Iterator[Place]:
    for key, group in _by_key(s for s in sections if s.run is not None).items():
        blocks: dict[int, Sequence[Block]] = {
            names.index(run): _blocks(group, run) for run in names if _blocks(group, run)
        }
        yield Place(f"run-{key}", group[0].title, runs=blocks)


def _by_key(sections: Iterator[Section]) -> dict[str, list[Section]]:
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(section.key, []).append(section)
    return groups


def _blocks(sections: Sequence[Section], run: str) -> list[Block]:
    return [block for s in sections if s.run == run for block in s.blocks]


def laid(blocks: Sequence[Block]) -> list[tuple[Block, bool]]:
    """Each block, and whether it takes the whole width: two charts or pictures in a row share one."""
    found: list[tuple[Block, bool]] = []
    for pairs, group in itertools.groupby(blocks, key=lambda block: isinstance(block, Chart | Picture)):
        row = list(group)
        found += [(block, not pairs or (n == len(row) - 1 and len(row) % 2 == 1)) for n, block in enumerate(row)]
    return found


def numeric(grid: Grid) -> list[bool]:
    """Of each column, whether it holds numbers, and nothing else but gaps."""
    columns = [[row[n] for row in grid.rows if row[n] is not None] for n in range(len(grid.columns))]
    return [bool(cells) and all(map(is_number, cells)) for cells in columns]


def is_number(cell: Cell) -> bool:
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool) and math.isfinite(cell)


def shown(cell: Cell, column: Column) -> str:
    """A cell as it is read: numbers with the decimals of their column."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if not is_number(cell):
        return str(cell)
    if column.read is not None:
        return column.read(cell)
    if column.digits is not None:
        return f"{cell:,.{column.digits}f}"
    return f"{cell:,}" if isinstance(cell, numbers.Integral) else f"{cell:,.{DIGITS}g}"


def choices(tiles: Sequence[Tile], name: str) -> list[str]:
    """What a gallery is filtered by: the different values of a field, where some of its tiles share one."""
    of_each = [getattr(tile, name) for tile in tiles]
    values = [v for value in of_each for v in ([value] if isinstance(value, str) else value) if v]
    distinct = sorted(set(values), key=lambda v: (len(v) if v.isdecimal() else 0, v))
    return distinct if 1 < len(distinct) < len(values) else []


def sentence(line: str) -> Any:
    """Text whose commands, `make check COMP=leaves`, stand out, and whose words that are read from the right are isolated
    (UAX 9), or a figure beside them would change sides."""
    from markupsafe import Markup, escape

    parts = COMMAND.split(FROM_RIGHT.sub("\u2068\\g<0>\u2069", visible(line)))  # text, quoted, unquoted, text, ...
    return Markup("").join(
        escape(p) if n % 3 == 0 else Markup("<code>{}</code>").format(p) for n, p in enumerate(parts) if p
    )


def uri(picture: bytes) -> str:
    """A JPEG, PNG or WebP as an address that holds it."""
    return f"data:{MIME[picture[:2]]};base64,{base64.b64encode(picture).decode()}"


def figure_json(figure: Any) -> str:
    """A plotly figure without its template, compact, and unable to end the script element that it stands in."""
    parts = figure.to_dict()
    assert not any(OF_WEBGL.search(trace["type"]) for trace in parts["data"]), (
        "WebGL needs eval, which the policy forbids"
    )
    parts["layout"].pop("template", None)
    return json.dumps(_plain(parts), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """As JSON has it: arrays as lists, numbers with the digits that can be seen, nan as a gap."""
    if isinstance(value, dict):
        if value.keys() >= {"bdata", "dtype"}:  # plotly's arrays: 8 bytes a number where 5 letters do
            array = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
            shape = [int(n) for n in str(value.get("shape", len(array))).split(",")]
            return _plain(array.reshape(shape).tolist())
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return str(value)  # a date
