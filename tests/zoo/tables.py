"""Competitions of tables."""

from __future__ import annotations

from zoo.entry import Entry
from zoo.tables_classes import CLASSES
from zoo.tables_joined import JOINED
from zoo.tables_values import VALUES

TABLES: list[Entry] = [*CLASSES, *VALUES, *JOINED]
