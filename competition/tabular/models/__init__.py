"""One file a library, each with the same names, so that a model is chosen by the name of its file.

FORM     the features that it takes (features.ENCODINGS)
STOPS    whether an inner hold-out stops it early
ROUNDS   the parameter that says how many rounds there are
JOINT    whether one model learns all outputs; else each output has a model of its own, classes apart
WEIGHS   whether it heeds `Job.weight`
SUFFIX   of its file, in the library's own safe format
fit(job) -> model, rounds      predict(model, x) -> [rows] or [rows, outputs]
save(model, path)              load(path, device) -> model
contributions(model, x) -> [rows, outputs, features + 1], only of trees: exact SHAP values of the raw output (log odds or
a standardised value), which they sum to, the last being the same for all rows (TreeSHAP, Lundberg et al. 2020)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np

from competition.errors import ConfigFault, Finding, nearest
from competition.tabular.features import Form, Matrix
from competition.tabular.target import Loss

# Parameters that the metric sets, by way of `Job.loss`: with another one predictions would be no probabilities.
OBJECTIVE = {"objective", "loss", "loss_function", "num_class", "application", "app", "obj", "classes_count"}
Held = tuple[Matrix, np.ndarray]  # an inner hold-out


@dataclass(frozen=True)
class Job:
    """What the tabular task hands to a library: rows, and what is to be learned of them.

    y: [rows] the class (softmax), 0..1 (sigmoid) or a standardised value; [rows, outputs] for a library that is JOINT.
    classes: how many there are (softmax). weight: [rows], mean 1. valid: an inner hold-out of the training rows, which
    chooses the number of rounds; None: all of them. alpha: of the pinball loss. params: over our defaults.
    round(done, total): shows progress; raises Stopped.
    """

    x: Matrix
    y: np.ndarray
    weight: np.ndarray
    valid: Held | None
    loss: Loss
    classes: int
    alpha: float
    params: dict[str, Any]
    seed: int
    threads: int
    device: str
    round: Callable[[int, int], None]


class Library(Protocol):
    FORM: Form
    STOPS: bool
    ROUNDS: str
    JOINT: bool
    GPU: bool
    WEIGHS: bool
    SUFFIX: str

    def fit(self, job: Job) -> tuple[Any, int]: ...
    def predict(self, model: Any, x: Matrix) -> np.ndarray: ...
    def save(self, model: Any, path: Path) -> None: ...
    def load(self, path: Path, device: str) -> Any: ...


def library(name: str) -> Library:
    return cast(Library, importlib.import_module(f"competition.tabular.models.{name}"))


def checked(
    params: dict[str, Any], known: Iterable[str], name: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The user's `params`, each by the one name that our defaults have too.

    Raises ConfigFault CFG-UNKNOWN where the library would ignore one or fail late.
    """
    names = {*known, *aliases} - OBJECTIVE
    unknown = [key for key in params if key not in names]
    if unknown:
        raise ConfigFault(
            Finding(
                code="CFG-UNKNOWN",
                what=f"{name} has no such parameter",
                where=f"params: {unknown[0]}",
                found=f"{params[unknown[0]]!r}",
                mend=nearest(unknown[0], sorted(names)),
            )
        )
    return {aliases.get(key, key): value for key, value in params.items()}


def of_classes(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of 0..1 for libraries that learn only whole classes: a soft label is a row of each, weighed by it."""
    if np.isin(y, (0, 1)).all():
        return x, y.astype(int), weight
    whole = np.repeat([1, 0], len(y))
    both = np.concatenate([weight * y, weight * (1 - y)])
    return np.vstack([x, x])[both > 0], whole[both > 0], both[both > 0]
