"""Competitions of boxes."""

from __future__ import annotations

from zoo.entry import Entry

BOXES: list[Entry] = []
