"""What a user is told when something is wrong: five parts, every problem of one pass at once, and an exit code."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """One problem: what it is, where it stands, what was found there, how to mend it, and what it would have done."""

    code: str
    what: str
    where: str
    found: str
    mend: str
    risk: str = "nothing was started"

    def __str__(self) -> str:
        return (
            f"error {self.code}: {self.what}\n  where: {self.where}\n  found: {self.found}\n"
            f"  risk:  {self.risk}\n  mend:  {self.mend}"
        )


class Fault(Exception):
    """A problem that the user can mend. Printed without a traceback; `exit_code` tells scripts which kind it is."""

    exit_code = 6

    def __init__(self, *findings: Finding):
        assert findings, "a Fault carries at least one Finding"
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings

    def __reduce__(self):  # findings cross process borders whole
        return type(self), self.findings

    def as_json(self) -> str:
        return json.dumps({"exit_code": self.exit_code, "findings": [asdict(f) for f in self.findings]}, indent=1)


class ConfigFault(Fault):
    exit_code = 2


class DataFault(Fault):
    exit_code = 3


class EnvironmentFault(Fault):
    """Disk, memory, permission, network, device."""

    exit_code = 4


class SafetyFault(Fault):
    exit_code = 5


class Stopped(Exception):
    """The work was asked to stop (Ctrl-C, SIGTERM); what is done is saved and the same command continues it."""

    exit_code = 75


CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}  # all but tab and newline; marks that turn the direction of text


def visible(text: str) -> str:
    """Text whose control characters are spelt out: names of files and classes could recolour or rewrite a terminal."""
    return text.translate(CONTROL)


def nearest(word: str, choices: Iterable[str], n: int = 3) -> str:
    """`did you mean 'a' or 'b'?`, or the choices themselves where none is near."""
    choices = [str(c) for c in choices]
    by_case = {c.lower(): c for c in choices}
    near = [by_case[c] for c in difflib.get_close_matches(str(word).lower(), by_case, n=n, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return "the choices are " + ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")


def examples(values: Iterable[object], n: int = 5) -> str:
    """The first few of many, with the count: `'a', 'b', ... (12 in all)`."""
    values = list(values)
    head = ", ".join(repr(str(v)) for v in values[:n])
    return head if len(values) <= n else f"{head}, ... ({len(values)} in all)"
