"""A file's values as a typed model; every mistake of the file at once, each with its line, key and way to mend it."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from competition import yaml
from competition.errors import ConfigFault, Finding, nearest


def validated(
    model: type[BaseModel], values: dict, origins: yaml.Origins, file: str, also: tuple[str, ...] = ()
) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise ConfigFault(*(_explain(error, model, origins, file, also) for error in e.errors())) from None


def _explain(error: Any, model: type[BaseModel], origins: yaml.Origins, file: str, also: tuple[str, ...]) -> Finding:
    path = tuple(str(p) for p in error["loc"] if not str(p).startswith(("function-", "literal[", "form-")))
    inner: Any = model
    for key in path[:-1]:
        field = inner.model_fields.get(key) if inner else None
        inner = next(iter(_models(field.annotation)), None) if field else None
    keys = [*inner.model_fields, *also] if inner else []
    if error["type"] == "extra_forbidden":
        return finding("CFG-UNKNOWN", path, origins, file, f"unknown key {path[-1]!r}", keys)
    if error["type"] == "missing":
        return finding("CFG-REQUIRED", path, origins, file, f"the key {path[-1]!r} is missing", None)
    choices = str(error.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
    given = error["input"] if path else "the file as a whole"
    found = f"{given!r}: {error['msg'].removeprefix('Value error, ')}"
    return finding("CFG-VALUE", path, origins, file, found, choices if choices != [""] else None, given)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type holds: a section of the file has its keys there."""
    inside = [model for part in typing.get_args(annotation) for model in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else inside


def finding(
    code: str, path: tuple[str, ...], origins: yaml.Origins, file: str, found: str, choices: Any, given: Any = None
) -> Finding:
    at = next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), file)
    if code == "CFG-REQUIRED":
        mend = f"add `{path[-1]}: ...`; `python -m competition schema` says what it means"
    elif choices:
        mend = nearest(str(given) if given is not None else path[-1], choices)
    else:
        mend = "give a value of the type and range that `python -m competition schema` prints"
    return Finding(
        code=code,
        what="the configuration has a mistake",
        where=f"{at}, key {'.'.join(path)}" if path else at,
        found=found,
        mend=mend,
    )


def bad_value(key: str, value: Any, found: str, mend: str) -> Finding:
    return Finding(
        code="CFG-VALUE",
        what="the command has a mistake",
        where=f"{key}={value}",
        found=found,
        mend=mend,
    )
