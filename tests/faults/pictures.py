"""Rows 1 to 29: pictures."""

from __future__ import annotations

from faults.case import Case

CASES: list[Case] = []
UNTRIED: dict[int, str] = {}
