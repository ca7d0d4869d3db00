"""A user's own functions, `file.py:function` beside competition.yaml: the only place from which foreign code runs."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from competition.errors import ConfigFault, Finding, nearest


def find(reference: str, folder: Path, key: str) -> Callable[..., Any]:
    """The function that `key: file.py:function` names, seen from `folder`. Raises ConfigFault HOOK-*."""
    file, _, name = reference.partition(":")
    path = (folder / file).resolve()
    where = f"{folder}/competition.yaml, key {key}: {reference}"
    if not path.is_file():
        raise _missing(where, path)
    try:
        names = vars(_module(path))
    except Exception as e:  # whatever the user's file raises while it is read
        line = f" line {e.lineno}" if isinstance(e, SyntaxError) else ""
        found = f"{type(e).__name__}: {e}"
        raise ConfigFault(
            Finding("HOOK-ERROR", "a file of yours fails", f"{path}{line}", found, "mend that file")
        ) from e
    if not callable(names.get(name)):
        mend = nearest(name, [n for n, f in names.items() if inspect.isfunction(f)])
        raise ConfigFault(
            Finding("HOOK-NAME", "a file of yours lacks a function", where, f"no {name!r} in {path}", mend)
        )
    return names[name]


def call(reference: str, folder: Path, key: str, /, *arguments: Any, **parameters: Any) -> Any:
    """Looks the function up again and calls it: a partial of this travels to other processes, the function would not."""
    return find(reference, folder, key)(*arguments, **parameters)


def content(reference: str, folder: Path) -> bytes:
    """What the file of a `file.py:function` holds; nothing for a plain name. Raises ConfigFault HOOK-FILE."""
    path = folder / reference.partition(":")[0]
    if ".py" not in reference:
        return b""
    if not path.is_file():
        raise _missing(f"{folder}/competition.yaml: {reference}", path)
    return path.read_bytes()


def _missing(where: str, path: Path) -> ConfigFault:
    mend = "the form is file.py:function, seen from the folder of competition.yaml"
    return ConfigFault(Finding("HOOK-FILE", "a file of yours is missing", where, f"no file {path}", mend))


@lru_cache
def _module(path: Path) -> ModuleType:
    """Runs that one file as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"hooks of {path}", path)
    assert spec and spec.loader, f"{path} is no Python file"
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
