"""Rows 30 to 46: CSV files and ids."""

from __future__ import annotations

from faults.case import Case

CASES: list[Case] = []
UNTRIED: dict[int, str] = {}
