"""Rounds as one line a program: medians, and ratios within a round with their range; on the screen and for docs."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from rich.table import Table

from benchmarks.rivals.programs import BARE, OURS, Result

HEADS = (
    "",
    "images/s",
    "of the bare step",
    "wall, s",
    "of ours",
    "CPU, s",
    "of ours",
    "memory, GB",
    "OOF accuracy",
    "OOF log loss",
)


def sentence(result: Result) -> str:
    score = "" if result.accuracy is None else f", accuracy {result.accuracy:.4f}, log loss {result.log_loss:.4f}"
    return f"{result.rate:.1f} images/s, {result.seconds:.1f} s, {result.cores:.1f} s of CPU, {result.memory:.2f} GB{score}"


def lines(results: dict[str, list[Result]], refused: dict[str, str]) -> list[list[str]]:
    """A line a program, as HEADS has it; of a refused one its name and the reason."""
    bare, ours = results.get(BARE.name, []), results.get(OURS.name, [])
    found = []
    for name, own in results.items():
        if name in refused:
            continue
        paired = name != BARE.name
        found.append([
            name,
            f"{median(r.rate for r in own):.1f}",
            ratio(own, bare, lambda r: r.rate) if paired else "1",
            f"{median(r.seconds for r in own):.1f}" if paired else "",
            ratio(own, ours, lambda r: r.seconds) if paired else "",
            f"{median(r.cores for r in own):.1f}" if paired else "",
            ratio(own, ours, lambda r: r.cores) if paired else "",
            f"{median(r.memory for r in own):.2f}",
            *(middle([r.accuracy for r in own]), middle([r.log_loss for r in own])),
        ])  # fmt: skip
    return found + [[name, f"not run: {reason}", *[""] * (len(HEADS) - 2)] for name, reason in refused.items()]


def ratio(own: list[Result], others: list[Result], of: Callable[[Result], float]) -> str:
    """The median over rounds of the ratio within a round, and its range."""
    found = [of(a) / of(b) for a, b in zip(own, others)]
    if not found:
        return ""
    return f"{median(found):.2f}" + (f" ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else "")


def middle(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.4f}" if known else ""


def table(lines: list[list[str]], title: str) -> Table:
    shown = Table(*HEADS, title=title)
    for line in lines:
        shown.add_row(*line)
    return shown


def markdown(lines: list[list[str]]) -> str:
    rows = [list(HEADS), ["---"] * len(HEADS), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows)
