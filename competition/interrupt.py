"""A Ctrl-C that comes in the midst of an import, where libraries swallow it, is remembered until it can be heard."""

from __future__ import annotations

import signal
from typing import Any

came = False


def remember() -> None:
    """From now on, and until the stages take the signals themselves (`engine.signals`)."""
    signal.signal(signal.SIGINT, _note)


def _note(number: int, frame: Any) -> None:
    global came
    came = True
    raise KeyboardInterrupt
