"""What the zoo knows of one competition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One competition of the zoo.

    slug: its name at the host. build: makes the folder in its exact form, from facts of its public data page. judge: the
    host's own checks of a submission, written without any of our code: (submission, the folder) -> complaints, none for
    a file that scores. infers: keys of competition.yaml, dotted, and what `make init` must find. metric, set: METRIC= and
    SET= that a user has to state, because the folder can't tell. beside: files to lay beside competition.yaml first
    (name -> text), such as a `read:` hook. run: SET= of the tiny run. command: the target of make that runs it.
    """

    slug: str
    build: Callable[[Path], None]
    judge: Callable[[Path, Path], list[str]]
    infers: Mapping[str, Any]
    metric: str = ""
    set: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    command: str = "submission"
