"""Rows 47 to 56: labels."""

from __future__ import annotations

from faults.case import Case

CASES: list[Case] = []
UNTRIED: dict[int, str] = {}
