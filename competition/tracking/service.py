"""What a service takes: curves of folds as they grow, what a run scored, a submission, a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from competition.tracking.summary import Summary
    from competition.tracking.told import Followed


class Curve(Protocol):
    """One fold of a run."""

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of history, of a step after the one before."""
        ...

    def note(self, text: str) -> None:
        """Sentences on the fold; they take the place of those before."""
        ...

    def close(self, record: Mapping[str, Any] | None) -> None:
        """record: fit.json, None where the fold is not trained yet and may go on."""
        ...


class Service(Protocol):
    name: str

    def curve(self, told: Followed, fold: str) -> Curve: ...

    def summary(self, told: Followed, summary: Summary) -> None: ...

    def submission(self, told: Followed) -> None: ...

    def trial(self, told: Followed, row: Mapping[str, Any]) -> None:
        """One that has come to an end, a row of trials.csv."""
        ...

    def search(self, told: Followed, trials: pd.DataFrame) -> None:
        """trials.csv as it is by now."""
        ...

    def close(self) -> None:
        """Everything that is told lies on the disk, or at the server, once this returns."""
        ...
