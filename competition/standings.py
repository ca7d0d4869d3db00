"""The runs of a competition as their folders tell them: `make compare COMP=leaves`, the page and W&B show these figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["scored", "unscored", "other folds", "other data", "other metric", "older version", "damaged"]


@dataclass(frozen=True, eq=False)
class Standing:
    """A run or a blend. name: `leaves/baseline`.

    state: `scored` where its score counts beside the others'; in every other state all figures are None and `note` says what
    is wrong and how to mend it (`unscored`: which folds are trained, and the command that goes on).
    score, std, folds: nested score over all rows, standard deviation over folds, and score by fold, as the competition shows
    them. gap, error: how much worse it is than the best (0 for the best, never below) and the standard error of that
    difference over folds. seconds: training time of all folds, of a blend that of its members too. parameters, epochs: of
    one fold's model; None where there are none. public, private: of its last submission. record, scored: run.json and
    score.json, empty where they can't be read.
    """

    name: str
    task: str  # image, detection, tabular, soup, imported; blend or preset where it has members
    state: State
    note: str = ""
    score: float | None = None
    std: float | None = None
    folds: Mapping[str, float | None] = field(default_factory=dict)
    gap: float | None = None
    error: float | None = None
    seconds: float | None = None
    parameters: int | None = None
    epochs: int | None = None
    public: float | None = None
    private: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    scored: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Its name within the competition."""
        return self.name.partition("/")[2]
