"""What the mirror is told of a run, as a line of JSON; the rest it reads from the run's folder.

Ids come from what a run is (name, configuration, data, folds) and from when its folder was first followed, so that a fold
that goes on after a kill continues the same curve, and a folder that is removed and trained anew draws one of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition import artifacts

if TYPE_CHECKING:
    from competition.runs import Opened

FACTS = {"kind", "target", "metric", "folds"}  # of competition.yaml
DIGITS = 16  # of an id
MIRRORED = ".mirror"  # folder in a run's, of what services were told of it


@dataclass(frozen=True)
class Followed:
    """A run, or with `keys` a search over these. run: `leaves/baseline`; identity: hash of what it is; greater: whether a
    greater score is better; facts: of the competition, as plain values."""

    run: str
    identity: str
    service: str
    metric: str
    greater: bool
    facts: dict[str, Any] = field(default_factory=dict)
    keys: Sequence[str] | None = None

    @property
    def competition(self) -> str:
        return self.run.partition("/")[0]

    @property
    def name(self) -> str:
        return self.run.partition("/")[2]

    @property
    def folder(self) -> Path:
        return artifacts.run_folder(self.run)

    def growing(self) -> set[str]:
        """Ids of what is told bit by bit."""
        return {self.id(part) for part in ("score", *(path.name for path in self.folder.glob("fold*")))}

    def id(self, part: str) -> str:
        """Of `fold0`, `score`, `trial3`, `search`; 16 hex digits."""
        return artifacts.digest(self.identity, part)[:DIGITS]

    def config(self) -> dict[str, Any]:
        """The run's configuration, and what it was made from and with."""
        record = artifacts.read_json(self.folder / "run.json")
        made = {key: record.get(key) for key in ("data", "folds", "inputs", "git", "versions", "hardware", "made")}
        return record["config"] | {"competition": {"name": self.competition, **self.facts}, "made_with": made}

    def line(self) -> str:
        return json.dumps(asdict(self))


def of(at: Opened, service: str, keys: Sequence[str] | None = None) -> Followed:
    """keys: of a search, whose folder `at` is."""
    from competition import runs

    since = at.folder / MIRRORED / "since.txt"
    if not since.exists():
        artifacts.write_text(since, artifacts.now())
    identity = artifacts.digest(
        at.run.name, runs.identity(at.run, ("fit",)), at.data.hash, at.table.hash, since.read_text(encoding="utf-8")
    )
    metric = at.data.problem.metric
    facts = at.data.config.model_dump(mode="json", include=FACTS)
    return Followed(at.run.name, identity, service, metric.name, metric.greater, facts, keys)
