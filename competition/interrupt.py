"""A request to stop that comes amid an import, where libraries swallow it, is remembered until it can be heard."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
came = False
raises = False


def remember() -> None:
    """From now on, and until the stages take the signals themselves (`engine.signals`)."""
    for number in heard():
        signal.signal(number, _note)


def listen() -> None:
    """From now on a request is raised as KeyboardInterrupt where it comes; and at once where one came before."""
    global raises
    raises = True
    sys.unraisablehook = _unraisable
    if came:
        raise KeyboardInterrupt


def forget() -> None:
    """What comes now comes too late: all is done, and the process is about to end."""
    for number in heard():
        signal.signal(number, signal.SIG_IGN)


def heard() -> list[signal.Signals]:
    """A hang-up that is passed over stays so, or `nohup` would be of no use."""
    return [s for s in SIGNALS if s.name != "SIGHUP" or signal.getsignal(s) != signal.SIG_IGN]


def _note(number: int, frame: Any) -> None:
    global came
    if came:
        os._exit(128 + number)
    came = True
    if raises:
        raise KeyboardInterrupt


def _unraisable(what: Any) -> None:
    """A request that comes amid a callback of the interpreter's, such as that of an import's lock, can't be raised there:
    Python would print a traceback of it. It is remembered (`came`)."""
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)
