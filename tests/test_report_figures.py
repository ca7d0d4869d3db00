"""Figures that charts and tables of the page are made of: colours, escaped names, reliability, mistakes, correlation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from competition.boxes.sheet import Judged
from competition.report import detections, outcome, palette, together


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
    assert palette.plain("שלום") == "\u2068שלום\u2069"


@pytest.mark.parametrize("decimals", [6, 1])  # with many equal probabilities too
def test_reliability_is_scikit_learns_with_every_row_in_a_bin(decimals):
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    p = (rng.random(1000) ** 2).round(decimals)
    true = (rng.random(1000) < p).astype(int)
    bins = outcome.reliability(true, p, 10)
    share, mean = calibration_curve(true, p, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(bins["true"], share)
    np.testing.assert_allclose(bins["p"], mean)
    assert bins["rows"].sum() == 1000
    assert outcome.calibration_error(outcome.reliability(true, np.full(1000, 0.25))) == pytest.approx(
        abs(true.mean() - 0.25)
    )


def test_mistakes_of_boxes_are_counted_once_each():
    truth = pd.DataFrame(
        [("a", 0, 0, 10, 10), ("a", 50, 50, 60, 60), ("b", 20, 20, 30, 30), ("b", 80, 80, 90, 90)],
        index=pd.Index(["p", "p", "p", "q"], name="id"),
        columns=["label", "x_min", "y_min", "x_max", "y_max"],
    ).assign(crowd=False)
    said = pd.DataFrame(
        [("a", 0.9, 0, 0, 10, 10), ("a", 0.8, 1, 0, 10, 10), ("a", 0.7, 20, 20, 30, 30), ("a", 0.6, 50, 50, 56, 56),
         ("b", 0.5, 0, 80, 9, 90), ("b", 0.4, 80, 80, 90, 90)],
        index=pd.Index(["p", "p", "p", "p", "p", "q"], name="id"),
        columns=["label", "score", "x_min", "y_min", "x_max", "y_max"],
    )  # fmt: skip
    found, right = [True, False, False, True], [True, False, False, False, False, True]
    judged = Judged(truth.assign(found=found), said.assign(right=right), 0.0)
    table = detections.mistakes(judged, ("a", "b"))
    assert table.loc["a"].to_dict() == {
        "right": 1, "missed": 1, "double": 1, "other class": 1, "ill placed": 1, "on nothing": 0,
    }  # fmt: skip
    assert table.loc["b"].to_dict() == {
        "right": 1, "missed": 1, "double": 0, "other class": 0, "ill placed": 0, "on nothing": 1,
    }  # fmt: skip
    assert (table.loc["(all)"] == table.loc["a"] + table.loc["b"]).all()


def test_runs_that_say_the_same_correlate_wholly():
    rng = np.random.default_rng(0)
    a, b = (pd.DataFrame(rng.normal(size=(300, 1)), columns=["x"]) for _ in range(2))
    found = together.correlation([a, 2 * a + 5, b, a * 0])
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(np.corrcoef(a["x"], b["x"])[0, 1])
    assert np.isnan(found[0, 3])
