"""Colours of the page's charts that are readable on light and dark, and what goes into a figure: escaped, rounded, small.

`plotly` is imported when a figure is made: 0.1 s.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import bidirectional

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from plotly.graph_objects import Figure

# Okabe and Ito's, told apart by the colour-blind (https://jfly.uni-koeln.de/color/); orange, sky and yellow darkened until
# each has a contrast of 3 to 1 on white and on near black (WCAG 1.4.11)
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, OLIVE, GREY = "#C27F00", "#2F95D0", "#8F8700", "#7F7F7F"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, OLIVE)
DASHES = ("solid", "dash", "dot", "dashdot")
SHADES = [[0.0, "rgba(0,114,178,0)"], [1.0, "rgba(0,114,178,0.8)"]]  # nothing is the page's own ground
RARE = [SHADES[0], [0.001, "rgba(0,114,178,0.1)"], [0.1, "rgba(0,114,178,0.35)"], SHADES[1]]  # one of 1,000 is seen
LETTERS = 22  # of a name on an axis or in a legend
DIGITS = 4  # that can be seen
POINTS = 300  # of a line


def colour(n: int) -> str:
    """Of the nth category; after seven they come again, with another of `dash`."""
    return COLOURS[n % len(COLOURS)]


def dash(n: int) -> str:
    return DASHES[n // len(COLOURS) % len(DASHES)]


def plain(text: object) -> str:
    """Text as it stands, for labels and hover texts, in which plotly reads tags and the entities amp, lt and gt.

    Text that is read from the right is isolated (UAX 9), or a figure beside it would change sides. Never for a
    hovertemplate, in which a name like `%{x}` would be read: names go into `text` or `customdata`.
    """
    words = html.escape(" ".join(str(text).split()), quote=False)
    return f"\u2068{words}\u2069" if any(bidirectional(letter) in ("R", "AL") for letter in words) else words


def short(text: object, letters: int = LETTERS) -> str:
    """`plain`, cut in the middle where it is long: names of one kind often differ at their ends."""
    words = " ".join(str(text).split())
    if len(words) > letters:
        end = (letters - 1) // 2
        words = f"{words[: letters - 1 - end]}…{words[-end:]}"
    return plain(words)


def rounded(values: ArrayLike, digits: int = DIGITS) -> list[Any]:
    """Numbers of any shape as lists, at this many significant digits; None for nan and inf, which JSON has not."""
    numbers = np.asarray(values, float)
    flat = np.empty(numbers.size, object)
    flat[:] = [_cut(value, digits) for value in numbers.ravel().tolist()]
    return flat.reshape(numbers.shape).tolist()


def _cut(value: float, digits: int) -> float | int | None:
    """A whole number without its `.0`, which is two bytes of each count."""
    if not np.isfinite(value):
        return None
    value = float(f"{value:.{digits}g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def thinned(count: int, most: int = POINTS) -> np.ndarray:
    """Places of at most `most` of so many points, evenly apart, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)) if count else np.zeros(0, int)


def figure(traces: Sequence[Mapping[str, Any]], **layout: Any) -> Figure:
    """A figure with its legend above the plot, where it has room on a phone, and no more margin than its labels need.

    Unchecked: plotly's own check takes 40 ms a figure, and the tests check each kind of figure by it.
    """
    from plotly.graph_objects import Figure

    several = sum(trace.get("showlegend", True) and "name" in trace for trace in traces) > 1
    settings: dict[str, Any] = {
        "template": {},  # None is the default one
        "showlegend": several,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "closest",
    }
    axes = {name: {"automargin": True, "zeroline": False} | layout.pop(name, {}) for name in _axes(traces)}
    return Figure([dict(trace) for trace in traces], settings | layout | axes, _validate=False)


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": plain(title)}, **more}


def counted(last: int) -> dict[str, Any]:
    """Ticks of an axis of whole numbers up to `last`: plotly's own have halves where there are few."""
    return {"dtick": 1, "tick0": 0} if last <= 10 else {"tickformat": "d"}


def logged(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis between two values above 0, with ticks at 1, 2 and 5 of each decade: plotly's own are a lone digit
    but at the decades.
    """
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    wide = len(decades) > 3
    return {"type": "log", "tickvals": ticks[:: 3 if wide else 1], "tickformat": "~s"}


def names(labels: Sequence[object], letters: int = LETTERS) -> dict[str, Any]:
    """Ticks of an axis of categories at 0, 1, 2, ...: two names may be alike when cut, and `01` is no number.

    Level or upright: a slanting name that reaches past the figure's right end is left out.
    """
    texts = [short(label, letters) for label in labels]
    return {"tickvals": [*range(len(labels))], "ticktext": texts, "autotickangles": [0, 90]}


def _axes(traces: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the layout's axes that the traces are on."""
    flat = [trace for trace in traces if trace["type"] not in ("parcoords",)]
    return sorted({f"{d}axis{trace.get(f'{d}axis', d)[1:]}" for trace in flat for d in "xy"})
