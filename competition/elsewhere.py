"""Whether another machine has the data that this one has, before it works on them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from competition.data import Data, load
from competition.errors import DataFault, Finding, examples

LOOKED = 500  # pictures whose size is compared: a look at each of 30,000 takes a file server half a minute


def same(data: Data) -> Callable[[], None]:
    """What is to be done there. Raises DataFault RUN-DATA, and whatever reading the data raises."""
    known = [rows.pictures for rows in (data.train, data.test) if rows.pictures is not None]
    paths = [path for some in known for path in some if path]
    some = paths[:: max(1, len(paths) // LOOKED)]
    return functools.partial(_compare, data.name, data.hash, {path: os.stat(path).st_size for path in some})


def _compare(name: str, known: str, sizes: dict[str, int]) -> None:
    data = load(name)
    if data.hash != known:
        _refuse(data, "the tables", f"hash {data.hash} there, {known} where the command was given")
    others = [path for path, size in sizes.items() if not os.path.isfile(path) or os.stat(path).st_size != size]
    if others:
        _refuse(
            data, "the pictures", f"{len(others)} of {len(sizes)} are missing or of another size: {examples(others)}"
        )


def _refuse(data: Data, what: str, found: str) -> None:
    mend = f"put the same files there, or name a folder that all machines share as `data:` of {data.name}"
    raise DataFault(Finding("RUN-DATA", f"{what} of a machine are others", data.config.data, found, mend))
