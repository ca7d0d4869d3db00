"""Competitions of photos."""

from __future__ import annotations

from zoo.photos_binary import BINARY
from zoo.photos_classes import CLASSES
from zoo.photos_labels import LABELS
from zoo.photos_ranked import RANKED
from zoo.photos_wild import WILD

PHOTOS = [*BINARY, *CLASSES, *LABELS, *RANKED, *WILD]
