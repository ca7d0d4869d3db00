"""What `make check` found, a note a problem: how bad it is, how often, where for example, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from competition.errors import DataFault, Finding

Severity = Literal["error", "warn", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warn", "info")  # the worst first
EXAMPLES = 5
CODED = re.compile(r"([A-Z]+-[A-Z]+): (.*)", re.DOTALL)
TOLD = {"FOLD-RARE", "FOLD-BALANCE", "TAB-INF"}  # sentences that warn


@dataclass(frozen=True)
class Note:
    """error: nothing can be trained or submitted before it is mended; warn: the score may be wrong; info: worth knowing.

    count: rows, pictures or columns; 0 where it says nothing. examples: ids, names or paths. tiles: (path, caption) of
    pictures worth a look, those of one case side by side.
    """

    severity: Severity
    code: str
    what: str
    count: int = 0
    examples: tuple[str, ...] = ()
    mend: str = ""
    risk: str = "nothing was started"
    tiles: tuple[tuple[str, str], ...] = ()

    def finding(self) -> Finding:
        """The same as a fault of five parts."""
        found = f"{self.count:,} in all" if self.count else self.what
        return Finding(self.code, self.what, ", ".join(map(repr, self.examples)), found, self.mend, self.risk)

    def record(self) -> dict[str, Any]:
        return asdict(self)


def about(severity: Severity, code: str, what: str, names: Iterable[object], mend: str = "", **more: Any) -> Note:
    """A note on so many names, the first of which are its examples."""
    names = [str(name) for name in names]
    return Note(severity, code, what, len(names), tuple(names[:EXAMPLES]), mend, **more)


def of_sentence(text: str) -> Note:
    """A sentence of another stage, which may begin with its code."""
    coded = CODED.fullmatch(text)
    code, what = coded.groups() if coded else ("", text)
    loud = code in TOLD or what.startswith("WARNING: ")
    return Note("warn" if loud else "info", code, what.removeprefix("WARNING: "))


def of_finding(finding: Finding) -> Note:
    told = f"{finding.what} ({finding.found})" if finding.found else finding.what
    return Note("error", finding.code, told, examples=(finding.where,), mend=finding.mend, risk=finding.risk)


def heard(part: Callable[[], Sequence[Note]]) -> list[Note]:
    """The notes of a part, or its faults as notes: the other parts are told in the same pass."""
    try:
        return list(part())
    except DataFault as fault:
        return [of_finding(finding) for finding in fault.findings]


def ordered(notes: Iterable[Note]) -> list[Note]:
    """The worst first, else as they came."""
    return sorted(notes, key=lambda note: SEVERITIES.index(note.severity))
