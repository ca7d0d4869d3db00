"""Rows 57 to 108: folds, boxes, tables, submissions, runs, configuration, engine."""

from __future__ import annotations

from faults.case import Case

CASES: list[Case] = []
UNTRIED: dict[int, str] = dict.fromkeys(range(57, 109), "tried by the other half of this change")
