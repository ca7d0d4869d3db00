"""What the page is made of: sections, and in them charts, tables, galleries, cards and prose.

`page.py` turns them into HTML. All text here is plain: it comes from class names, file names and messages, and is
escaped where it is put into the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Cell = str | float | int | None


@dataclass(frozen=True)
class Chart:
    """figure: of plotly, without a template, colours or size of the page's own (the page sets font, background and grid for
    light and dark). text: what it shows, in a sentence or two with the figures that matter, for who can't see it.
    tall: height in pixels at the width of a desktop.
    """

    title: str
    figure: Figure
    text: str
    tall: int = 360


@dataclass(frozen=True)
class Column:
    """digits: decimals of its numbers; None: of text, or as they are. help: what its heading shows on hover or focus.
    read: how its numbers are read (`7 min`); they sort as numbers."""

    name: str
    digits: int | None = None
    help: str = ""
    read: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Grid:
    """A table that sorts by each column. rows: cells in the order of columns, None: not known. note: beneath it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """One row of the competition in a gallery.

    picture: JPEG, PNG or WebP bytes; None: a placeholder that says `missing`. layer: a second picture of the same shape
    (what the model looked at), shown on demand. facts: further (name, value) pairs. kinds: the words that filters go by.
    """

    id: str
    truth: str
    predicted: str
    picture: bytes | None = None
    missing: str = ""
    layer: bytes | None = None
    facts: Sequence[tuple[str, str]] = ()
    kinds: Sequence[str] = ()


@dataclass(frozen=True)
class Gallery:
    """Tiles, the worst first, with a filter by truth, by prediction and by kind, and a search by id. note: above them."""

    title: str
    tiles: Sequence[Tile]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture by itself: PNG, JPEG or WebP bytes. text: what it shows, for who can't see it."""

    title: str
    picture: bytes
    text: str


@dataclass(frozen=True)
class Prose:
    """Paragraphs; with `listed` the items of a list."""

    lines: Sequence[str]
    listed: bool = False


@dataclass(frozen=True)
class Card:
    """A folded-up card: facts as (name, value), and text to copy (a command, a YAML file) under its title."""

    title: str
    facts: Sequence[tuple[str, str]]
    copies: Sequence[tuple[str, str]] = ()


Block = Chart | Grid | Gallery | Picture | Prose | Card


@dataclass(frozen=True)
class Section:
    """run: of which run it is (its full name), None: of the competition. key: its anchor, of letters and hyphens, one for
    each kind of section (`curves`): the page puts the sections of the runs that share a key into one place, with a choice.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    run: str | None = None
