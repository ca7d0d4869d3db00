"""What `make check` found in the data: its findings and its picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from competition import artifacts
from competition.check.notes import SEVERITIES
from competition.report.blocks import Block, Column, Grid, Picture, Prose, Section
from competition.report.subject import Subject

WIDE = 1400  # pixels of the picture at most
LARGE = 300_000  # bytes of it
SHRINK = 0.8  # of its width, until it is small enough
QUALITY = 80


def sections(subject: Subject) -> Iterator[Section]:
    yield Section("data", "Data", [*_blocks(subject)])


def _blocks(subject: Subject) -> Iterator[Block]:
    name = subject.data.name
    folder = artifacts.check_folder(name)
    if not (folder / "findings.json").exists():
        yield Prose([f"The data was not looked at yet: make check COMP={name} does."])
        return
    record = artifacts.read_json(folder / "findings.json")
    lines = [f"As make check COMP={name} found it on {record['made'][:10]}."]
    if record["data"] != subject.data.hash:
        lines = [f"The data has changed since make check COMP={name} looked at it on {record['made'][:10]}."]
    yield Prose(lines)
    yield Prose(record["summary"], listed=True)
    yield _findings(record)
    if (folder / "check.png").exists():
        counts = ", ".join(f"{n} {severity}" for severity, n in _counts(record).items())
        yield Picture(
            "What there is to see", small(folder / "check.png"), f"Charts and pictures of the findings: {counts}."
        )


def _counts(record: dict) -> dict[str, int]:
    found = [finding["severity"] for finding in record["findings"]]
    return {severity: found.count(severity) for severity in SEVERITIES}


def _findings(record: dict) -> Grid:
    columns = [
        Column("severity"),
        Column("code"),
        Column("what"),
        Column("count", 0),
        Column("examples"),
        Column("mend"),
    ]
    rows = [
        (f["severity"], f["code"], f["what"], f["count"] or None, ", ".join(f["examples"]), f["mend"])
        for f in record["findings"]
    ]
    note = "error: mend it before training; warn: the score may be wrong; info: worth knowing."
    return Grid("Findings", columns, rows, note if rows else "Nothing was found.")


def small(path: Path) -> bytes:
    """The picture as WebP, narrower until it has no more than LARGE bytes."""
    import cv2

    picture = cv2.imread(str(path))
    assert picture is not None, f"{path} is no picture"
    width = min(WIDE, picture.shape[1])
    while True:
        size = (round(width), max(1, round(picture.shape[0] * width / picture.shape[1])))
        encoded = cv2.imencode(".webp", cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
                               [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()  # fmt: skip
        if len(encoded) <= LARGE:
            return encoded
        width *= SHRINK
