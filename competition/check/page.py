"""What `make check` found, as one page on the screen and as a record for tools and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from competition import artifacts, board
from competition.check.notes import SEVERITIES, Note
from competition.check.shift import NOUNS, Source
from competition.data import Data

SHOWN = 3  # examples of a note; findings.json has more
COLOURS = {"error": "bold red", "warn": "yellow", "info": "dim"}


def show(data: Data, summary: Sequence[str], sources: Sequence[Source], notes: Sequence[Note]) -> None:
    """A table on a terminal, a line a note elsewhere. notes: the worst first."""
    counts = {s: sum(note.severity == s for note in notes) for s in SEVERITIES}
    board.say(f"check of {data.name}: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    for line in [*summary, *([drift(sources)] if sources else [])]:
        board.say(line)
    if not board.console.is_terminal:
        for note in notes:
            count = f" ({note.count:,})" if note.count else ""
            board.say(
                f"{note.severity:5} {note.code}{count}: ".replace(" : ", " ") + str(said(note)).replace("\n", " ")
            )
        return
    table = Table.grid(padding=(0, 2))
    for name in ("severity", "code", "count", "what"):
        table.add_column(name, justify="right" if name == "count" else "left", overflow="fold")
    for note in notes:
        count = f"{note.count:,}" if note.count else ""
        table.add_row(Text(note.severity, COLOURS[note.severity]), note.code, count, said(note))
    board.console.print(table, markup=False)


def said(note: Note) -> Text:
    """What, where for example, and in a line of its own what to do."""
    shown = ", ".join(map(repr, note.examples[:SHOWN])) + ", ..." * (max(note.count, len(note.examples)) > SHOWN)
    text = Text(note.what + (f": {shown}" if note.examples else ""))
    return text.append(f"\n-> {note.mend}", "italic") if note.mend else text


def drift(sources: Sequence[Source]) -> str:
    told = ", ".join(f"{NOUNS[source.name]} {source.told.auc:.3f}" for source in sources)
    return f"test told from train, AUC (0.5 is no difference): {told}"


def record(data: Data, summary: Sequence[str], sources: Sequence[Source], notes: Sequence[Note]) -> dict[str, Any]:
    """As plain values: the data's hash, the findings, and the sources with what tells by them."""
    return {
        "competition": data.name,
        "made": artifacts.now(),
        "data": data.hash,
        "summary": list(summary),
        "findings": [note.record() for note in notes],
        "adversarial": {s.name: {"auc": round(s.told.auc, 4), "by": list(s.told.by[:10])} for s in sources},
    }
