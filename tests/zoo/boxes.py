"""Competitions of boxes."""

from __future__ import annotations

from zoo.boxes_photos import PHOTO_BOXES
from zoo.boxes_siim import SIIM_BOXES
from zoo.boxes_xrays import XRAY_BOXES
from zoo.entry import Entry

BOXES: list[Entry] = [*PHOTO_BOXES, *XRAY_BOXES, *SIIM_BOXES]
