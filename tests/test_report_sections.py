"""The sections of the page that are charts and tables: figures equal scikit-learn's, every kind, hostile names, sizes."""

from __future__ import annotations

import numpy as np
import pytest

from competition.report import palette


def luminance(colour: str) -> float:
    """Relative, of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", ["#ffffff", "#15171c"])
def test_colours_stand_out_on_light_and_dark(ground: str):
    for n in range(len(palette.COLOURS)):
        light, dark = sorted((luminance(palette.colour(n)), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3


def test_lines_of_many_categories_differ():
    assert len({(palette.colour(n), palette.dash(n)) for n in range(28)}) == 28


def test_rounded_keeps_what_can_be_seen():
    assert palette.rounded([0.123456, 1234567, 0.1 + 0.2, -3.00001, 0, 1e-9]) == [0.1235, 1235000, 0.3, -3, 0, 1e-9]
    assert palette.rounded([[np.nan, 1.0], [np.inf, -np.inf]]) == [[None, 1], [None, None]]


def test_thinned_keeps_both_ends():
    assert palette.thinned(5, 10).tolist() == [0, 1, 2, 3, 4]
    some = palette.thinned(10_000, 300)
    assert len(some) == 300 and some[0] == 0 and some[-1] == 9_999
    assert len(palette.thinned(0)) == 0


def test_names_are_text_to_plotly():
    assert palette.plain("<b>&lt;\n'a' \"b\"") == "&lt;b&gt;&amp;lt; 'a' \"b\""
    assert palette.short("left_" * 10, 11) == "left_…left_"
