"""The catalogue of faults, row by row: each is told in one message of five parts, or handled as stated; no input file is
changed, and nothing is left half-written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faults import folds, labels, pictures, places, runs, settings, submissions, tables
from faults.case import PARTS, Case, inputs, leftovers, run

MODULES = (pictures, places, tables, labels, folds, submissions, runs, settings)
CASES = [case for module in MODULES for case in module.CASES]
UNTRIED = {row: why for module in MODULES for row, why in module.UNTRIED.items()}
ROWS = range(1, 109)


def in_make_test(case: Case) -> bool:
    """The first of each row that is not slow; `make test-all` has them all."""
    return not case.slow and case == next(c for c in CASES if c.row == case.row and not c.slow)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if in_make_test(c) else pytest.mark.slow) for c in CASES],
    ids=lambda case: case.title,
)
def test_a_fault_of_the_catalogue(case: Case, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    case.build(competition)
    before, whole = inputs(), set(leftovers())
    capsys.readouterr()
    ended = run(case.act)
    said = "".join(capsys.readouterr())
    assert ended == case.exit, said
    assert "Traceback" not in said
    assert inputs() == before, "an input file is changed"
    if case.kind == "error":
        assert f"error {case.code}:" in said
        assert all(part in said for part in PARTS)
        assert set(leftovers()) <= whole, "half a file is left"
    for words in (case.code, *case.said):
        assert words in said
    if case.holds is not None:
        case.holds()


def test_every_row_of_the_catalogue_is_tried_or_says_why_not():
    tried = {case.row for case in CASES}
    assert tried | set(UNTRIED) == set(ROWS)
    assert not tried & set(UNTRIED)
    assert len({case.title for case in CASES}) == len(CASES)


def test_every_case_can_fail():
    """An error has an exit code, what is told is named, and what is handled is looked at."""
    for case in CASES:
        assert (case.exit == 0) == (case.kind != "error") or case.exit == 75, case.title
        assert case.code or case.kind == "handled", case.title
        assert case.kind == "error" or case.said or case.holds, case.title
